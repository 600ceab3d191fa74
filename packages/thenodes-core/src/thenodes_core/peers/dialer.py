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
from .manager import Served
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
        state: `dialling`, `handshaking`, `connected`, `waiting`, `duplicate` or `self`.
        error: why there is no session, or empty.
        at: since when, in Unix seconds.
    """

    address: str
    state: str
    error: str
    at: float


class Dialer:
    """Keeps one address connected.

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
    ) -> None:
        self._address = address
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
        self.attempt = Attempt(address.text, "dialling", "", clock.time())

    async def run(self) -> None:
        """Keep the address connected; returns only where it is this node's own."""
        self._known.add(self._address.bare, PeerSource.BOOTSTRAP)
        while True:
            self._note("dialling", self.attempt.error)
            self._counters.add("dials")
            try:
                link = await self._transport.dial(self._address.url)
            except DialError as error:
                self._fail(str(error))
                await self._wait()
                continue
            started = self._clock.monotonic()
            self._note("handshaking", "")
            served = await self._serve(
                link,
                Role.DIALER,
                self._established,
                dialled=self._address,
                expected_id=self._address.node_id,
            )
            if served.ending.code == CloseCode.SELF and not served.ending.by_peer:
                self._note("self", "this is the node's own address")
                return
            if served.peer and self._clock.monotonic() - started >= _STABLE_SECONDS:
                self._backoff.reset()
            await self._after(served)

    def wake(self) -> None:
        """Do not wait now, or after this attempt: what it was refused for may have changed."""
        if self.attempt.state == "connected":
            return
        self._backoff.reset()
        self._woken.set()

    def _established(self, peer: PeerInfo) -> None:
        self._reported = ""
        self._note("connected", "")
        self._known.mark_success(
            self._address.bare, node_id=peer.node_id, capabilities=peer.capabilities
        )

    async def _after(self, served: Served) -> None:
        ending, peer = served.ending, served.peer
        if peer is not None:
            self._note("waiting", str(ending))
        elif ending.code not in (CloseCode.REPLACED, CloseCode.RESTARTING):
            self._fail(f"{self._address}: {ending}")
        else:
            self._note("waiting", str(ending))
        at_least = ending.retry_after
        if ending.code in _FOR_OPERATORS:
            at_least = max(at_least or 0.0, _REFUSED_SECONDS)
        if ending.code == CloseCode.REPLACED and served.node_id is not None:
            self._note("duplicate", "")
            await self._gone(served.node_id)
        await self._wait(at_least=at_least)

    async def _wait(self, *, at_least: float | None = None) -> None:
        with contextlib.suppress(TimeoutError):
            async with timeout(self._clock, self._backoff.next_seconds(at_least=at_least)):
                await self._woken.wait()
        self._woken.clear()

    def _fail(self, error: str) -> None:
        self._known.mark_failure(self._address.bare)
        self._counters.add("dial_failures")
        self._note("waiting", error)
        if error == self._reported:
            return
        self._reported = error
        self._events.emit(
            NetworkEvent(
                action="dial_failed",
                detail=f"cannot connect to {error}; trying again until it works",
                addr=self._address.text,
                level=Level.WARNING,
                at=self._clock.time(),
            )
        )

    def _note(self, state: str, error: str) -> None:
        self.attempt = Attempt(self._address.text, state, error[:500], self._clock.time())
