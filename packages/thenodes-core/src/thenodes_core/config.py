"""A node's configuration: a TOML file's shape, and how a file becomes one."""

from __future__ import annotations

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import structs

from thenodes_plugin_api import Capabilities, ConfigDefaults, NodeId

from .address import parse_address
from .errors import ConfigError

__all__ = [
    "Config",
    "EncryptionTable",
    "NodeTable",
    "PluginsTable",
    "RealmAccessTable",
    "RealmTable",
    "TransportTable",
    "given_keys",
    "is_loopback",
    "load_config",
    "make_config",
    "validate",
    "with_defaults",
]

_WORD_CHARACTERS = 64

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class RealmTable(_Table, frozen=True, kw_only=True):
    """`[realm]`: the network; nodes of different realms refuse each other.

    Attributes:
        name: for people.
        code: for machines; derived from the name where absent.
        version: of the application protocol. Default `"1.0"`.
    """

    name: str = "default"
    code: str | None = None
    version: str = "1.0"


class NodeTable(_Table, frozen=True, kw_only=True):
    """`[node]`: this node.

    Attributes:
        id: its id; derived from its key where absent, which nobody else can claim.
        state_dir: key, lock, control socket and plugins' data. A library user
            who gives none gets a key that lives as long as the node.
        node_type: its type in the realm. Default `"daemon"`, as in the reference.
    """

    id: NodeId | None = None
    state_dir: str | None = None
    node_type: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] = "daemon"


class RealmAccessTable(_Table, frozen=True, kw_only=True):
    """`[realm_access]`: who of the realm is admitted.

    Attributes:
        allowed_node_types: types of node; all where absent.
    """

    allowed_node_types: tuple[str, ...] | None = None


class EncryptionTable(_Table, frozen=True, kw_only=True):
    """`[encryption]`: protection of the connections.

    Attributes:
        enabled: TLS. Not built yet: true is an error.
        allow_plaintext: listen beyond loopback without TLS. Default false,
            because everybody on the way could read and change everything.
    """

    enabled: bool = False
    allow_plaintext: bool = False


class TransportTable(_Table, frozen=True, kw_only=True):
    """`[transport]`: the WebSocket server.

    Attributes:
        origins: values of the Origin header that are admitted; none by default,
            so that no web page can reach a node on loopback.
    """

    origins: tuple[str, ...] = ()


class PluginsTable(_Table, frozen=True, kw_only=True):
    """`[plugins]`: what is loaded.

    Attributes:
        directory: every plugin in it is loaded.
        paths: single plugins.
        installed: installed plugins, by the name of their entry point in the
            group `thenodes.plugins`. None by default: nothing is loaded that
            the operator did not name.
    """

    directory: str | None = None
    paths: tuple[str, ...] = ()
    installed: tuple[str, ...] = ()


class Config(_Table, frozen=True, kw_only=True):
    """Everything that can be set of a node.

    Attributes:
        host: address to listen on. Default 127.0.0.1: only this machine.
        port: TCP port. Default 50000, as in the reference; 0 takes a free one.
        bootstrap_nodes: addresses to stay connected with: `host:port`, `ws://…`, `wss://…`.
        app_name: the application's name, for people.
        realm: the network.
        node: this node.
        realm_access: who is admitted.
        encryption: protection of the connections.
        transport: the WebSocket server.
        plugins: what is loaded.
        plugin: one table a plugin, `[plugin.<id>]`.
    """

    host: str = "127.0.0.1"
    port: Port = 50000
    bootstrap_nodes: tuple[str, ...] = ()
    app_name: str | None = None
    realm: RealmTable = RealmTable()
    node: NodeTable = NodeTable()
    realm_access: RealmAccessTable = RealmAccessTable()
    encryption: EncryptionTable = EncryptionTable()
    transport: TransportTable = TransportTable()
    plugins: PluginsTable = PluginsTable()
    plugin: Mapping[str, Mapping[str, Any]] = {}


def load_config(
    path: Path, overrides: Mapping[str, Any] | None = None
) -> tuple[Config, frozenset[str]]:
    """Read a configuration file and lay `overrides` over it.

    Relative paths in the file are relative to its folder.

    Args:
        path: a TOML file.
        overrides: values from elsewhere, such as flags: nested like the file.

    Returns:
        The configuration, and the dotted keys that were set.

    Raises:
        ConfigError: unreadable, not TOML, an unknown key, or a value of the wrong type.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        # Also what tomllib raises for a number of 5000 digits, or for endless nesting.
        raise ConfigError(f"{path}: not TOML: {error}") from error
    _check(table, str(path))
    _anchor(table, path.absolute().parent)
    return make_config(_merge(table, overrides or {}))


def make_config(table: Mapping[str, Any]) -> tuple[Config, frozenset[str]]:
    """Make a configuration of nested tables; returns it and the dotted keys that were set.

    Raises:
        ConfigError: an unknown key, or a value of the wrong type.
    """
    return _check(table, "configuration"), frozenset(_keys(table))


def given_keys(config: Config) -> frozenset[str]:
    """The dotted keys whose values differ from the library's defaults."""
    return frozenset(_differing(config, Config()))


def with_defaults(
    config: Config, given: Iterable[str], plugin_defaults: Sequence[ConfigDefaults]
) -> Config:
    """Fill what nobody set from what plugins preset; the first plugin that does wins.

    `bootstrap_nodes_extend` is added to whatever list applies.

    Raises:
        ConfigError: a plugin presets a value that is not allowed.
    """
    given = frozenset(given)
    presets: dict[str, Any] = {}
    for defaults in plugin_defaults:
        _check_defaults(defaults)
        for key, value in _keys_and_values(_drop_none(msgspec.to_builtins(defaults))):
            if key not in ("bootstrap_nodes_extend", "capabilities") and key not in given:
                presets.setdefault(key, tuple(value) if isinstance(value, list) else value)
    for key, value in presets.items():
        section, _, name = key.rpartition(".")
        if section:
            value = structs.replace(getattr(config, section), **{name: value})
        config = structs.replace(config, **{section or name: value})
    extra = [node for defaults in plugin_defaults for node in defaults.bootstrap_nodes_extend]
    nodes = tuple(dict.fromkeys([*config.bootstrap_nodes, *extra]))
    return structs.replace(config, bootstrap_nodes=nodes)


def _check_defaults(defaults: ConfigDefaults) -> None:
    table = _drop_none(msgspec.to_builtins(defaults))
    capabilities = table.pop("capabilities", ())
    extra = table.pop("bootstrap_nodes_extend", ())
    validate(_check(table, "presets of a plugin"))
    try:
        msgspec.convert(capabilities, Capabilities)
        for address in extra:
            parse_address(address)
    except (msgspec.ValidationError, ValueError) as error:
        raise ConfigError(f"presets of a plugin: {error}") from error


def validate(config: Config) -> None:
    """Check what a type cannot say.

    Raises:
        ConfigError: names the key, what was expected, and the way out.
    """
    for key, text in (
        ("realm.name", config.realm.name),
        ("realm.code", config.realm.code or ""),
        ("realm.version", config.realm.version),
        ("node.node_type", config.node.node_type),
        ("app_name", config.app_name or ""),
    ):
        if not text.isprintable() or len(text) > _WORD_CHARACTERS:
            raise ConfigError(
                f"{key}: expected at most {_WORD_CHARACTERS} printable characters, got {text!r}"
            )
    if not config.realm.name.strip():
        raise ConfigError("realm.name: expected a name, got an empty one")
    for address in config.bootstrap_nodes:
        try:
            parse_address(address)
        except ValueError as error:
            raise ConfigError(f"bootstrap_nodes: {error}") from error
    if config.encryption.enabled:
        raise ConfigError(
            "encryption.enabled: TLS is not built yet; set it to false, and listen on 127.0.0.1"
        )
    if not is_loopback(config.host) and not config.encryption.allow_plaintext:
        raise ConfigError(
            f"host: listening on {config.host} without TLS lets everybody on the network read and "
            "change the traffic; listen on 127.0.0.1, or set encryption.allow_plaintext = true"
        )


def is_loopback(host: str) -> bool:
    """True where only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


_UNKNOWN_FIELD = re.compile(
    r"Object contains unknown field `(.*?)`(?: - at `\$\.?(.*)`)?", re.DOTALL
)
_AT = re.compile(r" - at `\$\.?(.*)`$")


def _check(table: Mapping[str, Any], source: str) -> Config:
    try:
        return msgspec.convert(table, Config)
    except msgspec.ValidationError as error:
        text = str(error)
        if unknown := _UNKNOWN_FIELD.fullmatch(text):
            name, where = unknown[1], unknown[2] or ""
            text = f"unknown key {_dotted(where, name)}{_nearest(where, name)}"
        elif at := _AT.search(text):
            text = f"{at[1]}: {text[: at.start()]}"
        raise ConfigError(f"{source}: {text}") from error


def _dotted(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _nearest(where: str, name: str) -> str:
    known = [key.rpartition(".")[2] for key in _all_keys() if key.rpartition(".")[0] == where]
    close = [_dotted(where, key) for key in difflib.get_close_matches(name, known, n=1)]
    close += [key for key in _all_keys() if key.rpartition(".")[2] == name]
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known here: {', '.join(known)}"


def _all_keys() -> list[str]:
    keys = []
    for field in structs.fields(Config):
        keys.append(field.name)
        if isinstance(field.type, type) and issubclass(field.type, _Table):
            keys += [f"{field.name}.{inner.name}" for inner in structs.fields(field.type)]
    return keys


def _anchor(table: dict[str, Any], folder: Path) -> None:
    node, plugins = table.get("node", {}), table.get("plugins", {})
    for section, key in ((node, "state_dir"), (plugins, "directory")):
        if key in section:
            section[key] = str(folder / Path(section[key]).expanduser())
    if "paths" in plugins:
        plugins["paths"] = [str(folder / Path(path).expanduser()) for path in plugins["paths"]]


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _drop_none(table: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _drop_none(value) if isinstance(value, Mapping) else value
        for key, value in table.items()
        if value is not None
    }


def _keys(table: Mapping[str, Any]) -> Iterable[str]:
    return (key for key, _ in _keys_and_values(table))


def _keys_and_values(table: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping) and key != "plugin":
            yield from _keys_and_values(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _differing(one: msgspec.Struct, other: msgspec.Struct, prefix: str = "") -> Iterable[str]:
    for field in structs.fields(one):
        mine, default = getattr(one, field.name), getattr(other, field.name)
        if isinstance(mine, _Table):
            yield from _differing(mine, default, f"{prefix}{field.name}.")
        elif mine != default:
            yield f"{prefix}{field.name}"
