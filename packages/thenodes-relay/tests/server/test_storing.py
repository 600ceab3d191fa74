"""Frames for targets that are away: stored, drained, acknowledged, repeated, expired."""

from __future__ import annotations

from thenodes_plugin_api import NetworkEvent, QoS, Reason, RelayNotify
from thenodes_relay.flow import IN_FLIGHT_MAX

from .conftest import MakeRelay
from .door import Session, frame
from .relay import Relay


def number(value: int) -> bytes:
    return value.to_bytes(16, "big")


async def pair(relay: Relay, qos: str = "high_throughput") -> tuple[Session, Session]:
    """Alice, who may have frames stored for Bob."""
    alice, bob = relay.door.join("alice"), relay.door.join("bob")
    assert relay.door.bind(bob, store=True).ok
    assert relay.door.bind(alice, "bob", store=True, qos=qos).ok
    return alice, bob


async def back(relay: Relay, node: str = "bob") -> Session:
    """Let a node have a new session, and open its mailbox again."""
    session = relay.door.join(node)
    assert relay.door.bind(session, store=True).ok
    return session


async def test_frames_for_an_absent_target_arrive_when_it_returns_in_order(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay(store_forward=True)
    alice, bob = await pair(relay)
    relay.door.leave(bob)
    texts = [str(one) for one in range(200)]

    relay.door.bring(alice, *(frame("alice", "bob", text) for text in texts))
    await relay.moved("relay_stored", 200)
    bob = await back(relay)
    await relay.until(lambda: len(bob.frames) == 200)

    assert bob.texts() == texts
    assert not any(bob.marked())
    assert relay.counters["relay_delivered_from_store"] == 200
    assert alice.words() == []


async def test_a_reliable_frame_is_told_stored_and_kept_until_its_target_acknowledges(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay(store_forward=True)
    alice, bob = await pair(relay)

    relay.door.bring(alice, frame("alice", "bob", qos="reliable", message_id=number(5)))
    assert alice.words() == []
    await relay.until(lambda: len(bob.frames) == 1)
    assert alice.words() == ["stored"]
    assert "reliable 1" in await relay.command("relay queue bob")
    relay.door.acknowledge(bob, "alice", 5)

    assert relay.counters["relay_acked"] == 1
    assert "nothing waits" in await relay.command("relay queue bob")


async def test_what_was_sent_and_not_acknowledged_comes_again_marked(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay(store_forward=True)
    alice, bob = await pair(relay)
    for one in range(4):
        relay.door.bring(
            alice, frame("alice", "bob", str(one), qos="reliable", message_id=number(one + 1))
        )
    await relay.until(lambda: len(bob.frames) == 4)
    relay.door.acknowledge(bob, "alice", 1)
    relay.door.acknowledge(bob, "alice", 3, "dup")

    relay.door.leave(bob)
    bob = await back(relay)
    await relay.until(lambda: len(bob.frames) == 2)

    assert bob.texts() == ["1", "3"]
    assert bob.marked() == [True, True]
    assert relay.counters["relay_redelivered"] == 2


async def test_an_unacknowledged_frame_is_repeated_within_the_session(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay(store_forward=True)
    alice, bob = await pair(relay)
    relay.door.bring(alice, frame("alice", "bob", "x", qos="reliable", message_id=number(1)))
    await relay.until(lambda: len(bob.frames) == 1)

    await relay.clock.advance(1)
    await relay.until(lambda: len(bob.frames) == 2)
    relay.door.acknowledge(bob, "alice", 1)
    await relay.clock.advance(120)

    assert bob.marked() == [False, True]
    assert len(bob.frames) == 2


def backlog(relay: Relay) -> list[str]:
    """What was told of frames that are stored since before the start."""
    return [
        event.detail
        for event in relay.context.event_log.events
        if isinstance(event, NetworkEvent) and event.action == "relay_backlog"
    ]


async def test_reliable_frames_survive_a_restart_with_the_mailbox(make_relay: MakeRelay) -> None:
    relay = await make_relay(store_forward=True)
    alice, bob = await pair(relay)
    relay.door.bring(alice, frame("alice", "bob", "sent", qos="reliable", message_id=number(1)))
    await relay.until(lambda: len(bob.frames) == 1)
    relay.door.leave(bob)
    relay.door.bring(alice, frame("alice", "bob", "kept", qos="reliable", message_id=number(2)))
    await relay.moved("relay_stored", 2)
    begun = backlog(relay)
    await relay.stop()

    relay = await make_relay(store_forward=True)
    assert begun == []
    (told,) = backlog(relay)
    assert told.startswith("frames stored before this start: 2, for nodes: 1;")
    assert "1 reliable" not in await relay.command("relay bindings")
    assert "reliable 2" in await relay.command("relay queue bob")
    bob = await back(relay)
    await relay.until(lambda: len(bob.frames) == 2)

    assert bob.texts() == ["sent", "kept"]
    assert bob.marked() == [True, False]
    assert relay.counters["relay_delivered_from_store"] == 1
    assert relay.counters["relay_redelivered"] == 1


async def test_a_repeat_of_a_stored_frame_is_a_duplicate(make_relay: MakeRelay) -> None:
    relay = await make_relay(store_forward=True)
    alice, bob = await pair(relay)
    relay.door.leave(bob)
    one = frame("alice", "bob", qos="reliable", message_id=number(1))

    relay.door.bring(alice, one)
    relay.door.bring(alice, one)
    await relay.moved("relay_duplicates")

    assert alice.words() == ["stored", "dup"]
    assert "reliable 1" in await relay.command("relay queue bob")


async def test_an_error_of_the_target_ends_the_frame_and_is_told(make_relay: MakeRelay) -> None:
    relay = await make_relay(store_forward=True)
    alice, bob = await pair(relay)
    relay.door.bring(alice, frame("alice", "bob", qos="reliable", message_id=number(1)))
    await relay.until(lambda: len(bob.frames) == 1)

    relay.door.acknowledge(bob, "alice", 1, "error")

    assert alice.notices() == [(Reason.DECLINED, 1)]
    assert relay.counters["relay_dropped.declined"] == 1


async def test_an_ack_counts_only_from_the_session_that_the_frame_used(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay(store_forward=True)
    alice, bob = await pair(relay)
    mallory = relay.door.join("mallory")
    relay.door.bring(alice, frame("alice", "bob", qos="reliable", message_id=number(1)))
    await relay.until(lambda: len(bob.frames) == 1)

    relay.door.acknowledge(mallory, "alice", 1)
    newer = await back(relay)
    relay.door.acknowledge(bob, "alice", 1)
    await relay.until(lambda: len(newer.frames) == 1)

    assert relay.counters["relay_acks_ignored"] == 2
    assert relay.counters["relay_acked"] == 0
    assert newer.marked() == [True]


async def test_expiry_of_a_stored_frame_is_told_to_its_origin(make_relay: MakeRelay) -> None:
    relay = await make_relay(store_forward=True)
    alice, bob = await pair(relay)
    relay.door.leave(bob)
    now_ms = int(relay.clock.time() * 1000)
    short = frame("alice", "bob", qos="reliable", message_id=number(1), expires_at=now_ms + 2000)
    relay.door.bring(alice, short)
    await relay.moved("relay_stored")

    await relay.moved_in_time("relay_expired")

    assert alice.notices() == [(Reason.PEER_LEFT, None), (Reason.TIMEOUT, 1)]
    assert relay.counters["relay_dropped.timeout"] == 1


async def test_notifications_for_an_absent_origin_with_a_mailbox_wait_for_it(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay(store_forward=True)
    alice, bob = await pair(relay)
    relay.door.bind(alice, store=True)
    relay.door.leave(bob)
    now_ms = int(relay.clock.time() * 1000)
    relay.door.bring(
        alice,
        *(
            frame("alice", "bob", message_id=number(one), expires_at=now_ms + 1000)
            for one in range(1, 258)
        ),
    )
    await relay.until(lambda: relay.counters["relay_stored"] + len(alice.notices()) >= 257)
    relay.door.leave(alice)
    stored = relay.counters["relay_stored"]

    await relay.moved_in_time("relay_expired", stored)
    alice = await back(relay, "alice")
    await relay.until(lambda: len(alice.notices()) >= min(stored, 256))

    assert {reason for reason, _ in alice.notices()} == {Reason.TIMEOUT}
    assert len(alice.notices()) == min(stored, 256)


async def test_a_quarter_of_a_targets_room_is_all_that_one_sender_gets(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay(store_forward=True, queue_max_per_target=40)
    alice, bob = await pair(relay)
    carol = relay.door.join("carol")
    relay.door.bind(carol, "bob", store=True)
    relay.door.leave(bob)

    for one in range(20):
        relay.door.bring(alice, frame("alice", "bob", qos="reliable", message_id=number(one + 1)))
    relay.door.bring(carol, frame("carol", "bob", qos="reliable"))
    await relay.moved("relay_stored", 11)

    assert relay.counters["relay_dropped.quota"] == 10
    assert carol.words() == ["stored"]


async def test_bulk_makes_way_in_the_store_and_its_origin_is_told(make_relay: MakeRelay) -> None:
    relay = await make_relay(store_forward=True, queue_max_per_target=8, queue_max_global=8000)
    alice, bob = await pair(relay)
    others = [relay.door.join(name) for name in ("carol", "dave", "erin", "frank")]
    for other in others:
        relay.door.bind(other, "bob", store=True)
    relay.door.leave(bob)
    for other in others:
        name = other.peer.node_id
        relay.door.bring(other, *(frame(name, "bob", qos="bulk") for _ in range(2)))
    await relay.moved("relay_stored", 8)

    relay.door.bring(alice, frame("alice", "bob", qos="reliable"))
    await relay.moved("relay_evicted")

    assert alice.words() == ["stored"]
    assert [reason for reason, _ in others[0].notices()] == [Reason.PEER_LEFT, Reason.OVERLOAD]
    assert relay.counters["relay_dropped.overload"] == 1


async def test_low_latency_frames_are_never_stored(make_relay: MakeRelay) -> None:
    relay = await make_relay(store_forward=True)
    alice, bob = await pair(relay)
    relay.door.leave(bob)

    relay.door.bring(alice, frame("alice", "bob", qos="low_latency"))

    assert relay.counters["relay_dropped.peer_left"] == 1
    assert relay.counters["relay_stored"] == 0


async def test_what_comes_while_a_backlog_is_drained_goes_behind_it(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay(store_forward=True)
    alice, bob = await pair(relay)
    relay.door.leave(bob)
    relay.door.bring(alice, *(frame("alice", "bob", f"stored {one}") for one in range(50)))
    await relay.moved("relay_stored", 50)

    bob = await back(relay)
    relay.door.bring(alice, frame("alice", "bob", "later"))
    await relay.until(lambda: len(bob.frames) == 51)
    relay.door.bring(alice, frame("alice", "bob", "last"))

    assert bob.texts()[-2:] == ["later", "last"]
    assert relay.counters["relay_forwarded"] == 1


async def test_frames_end_with_the_mailbox_and_their_origin_is_told(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay(store_forward=True, retention_secs=60)
    alice, bob = await pair(relay)
    relay.door.leave(bob)
    relay.door.bring(alice, frame("alice", "bob", qos="reliable", message_id=number(1)))
    await relay.moved("relay_stored")

    await relay.clock.advance(61)
    await relay.moved("relay_dropped.peer_left")

    assert (Reason.PEER_LEFT, 1) in alice.notices()
    assert "mailboxes  0: 0 present" in await relay.command("relay")


async def test_frames_without_a_message_id_are_known_by_their_sequence(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay(store_forward=True)
    alice, _ = await pair(relay, qos=QoS.RELIABLE)
    one = frame("alice", "bob", qos=None, sequence=0, bare=True)
    relay.door.bring(alice, one)
    relay.door.bring(alice, one)
    relay.door.bring(alice, frame("alice", "bob", qos=None, bare=True))
    await relay.moved("relay_duplicates")

    assert alice.words() == ["stored", "dup"]
    assert relay.counters["relay_dropped.bad_frame"] == 1


async def test_what_waits_in_memory_is_stored_when_its_target_leaves(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay(store_forward=True)
    alice, bob = await pair(relay)
    bob.reads = False
    texts = [f"{one:04d}" * 10_000 for one in range(120)]
    relay.door.bring(alice, *(frame("alice", "bob", text) for text in texts))
    taken = bob.waiting_frames

    relay.door.leave(bob)
    await relay.moved("relay_stored", len(texts) - taken)
    bob = await back(relay)
    await relay.until(lambda: len(bob.frames) == len(texts) - taken)

    assert bob.texts() == texts[taken:]


async def test_a_target_that_acknowledges_nothing_gets_no_more_than_its_window(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay(
        store_forward=True,
        queue_max_per_target=100_000,
        queue_max_global=1_000_000,
        frames_per_second=0,
    )
    alice, bob = await pair(relay)
    count = IN_FLIGHT_MAX + 100
    relay.door.bring(
        alice,
        *(
            frame("alice", "bob", str(one), qos="reliable", message_id=number(one + 1))
            for one in range(count)
        ),
    )
    await relay.until(lambda: len(bob.frames) == IN_FLIGHT_MAX)
    await relay.moved("relay_stored", count)
    assert f"{IN_FLIGHT_MAX} in flight" in await relay.command("relay queue bob")

    for one in range(IN_FLIGHT_MAX):
        relay.door.acknowledge(bob, "alice", one + 1)
    await relay.until(lambda: len(bob.frames) == count)

    assert bob.texts() == [str(one) for one in range(count)]
    assert relay.counters["relay_acked"] == IN_FLIGHT_MAX


async def test_notifications_of_before_a_restart_are_given_after_it(make_relay: MakeRelay) -> None:
    relay = await make_relay(store_forward=True)
    alice, bob = await pair(relay)
    relay.door.bind(alice, store=True)
    relay.door.leave(bob)
    now_ms = int(relay.clock.time() * 1000)
    short = frame("alice", "bob", message_id=number(7), expires_at=now_ms + 1000)
    relay.door.bring(alice, short)
    await relay.moved("relay_stored")
    relay.door.leave(alice)
    await relay.moved_in_time("relay_expired")
    await relay.stop()

    relay = await make_relay(store_forward=True)
    alice = await back(relay, "alice")
    await relay.until(lambda: bool(alice.notices()))

    assert alice.notices() == [(Reason.TIMEOUT, 7)]
    assert relay.counters["relay_notified.timeout"] == 1


async def test_the_ends_of_a_binding_are_told_when_the_other_leaves(
    make_relay: MakeRelay,
) -> None:
    relay = await make_relay(store_forward=True)
    alice, bob = await pair(relay)

    relay.door.leave(alice)

    assert bob.notices() == [(Reason.PEER_LEFT, None)]
    assert relay.counters["relay_unbound"] == 1
    assert relay.counters["relay_notified.peer_left"] == 1


async def test_who_bound_is_told_that_the_plugin_stops(make_relay: MakeRelay) -> None:
    relay = await make_relay(store_forward=True)
    alice, bob = await pair(relay)
    bound = [body.binding_id for session in (alice, bob) for body in session.acks()]
    forwarded = relay.counters["relay_bound"]

    await relay.stop()

    told = [
        (body.notif_type, body.binding_id)
        for session in (alice, bob)
        for body in session.bodies
        if isinstance(body, RelayNotify)
    ]
    assert told == [(Reason.RESTARTING, binding_id) for binding_id in bound]
    assert forwarded == 2


async def test_a_bulk_frame_that_made_way_is_not_delivered_as_well(make_relay: MakeRelay) -> None:
    relay = await make_relay(
        {"window_bytes": 300_000},
        store_forward=True,
        queue_max_per_target=8,
        queue_max_global=8000,
    )
    alice, bob = await pair(relay)
    others = [relay.door.join(name) for name in ("carol", "dave", "erin", "frank")]
    for other in others:
        relay.door.bind(other, "bob", store=True)
    relay.door.leave(bob)
    for number_of, other in enumerate(others):
        name = other.peer.node_id
        for one in (2 * number_of, 2 * number_of + 1):
            relay.door.bring(other, frame(name, "bob", str(one) * 200_000, qos="bulk"))
    await relay.moved("relay_stored", 8)
    bob = relay.door.join("bob")
    bob.reads = False
    relay.door.bind(bob, store=True)
    await relay.moved("relay_delivered_from_store", 2)

    for sender in (alice, others[0]):
        name = sender.peer.node_id
        relay.door.bring(
            sender, *(frame(name, "bob", f"{name} {one}", qos="reliable") for one in range(2))
        )
    await relay.moved("relay_evicted", 2)
    bob.reads = True
    bob.read()
    await relay.until(lambda: len(bob.frames) == 10)

    assert [text[:1] for text in bob.texts()] == list("014567aacc")
