"""Stays connected with an address: dials, waits, dials again, for ever."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from thenodes_plugin_api import Level, NetworkEvent, PeerInfo, PeerSource

from ..address import Address
from ..clock import Clock, timeout
from ..errors import DialError
from ..events.counters import Counters
from ..events.dispatcher import Dispatcher
from ..protocol.close import CloseCode
from ..protocol.handshake import Role
from ..transport.base import Link, Transport
from .backoff import Backoff
from .serving import Served
from .store import KnownPeers

__all__ = ["Attempt", "Dialer"]

# A session that lasted this long counts as success: the backoff begins again.
_STABLE_SECONDS = 5.0

# A peer that refuses for a reason that an operator has to mend is asked this seldom.
_REFUSED_SECONDS = 10.0
_FOR_OPERATORS = frozenset(
    {
        CloseCode.REALM,
        CloseCode.IDENTITY,
        CloseCode.NODE_TYPE,
        CloseCode.SELF,
        CloseCode.VERSION,
    }
)
# Endings before a session that are no failure.
_USUAL = frozenset({CloseCode.REPLACED, CloseCode.RESTARTING})


class Serve(Protocol):
    """Carries a session over a link to its end."""

    def __call__(
        self,
        link: Link,
        role: Role,
        established: Callable[[PeerInfo], None],
        *,
        dialled: Address,
        expected_id: str | None,
    ) -> Awaitable[Served]:
        """Returns what became of it."""
        ...


class Attempt(msgspec.Struct, frozen=True):
    """The last thing that happened with an address.

    Attributes:
        address: as the operator wrote it.
        state: `dialling`, `handshaking`, `connected`, `waiting`, `duplicate`, `self`,
            `failed` or `disconnected`.
        error: why there is no session, or empty.
        at: since when, in Unix seconds.
        node_id: who answered there last, or None.
    """

    address: str
    state: str
    error: str
    at: float
    node_id: str | None = None


class Dialer:
    """Keeps one address connected, until it is stopped.

    Args:
        address: where.
        transport: dials.
        serve: carries the session.
        gone: waits until a peer that is connected otherwise has gone.
        known: told of success and failure.
        events: told once of each new kind of failure.
        counters: counts attempts and failures.
        clock: times the waits.
        backoff: decides them.
        source: how the address is known. One that an operator has named by hand, `MANUAL`,
            is given up where the first attempt fails.
    """

    def __init__(
        self,
        address: Address,
        transport: Transport,
        serve: Serve,
        gone: Callable[[str], Awaitable[None]],
        known: KnownPeers,
        events: Dispatcher,
        counters: Counters,
        *,
        clock: Clock,
        backoff: Backoff,
        source: PeerSource = PeerSource.BOOTSTRAP,
    ) -> None:
        self.address = address
        self.source = source
        self._transport = transport
        self._serve = serve
        self._gone = gone
        self._known = known
        self._events = events
        self._counters = counters
        self._clock = clock
        self._backoff = backoff
        self._reported = ""
        self._woken = asyncio.Event()
        self._changed = asyncio.Event()
        self._link: Link | None = None
        self._is_stopped = False
        self._is_kept = source is not PeerSource.MANUAL
        self.attempt = Attempt(address.text, "dialling", "", clock.time())

    @property
    def is_kept(self) -> bool:
        """Whether it is dialled until that works; one that was named by hand is, once it did."""
        return self._is_kept

    async def run(self) -> None:
        """Keep the address connected.

        Returns where it is this node's own, was stopped, or is given up.
        """
        if self._is_kept:
            self._known.add(self.address.bare, self.source)
        while not self._is_stopped:
            self._note("dialling", self.attempt.error)
            self._counters.add("dials")
            try:
                link = await self._transport.dial(self.address.url)
            except DialError as error:
                self._fail(str(error))
                if not self._is_kept:
                    return
                await self._wait()
                continue
            if self._is_stopped:
                link.abort()
                return
            started = self._clock.monotonic()
            self._link = link
            self._note("handshaking", "")
            served = await self._serve(
                link,
                Role.DIALER,
                self._established,
                dialled=self.address,
                expected_id=self.address.node_id,
            )
            self._link = None
            if self._is_stopped:
                return
            if served.ending.code == CloseCode.SELF and not served.ending.by_peer:
                self._note("self", "this is the node's own address")
                return
            if served.peer and self._clock.monotonic() - started >= _STABLE_SECONDS:
                self._backoff.reset()
            await self._after(served)
            if not self._is_kept:
                return

    def stop(self) -> None:
        """Dial no more. A session that is established goes on until it is ended."""
        if self._link is not None and self.attempt.state == "handshaking":
            self._link.abort()
        self._is_stopped = True
        self._note("disconnected", "")
        self._woken.set()

    def retry(self) -> None:
        """Where it waits, dial now."""
        if self.attempt.state == "waiting":
            self.wake()
            self._note("dialling", self.attempt.error)

    async def wait_tried(self) -> Attempt:
        """Wait until the attempt that is going on has an outcome."""
        while self.attempt.state in ("dialling", "handshaking"):
            await self._changed.wait()
        return self.attempt

    def wake(self) -> None:
        """Do not wait now, or after this attempt: what it was refused for may have changed."""
        if self.attempt.state == "connected":
            return
        self._backoff.reset()
        self._woken.set()

    def _established(self, peer: PeerInfo) -> None:
        self._reported = ""
        self._is_kept = True
        self._known.add(self.address.bare, self.source)
        self._note("connected", "", peer.node_id)
        self._known.mark_success(
            self.address.bare, node_id=peer.node_id, capabilities=peer.capabilities
        )

    async def _after(self, served: Served) -> None:
        ending = served.ending
        at_least = ending.retry_after
        if ending.code in _FOR_OPERATORS:
            at_least = max(at_least or 0.0, _REFUSED_SECONDS)
        if ending.code == CloseCode.REPLACED and served.node_id is not None:
            self._is_kept = True
            self._note("duplicate", "", served.node_id)
            await self._gone(served.node_id)
        elif self._is_kept and (served.peer is not None or ending.code in _USUAL):
            self._note("waiting", str(ending))
        else:
            self._fail(f"{self.address}: {ending}")
        if self._is_kept and not self._is_stopped:
            await self._wait(at_least=at_least)

    async def _wait(self, *, at_least: float | None = None) -> None:
        with contextlib.suppress(TimeoutError):
            async with timeout(self._clock, self._backoff.next_seconds(at_least=at_least)):
                await self._woken.wait()
        self._woken.clear()

    def _fail(self, error: str) -> None:
        self._known.mark_failure(self.address.bare)
        self._counters.add("dial_failures")
        self._note("waiting" if self._is_kept else "failed", error)
        if not self._is_kept:
            # Whoever named it waits for the outcome, and is told.
            return
        if error == self._reported:
            return
        self._reported = error
        self._events.emit(
            NetworkEvent(
                action="dial_failed",
                detail=f"cannot connect to {error}; trying again until it works",
                addr=self.address.text,
                level=Level.WARNING,
                at=self._clock.time(),
            )
        )

    def _note(self, state: str, error: str, node_id: str | None = None) -> None:
        if self._is_stopped:
            state, error = "disconnected", ""
        node_id = node_id or self.attempt.node_id
        self.attempt = Attempt(self.address.text, state, error[:500], self._clock.time(), node_id)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
