"""Sends messages through relays, and asks relays for routes, through a service's carrier."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol
from uuid import UUID

import msgspec

from thenodes_plugin_api import (
    Body,
    Carrier,
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
    Route,
    SendError,
)

from ..clock import Clock
from ..events.counters import Counters
from ..plugins.ground import Undo
from ..supervisor import Supervisor
from .confirmations import Confirmations
from .envelope import Envelopes, Wrapped, check_size

__all__ = ["Direct", "Outbound"]

_PLAIN = DeliveryOptions()
_SENT = DeliveryOutcome(DeliveryStatus.SENT)
_ANSWER_SECONDS = 10.0
# Answers that wait for a route; more are refused, to whoever sends them.
_MOST_ANSWERS = 256

_log = logging.getLogger("thenodes.node")


class Direct(Protocol):
    """The sessions with peers."""

    async def send_message(self, message: Message, *, timeout_seconds: float) -> None:
        """Queue a message for the connected peer that it names."""
        ...


class _Letter(msgspec.Struct, frozen=True):
    """What is to be sent, and how."""

    to: str
    body: Body
    payload: Payload | None
    options: DeliveryOptions
    relay: str | None = None
    sequence: int | None = None


class Outbound:
    """The node's way through relays.

    Args:
        direct: the sessions.
        envelopes: wrap what is sent.
        confirmations: wait for the receivers' word.
        supervisor: runs what nobody waits for.
        counters: counts what is sent, and what is refused by reason.
        clock: dates and times it.
    """

    def __init__(
        self,
        direct: Direct,
        envelopes: Envelopes,
        confirmations: Confirmations,
        supervisor: Supervisor,
        counters: Counters,
        clock: Clock,
    ) -> None:
        self._node_id = envelopes.node_id
        self._direct = direct
        self._envelopes = envelopes
        self._confirmations = confirmations
        self._supervisor = supervisor
        self._counters = counters
        self._clock = clock
        self._carrier: Carrier | None = None
        self._fault: Callable[[str, BaseException], None] = _log_fault
        self._answers = 0

    def use(self, carrier: Carrier, fault: Callable[[str, BaseException], None]) -> Undo:
        """Send through this carrier from now on; returns what takes it back.

        Args:
            carrier: a service's.
            fault: told of what it raises that it should not.

        Raises:
            ValueError: another is used.
        """
        if self._carrier is not None:
            raise ValueError("another service carries this node's messages already")
        self._carrier, self._fault = carrier, fault

        def drop() -> None:
            if self._carrier is carrier:
                self._carrier, self._fault = None, _log_fault

        return drop

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
        letter = _Letter(to, body, payload, options or _PLAIN)
        try:
            return await self._send(letter, timeout_seconds)
        except NoRoute as error:
            self._counters.add("relayed_refused", reason=error.reason)
            raise

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
        deadline = self._clock.monotonic() + timeout_seconds
        message_id = self._envelopes.new_id(int(self._clock.time() * 1000))
        asked = DeliveryMetadata(UUID(bytes=message_id), DeliveryClass.RELIABLE)
        with self._confirmations.expect(to, message_id) as word:
            message = Message(body, payload, self._node_id, to, asked)
            await self._direct.send_message(message, timeout_seconds=timeout_seconds)
            return await word.wait(_SENT, max(0.0, deadline - self._clock.monotonic()))

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
        letter = _Letter(to, body, payload, options, relay, sequence)
        try:
            return await self._send(letter, timeout_seconds)
        except NoRoute as error:
            self._counters.add("relayed_refused", reason=error.reason)
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
        carrier = self._carrier
        if carrier is None:
            return RelayBindAck(ok=False, reason=Reason.CAPABILITY_MISSING)
        try:
            return await carrier.bind(
                relay,
                target,
                store_forward=store_forward,
                qos=qos,
                ttl_seconds=ttl_seconds,
                timeout_seconds=timeout_seconds,
            )
        except Exception as error:
            # The carrier is a plugin's: what it raises is not its caller's.
            self._fault("its carrier", error)
            return RelayBindAck(ok=False, reason=Reason.UNKNOWN)

    async def answer(self, to: str, body: Body, payload: Payload | None) -> None:
        """Send without waiting: where a route has to be opened, that is done in the background.

        Raises:
            NoRoute: this node uses no relays.
            PayloadTooLarge: over a limit.
            OutboxFull: too much waits for routes.
        """
        letter = _Letter(to, body, payload, _PLAIN)
        if (ready := self._prepare(letter)) and self._offer(letter, *ready):
            return
        if self._answers >= _MOST_ANSWERS:
            raise OutboxFull(f"{_MOST_ANSWERS} messages wait for a way through a relay already")
        self._answers += 1
        self._supervisor.spawn(lambda: self._answer(letter), f"a message to {to}")

    async def _answer(self, letter: _Letter) -> None:
        try:
            await self._send(letter, _ANSWER_SECONDS)
        except NoRoute as error:
            self._counters.add("relayed_refused", reason=error.reason)
        except SendError:
            self._counters.add("relayed_refused", reason=Reason.OVERLOAD)
        finally:
            self._answers -= 1

    async def _send(self, letter: _Letter, timeout_seconds: float) -> DeliveryOutcome:
        ready = self._prepare(letter)
        if ready is not None:
            sent = self._offer(letter, *ready)
            if sent is not None:
                return sent
        deadline = self._clock.monotonic() + timeout_seconds
        if ready is None:
            route = await self._open(letter, deadline)
            ready = route, self._wrap(letter, route)
        if not letter.options.confirm:
            return await self._send_on(letter, *ready, deadline)
        with self._confirmations.expect(letter.to, ready[1].message_id) as word:
            outcome = await self._send_on(letter, *ready, deadline)
            if not outcome.ok:
                return outcome
            return await word.wait(outcome, max(0.0, deadline - self._clock.monotonic()))

    def _prepare(self, letter: _Letter) -> tuple[Route, Wrapped] | None:
        """The frame of a letter and the route for it, where one is open."""
        carrier = self._used(letter)
        if letter.relay is not None:
            return None
        try:
            route = carrier.ready(letter.to, letter.options)
        except Exception as error:
            raise self._failed(letter, error) from error
        return None if route is None else (route, self._wrap(letter, route))

    def _offer(self, letter: _Letter, route: Route, wrapped: Wrapped) -> DeliveryOutcome | None:
        """Send what is not reliable, if that takes no waiting; None where it would."""
        qos = letter.options.qos
        if qos is QoS.RELIABLE:
            return None
        try:
            if not route.offer(wrapped.frame, wrapped.message_id, qos):
                return None
        except Exception as error:
            raise self._failed(letter, error) from error
        self._counters.add("relayed_sent")
        return DeliveryOutcome(
            DeliveryStatus.SENT, relay=route.relay, message_id=UUID(bytes=wrapped.message_id)
        )

    async def _send_on(
        self, letter: _Letter, route: Route, wrapped: Wrapped, deadline: float
    ) -> DeliveryOutcome:
        """Send a frame; once more where the session with its relay ended meanwhile."""
        outcome = await self._send_once(letter, route, wrapped, deadline)
        left = deadline - self._clock.monotonic()
        if outcome.reason is Reason.PEER_LEFT and letter.relay is None and left > 0:
            route = await self._open(letter, deadline)
            outcome = await self._send_once(letter, route, wrapped, deadline)
        if outcome.ok:
            self._counters.add("relayed_sent")
        else:
            self._counters.add("relayed_refused", reason=outcome.reason or Reason.UNKNOWN)
        return outcome

    async def _send_once(
        self, letter: _Letter, route: Route, wrapped: Wrapped, deadline: float
    ) -> DeliveryOutcome:
        check_size(wrapped.frame, route.frame_bytes, route.relay)
        try:
            return await route.send(
                wrapped.frame,
                wrapped.message_id,
                letter.options.qos,
                timeout_seconds=max(0.0, deadline - self._clock.monotonic()),
            )
        except SendError:
            raise
        except Exception as error:
            raise self._failed(letter, error) from error

    async def _open(self, letter: _Letter, deadline: float) -> Route:
        try:
            return await self._used(letter).open(
                letter.to,
                letter.options,
                relay=letter.relay,
                timeout_seconds=max(0.0, deadline - self._clock.monotonic()),
            )
        except NoRoute:
            raise
        except Exception as error:
            raise self._failed(letter, error) from error

    def _used(self, letter: _Letter) -> Carrier:
        if self._carrier is None:
            raise NoRoute(
                Reason.CAPABILITY_MISSING,
                f"no session with {letter.to}, and no way through a relay: this node uses none; "
                "[network.relay] use names some",
            )
        return self._carrier

    def _wrap(self, letter: _Letter, route: Route) -> Wrapped:
        options = letter.options
        seconds = route.ttl_seconds
        if options.ttl_seconds is not None:
            seconds = min(seconds, options.ttl_seconds)
        wrapped = self._envelopes.wrap(
            letter.to,
            letter.body,
            letter.payload,
            options.qos,
            now_ms=int(self._clock.time() * 1000),
            life_ms=max(1, int(seconds * 1000)),
            confirm=options.confirm,
            sequence=letter.sequence,
        )
        check_size(wrapped.frame, route.frame_bytes, route.relay)
        return wrapped

    def _failed(self, letter: _Letter, error: Exception) -> NoRoute:
        """The error for whoever sends, where the carrier has a defect."""
        self._fault("its carrier", error)
        return NoRoute(
            Reason.UNKNOWN, f"no way to {letter.to}: the service that carries messages failed"
        )


def _log_fault(where: str, error: BaseException) -> None:
    _log.error("%s raised", where, exc_info=error)
