"""Reading `thenodes-plugin.toml`."""

from __future__ import annotations

import pytest

from thenodes_plugin_api import ManifestError, parse_manifest

LEAST = """
manifest = 1
[plugin]
id = "my"
version = "0.1.0"
entry = "thenodes_my:register_plugin"
abi = 1
"""

WHOLE = """
manifest = 1
[plugin]
id = "my"
version = "0.1.0"
entry = "thenodes_my:register_plugin"
abi = 1
abi-revision = 0
[prompt]
prefix = "my"
commands = [{ name = "status", help = "show what the plugin is doing" }]
[messages]
handles = ["my.*", "other.exact"]
[network]
advertises = ["my/1"]
[config]
defaults = { greeting = "hello" }
"""


def test_the_least_manifest_is_enough() -> None:
    manifest = parse_manifest(LEAST)

    assert (manifest.plugin.id, manifest.plugin.abi, manifest.plugin.abi_revision) == ("my", 1, 0)


def test_what_is_left_out_is_empty() -> None:
    manifest = parse_manifest(LEAST)

    assert manifest.prompt.prefix is None
    assert manifest.messages.handles == ()
    assert manifest.network.advertises == ()
    assert manifest.config.defaults == {}


def test_the_manifest_of_the_design_is_read_whole() -> None:
    manifest = parse_manifest(WHOLE)

    assert manifest.prompt.prefix == "my"
    assert manifest.prompt.commands[0].name == "status"
    assert manifest.messages.handles == ("my.*", "other.exact")
    assert manifest.network.advertises == ("my/1",)
    assert manifest.config.defaults == {"greeting": "hello"}


@pytest.mark.parametrize("key", ["manifest", "id", "version", "entry", "abi"])
def test_a_missing_key_is_refused(key: str) -> None:
    lines = [line for line in LEAST.splitlines() if not line.startswith(f"{key} =")]

    with pytest.raises(ManifestError, match=key):
        parse_manifest("\n".join(lines))


@pytest.mark.parametrize("extra", ["colour = 1", "[colours]", "abi_revision = 0"])
def test_an_unknown_key_is_refused(extra: str) -> None:
    with pytest.raises(ManifestError, match="unknown field"):
        parse_manifest(f"{LEAST}{extra}\n")


@pytest.mark.parametrize("version", ["0", "2", '"1"', "true"])
def test_another_version_of_the_format_is_refused(version: str) -> None:
    with pytest.raises(ManifestError, match="manifest"):
        parse_manifest(LEAST.replace("manifest = 1", f"manifest = {version}"))


@pytest.mark.parametrize("abi", ['"1"', "1.0", "true"])
def test_an_abi_that_is_no_number_is_refused(abi: str) -> None:
    with pytest.raises(ManifestError, match="abi"):
        parse_manifest(LEAST.replace("abi = 1", f"abi = {abi}"))


@pytest.mark.parametrize("plugin_id", ["", "My", "1my", "../my", "my plugin", "m" * 65, "my\\n"])
def test_an_id_of_another_form_is_refused(plugin_id: str) -> None:
    with pytest.raises(ManifestError, match=r"plugin\.id"):
        parse_manifest(LEAST.replace('id = "my"', f'id = "{plugin_id}"'))


def test_the_longest_id_is_taken() -> None:
    longest = "m" * 64

    manifest = parse_manifest(LEAST.replace('id = "my"', f'id = "{longest}"'))

    assert manifest.plugin.id == longest


@pytest.mark.parametrize("entry", ["module", "module:", ":function", "a-b:c", "a:b.c", "a: b"])
def test_an_entry_of_another_form_is_refused(entry: str) -> None:
    with pytest.raises(ManifestError, match="entry"):
        parse_manifest(LEAST.replace("thenodes_my:register_plugin", entry))


@pytest.mark.parametrize("claim", ["", "*", ".*", "my.", "my*", "my.*.*", "my..x", "my x"])
def test_a_claim_of_another_form_is_refused(claim: str) -> None:
    with pytest.raises(ManifestError, match="handles"):
        parse_manifest(f'{LEAST}[messages]\nhandles = ["{claim}"]\n')


@pytest.mark.parametrize("prefix", ["", "My", "my plugin", "m" * 33])
def test_a_prefix_of_another_form_is_refused(prefix: str) -> None:
    with pytest.raises(ManifestError, match="prefix"):
        parse_manifest(f'{LEAST}[prompt]\nprefix = "{prefix}"\n')


@pytest.mark.parametrize("capability", ["", "c" * 65])
def test_a_capability_too_short_or_long_is_refused(capability: str) -> None:
    with pytest.raises(ManifestError, match="advertises"):
        parse_manifest(f'{LEAST}[network]\nadvertises = ["{capability}"]\n')


def test_what_is_not_toml_is_refused_under_the_files_name() -> None:
    with pytest.raises(ManifestError, match=r"^/plugins/my\.toml: not TOML"):
        parse_manifest("manifest = ", source="/plugins/my.toml")


@pytest.mark.parametrize(
    "value", ["[" * 50_000, "9" * 5000, "-" + "9" * 5000], ids=["nested", "digits", "negative"]
)
def test_what_the_toml_reader_cannot_stomach_is_refused(value: str) -> None:
    with pytest.raises(ManifestError):
        parse_manifest(f"{LEAST}[config]\ndefaults = {{ a = {value} }}\n")


def test_a_service_says_what_it_handles() -> None:
    manifest = parse_manifest(
        f'{LEAST}[service]\nkinds = ["RELAY_FWD", "ACK"]\ntable = "network.relay"\n'
        'commands = ["relay"]\n'
    )

    assert manifest.service is not None
    assert manifest.service.kinds == ("RELAY_FWD", "ACK")
    assert manifest.service.table == "network.relay"
    assert manifest.service.commands == ("relay",)


def test_without_the_section_a_plugin_is_no_service() -> None:
    assert parse_manifest(LEAST).service is None


@pytest.mark.parametrize(
    "section",
    [
        "",
        'kinds = ["HELLO"]',
        'kinds = ["TEXT"]',
        'kinds = []\ntable = "encryption"',
        'kinds = []\ncommands = ["two words"]',
        'kinds = []\ncommands = ["Relay"]',
    ],
)
def test_a_service_gets_nothing_else(section: str) -> None:
    with pytest.raises(ManifestError, match=r"\$\.service"):
        parse_manifest(f"{LEAST}[service]\n{section}\n")
