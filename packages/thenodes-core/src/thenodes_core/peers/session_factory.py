"""Makes sessions of links, as this node presents itself on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from thenodes_plugin_api import Message

from ..address import Address
from ..clock import Clock
from ..limits import Limits
from ..protocol.codec import Codec
from ..protocol.handshake import Handshake, LocalNode, Role, Screen
from ..protocol.proof import Bindings, Channel, accepted_bindings, dialled_bindings
from ..session.session import Session
from ..session.takers import Takers
from ..session.tally import Tally, Traffic
from ..transport.base import Link
from .gate import Gate

__all__ = ["SessionFactory"]


class SessionFactory:
    """Makes a session of a link: with its codec, what the link proves, and a judge.

    Args:
        local: this node.
        codecs: by subprotocol.
        gate: who is admitted.
        takers: what every session asks.
        traffic: what all sessions carry.
        limits: the bounds of each session.
        clock: times them.
        random_bytes: makes nonces.

    Attributes:
        local: this node, as it presents itself from now on.
    """

    def __init__(
        self,
        local: LocalNode,
        codecs: Mapping[str, Codec],
        gate: Gate,
        takers: Takers,
        traffic: Traffic,
        *,
        limits: Limits,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.local = local
        self._codecs = codecs
        self._gate = gate
        self._takers = takers
        self._traffic = traffic
        self._limits = limits
        self._clock = clock
        self._random_bytes = random_bytes

    def make(
        self,
        link: Link,
        role: Role,
        *,
        screen: Screen | None,
        dialled: Address | None,
        expected_id: str | None,
    ) -> Session:
        """A session over a link, not yet established.

        Args:
            link: the connection.
            role: which side this is.
            screen: a check of the peer's HELLO of the caller's own.
            dialled: the operator's address that led there.
            expected_id: whom the address that was dialled names.
        """
        codec = self._codecs[link.subprotocol]
        handshake = Handshake(
            role,
            self.local,
            self._random_bytes(32),
            Channel(link.subprotocol, self._bindings(link, role)),
            # The reference names itself and the peer's address in HELLO's envelope.
            lambda body: codec.encode(Message(body, sender="TheNodes", to=link.remote)),
            judge=self._gate.judge(role, link.remote, dialled),
            screen=screen,
            expected_id=expected_id,
        )
        return Session(
            link,
            role,
            handshake,
            codec,
            limits=self._limits,
            clock=self._clock,
            takers=self._takers,
            tally=Tally(self._traffic),
        )

    def _bindings(self, link: Link, role: Role) -> Bindings:
        if role is Role.DIALER:
            return dialled_bindings(
                encrypted=link.encrypted,
                certificate_digest=link.certificate_digest,
                verified_host=link.verified_host,
            )
        return accepted_bindings(
            encrypted=link.encrypted,
            certificate_digests=self._gate.certificate_digests,
            public_hosts=self._gate.public_hosts,
        )
