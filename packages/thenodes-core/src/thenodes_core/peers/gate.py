"""Who is admitted, as the sessions ask for it."""

from __future__ import annotations

from typing import Protocol

from ..address import Address
from ..protocol.handshake import ANYBODY, Judge, Role

__all__ = ["Gate", "OpenGate"]


class Gate(Protocol):
    """Decides who is admitted, and knows what this node's side of a connection proves."""

    def judge(self, role: Role, remote: str, dialled: Address | None) -> Judge:
        """The judge of one session.

        Args:
            role: which side this is.
            remote: the other end of the connection.
            dialled: the address of the operator's that led there.
        """
        ...

    @property
    def certificate_digests(self) -> frozenset[bytes]:
        """SHA-256 of the certificates that this node's TLS may have shown to a peer."""
        ...

    @property
    def public_hosts(self) -> tuple[str, ...]:
        """Names by which a proxy in front of this node is reached."""
        ...


class OpenGate:
    """Admits everybody, and proves nothing."""

    certificate_digests: frozenset[bytes] = frozenset()
    public_hosts: tuple[str, ...] = ()

    def judge(self, role: Role, remote: str, dialled: Address | None) -> Judge:
        """The judge who admits everybody."""
        return ANYBODY
