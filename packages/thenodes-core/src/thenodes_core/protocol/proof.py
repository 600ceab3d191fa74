"""What a handshake's proofs are bound to and cover (design: wire.md, Handshake)."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from thenodes_plugin_api import Binding

from ..signatures import Purpose

__all__ = [
    "Bindings",
    "Channel",
    "Mode",
    "Role",
    "accepted_bindings",
    "dialled_bindings",
    "proof_content",
]

Bindings: TypeAlias = Mapping[str, frozenset[bytes]]
"""Modes, each with the values that are right for a connection."""

_encode = msgspec.msgpack.Encoder().encode


class Role(enum.Enum):
    """Which side of the connection this is."""

    ACCEPTOR = "acceptor"
    DIALER = "dialer"

    @property
    def purpose(self) -> Purpose:
        """What this side's proof is signed for."""
        return _PURPOSES[self]

    @property
    def other(self) -> Role:
        """The other side."""
        return Role.DIALER if self is Role.ACCEPTOR else Role.ACCEPTOR


_PURPOSES = {
    Role.ACCEPTOR: Purpose.HANDSHAKE_ACCEPTOR,
    Role.DIALER: Purpose.HANDSHAKE_DIALER,
}


class Mode(enum.StrEnum):
    """What protects a connection, and so what a proof on it is bound to.

    `PLAIN`: nothing, the value is empty. `TLS`: the value is the SHA-256 of the
    server's certificate (RFC 5929, tls-server-end-point). `PROXY`: TLS that a proxy
    ends; the value is the name by which it was dialled and verified.
    """

    PLAIN = "plain"
    TLS = "tls"
    PROXY = "proxy"


class Channel(msgspec.Struct, frozen=True):
    """What one side knows of the connection.

    Attributes:
        subprotocol: the encoding that was agreed on.
        bindings: an acceptor's one mode, with every value that it takes; or a dialling
            side's modes that are possible, each with the one value.
    """

    subprotocol: str
    bindings: Bindings

    @property
    def offer(self) -> Binding:
        """What an acceptor's HELLO says: the mode."""
        return Binding(next(iter(self.bindings)))

    def answer(self, offered: Binding | None) -> Binding | None:
        """What a dialling side's HELLO says to that offer; None where it cannot be met."""
        if offered is None or offered.mode not in self.bindings:
            return None
        return Binding(offered.mode, next(iter(self.bindings[offered.mode])))

    def takes(self, binding: Binding | None) -> bool:
        """Whether an acceptor takes what a dialling side's HELLO says."""
        return binding is not None and binding.value in self.bindings.get(binding.mode, ())


def dialled_bindings(
    *, encrypted: bool, certificate_digest: bytes | None = None, verified_host: str | None = None
) -> Bindings:
    """What the dialling side of a connection can be bound to.

    Args:
        encrypted: whether `wss://` was dialled.
        certificate_digest: SHA-256 of the certificate that the server showed.
        verified_host: the name that was dialled, where CAs vouch for that certificate.
    """
    if not encrypted:
        return {Mode.PLAIN: frozenset({b""})}
    bindings: dict[str, frozenset[bytes]] = {}
    if certificate_digest is not None:
        bindings[Mode.TLS] = frozenset({certificate_digest})
    if verified_host is not None:
        bindings[Mode.PROXY] = frozenset({verified_host.lower().encode()})
    return bindings


def accepted_bindings(
    *, encrypted: bool, certificate_digests: frozenset[bytes], public_hosts: tuple[str, ...]
) -> Bindings:
    """What the accepting side of a connection binds to: one mode.

    Args:
        encrypted: whether this node itself ends the connection's TLS.
        certificate_digests: SHA-256 of the certificates that it may have shown.
        public_hosts: the names by which a proxy in front of it is reached, if any.
    """
    if encrypted:
        return {Mode.TLS: certificate_digests}
    if public_hosts:
        return {Mode.PROXY: frozenset(name.encode() for name in public_hosts)}
    return {Mode.PLAIN: frozenset({b""})}


def proof_content(
    role: Role, subprotocol: str, binding: Binding, acceptor_hello: bytes, dialer_hello: bytes
) -> bytes:
    """What the proof of the side `role` signs.

    Args:
        role: whose proof it is.
        subprotocol: the encoding that was agreed on.
        binding: mode and value, as the dialling side's HELLO has them.
        acceptor_hello: the accepting side's HELLO, exactly as sent.
        dialer_hello: the dialling side's HELLO, exactly as sent.
    """
    hashes = (hashlib.sha256(hello).digest() for hello in (acceptor_hello, dialer_hello))
    return _encode([role.value, subprotocol, binding.mode, binding.value, *hashes])
