"""Addresses that can be dialled: `host:port`, `ws://host:port/path`, `wss://…`, `…#<node id>`."""

from __future__ import annotations

import enum
import ipaddress
import socket
from urllib.parse import urlsplit

import msgspec

from thenodes_plugin_api import NodeId

__all__ = ["Address", "Scope", "host_port", "listening_at", "parse_address", "scope"]

_DEFAULT_PORTS = {"ws": 80, "wss": 443}


class Address(msgspec.Struct, frozen=True):
    """A parsed address.

    Attributes:
        text: as it was given.
        url: `ws://…` or `wss://…`, to dial.
        host: name or IP address.
        port: TCP port.
        node_id: who has to answer there, where the address says so.
    """

    text: str
    url: str
    host: str
    port: int
    node_id: str | None = None

    @property
    def bare(self) -> str:
        """The text without the node id: where it is, and not who."""
        return self.text.partition("#")[0]

    def __str__(self) -> str:
        return self.text


class Scope(enum.IntEnum):
    """From how far away a host can be reached."""

    GLOBAL = 0
    PRIVATE = 1
    MACHINE = 2


def scope(host: str) -> Scope:
    """From where a host can be reached, by its address; of a name only `localhost` is known."""
    if host == "localhost":
        return Scope.MACHINE
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        try:
            # 127.1 and 0x7f000001 are addresses too, to whoever resolves them.
            address = ipaddress.ip_address(socket.inet_aton(host))
        except (OSError, ValueError):
            return Scope.GLOBAL
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    if address.is_loopback or address.is_unspecified:
        return Scope.MACHINE
    return Scope.GLOBAL if address.is_global else Scope.PRIVATE


def parse_address(text: str, *, scheme: str = "ws") -> Address:
    """Parse an address; `host:port` takes `scheme`, and `#<node id>` may follow any.

    Raises:
        ValueError: says what is wrong with it.
    """
    url = text if "://" in text else f"{scheme}://{text}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{text!r} is not an address: {error}") from error
    if parts.scheme not in _DEFAULT_PORTS:
        raise ValueError(f"{text!r}: expected host:port, ws://… or wss://…, got {parts.scheme}://")
    if not parts.hostname or parts.username is not None or not text.isprintable() or " " in text:
        raise ValueError(f"{text!r} is not an address: expected host:port, ws://… or wss://…")
    url, _, node_id = url.partition("#")
    if "#" in text:
        try:
            msgspec.convert(node_id, NodeId)
        except msgspec.ValidationError as error:
            raise ValueError(f"{text!r}: expected a node id after #, got {node_id!r}") from error
    if port is None:
        if "://" not in text:
            raise ValueError(f"{text!r} has no port: expected host:port, such as {text}:50000")
        port = _DEFAULT_PORTS[parts.scheme]
    if port == 0:
        raise ValueError(f"{text!r}: port 0 cannot be dialled")
    return Address(text, url, parts.hostname, port, node_id or None)


def host_port(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listening_at(remote: str, listen_addr: str | None) -> str | None:
    """Where a peer that dialled can be dialled: its own host, with the port that it names.

    Args:
        remote: its end of the connection, `host:port`.
        listen_addr: what it says of where it listens; of that, only the port is believed.
    """
    if listen_addr is None:
        return None
    try:
        port = parse_address(listen_addr).port
    except ValueError:
        return None
    host = remote.rpartition(":")[0].strip("[]")
    return host_port(host, port) if host else None
