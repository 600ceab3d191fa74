"""Addresses that are kept connected: those of the configuration, and those named by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

import pytest

from thenodes_core.address import Address, parse_address
from thenodes_core.clock import ManualClock, settle
from thenodes_core.errors import DialError
from thenodes_core.events.counters import Counters
from thenodes_core.events.dispatcher import Dispatcher
from thenodes_core.peers.backoff import Backoff
from thenodes_core.peers.dialer import Dialer
from thenodes_core.peers.dialling import Dialling
from thenodes_core.peers.manager import Served
from thenodes_core.peers.store import KnownPeers
from thenodes_core.protocol.close import CloseCode, Ending
from thenodes_core.protocol.handshake import Role
from thenodes_core.transport.base import Link, Listener
from thenodes_plugin_api import Direction, Disconnect, Event, PeerInfo, PeerSource

A, B = "127.0.0.1:40000", "127.0.0.1:40001"
SECONDS = 5.0


def peer(node_id: str) -> PeerInfo:
    return PeerInfo(node_id=node_id, address=A, direction=Direction.OUTBOUND, connected_at=0.0)


class _Line:
    """A link that nothing goes over."""

    aborted = False

    def abort(self) -> None:
        self.aborted = True


class Bench:
    """Dialling, where peers answer as the test says: by address, who, or how it ends."""

    def __init__(self, dispatcher: Dispatcher, clock: ManualClock) -> None:
        self.clock = clock
        self.known = KnownPeers(clock)
        self.answers: dict[str, str | Ending | None] = {}
        self.dialled: list[str] = []
        self.tasks: list[asyncio.Task[object]] = []
        self.lines: list[_Line] = []
        self.ended = asyncio.Event()
        self.reachable = asyncio.Event()
        self.reachable.set()
        self._dispatcher = dispatcher
        self.dials = Dialling(parse_address, self._make, self._spawn, clock)

    def states(self) -> list[tuple[str, str]]:
        return [(dialer.attempt.address, dialer.attempt.state) for dialer in self.dials]

    async def listen(self, host: str, port: int, accept: object, report: object) -> Listener:
        raise NotImplementedError

    async def dial(self, address: str) -> Link:
        self.dialled.append(address.removeprefix("ws://"))
        if self.dialled[-1] not in self.answers:
            raise DialError(f"{address}: connection refused")
        await self.reachable.wait()
        self.lines.append(_Line())
        return cast("Link", self.lines[-1])

    async def _serve(
        self,
        link: Link,
        role: Role,
        established: Callable[[PeerInfo], None],
        *,
        dialled: Address,
        expected_id: str | None,
    ) -> Served:
        answer = self.answers[dialled.bare]
        if answer is None:
            await asyncio.get_running_loop().create_future()
        if isinstance(answer, Ending):
            return Served(answer, "b")
        assert isinstance(answer, str)
        established(peer(answer))
        await self.ended.wait()
        return Served(Ending.here(CloseCode.NORMAL, "ended"), answer, peer(answer))

    async def _gone(self, node_id: str) -> None:
        await self.ended.wait()

    def _make(self, address: Address, source: PeerSource) -> Dialer:
        return Dialer(
            address,
            self,
            self._serve,
            self._gone,
            self.known,
            self._dispatcher,
            Counters(),
            clock=self.clock,
            backoff=Backoff(lambda: 1.0),
            source=source,
        )

    def _spawn(self, work: Callable[[], Awaitable[object]], name: str) -> None:
        self.tasks.append(asyncio.ensure_future(work()))


@pytest.fixture
async def bench(dispatcher: Dispatcher, clock: ManualClock) -> AsyncIterator[Bench]:
    bench = Bench(dispatcher, clock)
    yield bench
    for task in bench.tasks:
        task.cancel()
    await asyncio.gather(*bench.tasks, return_exceptions=True)


async def test_an_address_that_is_named_by_hand_is_kept_once_it_worked(bench: Bench) -> None:
    bench.answers[A] = "b"

    attempt = await bench.dials.connect(A, seconds=SECONDS)
    assert (attempt.state, attempt.node_id) == ("connected", "b")
    bench.ended.set()
    await settle()
    await bench.clock.advance(60.0)

    assert bench.dialled.count(A) > 1
    record = bench.known.get(A)
    assert record is not None
    assert (record.source, record.node_id) == (PeerSource.MANUAL, "b")


async def test_an_address_that_does_not_answer_is_told_and_not_tried_again(
    bench: Bench, events: list[Event]
) -> None:
    attempt = await bench.dials.connect(A, seconds=SECONDS)
    await bench.clock.advance(600.0)

    assert (attempt.state, attempt.error) == ("failed", f"ws://{A}: connection refused")
    assert (bench.states(), bench.dialled, bench.known.get(A)) == ([], [A], None)
    assert events == []


async def test_a_peer_that_refuses_is_told_with_its_reason(bench: Bench) -> None:
    bench.answers[A] = Ending.there(CloseCode.REALM, "realm", Disconnect(detail="another realm"))

    attempt = await bench.dials.connect(A, seconds=SECONDS)

    assert attempt.state == "failed"
    assert "another realm" in attempt.error
    assert bench.states() == []


async def test_nobody_waits_longer_than_was_said(bench: Bench) -> None:
    bench.answers[A] = None
    connecting = asyncio.ensure_future(bench.dials.connect(A, seconds=SECONDS))
    await bench.clock.advance(SECONDS)

    attempt = await connecting

    assert attempt.error == f"{A}: no answer within 5 s"
    assert bench.states() == []


async def test_a_connection_that_comes_too_late_is_cut(bench: Bench) -> None:
    bench.answers[A] = "b"
    bench.reachable.clear()
    connecting = asyncio.ensure_future(bench.dials.connect(A, seconds=SECONDS))
    await bench.clock.advance(SECONDS)
    await connecting

    bench.reachable.set()
    await settle()

    assert [line.aborted for line in bench.lines] == [True]
    assert all(task.done() for task in bench.tasks)


async def test_a_handshake_that_nobody_waits_for_any_more_is_cut(bench: Bench) -> None:
    bench.answers[A] = None
    connecting = asyncio.ensure_future(bench.dials.connect(A, seconds=SECONDS))
    await bench.clock.advance(SECONDS)
    await connecting

    assert [line.aborted for line in bench.lines] == [True]


async def test_a_session_goes_on_where_its_address_is_dialled_no_more(bench: Bench) -> None:
    bench.answers[A] = "b"
    bench.dials.keep(A)
    await settle()

    bench.dials.configure([])
    await settle()

    assert [line.aborted for line in bench.lines] == [False]


async def test_an_address_of_a_peer_that_is_connected_already_is_kept(bench: Bench) -> None:
    bench.answers[A] = Ending.here(CloseCode.REPLACED, "another stays")

    attempt = await bench.dials.connect(A, seconds=SECONDS)

    assert (attempt.state, attempt.node_id) == ("duplicate", "b")
    assert bench.states() == [(A, "duplicate")]


async def test_an_address_of_the_configuration_that_waits_is_dialled_at_once(
    bench: Bench,
) -> None:
    bench.dials.keep(A)
    await settle()
    assert bench.states() == [(A, "waiting")]
    bench.answers[A] = "b"

    attempt = await bench.dials.connect(f"ws://{A}", seconds=SECONDS)

    assert (attempt.state, bench.states()) == ("connected", [(A, "connected")])


async def test_an_address_that_worked_is_kept_though_it_is_named_again_in_vain(
    bench: Bench,
) -> None:
    bench.answers[A] = "b"
    await bench.dials.connect(A, seconds=SECONDS)
    del bench.answers[A]
    bench.ended.set()
    await settle()

    attempt = await bench.dials.connect(A, seconds=SECONDS)

    assert (attempt.state, attempt.error) == ("waiting", f"ws://{A}: connection refused")
    bench.answers[A] = "b"
    bench.ended.clear()
    await bench.clock.advance(60.0)
    assert bench.states() == [(A, "connected")]


async def test_an_address_whose_failure_nobody_waited_for_is_dialled_anew(bench: Bench) -> None:
    given_up = asyncio.ensure_future(bench.dials.connect(A, seconds=SECONDS))
    await asyncio.sleep(0)
    given_up.cancel()
    await settle()
    bench.answers[A] = "b"

    assert (await bench.dials.connect(A, seconds=SECONDS)).state == "connected"


async def test_a_peer_that_is_released_is_dialled_no_more_at_any_address(bench: Bench) -> None:
    bench.answers |= {A: "b", B: "b"}
    bench.dials.keep(A)
    await settle()
    await bench.dials.connect(B, seconds=SECONDS)

    assert bench.dials.release("b") == [A, B]
    bench.ended.set()
    await bench.clock.advance(600.0)

    assert (bench.states(), bench.dialled) == ([(A, "disconnected")], [A, B])
    assert bench.dials.is_held_off("b")
    assert all(task.done() for task in bench.tasks)


async def test_a_released_address_of_the_configuration_is_kept_again_once_it_is_named(
    bench: Bench,
) -> None:
    bench.answers[A] = "b"
    bench.dials.keep(A)
    await settle()
    bench.dials.release("b")
    bench.ended.set()
    await settle()
    bench.ended.clear()

    attempt = await bench.dials.connect(A, seconds=SECONDS)

    assert (attempt.state, bench.states()) == ("connected", [(A, "connected")])
    assert not bench.dials.is_held_off("b")


async def test_what_is_no_address_is_refused(bench: Bench) -> None:
    with pytest.raises(ValueError, match="has no port"):
        await bench.dials.connect("kitchen", seconds=SECONDS)


async def test_another_configuration_has_new_addresses_dialled_and_old_ones_no_more(
    bench: Bench,
) -> None:
    bench.answers[A] = bench.answers[B] = "b"
    bench.dials.keep(A)
    await settle()

    bench.dials.configure([B])
    await settle()

    assert bench.states() == [(B, "connected")]
    dialled = len(bench.dialled)
    bench.ended.set()
    await bench.clock.advance(60.0)
    assert A not in bench.dialled[dialled:]
    assert B in bench.dialled[dialled:]


async def test_an_address_that_stays_in_the_configuration_keeps_its_session(bench: Bench) -> None:
    bench.answers[A] = "b"
    bench.dials.keep(A)
    await settle()

    bench.dials.configure([A, B])
    await settle()

    assert bench.dialled.count(A) == 1
    assert bench.states()[0] == (A, "connected")


async def test_what_was_named_by_hand_is_kept_whatever_the_configuration_says(
    bench: Bench,
) -> None:
    bench.answers[A] = "b"
    await bench.dials.connect(A, seconds=SECONDS)

    bench.dials.configure([])

    assert bench.states() == [(A, "connected")]


async def test_a_configuration_with_what_is_no_address_changes_nothing(bench: Bench) -> None:
    bench.dials.keep(A)

    with pytest.raises(ValueError, match="nowhere"):
        bench.dials.configure([B, "nowhere"])

    assert [address for address, _ in bench.states()] == [A]
