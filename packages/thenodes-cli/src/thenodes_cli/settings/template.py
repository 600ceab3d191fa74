"""The file that `thenodes config init` writes: every table, and what applies, as comments."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import msgspec
import tomlkit

from thenodes_core.config.descriptions import Setting, SettingTable, setting_tables

__all__ = ["template"]

_HEAD = """\
# Settings of a node of TheNodes. As it stands, this file changes nothing: each line that
# begins with # and a key is a default, or an example where there is none. Take away the #
# to set it, or let the command do it:
#
#   thenodes config set port 50001 --config FILE
#   thenodes config check FILE
#   thenodes run --config FILE
#
# Relative paths are relative to the folder of this file."""

_PLUGINS = """\
# Each plugin has a table of its own; its manifest says what may be in it.
#[plugin.kvstore]
#max_entries = 1000"""

_WIDTH = 92

# Keys of the reference that are refused, or do nothing, here; and what has one value only.
_LEFT_OUT = (
    "encryption.noise.",
    "encryption.accept_self_signed",
    "encryption.paths.trusted_crl_dir",
    "encryption.paths.issuer_crl_dir",
    "encryption.trust_policy.pin_fp_algo",
)

_EXAMPLES: dict[str, object] = {
    "app_name": "kitchen lights",
    "realm.code": "default",
    "node.id": "kitchen",
    "node.state_dir": "data",
    "realm_access.allowed_node_types": ["daemon"],
    "encryption.enabled": True,
    "encryption.paths.own_certificate": "data/identity.crt",
    "encryption.paths.own_private_key": "data/identity.pem",
    "encryption.paths.trusted_cert_dir": "data/pki/trusted/certs",
    "encryption.paths.rejected_dir": "data/pki/rejected",
    "encryption.paths.issuer_cert_dir": "data/pki/issuers/certs",
    "encryption.trust_policy.accept_self_signed": False,
    "encryption.trust_policy.paths.observed_dir": "data/pki/observed/certs",
    "network.persistence.path": "data/peers.json",
    "network.relay.store_path": "data/frames.sqlite3",
    "logging.json_path": "data/logs/events.jsonl",
    "health.port": 9464,
    "plugins.directory": "plugins",
    "plugins.allowed": ["kvstore"],
}
"""What stands where there is no default."""


def template() -> str:
    """The text of the file."""
    parts = [_HEAD]
    for table in setting_tables():
        shown = [one for one in table.settings if not one.key.startswith(_LEFT_OUT)]
        if shown:
            parts.append("\n".join(_lines(table, shown)))
    return "\n\n".join([*parts, _PLUGINS]) + "\n"


def _lines(table: SettingTable, settings: list[Setting]) -> Iterator[str]:
    if table.name:
        yield from _comment(table.text)
        yield f"[{table.name}]"
    for number, setting in enumerate(settings):
        if number or table.name:
            yield ""
        yield from _comment(setting.text)
        yield f"#{setting.name} = {_value(setting)}"


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH, break_on_hyphens=False)]


def _value(setting: Setting) -> str:
    value = setting.default
    if value is None:
        value = _EXAMPLES.get(setting.key, "")
    text: str = tomlkit.item(msgspec.to_builtins(value)).as_string()
    return text
