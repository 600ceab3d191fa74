"""One message on its way to a relay: opens the route, sends, and waits for what is asked."""

from __future__ import annotations

import msgspec

from thenodes_plugin_api import (
    Body,
    DeliveryOptions,
    DeliveryOutcome,
    DeliveryStatus,
    NoRoute,
    Payload,
    Reason,
    Route,
    TheNodesError,
)
from thenodes_plugin_api.delivery import MOST_TTL_SECONDS

from ..clock import Clock
from ..events.counters import Counters
from ..plugins.containment import CONTAINED, raise_if_ours
from .carriers import Carriers
from .confirmations import Confirmations
from .envelope import Envelopes, Wrapped, check_size
from .paths import Paths

__all__ = ["Letter", "Post", "Sending"]


class Letter(msgspec.Struct, frozen=True):
    """What is to be sent, and how.

    Attributes:
        to: whom it is for.
        body: its kind.
        payload: its data.
        options: what is asked of delivery.
        relay: through which relay alone, or None.
        sequence: a number for it.
    """

    to: str
    body: Body
    payload: Payload | None
    options: DeliveryOptions
    relay: str | None = None
    sequence: int | None = None


class Post(msgspec.Struct, frozen=True):
    """What every message is sent with."""

    carriers: Carriers
    envelopes: Envelopes
    confirmations: Confirmations
    counters: Counters
    clock: Clock
    paths: Paths = msgspec.field(default_factory=Paths)

    def wrap(
        self,
        to: str,
        body: Body,
        payload: Payload | None,
        options: DeliveryOptions,
        route: Route,
        sequence: int | None = None,
    ) -> Wrapped:
        """Wrap a message for a route.

        Raises:
            NoRoute: nothing can be sealed for its receiver.
            PayloadTooLarge: over a limit.
            PayloadError: the payload is not what its form says.
        """
        # The relay grants that, and may say anything; no receiver takes what lives for longer.
        seconds = min(route.ttl_seconds, MOST_TTL_SECONDS)
        if options.ttl_seconds is not None:
            seconds = min(seconds, options.ttl_seconds)
        wrapped = self.envelopes.wrap(
            to,
            body,
            payload,
            options.qos,
            now_ms=int(self.clock.time() * 1000),
            life_ms=max(1, int(seconds * 1000)),
            confirm=options.confirm,
            sequence=sequence,
        )
        check_size(wrapped.frame, route.frame_bytes, route.relay)
        return wrapped


class Sending:
    """A message that could not be sent at once.

    Args:
        post: what it is sent with.
        letter: the message.
        route: where it goes, if that is open.
        wrapped: its frame, if there is a route.
    """

    def __init__(
        self,
        post: Post,
        letter: Letter,
        route: Route | None = None,
        wrapped: Wrapped | None = None,
    ) -> None:
        self._post = post
        self._letter = letter
        self._route = route
        self._wrapped = wrapped
        self._deadline = 0.0

    async def finish(self, timeout_seconds: float) -> DeliveryOutcome:
        """Send it.

        Raises:
            NoRoute: there is no way.
            PayloadTooLarge: over a limit.
            PayloadError: the payload is not what its form says.
            OutboxFull: no room in time.
        """
        self._deadline = self._post.clock.monotonic() + timeout_seconds
        letter = self._letter
        try:
            return await self._finish()
        except NoRoute as error:
            self._post.counters.add("relayed_refused", reason=error.reason)
            raise
        except TheNodesError:
            raise
        except CONTAINED as error:
            # Broad, since carrier and route are a plugin's: their defects are not the caller's.
            raise_if_ours(error)
            raise self._post.carriers.failed(letter.to, error) from error

    async def _finish(self) -> DeliveryOutcome:
        letter, post = self._letter, self._post
        route, wrapped = self._route, self._wrapped
        if route is None or wrapped is None:
            route = await self._open()
            wrapped = post.wrap(
                letter.to, letter.body, letter.payload, letter.options, route, letter.sequence
            )
        if not letter.options.confirm:
            return await self._send(route, wrapped)
        with post.confirmations.expect(letter.to, wrapped.message_id) as word:
            outcome = await self._send(route, wrapped)
            outcome = await word.wait(outcome, self._left) if outcome.ok else outcome
            if outcome.status is DeliveryStatus.DELIVERED:
                post.paths.sent(letter.to, route.relay, post.clock.time())
            return outcome

    async def _send(self, route: Route, wrapped: Wrapped) -> DeliveryOutcome:
        """Send the frame; once more where the session with the relay ended meanwhile."""
        outcome = await self._send_once(route, wrapped)
        if outcome.reason is Reason.PEER_LEFT and self._letter.relay is None and self._left > 0:
            route = await self._open()
            check_size(wrapped.frame, route.frame_bytes, route.relay)
            outcome = await self._send_once(route, wrapped)
        if outcome.ok:
            self._note_path(route.relay, outcome)
            self._post.counters.add("relayed_sent")
        else:
            self._post.counters.add("relayed_refused", reason=outcome.reason or Reason.UNKNOWN)
        return outcome

    def _note_path(self, relay: str, outcome: DeliveryOutcome) -> None:
        is_stored = outcome.status is DeliveryStatus.STORED
        post = self._post
        post.paths.sent(self._letter.to, relay, post.clock.time(), is_stored=is_stored)

    async def _send_once(self, route: Route, wrapped: Wrapped) -> DeliveryOutcome:
        qos = self._letter.options.qos
        frame, message_id = wrapped.frame, wrapped.message_id
        return await route.send(frame, message_id, qos, timeout_seconds=self._left)

    async def _open(self) -> Route:
        letter = self._letter
        return await self._post.carriers.used.open(
            letter.to, letter.options, relay=letter.relay, timeout_seconds=self._left
        )

    @property
    def _left(self) -> float:
        return max(0.0, self._deadline - self._post.clock.monotonic())
