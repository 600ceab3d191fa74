"""The node's way to others: sends messages through relays, and asks relays for routes."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from thenodes_plugin_api import (
    Body,
    DeliveryClass,
    DeliveryMetadata,
    DeliveryOptions,
    DeliveryOutcome,
    DeliveryStatus,
    Message,
    NoRoute,
    OutboxFull,
    Payload,
    QoS,
    Reason,
    RelayBindAck,
    SendError,
    TheNodesError,
)

from ..plugins.containment import CONTAINED, raise_if_ours
from ..supervisor import Supervisor
from .sending import Letter, Post, Sending

__all__ = ["Direct", "Outbound"]

_PLAIN = DeliveryOptions()
_SENT = DeliveryOutcome(DeliveryStatus.SENT)
_ANSWER_SECONDS = 10.0
# Answers that wait for a route; more are refused, to whoever sends them.
_MOST_ANSWERS = 256


class Direct(Protocol):
    """The sessions with peers."""

    async def send_message(self, message: Message, *, timeout_seconds: float) -> None:
        """Queue a message for the connected peer that it names."""
        ...


class Outbound:
    """Sends where no session leads.

    Args:
        direct: the sessions.
        post: what messages are sent with.
        supervisor: runs what nobody waits for.
    """

    def __init__(self, direct: Direct, post: Post, supervisor: Supervisor) -> None:
        self._direct = direct
        self._post = post
        self._supervisor = supervisor
        self._answers = 0

    def begin(
        self,
        to: str,
        body: Body,
        payload: Payload | None = None,
        options: DeliveryOptions | None = None,
    ) -> DeliveryOutcome | Sending:
        """Send a message to a node with whom there is no session, if that takes no waiting.

        Returns:
            How far it came, or what sends it once somebody waits for it.

        Raises:
            NoRoute: there is no way.
            PayloadTooLarge: over a limit.
            PayloadError: the payload is not what its form says.
        """
        options = options or _PLAIN
        post, qos = self._post, options.qos
        try:
            route = post.carriers.used.ready(to, options)
            if route is None:
                return Sending(post, Letter(to, body, payload, options))
            wrapped = post.wrap(to, body, payload, options, route)
            message_id = wrapped.message_id
            if qos is QoS.RELIABLE or not route.offer(wrapped.frame, message_id, qos):
                return Sending(post, Letter(to, body, payload, options), route, wrapped)
        except NoRoute as error:
            post.counters.add("relayed_refused", reason=error.reason)
            raise
        except TheNodesError:
            raise
        except CONTAINED as error:
            # Broad, since carrier and route are a plugin's: their defects are not the caller's.
            raise_if_ours(error)
            raise post.carriers.failed(to, error) from error
        post.paths.sent(to, route.relay, post.clock.time())
        post.counters.add("relayed_sent")
        # From a number it is made in half the time that bytes take.
        known_as = UUID(int=int.from_bytes(message_id, "big"))
        return DeliveryOutcome(DeliveryStatus.SENT, route.relay, known_as)

    async def send(
        self,
        to: str,
        body: Body,
        payload: Payload | None = None,
        *,
        options: DeliveryOptions | None = None,
        timeout_seconds: float,
    ) -> DeliveryOutcome:
        """Send a message to a node with whom there is no session.

        Raises:
            NoRoute: there is no way.
            PayloadTooLarge: over a limit.
            PayloadError: the payload is not what its form says.
            OutboxFull: no room in time.
        """
        begun = self.begin(to, body, payload, options)
        return await begun.finish(timeout_seconds) if isinstance(begun, Sending) else begun

    async def send_confirmed(
        self,
        to: str,
        body: Body,
        payload: Payload | None,
        *,
        options: DeliveryOptions,
        timeout_seconds: float,
    ) -> DeliveryOutcome:
        """Send over the session with a node, and wait until its plugins had it.

        Raises:
            NotConnected: no session with that node.
            SendError: as `send`.
        """
        post = self._post
        deadline = post.clock.monotonic() + timeout_seconds
        message_id = post.envelopes.new_id(int(post.clock.time() * 1000))
        asked = DeliveryMetadata(UUID(bytes=message_id), DeliveryClass.RELIABLE)
        with post.confirmations.expect(to, message_id) as word:
            message = Message(body, payload, post.envelopes.node_id, to, asked)
            await self._direct.send_message(message, timeout_seconds=timeout_seconds)
            return await word.wait(_SENT, max(0.0, deadline - post.clock.monotonic()))

    async def forward(
        self,
        relay: str,
        to: str,
        body: Body,
        payload: Payload | None,
        *,
        sequence: int | None,
        options: DeliveryOptions,
        timeout_seconds: float,
    ) -> DeliveryOutcome:
        """Send a message through that relay; as `send`, but that no way is an outcome."""
        letter = Letter(to, body, payload, options, relay, sequence)
        try:
            return await Sending(self._post, letter).finish(timeout_seconds)
        except NoRoute as error:
            return DeliveryOutcome(
                DeliveryStatus.REFUSED, relay=relay, reason=error.reason, detail=str(error)
            )

    async def bind(
        self,
        relay: str,
        target: str,
        *,
        store_forward: bool,
        qos: QoS,
        ttl_seconds: float | None,
        timeout_seconds: float,
    ) -> RelayBindAck:
        """Ask a relay for a binding; see `Relay.bind`."""
        carriers = self._post.carriers
        try:
            return await carriers.used.bind(
                relay,
                target,
                store_forward=store_forward,
                qos=qos,
                ttl_seconds=ttl_seconds,
                timeout_seconds=timeout_seconds,
            )
        except CONTAINED as error:
            # Broad, since the carrier is a plugin's: its defects are not the caller's.
            raise_if_ours(error)
            carriers.told_of(error)
            return RelayBindAck(ok=False, reason=Reason.UNKNOWN)

    async def answer(self, to: str, body: Body, payload: Payload | None) -> None:
        """Send without waiting: where a route has to be opened, that is done in the background.

        Raises:
            NoRoute: there is no way.
            PayloadTooLarge: over a limit.
            PayloadError: the payload is not what its form says.
            OutboxFull: too much waits for routes.
        """
        begun = self.begin(to, body, payload)
        if not isinstance(begun, Sending):
            return
        if self._answers >= _MOST_ANSWERS:
            raise OutboxFull(f"{_MOST_ANSWERS} messages wait for a way through a relay already")
        self._answers += 1
        self._supervisor.spawn(lambda: self._answer(begun), f"a message to {to}")

    async def _answer(self, sending: Sending) -> None:
        try:
            await sending.finish(_ANSWER_SECONDS)
        except NoRoute:
            return  # It is counted.
        except SendError:
            self._post.counters.add("relayed_refused", reason=Reason.OVERLOAD)
        finally:
            self._answers -= 1
