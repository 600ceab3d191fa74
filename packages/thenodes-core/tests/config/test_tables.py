"""The tables, their keys and defaults: the reference's file is accepted, but for its CRLs."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from thenodes_core.config import (
    Config,
    Settings,
    keys_and_values,
    load_config,
    make_config,
    setting_types,
    validate,
)
from thenodes_core.errors import ConfigError
from thenodes_core.limits import Limits

Write = Callable[[str], Path]

REFERENCE_FILE = """
port = 50000
bootstrap_nodes = ["127.0.0.1:50001"]
app_name = "app"

[realm]
name = "default"
code = "default"
version = "1.0"

[node]
id = "node-1"
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
trusted_crl_dir = "pki/trusted/crls"
rejected_dir = "pki/rejected"
issuer_cert_dir = "pki/issuers/certs"
issuer_crl_dir = "pki/issuers/crls"

[encryption.noise]
pattern = "XX"
curve = "25519"
cipher = "ChaChaPoly"
hash = "BLAKE2s"
static_key_path = "pki/own/noise.key"

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

DEFAULTS: Mapping[str, object] = {
    "host": "127.0.0.1",
    "port": 50000,
    "bootstrap_nodes": (),
    "app_name": None,
    "realm.name": "default",
    "realm.code": None,
    "realm.version": "1.0",
    "node.id": None,
    "node.state_dir": None,
    "node.id_file": "node_id",
    "node.allow_ephemeral": True,
    "node.node_type": "daemon",
    "realm_access.allowed_node_types": None,
    "encryption.enabled": None,
    "encryption.backend": "tls",
    "encryption.mtls": False,
    "encryption.accept_self_signed": None,
    "encryption.allow_plaintext": False,
    "encryption.paths.own_certificate": None,
    "encryption.paths.own_private_key": None,
    "encryption.paths.trusted_cert_dir": None,
    "encryption.paths.trusted_crl_dir": None,
    "encryption.paths.rejected_dir": None,
    "encryption.paths.issuer_cert_dir": None,
    "encryption.paths.issuer_crl_dir": None,
    "encryption.noise.pattern": None,
    "encryption.noise.curve": None,
    "encryption.noise.cipher": None,
    "encryption.noise.hash": None,
    "encryption.noise.static_key_path": None,
    "encryption.trust_policy.mode": "open",
    "encryption.trust_policy.require_identity": True,
    "encryption.trust_policy.accept_self_signed": None,
    "encryption.trust_policy.store_new_certs": "none",
    "encryption.trust_policy.reject_expired": False,
    "encryption.trust_policy.reject_before_valid": False,
    "encryption.trust_policy.enforce_ca_chain": False,
    "encryption.trust_policy.pin_subjects": (),
    "encryption.trust_policy.pin_fingerprints": (),
    "encryption.trust_policy.pin_fp_algo": "sha256",
    "encryption.trust_policy.realm_subject_binding": False,
    "encryption.trust_policy.paths.observed_dir": None,
    "transport.origins": (),
    "transport.public_hosts": (),
    "discovery.enabled": True,
    "discovery.request_interval_secs": 90,
    "discovery.request_want": 16,
    "network.persistence.enabled": False,
    "network.persistence.path": None,
    "network.persistence.max_entries": 1024,
    "network.persistence.ttl_secs": 604_800,
    "network.persistence.save_interval_secs": 60,
    "network.relay.enabled": False,
    "network.relay.store_forward": False,
    "network.relay.queue_max_per_target": 1024,
    "network.relay.queue_max_global": 8192,
    "network.relay.queue_bytes_per_target": 16_777_216,
    "network.relay.selection": "none",
    "network.relay.use": (),
    "network.relay.allow": (),
    "network.relay.deny": (),
    "network.relay.seal": "required",
    "network.relay.mailboxes_max": 10_000,
    "network.relay.max_bindings_per_node": 1024,
    "network.relay.frames_per_second": 5000,
    "network.relay.frames_burst": 10_000,
    "network.relay.bytes_per_second": 8_388_608,
    "network.relay.bytes_burst": 16_777_216,
    "network.relay.ttl_secs": 604_800,
    "network.relay.retention_secs": 604_800,
    "network.relay.store_path": None,
    "network.relay.synchronous": "full",
    "logging.json_path": None,
    "logging.json_max_bytes": 5_242_880,
    "logging.json_rotate": 3,
    "logging.disable_console": False,
    "health.host": "127.0.0.1",
    "health.port": None,
    "limits.max_sessions": 4096,
    "limits.max_handshakes": 512,
    "limits.handshake_bytes": 16_384,
    "limits.handshake_seconds": 10.0,
    "limits.admission_seconds": 2.0,
    "limits.message_bytes": 1_048_576,
    "limits.frame_bytes": 262_144,
    "limits.header_bytes": 4096,
    "limits.control_header_bytes": 61_440,
    "limits.control_per_second": 20,
    "limits.coalesce_bytes": 65_536,
    "limits.outbox_frames": 4096,
    "limits.outbox_bytes": 4_194_304,
    "limits.window_bytes": 262_144,
    "limits.heartbeat_seconds": 10.0,
    "limits.progress_seconds": 5.0,
    "limits.close_seconds": 1.0,
    "plugins.directory": None,
    "plugins.paths": (),
    "plugins.installed": (),
    "plugins.allowed": None,
    "plugins.blocked": (),
    "plugins.signers": (),
    "plugins.verify_signatures": False,
    "plugins.strict": False,
    "plugins.stall": "report",
    "plugin": {},
}


def value_at(config: msgspec.Struct, key: str) -> Any:
    value: Any = config
    for name in key.split("."):
        value = getattr(value, name)
    return value


def nested(key: str, value: object) -> dict[str, object]:
    """`{"a": {"b": value}}` for the key `a.b`."""
    for name in reversed(key.split(".")):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def problem(key: str, value: object) -> str:
    with pytest.raises(ConfigError) as caught:
        make_config(nested(key, value))
    return str(caught.value)


def test_a_file_with_every_key_of_the_reference_is_accepted(write: Write) -> None:
    settings = load_config(write(REFERENCE_FILE))

    assert settings.given == {key for key, _ in keys_and_values(tomllib.loads(REFERENCE_FILE))}


def test_of_the_references_file_only_the_revocation_lists_cannot_be_kept(write: Write) -> None:
    lines = REFERENCE_FILE.splitlines(keepends=True)
    settings = load_config(write("".join(line for line in lines if "_crl_dir" not in line)))

    validate(settings.config, settings.origins)

    for line in lines:
        if "_crl_dir" in line:
            settings = load_config(write(f"[encryption.paths]\n{line}"))
            with pytest.raises(ConfigError, match="revocation lists are not enforced"):
                validate(settings.config, settings.origins)


def test_only_these_keys_are_not_the_references() -> None:
    reference = {key for key, _ in keys_and_values(tomllib.loads(REFERENCE_FILE))}

    ours = {key for key, _ in setting_types()} - reference

    assert {key for key in ours if not key.startswith(("limits.", "network.relay."))} == {
        "host",
        "encryption.allow_plaintext",
        "encryption.trust_policy.require_identity",
        "transport.origins",
        "transport.public_hosts",
        "health.host",
        "health.port",
        "plugins.directory",
        "plugins.paths",
        "plugins.installed",
        "plugins.allowed",
        "plugins.blocked",
        "plugins.signers",
        "plugins.verify_signatures",
        "plugins.strict",
        "plugins.stall",
        "plugin",
    }


@pytest.mark.parametrize(("key", "default"), DEFAULTS.items(), ids=DEFAULTS)
def test_a_key_that_nobody_sets_has_its_default(key: str, default: object) -> None:
    value = value_at(Config(), key)

    assert (value, type(value)) == (default, type(default))


def test_every_key_is_listed_here_with_its_default() -> None:
    assert [key for key, _ in setting_types()] == list(DEFAULTS)


@pytest.mark.parametrize(
    ("key", "default"),
    [(key, default) for key, default in DEFAULTS.items() if default is not None],
    ids=str,
)
def test_a_default_can_be_written_out(key: str, default: object) -> None:
    value = list(default) if isinstance(default, tuple) else default

    settings = make_config(nested(key, value))

    validate(settings.config, settings.origins)
    assert settings.config == Config()


def test_an_empty_file_gives_the_librarys_defaults(write: Write) -> None:
    assert load_config(write("")) == Settings(Config(), {})


def test_the_table_of_a_plugin_is_read_as_it_stands(write: Write) -> None:
    config = load_config(write('[plugin.my]\ngreeting = "hello"\nlist = [1, 2]\n')).config

    assert config.plugin == {"my": {"greeting": "hello", "list": [1, 2]}}


@pytest.mark.parametrize("name", ["my-plugin", "a.b", "with space", "Ünïcode"])
def test_the_table_of_a_plugin_may_have_any_name(write: Write, name: str) -> None:
    config = load_config(write(f'[plugin."{name}"]\na = 1\n')).config

    assert config.plugin == {name: {"a": 1}}


@pytest.mark.parametrize(
    ("key", "lowest", "highest"),
    [
        ("port", 0, 65_535),
        ("discovery.request_interval_secs", 1, 10**9),
        ("discovery.request_want", 0, 256),
        ("network.persistence.max_entries", 1, 100_000),
        ("network.persistence.ttl_secs", 1, 10**9),
        ("network.persistence.save_interval_secs", 1, 10**9),
        ("network.relay.queue_max_per_target", 1, 10**9),
        ("network.relay.queue_max_global", 1, 10**9),
        ("network.relay.queue_bytes_per_target", 1, 10**9),
        ("network.relay.mailboxes_max", 1, 10**9),
        ("network.relay.max_bindings_per_node", 1, 10**9),
        ("network.relay.frames_per_second", 0, 10**9),
        ("network.relay.frames_burst", 1, 10**9),
        ("network.relay.bytes_per_second", 0, 10**9),
        ("network.relay.bytes_burst", 1, 10**9),
        ("network.relay.ttl_secs", 1, 2_592_000),
        ("network.relay.retention_secs", 1, 10**9),
        ("logging.json_rotate", 0, 1000),
        ("limits.control_header_bytes", 1, 65_535),
    ],
)
def test_a_number_is_accepted_up_to_its_bounds_and_no_further(
    key: str, lowest: int, highest: int
) -> None:
    assert value_at(make_config(nested(key, lowest)).config, key) == lowest
    assert value_at(make_config(nested(key, highest)).config, key) == highest
    assert problem(key, lowest - 1) == f"configuration: {key}: Expected `int` >= {lowest}"
    assert problem(key, highest + 1) == f"configuration: {key}: Expected `int` <= {highest}"


def test_a_log_file_has_room_for_at_least_a_kibibyte() -> None:
    assert make_config(nested("logging.json_max_bytes", 1024)).config.logging.json_max_bytes == 1024
    assert ">= 1024" in problem("logging.json_max_bytes", 1023)


COUNTS = [
    name
    for name, default in msgspec.structs.asdict(Limits()).items()
    if isinstance(default, int) and name != "control_header_bytes"
]
SECONDS = [
    name for name, default in msgspec.structs.asdict(Limits()).items() if isinstance(default, float)
]


@pytest.mark.parametrize("name", COUNTS)
def test_a_count_among_the_limits_is_positive_and_bounded(name: str) -> None:
    limits = make_config({"limits": {name: 1}}).config.limits

    assert getattr(limits, name) == 1
    assert getattr(make_config({"limits": {name: 10**9}}).config.limits, name) == 10**9
    for value, bound in ((0, ">= 1"), (-1, ">= 1"), (10**9 + 1, "<= 1000000000")):
        expected = f"configuration: limits.{name}: Expected `int` {bound}"
        assert problem(f"limits.{name}", value) == expected


@pytest.mark.parametrize("name", SECONDS)
def test_a_time_among_the_limits_is_positive_and_bounded(name: str) -> None:
    limits = make_config({"limits": {name: 0.25}}).config.limits

    assert getattr(limits, name) == 0.25
    for value in (0, 0.0, -1, 10**6 + 1, float("inf"), float("nan")):
        error = problem(f"limits.{name}", value)
        assert error.startswith(f"configuration: limits.{name}: Expected `float` ")


def test_a_time_among_the_limits_may_be_a_whole_number(write: Write) -> None:
    assert load_config(write("[limits]\nclose_seconds = 3\n")).config.limits.close_seconds == 3.0


def test_one_limit_leaves_the_others_alone(write: Write) -> None:
    config = load_config(write("[limits]\nmax_sessions = 7\n")).config

    assert config.limits == Limits(max_sessions=7)


def test_an_unknown_limit_is_told_with_the_nearest_one(write: Write) -> None:
    path = write("[limits]\nmax_sesions = 7\n")

    expected = f"{path}: unknown key limits.max_sesions; did you mean limits.max_sessions?"
    with pytest.raises(ConfigError, match=f"^{re.escape(expected)}$"):
        load_config(path)
