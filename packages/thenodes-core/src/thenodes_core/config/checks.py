"""What a configuration may not say."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import structs

from ..address import parse_address
from ..errors import ConfigError
from ..limits import Limits
from .choices import with_choices
from .relay_checks import relay_problems
from .tables import Config, PluginsTable, setting_types

__all__ = ["check_table", "is_loopback", "nearest_key", "uses_tls", "validate"]

_WORD_CHARACTERS = 64
_HELLO_BYTES = 4096


def check_table(table: Mapping[str, Any], source: str) -> Config:
    """Make a configuration of nested tables.

    Args:
        table: nested like the file.
        source: where it came from, for the error.

    Raises:
        ConfigError: unknown keys, all of them, or a value of the wrong type.
    """
    unknown = [f"unknown key {key}{nearest_key(key)}" for key in _unknown(table, Config)]
    if unknown:
        raise ConfigError("\n".join(f"{source}: {text}" for text in unknown))
    plugins = table.get("plugin")
    for name, value in plugins.items() if isinstance(plugins, Mapping) else ():
        if not isinstance(value, Mapping):
            got = type(value).__name__
            raise ConfigError(f"{source}: plugin.{name}: expected a table, got {got}")
    try:
        return msgspec.convert(table, Config)
    except msgspec.ValidationError as error:
        text = str(error)
        if at := _AT.search(text):
            kind = dict(setting_types()).get(at[1].partition("[")[0])
            text = f"{at[1]}: {with_choices(text[: at.start()], kind)}"
        raise ConfigError(f"{source}: {text}") from error


def nearest_key(dotted: str) -> str:
    """`; did you mean …?`, or what is known in that table."""
    where, _, name = dotted.rpartition(".")
    prefix = f"{where}." if where else ""
    known = [key for key, _ in setting_types()]
    here = [key[len(prefix) :].partition(".")[0] for key in known if key.startswith(prefix)]
    close = [prefix + key for key in difflib.get_close_matches(name, here, n=1)]
    close += [key for key in known if key.rpartition(".")[2] == name]
    if not close and not here:
        close = difflib.get_close_matches(dotted, known, n=1)
        here = list(dict.fromkeys(key.partition(".")[0] for key in known))
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known here: {', '.join(dict.fromkeys(here))}"


def validate(config: Config, origins: Mapping[str, str] | None = None) -> None:
    """Check what a type cannot say.

    Args:
        config: the values.
        origins: where each dotted key has its value from, for the error.

    Raises:
        ConfigError: names the origin, the key, what was expected, and the way out.
    """
    for key, problem in _problems(config):
        origin = (origins or {}).get(key)
        raise ConfigError(f"{origin}: {key}: {problem}" if origin else f"{key}: {problem}")


def _problems(config: Config) -> Iterator[tuple[str, str]]:
    yield from _word_problems(config)
    for address in config.bootstrap_nodes:
        try:
            parse_address(address)
        except ValueError as error:
            yield "bootstrap_nodes", str(error)
    for key, is_asked, way_out in _NOT_BUILT:
        value = _value(config, key)
        if is_asked(value):
            yield key, f"{msgspec.json.encode(value).decode()} {way_out}"
    yield from _encryption_problems(config)
    yield from _plugin_problems(config.plugins)
    yield from _limit_problems(config.limits)
    yield from relay_problems(config)
    if config.node.state_dir is None:
        if not config.node.allow_ephemeral:
            yield (
                "node.allow_ephemeral",
                "false needs a place for the node's key; set node.state_dir",
            )
        persistence = config.network.persistence
        if persistence.enabled and persistence.path is None:
            yield (
                "network.persistence.enabled",
                "true needs a place for peers.json; set node.state_dir or network.persistence.path",
            )


def _encryption_problems(config: Config) -> Iterator[tuple[str, str]]:
    encryption, tls = config.encryption, uses_tls(config)
    if not tls and not is_loopback(config.host) and not encryption.allow_plaintext:
        problem = (
            f"listening on {config.host} without TLS lets everybody on the network read and "
            "change the traffic; leave encryption.enabled out, listen on 127.0.0.1, or set "
            "encryption.allow_plaintext = true"
        )
        yield "host", problem
    if encryption.mtls and not tls:
        yield "encryption.mtls", "true needs TLS; set encryption.enabled = true"
    if encryption.backend == "none" and encryption.enabled:
        yield "encryption.backend", '"none" contradicts encryption.enabled = true; leave one out'
    if config.transport.public_hosts and tls:
        problem = (
            "a proxy ends TLS in front of this node, and so the node itself cannot; set "
            "encryption.enabled = false (and listen on 127.0.0.1), or leave the hosts out"
        )
        yield "transport.public_hosts", problem
    for name in config.transport.public_hosts:
        if not _HOST.fullmatch(name):
            yield "transport.public_hosts", f"expected names of hosts in lower case, got {name!r}"
    for pin in encryption.trust_policy.pin_subjects:
        if not pin.strip("~ "):
            problem = f'expected a subject, or a part of one after "~", got {pin!r}'
            yield "encryption.trust_policy.pin_subjects", problem
    pins = encryption.trust_policy.pin_fingerprints
    yield from _fingerprint_problems("encryption.trust_policy.pin_fingerprints", pins)


def _fingerprint_problems(key: str, pins: Iterable[str]) -> Iterator[tuple[str, str]]:
    for pin in pins:
        if not _FINGERPRINT.fullmatch(pin):
            problem = (
                f"expected 64 hexadecimal digits in lower case, got {pin!r}; see identity show"
            )
            yield key, problem


def _plugin_problems(plugins: PluginsTable) -> Iterator[tuple[str, str]]:
    yield from _fingerprint_problems("plugins.signers", plugins.signers)
    if plugins.verify_signatures and not plugins.signers:
        problem = "true lets no plugin pass without plugins.signers; name the keys that may sign"
        yield "plugins.verify_signatures", problem
    for block in plugins.blocked:
        if not _are_versions(block.versions):
            problem = (
                f'expected versions of {block.id} such as ">=1,<1.4", got {block.versions!r}; '
                "leave them out to block all"
            )
            yield "plugins.blocked", problem


def _are_versions(text: str) -> bool:
    # Imported here, for it takes 20 ms, and every command reads a configuration.
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        return False
    return True


def _limit_problems(limits: Limits) -> Iterator[tuple[str, str]]:
    for name, least, why in (
        ("handshake_bytes", _HELLO_BYTES, "the HELLO of a node needs that much"),
        ("frame_bytes", limits.control_header_bytes, "limits.control_header_bytes"),
        ("message_bytes", limits.frame_bytes, "limits.frame_bytes"),
        ("message_bytes", limits.coalesce_bytes, "limits.coalesce_bytes"),
        ("control_header_bytes", limits.header_bytes, "limits.header_bytes"),
        ("outbox_bytes", limits.frame_bytes, "limits.frame_bytes"),
    ):
        value = getattr(limits, name)
        if value < least:
            yield f"limits.{name}", f"expected at least {least} ({why}), got {value}"


def uses_tls(config: Config) -> bool:
    """Whether a node listens with TLS, and dials `host:port` with it."""
    encryption = config.encryption
    if encryption.backend == "none":
        return False
    return not is_loopback(config.host) if encryption.enabled is None else encryption.enabled


def is_loopback(host: str) -> bool:
    """True where only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,252})")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_AT = re.compile(r" - at `\$\.?(.*)`$")

_NO_CRL = "cannot be kept: revocation lists are not enforced; leave it out, and use trust revoke"

# Keys of the reference that do nothing here, and values that would have done something.
_NOT_BUILT: tuple[tuple[str, Any, str], ...] = (
    (
        "encryption.backend",
        "noise".__eq__,
        'is not offered here: Noise has no successor; use "tls"',
    ),
    ("encryption.paths.trusted_crl_dir", bool, _NO_CRL),
    ("encryption.paths.issuer_crl_dir", bool, _NO_CRL),
)


def _word_problems(config: Config) -> Iterator[tuple[str, str]]:
    for key in ("realm.name", "realm.code", "realm.version", "node.node_type", "app_name"):
        text = _value(config, key) or ""
        if not text.isprintable() or len(text) > _WORD_CHARACTERS:
            expected = f"expected at most {_WORD_CHARACTERS} printable characters"
            yield key, f"{expected}, got {text!r}"
    for key in ("host", "health.host"):
        # The empty name would be every address of this machine.
        if not _value(config, key).strip():
            expected = "expected 127.0.0.1 for this machine alone, or 0.0.0.0 for everybody"
            yield key, f"{expected}, got an empty one"
    if not config.realm.name.strip():
        yield "realm.name", "expected a name, got an empty one"


def _value(config: msgspec.Struct, key: str) -> Any:
    value: Any = config
    for name in key.split("."):
        value = getattr(value, name)
    return value


def _unknown(
    table: Mapping[str, Any], expected: type[msgspec.Struct], prefix: str = ""
) -> Iterator[str]:
    types = {field.name: field.type for field in structs.fields(expected)}
    for name, value in table.items():
        kind = types.get(name)
        if name not in types:
            yield f"{prefix}{name}"
        elif isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            if isinstance(value, Mapping):
                yield from _unknown(value, kind, f"{prefix}{name}.")
