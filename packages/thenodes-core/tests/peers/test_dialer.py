"""The dialer: for ever, with waits, and silent while another session lives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from thenodes_core.address import Address, parse_address
from thenodes_core.clock import ManualClock, settle
from thenodes_core.events.counters import Counters
from thenodes_core.events.dispatcher import Dispatcher
from thenodes_core.peers.backoff import Backoff
from thenodes_core.peers.dialer import Dialer
from thenodes_core.peers.manager import Served
from thenodes_core.peers.store import KnownPeers
from thenodes_core.protocol.close import CloseCode, Ending
from thenodes_core.protocol.handshake import Role
from thenodes_core.transport.base import Link, Listener
from thenodes_core.transport.memory import MemoryNetwork
from thenodes_plugin_api import Direction, Event, NetworkEvent, PeerInfo, PeerSource

ADDRESS = "127.0.0.1:40000"
BASE_SECONDS = 1.0
CAP_SECONDS = 8.0


def ended(code: CloseCode, *, retry_after: float | None = None) -> Served:
    """A link that ended before a session was established."""
    return Served(Ending.here(code, "why", retry_after=retry_after), "b")


def session(code: CloseCode, *, retry_after: float | None = None) -> Served:
    """A session that was established and then ended."""
    peer = PeerInfo(
        node_id="b",
        address=ADDRESS,
        direction=Direction.OUTBOUND,
        connected_at=0.0,
        capabilities=("c/1",),
    )
    return Served(Ending.here(code, "why", retry_after=retry_after), "b", peer)


class Bench:
    """A dialer whose surroundings are in the test's hands."""

    def __init__(self, address: str = ADDRESS) -> None:
        self.clock = ManualClock()
        self.network = MemoryNetwork(clock=self.clock)
        self.counters = Counters()
        self.known = KnownPeers(self.clock)
        self.events: list[Event] = []
        self.outcomes: list[tuple[float, Served]] = []
        self.dialled_at: list[float] = []
        self.serves: list[tuple[Address, str | None]] = []
        self.waits_for: list[str] = []
        self.gone = asyncio.Event()
        self.dispatcher = Dispatcher(self.counters)
        self.dialer = Dialer(
            parse_address(address),
            self,
            self._serve,
            self._wait_gone,
            self.known,
            self.dispatcher,
            self.counters,
            clock=self.clock,
            backoff=Backoff(lambda: 1.0, base_seconds=BASE_SECONDS, cap_seconds=CAP_SECONDS),
        )
        self.task: asyncio.Task[None] | None = None

    async def listen(self, host: str, port: int, accept: object, report: object) -> Listener:
        raise NotImplementedError

    async def dial(self, address: str) -> Link:
        self.dialled_at.append(self.clock.monotonic())
        return await self.network.dial(address)

    async def _serve(
        self,
        link: Link,
        role: Role,
        established: Callable[[PeerInfo], None],
        *,
        dialled: Address,
        expected_id: str | None,
    ) -> Served:
        assert role is Role.DIALER
        self.serves.append((dialled, expected_id))
        seconds, served = self.outcomes.pop(0)
        if served.peer is not None:
            established(served.peer)
        if seconds:
            await self.clock.sleep(seconds)
        return served

    async def _wait_gone(self, node_id: str) -> None:
        self.waits_for.append(node_id)
        await self.gone.wait()

    async def handle(self, event: Event) -> None:
        self.events.append(event)

    async def peer_is_up(self) -> Listener:
        async def accept(link: Link) -> None:
            await asyncio.Event().wait()

        return await self.network.listen("127.0.0.1", 40_000, accept, print)

    async def start(self) -> None:
        self.dispatcher.add_sink(self)
        self.task = asyncio.get_running_loop().create_task(self.dialer.run())
        await settle()

    @property
    def waits(self) -> list[float]:
        """Seconds between one attempt and the next."""
        return [b - a for a, b in zip(self.dialled_at, self.dialled_at[1:], strict=False)]

    @property
    def reports(self) -> list[str]:
        return [event.detail for event in self.events if isinstance(event, NetworkEvent)]


@pytest.fixture
async def tidy() -> AsyncIterator[None]:
    """Ends the test's tasks."""
    before = asyncio.all_tasks()
    yield
    left_over = asyncio.all_tasks() - before - {asyncio.current_task()}
    for task in left_over:
        task.cancel()
    await asyncio.gather(*left_over, return_exceptions=True)


@pytest.fixture
async def bench(tidy: None) -> Bench:
    return Bench()


async def test_an_address_where_nobody_answers_is_dialled_again_and_again(bench: Bench) -> None:
    await bench.start()

    await bench.clock.advance(100 * CAP_SECONDS)

    assert len(bench.dialled_at) > 100
    assert bench.task is not None
    assert not bench.task.done()


async def test_the_waits_between_attempts_grow_to_the_cap(bench: Bench) -> None:
    await bench.start()

    await bench.clock.advance(40.0)

    assert bench.waits[:6] == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


async def test_the_same_failure_is_reported_once(bench: Bench) -> None:
    await bench.start()

    await bench.clock.advance(100 * CAP_SECONDS)

    assert len(bench.reports) == 1
    assert "connection refused" in bench.reports[0]


async def test_another_failure_is_reported_too(bench: Bench) -> None:
    await bench.start()
    bench.outcomes = [(0.0, ended(CloseCode.REALM))]
    await bench.peer_is_up()

    await bench.clock.advance(BASE_SECONDS)

    assert len(bench.reports) == 2
    assert "realm (here): why" in bench.reports[1]


async def test_attempts_and_failures_are_counted(bench: Bench) -> None:
    await bench.start()

    await bench.clock.advance(BASE_SECONDS)

    assert (bench.counters.get("dials"), bench.counters.get("dial_failures")) == (2, 2)


async def test_a_failure_is_remembered_with_the_address(bench: Bench) -> None:
    await bench.start()

    (record,) = await bench.known.all()
    assert (record.addr, record.source, record.failures) == (ADDRESS, PeerSource.BOOTSTRAP, 1)


async def test_an_open_session_is_remembered_as_a_success(bench: Bench) -> None:
    await bench.peer_is_up()
    bench.outcomes = [(1e9, session(CloseCode.NORMAL))]

    await bench.start()

    (record,) = await bench.known.all()
    assert (record.node_id, record.capabilities, record.failures) == ("b", ("c/1",), 0)


async def test_a_peer_that_comes_up_later_is_connected(bench: Bench) -> None:
    await bench.start()
    bench.outcomes = [(1e9, session(CloseCode.NORMAL))]
    await bench.peer_is_up()

    await bench.clock.advance(BASE_SECONDS)

    assert (bench.dialer.attempt.state, bench.dialer.attempt.error) == ("connected", "")


async def test_a_lost_session_is_dialled_again(bench: Bench) -> None:
    await bench.peer_is_up()
    bench.outcomes = [(60.0, session(CloseCode.NORMAL)), (1e9, session(CloseCode.NORMAL))]
    await bench.start()

    await bench.clock.advance(60.0 + BASE_SECONDS)

    assert len(bench.dialled_at) == 2
    assert bench.dialer.attempt.state == "connected"


async def test_after_a_stable_session_the_waits_begin_again(bench: Bench) -> None:
    await bench.start()
    await bench.clock.advance(7.0)
    bench.outcomes = [(60.0, session(CloseCode.NORMAL)), (1e9, session(CloseCode.NORMAL))]
    await bench.peer_is_up()

    await bench.clock.advance(8.0 + 60.0 + BASE_SECONDS)

    assert bench.waits[-1] == 60.0 + BASE_SECONDS


async def test_sessions_that_end_at_once_do_not_reset_the_waits(bench: Bench) -> None:
    await bench.peer_is_up()
    bench.outcomes = [(0.0, session(CloseCode.NORMAL))] * 10

    await bench.start()
    await bench.clock.advance(20.0)

    assert bench.waits[:4] == [1.0, 2.0, 4.0, 8.0]


async def test_a_peer_that_names_a_time_is_not_asked_before(bench: Bench) -> None:
    await bench.peer_is_up()
    bench.outcomes = [(0.0, ended(CloseCode.OVERLOADED, retry_after=30.0))] * 2
    await bench.start()

    await bench.clock.advance(30.0)

    assert bench.waits == [30.0]


@pytest.mark.parametrize(
    "code", [CloseCode.REALM, CloseCode.IDENTITY, CloseCode.NODE_TYPE, CloseCode.VERSION]
)
async def test_what_an_operator_has_to_mend_is_tried_seldom(bench: Bench, code: CloseCode) -> None:
    await bench.peer_is_up()
    bench.outcomes = [(0.0, ended(code))] * 3
    await bench.start()

    await bench.clock.advance(20.0)

    assert bench.waits == [10.0, 10.0]


async def test_the_nodes_own_address_is_not_dialled_again(bench: Bench) -> None:
    await bench.peer_is_up()
    bench.outcomes = [(0.0, ended(CloseCode.SELF))]

    await bench.start()
    await bench.clock.advance(1000.0)

    assert len(bench.dialled_at) == 1
    assert bench.dialer.attempt.state == "self"
    assert bench.task is not None
    assert bench.task.done()


@pytest.mark.parametrize("served", [ended(CloseCode.REPLACED), session(CloseCode.REPLACED)])
async def test_a_replaced_session_suspends_dialling_while_the_other_lives(
    bench: Bench, served: Served
) -> None:
    await bench.peer_is_up()
    bench.outcomes = [(0.0, served)]

    await bench.start()
    await bench.clock.advance(1000.0)

    assert bench.waits_for == ["b"]
    assert len(bench.dialled_at) == 1
    assert bench.dialer.attempt.state == "duplicate"


async def test_dialling_goes_on_once_the_other_session_is_gone(bench: Bench) -> None:
    await bench.peer_is_up()
    bench.outcomes = [(0.0, session(CloseCode.REPLACED)), (1e9, session(CloseCode.NORMAL))]
    await bench.start()
    await bench.clock.advance(1000.0)

    bench.gone.set()
    await bench.clock.advance(BASE_SECONDS)

    assert len(bench.dialled_at) == 2
    assert bench.dialer.attempt.state == "connected"


async def test_a_replaced_session_is_not_reported_as_a_failure(bench: Bench) -> None:
    await bench.peer_is_up()
    bench.outcomes = [(0.0, ended(CloseCode.REPLACED))]

    await bench.start()

    assert bench.reports == []
    assert bench.counters.get("dial_failures") == 0


async def test_a_failure_after_a_session_is_reported_again(bench: Bench) -> None:
    await bench.start()
    listener = await bench.peer_is_up()
    bench.outcomes = [(60.0, session(CloseCode.NORMAL))]
    await bench.clock.advance(BASE_SECONDS)
    await listener.close()

    await bench.clock.advance(60.0 + BASE_SECONDS)

    assert len(bench.reports) == 2


async def test_before_the_handshake_is_complete_the_attempt_is_not_connected(
    bench: Bench,
) -> None:
    await bench.peer_is_up()
    bench.outcomes = [(1e9, ended(CloseCode.TIMEOUT))]

    await bench.start()

    assert bench.dialer.attempt.state == "handshaking"


async def test_a_peer_that_is_restarting_is_no_failure(bench: Bench) -> None:
    await bench.peer_is_up()
    bench.outcomes = [(0.0, ended(CloseCode.RESTARTING, retry_after=1.0))]

    await bench.start()

    assert bench.reports == []
    assert bench.counters.get("dial_failures") == 0


async def test_the_attempt_tells_why_there_is_no_session(bench: Bench) -> None:
    await bench.start()

    attempt = bench.dialer.attempt
    assert (attempt.address, attempt.state) == (ADDRESS, "waiting")
    assert "connection refused" in attempt.error


async def test_a_peer_that_calls_itself_this_node_is_dialled_again(bench: Bench) -> None:
    await bench.peer_is_up()
    told = Served(Ending(code=CloseCode.SELF, detail="it is you", by_peer=True), "b")
    bench.outcomes = [(0.0, told), (1e9, session(CloseCode.NORMAL))]
    await bench.start()

    await bench.clock.advance(20.0)

    assert len(bench.dialled_at) == 2
    assert bench.dialer.attempt.state == "connected"


async def test_a_peer_that_was_restarting_is_connected_again(bench: Bench) -> None:
    await bench.peer_is_up()
    bench.outcomes = [
        (60.0, session(CloseCode.RESTARTING, retry_after=1.0)),
        (0.0, ended(CloseCode.RESTARTING, retry_after=1.0)),
        (1e9, session(CloseCode.NORMAL)),
    ]
    await bench.start()

    await bench.clock.advance(70.0)

    assert len(bench.dialled_at) == 3
    assert (bench.dialer.attempt.state, bench.reports) == ("connected", [])


async def test_a_peer_is_believed_that_it_is_away_for_an_hour_at_most(bench: Bench) -> None:
    await bench.peer_is_up()
    bench.outcomes = [(0.0, ended(CloseCode.OVERLOADED, retry_after=1e12))] * 2
    await bench.start()

    await bench.clock.advance(3599.0)
    early = len(bench.dialled_at)
    await bench.clock.advance(1.0)

    assert (early, bench.waits) == (1, [3600.0])


@pytest.mark.parametrize("node_id", [None, "b"])
async def test_whoever_serves_is_told_what_was_dialled_and_who_has_to_answer(
    tidy: None, node_id: str | None
) -> None:
    address = ADDRESS if node_id is None else f"{ADDRESS}#{node_id}"
    bench = Bench(address)
    await bench.peer_is_up()
    bench.outcomes = [(1e9, session(CloseCode.NORMAL))]

    await bench.start()

    assert bench.serves == [(parse_address(address), node_id)]


async def test_a_dialer_that_is_woken_dials_at_once_and_soon_again(bench: Bench) -> None:
    await bench.start()
    await bench.clock.advance(7.5)

    bench.dialer.wake()
    await bench.clock.advance(BASE_SECONDS)

    assert bench.waits == [1.0, 2.0, 4.0, 0.5, BASE_SECONDS]


async def test_a_wait_that_a_peer_asked_for_ends_when_the_dialer_is_woken(bench: Bench) -> None:
    await bench.peer_is_up()
    bench.outcomes = [
        (0.0, ended(CloseCode.IDENTITY, retry_after=3600.0)),
        (1e9, session(CloseCode.NORMAL)),
    ]
    await bench.start()

    bench.dialer.wake()
    await settle()

    assert (len(bench.dialled_at), bench.dialer.attempt.state) == (2, "connected")


async def test_to_be_woken_while_connected_changes_nothing(bench: Bench) -> None:
    await bench.peer_is_up()
    bench.outcomes = [(60.0, session(CloseCode.NORMAL)), (1e9, session(CloseCode.NORMAL))]
    await bench.start()

    bench.dialer.wake()
    await bench.clock.advance(60.0)
    early = len(bench.dialled_at)
    await bench.clock.advance(BASE_SECONDS)

    assert (early, bench.waits) == (1, [60.0 + BASE_SECONDS])


async def test_an_address_is_known_without_the_id_that_has_to_answer_there(tidy: None) -> None:
    bench = Bench(f"{ADDRESS}#b")

    await bench.start()

    (record,) = await bench.known.all()
    assert (record.addr, record.failures) == (ADDRESS, 1)
