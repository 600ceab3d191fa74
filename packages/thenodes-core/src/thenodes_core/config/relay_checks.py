"""What `[network.relay]` may not say."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

import msgspec

from thenodes_plugin_api import NodeId

from ..address import parse_address
from .tables import Config, RelayTable

__all__ = ["relay_addresses", "relay_problems"]

_RELAY = "network.relay"


def relay_problems(config: Config) -> Iterator[tuple[str, str]]:
    """Every key whose value cannot be used, with what is wrong."""
    relay = config.network.relay
    if relay.store_forward and not relay.is_on:
        yield f"{_RELAY}.store_forward", f"true needs a relay; set {_RELAY}.enabled = true"
    for entry in relay.use:
        if not _is_node_id(entry):
            try:
                parse_address(entry)
            except ValueError as error:
                yield f"{_RELAY}.use", f"{error}, or a node id"
        elif _is_host(entry):
            yield f"{_RELAY}.use", f"{entry!r} has no port; expected host:port, or a node id"
    yield from _admission_problems(relay)
    if relay.enabled:
        yield from _size_problems(config)


def relay_addresses(relay: RelayTable) -> tuple[str, ...]:
    """The addresses in `use`: what of it is no node id."""
    return tuple(entry for entry in relay.use if not _is_node_id(entry))


def _admission_problems(relay: RelayTable) -> Iterator[tuple[str, str]]:
    for name, entries in (("allow", relay.allow), ("deny", relay.deny)):
        for entry in entries:
            if not _is_node_id(entry):
                yield f"{_RELAY}.{name}", f"expected node ids or fingerprints, got {entry!r}"
    for entry in relay.allow:
        if entry in relay.deny:
            yield f"{_RELAY}.allow", f"{entry} is in {_RELAY}.deny too; leave one out"


def _size_problems(config: Config) -> Iterator[tuple[str, str]]:
    relay, frame_bytes = config.network.relay, config.limits.frame_bytes
    most, got = relay.queue_max_global, relay.queue_max_per_target
    if got > most:
        problem = f"expected at most {_RELAY}.queue_max_global ({most}), got {got}"
        yield f"{_RELAY}.queue_max_per_target", problem
    for name in ("queue_bytes_per_target", "bytes_burst"):
        value = getattr(relay, name)
        if value < frame_bytes:
            expected = f"expected at least limits.frame_bytes ({frame_bytes})"
            yield f"{_RELAY}.{name}", f"{expected}, got {value}"


def _is_host(text: str) -> bool:
    """Whether that can only be meant as an address, although it could be somebody's id."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return text == "localhost"
    return True


def _is_node_id(text: str) -> bool:
    try:
        msgspec.convert(text, NodeId)
    except msgspec.ValidationError:
        return False
    return True
