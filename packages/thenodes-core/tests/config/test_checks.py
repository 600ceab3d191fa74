"""What a configuration may not say, and how it is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs

from thenodes_core.config import (
    Config,
    EncryptionTable,
    RealmTable,
    TransportTable,
    TrustPolicyTable,
    is_loopback,
    load_config,
    make_config,
    uses_tls,
    validate,
)
from thenodes_core.errors import ConfigError
from thenodes_core.limits import Limits

Write = Callable[[str], Path]


def problem(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return str(caught.value)


def invalid(path: Path) -> str:
    settings = load_config(path)
    with pytest.raises(ConfigError) as caught:
        validate(settings.config, settings.origins)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "[network.relay]\nselection = 'rendevous'\n",
            """network.relay.selection: expected "none" or "rendezvous", got 'rendevous'""",
        ),
        (
            "[network.relay]\nsynchronous = 'FULL'\n",
            """network.relay.synchronous: expected "full", "normal" or "off", got 'FULL'""",
        ),
    ],
)
def test_a_word_that_is_not_possible_is_told_with_those_that_are(
    write: Write, text: str, told: str
) -> None:
    path = write(text)

    assert problem(path) == f"{path}: {told}"


def test_an_unknown_key_is_told_with_file_key_and_the_nearest_one(write: Write) -> None:
    path = write("prot = 1\n")

    assert problem(path) == f"{path}: unknown key prot; did you mean port?"


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        (
            "[encryption]\nallow_plain_text = true",
            "encryption.allow_plain_text",
            "encryption.allow_plaintext",
        ),
        ("[relm]\nname = 'x'", "relm", "realm"),
        ("realm = {nam = 'x'}", "realm.nam", "realm.name"),
        (
            "[network.persistance]\nenabled = true",
            "network.persistance",
            "network.persistence",
        ),
        (
            "[encryption.trust_policy]\npin_subject = []",
            "encryption.trust_policy.pin_subject",
            "encryption.trust_policy.pin_subjects",
        ),
        ("state_dir = 'x'", "state_dir", "node.state_dir"),
        ("[node]\njson_path = 'x'", "node.json_path", "logging.json_path"),
        ("[plugin_s]\npaths = []", "plugin_s", "plugins"),
        ("Port = 1", "Port", "port"),
    ],
)
def test_the_nearest_key_of_an_unknown_one_is_its_dotted_name(
    write: Write, text: str, key: str, nearest: str
) -> None:
    path = write(text)

    assert problem(path) == f"{path}: unknown key {key}; did you mean {nearest}?"


def test_an_unknown_key_like_no_other_lists_what_is_known_there(write: Write) -> None:
    path = write("[realm]\nqqqq = 1\n")

    assert problem(path) == f"{path}: unknown key realm.qqqq; known here: name, code, version"


def test_what_is_known_names_each_table_once(write: Write) -> None:
    assert problem(write("qqqq = 1\n")).endswith(
        "; known here: host, port, bootstrap_nodes, app_name, realm, node, realm_access, "
        "encryption, transport, discovery, network, logging, health, limits, plugins, plugin"
    )


def test_all_unknown_keys_are_told_at_once(write: Write) -> None:
    path = write("prot = 1\n[realm]\nnam = 'x'\n[limits]\nmax_sesions = 1\n")

    assert problem(path).split("\n") == [
        f"{path}: unknown key prot; did you mean port?",
        f"{path}: unknown key realm.nam; did you mean realm.name?",
        f"{path}: unknown key limits.max_sesions; did you mean limits.max_sessions?",
    ]


def test_an_unknown_key_is_told_before_a_wrong_type(write: Write) -> None:
    assert "unknown key prot" in problem(write("port = 'x'\nprot = 1\n"))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('port = "50000"', "port"),
        ("port = 50000.0", "port"),
        ("port = true", "port"),
        ("port = 65536", "port"),
        ("port = -1", "port"),
        ("port = 2024-05-01", "port"),
        ("port = {a = 1}", "port"),
        ("port = [1]", "port"),
        ("host = 1", "host"),
        ("host = 07:32:00", "host"),
        ("app_name = 1979-05-27T07:32:00Z", "app_name"),
        ("bootstrap_nodes = 'a:1'", "bootstrap_nodes"),
        ("bootstrap_nodes = ['a:1', 1]", "bootstrap_nodes[1]"),
        ("bootstrap_nodes = [['a:1']]", "bootstrap_nodes[0]"),
        ("[realm]\nname = 1", "realm.name"),
        ("realm = {name = {a = 1}}", "realm.name"),
        ('[node]\nid = "a b"', "node.id"),
        ('[node]\nid = ""', "node.id"),
        ("[node]\nid_file = ''", "node.id_file"),
        ("[node]\nid_file = '../id'", "node.id_file"),
        ('[node]\nnode_type = ""', "node.node_type"),
        ('[encryption]\nenabled = "yes"', "encryption.enabled"),
        ("[encryption]\nenabled = 1", "encryption.enabled"),
        ('[encryption]\nbackend = "ssl"', "encryption.backend"),
        ('[encryption.trust_policy]\nmode = "strict"', "encryption.trust_policy.mode"),
        ('[encryption.trust_policy]\npin_fp_algo = "md5"', "encryption.trust_policy.pin_fp_algo"),
        ('[network.relay]\nselection = "random"', "network.relay.selection"),
        ("[[network]]\nrelay = 1", "network"),
        ("realm = 1", "realm"),
        ("realm = []", "realm"),
        ("plugin = 1", "plugin"),
        ("plugin = []", "plugin"),
    ],
)
def test_a_value_of_the_wrong_type_is_told_with_file_and_dotted_key(
    write: Write, text: str, key: str
) -> None:
    path = write(text)

    assert problem(path).startswith(f"{path}: {key}: ")


@pytest.mark.parametrize("text", ["[plugin]\nmy = 1", "[[plugin.my]]\na = 1"])
def test_a_plugins_table_that_is_none_is_told_with_its_name(write: Write, text: str) -> None:
    assert "plugin.my" in problem(write(text))


NO_CRL = "cannot be kept: revocation lists are not enforced; leave it out, and use trust revoke"


@pytest.mark.parametrize(
    ("key", "value", "way_out"),
    [
        (
            "encryption.backend",
            '"noise"',
            'is not offered here: Noise has no successor; use "tls"',
        ),
        ("encryption.paths.trusted_crl_dir", '"/crl"', NO_CRL),
        ("encryption.paths.issuer_crl_dir", '"/crl"', NO_CRL),
    ],
)
def test_a_value_that_asks_for_what_is_not_built_is_refused_with_the_way_out(
    write: Write, key: str, value: str, way_out: str
) -> None:
    path = write(f"{key} = {value}\n")

    assert invalid(path) == f"{path}: {key}: {value} {way_out}"


def test_no_encryption_at_all_is_a_backend_too() -> None:
    validate(make_config({"encryption": {"backend": "none"}}).config)


def test_a_problem_without_an_origin_is_told_with_its_key_alone() -> None:
    with pytest.raises(ConfigError, match=r'^encryption\.backend: "noise" is not offered'):
        validate(Config(encryption=EncryptionTable(backend="noise")))


@pytest.mark.parametrize("mode", ["open", "allowlist", "observe", "tofu", "hybrid", "ca"])
def test_every_mode_of_trust_is_offered(mode: str) -> None:
    config = make_config({"encryption": {"trust_policy": {"mode": mode}}}).config

    validate(config)
    assert config.encryption.trust_policy.mode == mode


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("accept_self_signed", "false"),
        ("accept_self_signed", "true"),
        ("require_identity", "false"),
        ("store_new_certs", '"observed"'),
        ("reject_expired", "true"),
        ("reject_before_valid", "true"),
        ("enforce_ca_chain", "true"),
        ("pin_subjects", '["~CN=a"]'),
        ("pin_fingerprints", f'["{"0123456789abcdef" * 4}"]'),
        ("realm_subject_binding", "true"),
    ],
)
def test_every_setting_of_trust_is_offered(write: Write, key: str, value: str) -> None:
    validate(load_config(write(f"encryption.trust_policy.{key} = {value}\n")).config)


def test_the_references_older_key_of_trust_is_taken() -> None:
    validate(Config(encryption=EncryptionTable(accept_self_signed=False)))


@pytest.mark.parametrize("pin", ["", "ab", "AB" * 32, "g" * 64, "a" * 65, "a" * 63, "ab:" * 32])
def test_a_pin_that_no_key_has_is_refused(pin: str) -> None:
    table = TrustPolicyTable(pin_fingerprints=("a" * 64, pin))

    with pytest.raises(ConfigError, match="expected 64 hexadecimal digits in lower case") as caught:
        validate(Config(encryption=EncryptionTable(trust_policy=table)))
    assert str(caught.value).startswith("encryption.trust_policy.pin_fingerprints: ")
    assert repr(pin) in str(caught.value)


@pytest.mark.parametrize("text", ["host = ''", "host = ' '", "health.host = ''"])
def test_an_empty_host_opens_no_port_to_everybody(write: Write, text: str) -> None:
    told = invalid(write(f"{text}\n"))

    assert "host: expected 127.0.0.1 for this machine alone, or 0.0.0.0 for everybody" in told


LOOPBACK = ["127.0.0.1", "127.8.8.8", "::1", "localhost"]
BEYOND = ["0.0.0.0", "::", "192.168.0.2", "example.org"]


@pytest.mark.parametrize("host", LOOPBACK)
def test_a_loopback_host_needs_nothing_more(host: str) -> None:
    assert is_loopback(host)
    validate(Config(host=host))


@pytest.mark.parametrize("host", LOOPBACK)
def test_on_loopback_there_is_no_tls_by_itself(host: str) -> None:
    assert not uses_tls(Config(host=host))


@pytest.mark.parametrize("host", BEYOND)
def test_listening_beyond_loopback_turns_tls_on(host: str) -> None:
    config = Config(host=host)

    validate(config)
    assert uses_tls(config)


@pytest.mark.parametrize("host", [*LOOPBACK, *BEYOND])
def test_tls_that_is_asked_for_is_on(host: str) -> None:
    config = Config(host=host, encryption=EncryptionTable(enabled=True))

    validate(config)
    assert uses_tls(config)


@pytest.mark.parametrize("off", [EncryptionTable(enabled=False), EncryptionTable(backend="none")])
@pytest.mark.parametrize("host", BEYOND)
def test_listening_beyond_loopback_without_tls_needs_allow_plaintext(
    host: str, off: EncryptionTable
) -> None:
    with pytest.raises(ConfigError, match=r"^host: .*allow_plaintext"):
        validate(Config(host=host, encryption=off))


@pytest.mark.parametrize("off", [EncryptionTable(enabled=False), EncryptionTable(backend="none")])
def test_allow_plaintext_lets_a_node_listen_beyond_loopback_without_tls(
    off: EncryptionTable,
) -> None:
    config = Config(host="0.0.0.0", encryption=structs.replace(off, allow_plaintext=True))

    validate(config)
    assert not uses_tls(config)


def test_allow_plaintext_alone_turns_no_tls_off() -> None:
    assert uses_tls(Config(host="0.0.0.0", encryption=EncryptionTable(allow_plaintext=True)))


def test_no_backend_contradicts_encryption() -> None:
    with pytest.raises(ConfigError, match=r'^encryption\.backend: "none" contradicts'):
        validate(Config(encryption=EncryptionTable(enabled=True, backend="none")))


@pytest.mark.parametrize("enabled", [None, False])
def test_client_certificates_need_tls(enabled: bool | None) -> None:
    with pytest.raises(ConfigError, match=r"^encryption\.mtls: true needs TLS"):
        validate(Config(encryption=EncryptionTable(mtls=True, enabled=enabled)))


def test_client_certificates_are_offered_with_tls() -> None:
    validate(Config(encryption=EncryptionTable(mtls=True, enabled=True)))
    validate(Config(host="0.0.0.0", encryption=EncryptionTable(mtls=True)))


HOSTS = TransportTable(public_hosts=("node.example.org", "n2.example.org"))


@pytest.mark.parametrize(
    "config",
    [
        Config(host="0.0.0.0", transport=HOSTS),
        Config(encryption=EncryptionTable(enabled=True), transport=HOSTS),
    ],
    ids=["by itself", "asked for"],
)
def test_public_hosts_and_tls_of_the_nodes_own_exclude_each_other(config: Config) -> None:
    with pytest.raises(ConfigError, match=r"^transport\.public_hosts: a proxy ends TLS"):
        validate(config)


def test_a_node_behind_a_proxy_names_its_public_hosts() -> None:
    validate(Config(transport=HOSTS))


@pytest.mark.parametrize(
    "name", ["", "Node.example.org", "https://a", "a:443", "a/b", "-a", "ü.de", "a" * 254]
)
def test_a_public_host_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^transport\.public_hosts: expected names of hosts"):
        validate(Config(transport=TransportTable(public_hosts=("a.example", name))))


def test_a_bootstrap_address_may_name_the_node_that_is_there() -> None:
    validate(Config(bootstrap_nodes=("a:1#somebody", "wss://b.example#somebody-else")))


@pytest.mark.parametrize(
    "address", ["", "example.org", "http://a:1", "a:0", "a:99999", "a b:1", "a:1#", "a:1#x y"]
)
def test_a_bootstrap_address_that_cannot_be_dialled_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match=r"^bootstrap_nodes: "):
        validate(Config(bootstrap_nodes=(address,)))


def test_one_bad_bootstrap_address_among_good_ones_is_named() -> None:
    with pytest.raises(ConfigError, match="'nowhere' has no port"):
        validate(Config(bootstrap_nodes=("a:1", "nowhere", "b:1")))


@pytest.mark.parametrize("name", ["a\x1b[31m", "a\n", "a\u202eb", "x" * 65])
def test_a_realm_whose_name_cannot_be_shown_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"realm\.name: expected at most 64 printable"):
        validate(Config(realm=RealmTable(name=name)))


@pytest.mark.parametrize(
    "key", ["realm.code", "realm.version", "node.node_type", "app_name"], ids=str
)
def test_a_word_that_cannot_be_shown_is_refused_with_its_key(write: Write, key: str) -> None:
    path = write(f'{key} = "a\\u0007"\n')

    assert invalid(path).startswith(f"{path}: {key}: expected at most 64 printable")


def test_a_word_of_64_characters_is_accepted() -> None:
    validate(Config(realm=RealmTable(name="x" * 64)))


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_realm_name_is_refused(name: str) -> None:
    config = make_config({"realm": {"name": name}}).config

    with pytest.raises(ConfigError, match=r"realm\.name: expected a name"):
        validate(config)


def test_a_key_that_must_be_kept_needs_a_state_directory(write: Write) -> None:
    text = "node.allow_ephemeral: false needs a place for the node's key; set node.state_dir"
    path = write("[node]\nallow_ephemeral = false\n")

    assert invalid(path) == f"{path}: {text}"
    validate(make_config({"node": {"allow_ephemeral": False, "state_dir": "s"}}).config)


def test_known_peers_that_must_be_kept_need_a_place(write: Write) -> None:
    path = write("[network.persistence]\nenabled = true\n")

    assert invalid(path).startswith(f"{path}: network.persistence.enabled: true needs a place")


@pytest.mark.parametrize(
    "place", ['node.state_dir = "s"', 'network.persistence.path = "p"'], ids=["directory", "path"]
)
def test_known_peers_are_kept_in_the_state_directory_or_at_their_path(
    write: Write, place: str
) -> None:
    validate(load_config(write(f"network.persistence.enabled = true\n{place}\n")).config)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("handshake_bytes", 4095),
        ("frame_bytes", 60 * 1024 - 1),
        ("message_bytes", 256 * 1024 - 1),
        ("coalesce_bytes", 1024 * 1024 + 1),
        ("header_bytes", 60 * 1024 + 1),
        ("control_header_bytes", 4095),
        ("outbox_bytes", 256 * 1024 - 1),
    ],
)
def test_limits_that_cannot_work_together_are_refused(name: str, value: int) -> None:
    limits = structs.replace(Limits(), **{name: value})

    with pytest.raises(ConfigError, match=r"limits\.\w+: expected at least"):
        validate(Config(limits=limits))


@pytest.mark.parametrize("pin", ["", "~", " ", "~ "])
def test_a_pin_that_says_nothing_is_refused(pin: str) -> None:
    policy = TrustPolicyTable(pin_subjects=("CN=a", pin))

    with pytest.raises(ConfigError, match="pin_subjects: expected a subject"):
        validate(Config(encryption=EncryptionTable(trust_policy=policy)))


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"signers": ["x"]}, "plugins.signers: expected 64 hexadecimal digits"),
        ({"verify_signatures": True}, "plugins.verify_signatures: true lets no plugin pass"),
        (
            {"blocked": [{"id": "my", "versions": "one"}]},
            "plugins.blocked: expected versions of my such as",
        ),
    ],
    ids=str,
)
def test_a_policy_of_plugins_that_cannot_be_kept_is_refused(
    table: dict[str, object], told: str
) -> None:
    settings = make_config({"plugins": table})

    with pytest.raises(ConfigError, match=f"^configuration: {told}"):
        validate(settings.config, settings.origins)


def test_a_policy_of_plugins_that_can_be_kept_is_taken() -> None:
    table = {
        "signers": ["0" * 64],
        "verify_signatures": True,
        "blocked": [{"id": "my", "versions": ">=1,<1.4", "reason": "x"}, {"id": "all"}],
        "allowed": ["my"],
    }

    validate(make_config({"plugins": table}).config)
