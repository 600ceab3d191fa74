"""What relays were asked for and have not answered: RELAY_BIND, paired by its nonce."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from thenodes_plugin_api import Reason, RelayBind, RelayBindAck
from thenodes_plugin_api.service import ServiceSession

from .agenda import Agenda

__all__ = ["Asks"]

_NONCES = 1 << 53


class Asks:
    """Asks, and waits for the answer, which counts from the asked session alone.

    Args:
        agenda: for deadlines.
        random: returns a number in [0, 1); the first nonce is made of it.
    """

    def __init__(self, agenda: Agenda, random: Callable[[], float]) -> None:
        self._agenda = agenda
        self._nonce = int(random() * _NONCES)
        self._open: dict[int, tuple[ServiceSession, asyncio.Future[RelayBindAck | None]]] = {}

    async def ask(
        self,
        session: ServiceSession,
        target: str,
        *,
        store: bool,
        qos: str,
        expires_at: int | None,
        card: bytes | None,
        timeout_seconds: float,
    ) -> RelayBindAck:
        """Ask for a binding.

        Args:
            session: with the relay.
            target: node id, or `"*"` for a mailbox.
            store: whether frames are to be kept for a target that is away.
            qos: of frames that name none.
            expires_at: Unix seconds.
            card: this node's, for the relay to hand out.
            timeout_seconds: how long to wait.

        Returns:
            The answer; where there is none, a refusal: `timeout`, `peer_left` where the session
            ended, `overload` where it has no room for the question.
        """
        self._nonce = (self._nonce + 1) % _NONCES
        nonce = self._nonce
        if not session.is_open:
            return RelayBindAck(ok=False, reason=Reason.PEER_LEFT, nonce=nonce)
        bind = RelayBind(target, store, qos, nonce, expires_at, card)
        if not session.send(bind):
            return RelayBindAck(ok=False, reason=Reason.OVERLOAD, nonce=nonce)
        answer: asyncio.Future[RelayBindAck | None] = asyncio.get_running_loop().create_future()
        self._open[nonce] = (session, answer)
        try:
            ack = await self._agenda.within(answer, timeout_seconds)
        finally:
            self._open.pop(nonce, None)
        return ack or RelayBindAck(ok=False, reason=Reason.TIMEOUT, nonce=nonce)

    def answered(self, session: ServiceSession, ack: RelayBindAck) -> bool:
        """A relay answered; returns whether it had been asked."""
        asked, answer = self._open.get(ack.nonce if ack.nonce is not None else -1, (None, None))
        if answer is None or asked is not session or answer.done():
            return False
        if not ack.ok and ack.reason is Reason.ALREADY_BOUND and ack.binding_id is not None:
            ack = RelayBindAck(
                True, None, ack.binding_id, ack.peer_present, ack.nonce, ack.limits, ack.target_card
            )
        answer.set_result(ack)
        return True

    def ended(self, session: ServiceSession) -> None:
        """A session ended: what was asked on it stays without an answer."""
        for asked, answer in self._open.values():
            if asked is session and not answer.done():
                answer.set_result(RelayBindAck(ok=False, reason=Reason.PEER_LEFT))
