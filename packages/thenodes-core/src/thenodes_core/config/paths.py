"""Settings that are paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import ConfigError

__all__ = ["anchor", "expand"]

_PATHS = (
    "node.state_dir",
    "plugins.directory",
    "plugins.paths",
    "logging.json_path",
    "network.persistence.path",
    "network.relay.store_path",
    "encryption.paths.own_certificate",
    "encryption.paths.own_private_key",
    "encryption.paths.trusted_cert_dir",
    "encryption.paths.trusted_crl_dir",
    "encryption.paths.rejected_dir",
    "encryption.paths.issuer_cert_dir",
    "encryption.paths.issuer_crl_dir",
    "encryption.noise.static_key_path",
    "encryption.trust_policy.paths.observed_dir",
)


def expand(text: str | Path) -> Path:
    """A path whose `~` is the home directory.

    Raises:
        ConfigError: the home directory of nobody.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{text}: no such home directory; write the path in full") from error


def anchor(table: dict[str, Any], folder: Path) -> None:
    """Make the relative paths in nested tables relative to a folder.

    Raises:
        ConfigError: the home directory of nobody; names the key.
    """
    for key in _PATHS:
        _anchor(table, key, folder)


def _anchor(table: dict[str, Any], key: str, folder: Path) -> None:
    *sections, name = key.split(".")
    for section in sections:
        table = table.get(section, {})
    value = table.get(name)
    try:
        if isinstance(value, list):
            table[name] = [str(folder / expand(path)) for path in value]
        elif value:
            table[name] = str(folder / expand(value))
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from error
