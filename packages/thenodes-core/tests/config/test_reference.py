"""The reference's file: its keys are taken, and what cannot be kept is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from thenodes_core.config import Config, load_config, make_config, validate
from thenodes_core.errors import ConfigError

REFERENCE = """
port = 50000
bootstrap_nodes = []
app_name = "app"
[realm]
name = "default"
code = "default"
version = "1.0"
[node]
id = "n1"
state_dir = "data"
id_file = "node_id"
allow_ephemeral = true
node_type = "daemon"
[encryption]
enabled = false
backend = "tls"
mtls = false
accept_self_signed = true
[encryption.paths]
own_certificate = "pki/own/cert.pem"
own_private_key = "pki/own/key.pem"
trusted_cert_dir = "pki/trusted/certs"
rejected_dir = "pki/rejected"
issuer_cert_dir = "pki/issuers/certs"
[encryption.noise]
pattern = "XX"
curve = "25519"
cipher = "ChaChaPoly"
hash = "BLAKE2s"
static_key_path = "noise.key"
[encryption.trust_policy]
mode = "open"
accept_self_signed = true
store_new_certs = "none"
reject_expired = false
reject_before_valid = false
enforce_ca_chain = false
pin_subjects = []
pin_fingerprints = []
pin_fp_algo = "sha256"
realm_subject_binding = false
[encryption.trust_policy.paths]
observed_dir = "pki/observed"
[logging]
json_path = "logs/trust_audit.jsonl"
json_max_bytes = 5242880
json_rotate = 3
disable_console = false
[discovery]
enabled = true
request_interval_secs = 90
request_want = 16
[realm_access]
allowed_node_types = ["daemon"]
[network.persistence]
enabled = false
path = "data/peers.json"
max_entries = 1024
ttl_secs = 604800
save_interval_secs = 60
[network.relay]
enabled = false
store_forward = false
queue_max_per_target = 1024
queue_max_global = 8192
selection = "none"
"""


def test_a_file_with_every_key_of_the_reference_but_those_of_crls_is_taken(
    tmp_path: Path,
) -> None:
    (tmp_path / "node.toml").write_text(REFERENCE)

    config = load_config(tmp_path / "node.toml").config

    validate(config)
    assert config.encryption.paths.own_private_key == str(tmp_path / "pki/own/key.pem")
    assert config.logging.json_path == str(tmp_path / "logs/trust_audit.jsonl")
    assert config.network.persistence.path == str(tmp_path / "data/peers.json")


def test_the_defaults_are_the_references() -> None:
    config = Config()

    assert (config.port, config.node.id_file, config.node.node_type) == (50000, "node_id", "daemon")
    assert (config.logging.json_max_bytes, config.logging.json_rotate) == (5 * 1024 * 1024, 3)
    discovery = config.discovery
    assert (discovery.enabled, discovery.request_interval_secs) == (True, 90)
    assert discovery.request_want == 16
    kept = config.network.persistence
    assert (kept.enabled, kept.max_entries, kept.ttl_secs) == (False, 1024, 604_800)
    assert kept.save_interval_secs == 60
    relay = config.network.relay
    assert (relay.queue_max_per_target, relay.queue_max_global) == (1024, 8192)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("encryption.backend", "noise"),
        ("encryption.mtls", True),
        ("encryption.paths.trusted_crl_dir", "pki/trusted/crl"),
        ("encryption.paths.issuer_crl_dir", "pki/issuers/crl"),
        ("encryption.trust_policy.pin_fingerprints", ["ab"]),
        ("network.relay.store_forward", True),
    ],
)
def test_a_value_that_asks_for_what_cannot_be_kept_is_refused(key: str, value: object) -> None:
    table: dict[str, object] = {}
    inner = table
    *sections, name = key.split(".")
    for section in sections:
        inner = inner.setdefault(section, {})  # type: ignore[assignment]
    inner[name] = value

    with pytest.raises(ConfigError, match=f"^{re.escape(key)}: "):
        validate(make_config(table).config)


def test_a_node_that_must_keep_its_key_needs_a_place_for_it() -> None:
    with pytest.raises(ConfigError, match=r"node\.allow_ephemeral: false needs a place"):
        validate(make_config({"node": {"allow_ephemeral": False}}).config)


def test_known_addresses_need_a_place() -> None:
    with pytest.raises(ConfigError, match=r"network\.persistence\.enabled: true needs a place"):
        validate(make_config({"network": {"persistence": {"enabled": True}}}).config)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_sessions", 0),
        ("frame_bytes", -1),
        ("heartbeat_seconds", 0),
        ("control_header_bytes", 65_536),
        ("progress_seconds", "5"),
    ],
)
def test_a_limit_out_of_bounds_is_refused(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"limits.{key}: Expected"):
        make_config({"limits": {key: value}})


def test_several_unknown_keys_are_told_at_once() -> None:
    table = {"prot": 1, "discovery": {"enbled": True}, "network": {"relay": {"x": 1}}}

    with pytest.raises(ConfigError) as caught:
        make_config(table)

    lines = str(caught.value).split("\n")
    assert lines[0] == "configuration: unknown key prot; did you mean port?"
    assert lines[1].endswith("unknown key discovery.enbled; did you mean discovery.enabled?")
    assert "unknown key network.relay.x; known here: enabled, store_forward" in lines[2]


def test_an_error_names_where_the_value_comes_from(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_text('host = "0.0.0.0"\nencryption.enabled = false\n')
    settings = load_config(path)

    with pytest.raises(ConfigError, match=f"^{path}: host: listening on 0.0.0.0"):
        validate(settings.config, settings.origins)
