"""Two managers over a network in memory: who is admitted, replaced, sent away, told of."""

from __future__ import annotations

import asyncio

import pytest
from msgspec import structs

from thenodes_core.clock import ManualClock, settle
from thenodes_core.errors import LinkClosed
from thenodes_core.limits import Limits
from thenodes_core.protocol.close import CloseCode, Ending
from thenodes_core.protocol.handshake import LocalNode, Role
from thenodes_core.session.session import Session
from thenodes_core.transport.memory import MemoryNetwork
from thenodes_plugin_api import (
    Direction,
    Hello,
    Message,
    NetworkEvent,
    PeerJoined,
    PeerLeft,
    PeerRequest,
    Realm,
    Reason,
    Text,
)

from .conftest import LIMITS, MakeSide, Side

ONE_SESSION = structs.replace(LIMITS, max_sessions=1)
TWO_HANDSHAKES = structs.replace(LIMITS, max_handshakes=2)
REFUSED, LEFT = "session_refused", "peer_left"


async def test_dialling_oneself_is_refused_and_leaves_nothing(make_side: MakeSide) -> None:
    one = make_side("a")
    await one.listen()

    served = await (await one.dial(one))
    await settle()

    assert served.ending.code == CloseCode.SELF
    assert (one.peers, one.changes, one.open_sessions) == ([], [], 0)


@pytest.mark.parametrize("ids", ["ab", "ba"])
@pytest.mark.parametrize("turns", range(0, 24))
async def test_crossing_dials_leave_exactly_one_session_on_both_sides(
    make_side: MakeSide, ids: str, turns: int
) -> None:
    one, other = make_side(ids[0]), make_side(ids[1])
    await one.listen()
    await other.listen()

    await one.dial(other)
    await settle(turns)
    await other.dial(one)
    await settle(200)

    assert (len(one.peers), len(other.peers)) == (1, 1)
    assert (one.open_sessions, other.open_sessions) == (1, 1)
    assert {one.peers[0][1], other.peers[0][1]} == set(Direction)


@pytest.mark.parametrize("delay", [0.001, 0.1])
@pytest.mark.parametrize("lead", [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0])
async def test_crossing_dials_over_a_slow_network_leave_one_session(
    make_side: MakeSide, clock: ManualClock, delay: float, lead: float
) -> None:
    network = MemoryNetwork(clock=clock, delay_seconds=delay)
    one, other = make_side("a", on=network), make_side("b", on=network)
    await one.listen()
    await other.listen()

    await other.dial(one)
    await clock.advance(lead * delay)
    await one.dial(other)
    await clock.advance(20 * delay)

    assert (one.peers, other.peers) == ([("b", Direction.OUTBOUND)], [("a", Direction.INBOUND)])
    assert (one.open_sessions, other.open_sessions) == (1, 1)


async def test_a_message_passes_after_crossing_dials(make_side: MakeSide) -> None:
    one, other = make_side("a"), make_side("b")
    await one.listen()
    await other.listen()
    await one.dial(other)
    await other.dial(one)
    await settle(200)

    await one.manager.send("b", Text("to b"))
    await other.manager.send("a", Text("to a"))
    await settle()

    assert [m.body for m in other.messages] == [Text("to b")]
    assert [m.body for m in one.messages] == [Text("to a")]


async def test_crossing_dials_are_one_join_and_no_leave_for_plugins(make_side: MakeSide) -> None:
    one, other = make_side("a"), make_side("b")
    await one.listen()
    await other.listen()
    await one.dial(other)
    await other.dial(one)
    await settle(200)

    for side in (one, other):
        assert [type(change) for change in side.changes] == [PeerJoined]


async def test_dialling_the_same_peer_again_keeps_the_newer_session(
    pair: tuple[Side, Side],
) -> None:
    one, other = pair
    (first,) = one.tasks

    await one.dial(other)
    await settle()

    assert (await first).ending.code == CloseCode.REPLACED
    assert (one.open_sessions, other.open_sessions) == (1, 1)
    assert (one.peers, other.peers) == ([("b", Direction.OUTBOUND)], [("a", Direction.INBOUND)])


async def test_what_was_queued_on_a_replaced_session_still_arrives_in_order(
    pair: tuple[Side, Side],
) -> None:
    one, other = pair

    await one.manager.send("b", Text("1"))
    await one.dial(other)
    await settle()
    await one.manager.send("b", Text("2"))
    await settle()

    assert [m.body for m in other.messages] == [Text("1"), Text("2")]


async def test_a_restarted_peer_replaces_the_session_of_its_former_life(
    pair: tuple[Side, Side], make_side: MakeSide
) -> None:
    _, other = pair
    again = make_side("a", b"2")

    await again.dial(other)
    await settle()

    assert again.peers == [("b", Direction.OUTBOUND)]
    assert other.peers == [("a", Direction.INBOUND)]
    assert other.open_sessions == 1


async def test_a_restart_is_a_leave_and_a_join_for_plugins(
    pair: tuple[Side, Side], make_side: MakeSide
) -> None:
    _, other = pair

    await make_side("a", b"2").dial(other)
    await settle()

    assert [type(change) for change in other.changes] == [PeerJoined, PeerLeft, PeerJoined]
    left = other.changes[1]
    assert isinstance(left, PeerLeft)
    assert left.reason is Reason.REPLACED


async def test_a_message_goes_to_the_restarted_peer(
    pair: tuple[Side, Side], make_side: MakeSide
) -> None:
    former, other = pair
    again = make_side("a", b"2")
    await again.dial(other)
    await settle()

    await other.manager.send("a", Text("hello"))
    await settle()

    assert (len(former.messages), len(again.messages)) == (0, 1)


async def test_closing_tells_every_peer_to_come_back(pair: tuple[Side, Side]) -> None:
    one, other = pair

    await one.manager.close()
    await settle()

    (task,) = other.tasks
    ending = (await task).ending
    assert (ending.code, ending.by_peer, ending.retry_after) == (CloseCode.RESTARTING, True, 1.0)
    assert (one.peers, other.peers) == ([], [])


async def test_what_was_sent_before_closing_arrives(pair: tuple[Side, Side]) -> None:
    one, other = pair

    await one.manager.send("b", Text("last words"))
    await one.manager.close()
    await settle()

    assert [m.body for m in other.messages] == [Text("last words")]


async def test_a_closed_manager_admits_nobody(pair: tuple[Side, Side], make_side: MakeSide) -> None:
    one, _ = pair
    await one.manager.close()

    served = await (await make_side("c").dial(one))

    assert served.peer is None
    assert one.peers == []


async def test_closing_cuts_a_peer_that_never_completes_its_handshake(
    pair: tuple[Side, Side], clock: ManualClock, network: MemoryNetwork
) -> None:
    one, _ = pair
    silent = await network.dial(f"ws://127.0.0.1:{one.port}")
    await settle()

    closing = asyncio.ensure_future(one.manager.close())
    await clock.advance(LIMITS.close_seconds)
    await asyncio.wait_for(closing, 5)

    assert one.open_sessions == 0
    silent.abort()


async def test_a_refused_peer_is_counted_by_the_close_codes_word(make_side: MakeSide) -> None:
    one = make_side("a")
    await one.listen()
    stranger = make_side("b")
    stranger.manager.local = LocalNode(
        node_id="b", realm=Realm("Other", "other"), instance=b"1", require_identity=False
    )

    served = await (await stranger.dial(one))
    await settle()

    assert served.ending.code == CloseCode.REALM
    assert (one.changes, stranger.changes) == ([], [])
    refused = one.counters.get("sessions_refused", reason="realm")
    assert refused + stranger.counters.get("sessions_refused", reason="realm") >= 1


async def test_closing_waits_no_longer_than_allowed_for_a_peer_that_never_reads(
    make_side: MakeSide, clock: ManualClock
) -> None:
    network = MemoryNetwork(clock=clock, queue_messages=1, delay_seconds=0.001)
    one, other = make_side("a", on=network), make_side("b", on=network)
    await other.listen()
    await one.dial(other)
    await clock.advance(1.0)
    network.delay_seconds = 1e9
    for _ in range(20):
        one.manager.broadcast(Text("x"))
        await settle(5)

    closing = asyncio.ensure_future(one.manager.close())
    await clock.advance(LIMITS.close_seconds)
    await asyncio.wait_for(closing, 5)

    assert (one.peers, one.open_sessions) == ([], 0)


async def test_closing_does_not_wait_for_peers_without_a_complete_handshake(
    make_side: MakeSide, network: MemoryNetwork
) -> None:
    one = make_side("a")
    await one.listen()
    silent = [await network.dial(f"ws://127.0.0.1:{one.port}") for _ in range(5)]
    await settle()
    before = one.open_sessions

    await asyncio.wait_for(one.manager.close(), 5)
    await settle()

    assert (before, one.open_sessions) == (5, 0)
    assert len(silent) == 5


async def test_a_link_that_comes_while_the_manager_is_stopping_is_told_to_come_back(
    make_side: MakeSide, network: MemoryNetwork
) -> None:
    one = make_side("a")
    await one.listen()
    await one.manager.close()
    link = await network.dial(f"ws://127.0.0.1:{one.port}")

    with pytest.raises(LinkClosed) as caught:
        await asyncio.wait_for(link.receive(), 5)

    assert (caught.value.code, caught.value.by_peer) == (CloseCode.RESTARTING, True)


# Bounds


async def test_one_peer_more_than_fit_is_told_when_to_come_back(make_side: MakeSide) -> None:
    hub, first, second = make_side("hub", limits=ONE_SESSION), make_side("a"), make_side("b")
    await hub.listen()
    await first.dial(hub)
    await settle()

    served = await (await second.dial(hub))

    assert (served.ending.code, served.ending.by_peer) == (CloseCode.OVERLOADED, True)
    assert served.ending.detail == "1 peers are connected, no more fit"
    assert (served.ending.reason, served.ending.retry_after) == (Reason.OVERLOAD, 10.0)
    assert [peer.node_id for peer in hub.manager.all()] == ["a"]
    assert hub.counters.get("sessions_refused", reason="overloaded") == 1


async def test_a_full_node_admits_another_once_a_peer_has_left(make_side: MakeSide) -> None:
    hub, first, second = make_side("hub", limits=ONE_SESSION), make_side("a"), make_side("b")
    await hub.listen()
    await first.dial(hub)
    await settle()
    await first.manager.close()
    await settle()

    await second.dial(hub)
    await settle()

    assert [peer.node_id for peer in hub.manager.all()] == ["b"]


async def test_a_connected_peer_that_restarts_is_admitted_to_a_full_node(
    make_side: MakeSide,
) -> None:
    hub = make_side("hub", limits=ONE_SESSION)
    former, returned = make_side("a", b"1"), make_side("a", b"2")
    await hub.listen()
    await former.dial(hub)
    await settle()

    await returned.dial(hub)
    await settle()

    assert (former.peers, len(returned.peers), len(hub.peers)) == ([], 1, 1)


async def test_of_more_handshakes_than_allowed_the_oldest_is_cut(
    make_side: MakeSide, network: MemoryNetwork
) -> None:
    hub = make_side("hub", limits=TWO_HANDSHAKES)
    await hub.listen()
    silent = [await network.dial(f"ws://127.0.0.1:{hub.port}") for _ in range(3)]
    await settle()
    hellos = [await link.receive() for link in silent]

    with pytest.raises(LinkClosed) as caught:
        await silent[0].receive()

    assert (caught.value.code, caught.value.by_peer) == (1006, True)
    assert len(hellos) == 3
    assert hub.open_sessions == 2
    assert hub.counters.get("sessions_refused", reason="crowded_out") == 1


async def test_a_peer_gets_in_past_many_that_never_say_who_they_are(
    make_side: MakeSide, network: MemoryNetwork
) -> None:
    hub = make_side("hub", limits=TWO_HANDSHAKES)
    await hub.listen()
    for _ in range(100):
        await network.dial(f"ws://127.0.0.1:{hub.port}")
    await settle()

    await make_side("a").dial(hub)
    await settle()

    assert [peer.node_id for peer in hub.manager.all()] == ["a"]


async def test_of_2000_peers_that_never_say_who_they_are_512_are_waited_for(
    make_side: MakeSide, network: MemoryNetwork
) -> None:
    hub = make_side("hub", limits=Limits())
    await hub.listen()
    for _ in range(2000):
        await network.dial(f"ws://127.0.0.1:{hub.port}")
        await asyncio.sleep(0)
    await settle()
    waited_for = hub.open_sessions

    await make_side("a").dial(hub)
    await settle()

    assert waited_for == 512
    assert hub.counters.get("sessions_refused", reason="crowded_out") == 2000 - 512 + 1
    assert [peer.node_id for peer in hub.manager.all()] == ["a"]


async def test_handshakes_with_peers_that_never_read_are_no_more_than_allowed(
    make_side: MakeSide, clock: ManualClock
) -> None:
    network = MemoryNetwork(clock=clock, queue_messages=0)
    hub = make_side("hub", limits=TWO_HANDSHAKES, on=network)
    await hub.listen()

    for _ in range(50):
        await network.dial(f"ws://127.0.0.1:{hub.port}")
        await settle()

    assert hub.open_sessions == 2
    assert hub.counters.get("sessions_refused", reason="crowded_out") == 48


async def test_an_admitted_peer_is_never_cut_for_the_handshakes_of_others(
    make_side: MakeSide, network: MemoryNetwork
) -> None:
    hub, peer = make_side("hub", limits=TWO_HANDSHAKES), make_side("a")
    await hub.listen()
    await peer.dial(hub)
    await settle()

    for _ in range(10):
        await network.dial(f"ws://127.0.0.1:{hub.port}")
    await settle()

    assert [peer.node_id for peer in hub.manager.all()] == ["a"]
    assert hub.open_sessions == 3


async def test_handshakes_that_take_too_long_make_room_for_others(
    make_side: MakeSide, network: MemoryNetwork, clock: ManualClock
) -> None:
    hub = make_side("hub", limits=TWO_HANDSHAKES)
    await hub.listen()
    for _ in range(2):
        await network.dial(f"ws://127.0.0.1:{hub.port}")
    await clock.advance(LIMITS.handshake_seconds)

    await make_side("a").dial(hub)
    await settle()

    assert [peer.node_id for peer in hub.manager.all()] == ["a"]


async def test_dialling_out_is_not_hindered_by_handshakes_of_others(
    make_side: MakeSide, network: MemoryNetwork
) -> None:
    hub, other = make_side("hub", limits=TWO_HANDSHAKES), make_side("a")
    await hub.listen()
    await other.listen()
    for _ in range(2):
        await network.dial(f"ws://127.0.0.1:{hub.port}")
    await settle()

    await hub.dial(other)
    await settle()

    assert hub.peers == [("a", Direction.OUTBOUND)]


# Looking after sessions


async def watching(side: Side, clock: ManualClock, seconds: float) -> None:
    task = asyncio.ensure_future(side.manager.watch())
    await clock.advance(seconds)
    task.cancel()
    await asyncio.wait([task])


async def test_two_watched_peers_that_say_nothing_stay_connected(
    pair: tuple[Side, Side], clock: ManualClock
) -> None:
    await watching(pair[0], clock, 300.0)

    assert [len(side.peers) for side in pair] == [1, 1]


async def test_a_watched_peer_that_is_dead_is_cut_and_has_left(
    make_side: MakeSide, network: MemoryNetwork, clock: ManualClock
) -> None:
    one, other = make_side("a"), make_side("b")
    await one.listen()
    await other.listen()
    await one.dial(other)
    await settle()
    network.loss = 1.0

    await watching(one, clock, 31.0)

    assert one.peers == []
    assert isinstance(one.changes[-1], PeerLeft)
    assert one.changes[-1].reason is Reason.TIMEOUT
    (left,) = [e.detail for e in one.events if isinstance(e, NetworkEvent) and e.action == LEFT]
    assert left == "b left: timeout (here): no sign of life for 30 s"


async def test_watching_leaves_handshakes_to_their_own_deadline(
    make_side: MakeSide, network: MemoryNetwork, clock: ManualClock
) -> None:
    one = make_side("a")
    await one.listen()
    await network.dial(f"ws://127.0.0.1:{one.port}")

    await watching(one, clock, LIMITS.handshake_seconds - 0.1)

    assert one.open_sessions == 1


async def test_who_asked_is_told_of_every_peer_that_joins(make_side: MakeSide) -> None:
    one, other = make_side("a"), make_side("b")
    joined: list[str] = []
    other.manager.on_joined(lambda peer: joined.append(peer.node_id))
    await other.listen()

    await one.dial(other)
    await settle()

    assert joined == ["a"]


async def test_a_session_that_ends_by_a_defect_is_gone(pair: tuple[Side, Side]) -> None:
    one, other = pair

    def fail(session: Session, message: Message) -> None:
        raise RuntimeError("a defect")

    other.manager.handle(PeerRequest, fail)
    one.manager.control_to("b", PeerRequest(3))
    await settle()

    assert other.open_sessions == 0
    assert other.peers == []
    assert isinstance(other.changes[-1], PeerLeft)


# What is reported of strangers


async def test_of_many_refused_strangers_only_some_are_reported_and_all_counted(
    make_side: MakeSide, network: MemoryNetwork, clock: ManualClock
) -> None:
    one = make_side("a")
    await one.listen()

    async def knock() -> None:
        link = await network.dial(f"ws://127.0.0.1:{one.port}")
        await link.send(b"garbage")
        await settle()

    for _ in range(60):
        await knock()
    early = [e for e in one.events if isinstance(e, NetworkEvent) and e.action == REFUSED]
    await clock.advance(1.0)
    await knock()

    (*_, last) = [e for e in one.events if isinstance(e, NetworkEvent) and e.action == REFUSED]
    assert len(early) == 20
    assert one.counters.get("sessions_refused", reason="protocol") == 61
    assert last.detail.endswith("(40 more were not reported)")


@pytest.mark.parametrize("code", [CloseCode.SELF, CloseCode.REPLACED, CloseCode.RESTARTING])
async def test_a_stranger_cannot_choose_a_code_that_is_always_reported(
    make_side: MakeSide, network: MemoryNetwork, code: CloseCode
) -> None:
    one = make_side("a")
    await one.listen()

    for _ in range(60):
        link = await network.dial(f"ws://127.0.0.1:{one.port}")
        await link.close(code, code.word)
        await settle()

    assert one.counters.get("sessions_refused", reason=code.word) == 60
    assert len(one.events) <= 20


async def test_who_only_looks_is_counted_and_reported_to_nobody(
    make_side: MakeSide, network: MemoryNetwork
) -> None:
    one = make_side("a")
    await one.listen()

    link = await network.dial(f"ws://127.0.0.1:{one.port}")
    await link.close(CloseCode.NORMAL, "normal")
    await settle()

    assert one.counters.get("sessions_probed") == 1
    assert one.events == []


async def test_a_screen_that_says_no_ends_the_handshake_before_this_node_is_named(
    make_side: MakeSide, network: MemoryNetwork
) -> None:
    one, other = make_side("a"), make_side("b")
    await other.listen()
    link = await network.dial(f"ws://127.0.0.1:{other.port}")
    seen: list[str] = []

    def screen(hello: Hello) -> Ending | None:
        seen.append(hello.node_id)
        return Ending.here(CloseCode.NORMAL, "seen enough")

    served = await one.manager.serve(link, Role.DIALER, screen=screen)
    await settle()

    assert seen == ["b"]
    assert (served.ending.code, served.peer) == (CloseCode.NORMAL, None)
    assert other.counters.get("sessions_probed") == 1
    assert (one.peers, other.peers, other.changes) == ([], [], [])
