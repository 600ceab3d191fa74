"""Whatever is put and taken in whatever order: nothing is lost, and order is kept."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from thenodes_plugin_api import QoS
from thenodes_relay.causes import Cause
from thenodes_relay.queue import TargetQueue
from thenodes_relay.quotas import Load, Quotas
from thenodes_relay.settings import Settings
from thenodes_relay.store.base import Stored

ORDER = [QoS.LOW_LATENCY, QoS.HIGH_THROUGHPUT, QoS.BULK]
SENDERS = ["a", "b", "c", "stranger", "other stranger"]
FRAMES, BYTES, MOST = 12, 1600, 60


class QueueMachine(RuleBasedStateMachine):
    """A queue, beside a list of what should be in it, oldest first."""

    def __init__(self) -> None:
        super().__init__()
        self.quotas = Quotas(
            Settings(
                queue_max_per_target=FRAMES,
                queue_bytes_per_target=BYTES,
                queue_max_global=MOST,
            )
        )
        self.queue = TargetQueue("t", self.quotas)
        self.elsewhere: list[tuple[int, bool]] = []
        self.waiting: list[Stored] = []
        self.owed: dict[tuple[QoS, str], set[str]] = {}
        self.now = 0
        self.number = 0

    @rule(
        sender=st.sampled_from(SENDERS),
        qos=st.sampled_from(ORDER),
        size=st.integers(0, 450),
        lasts=st.integers(1, 60),
    )
    def puts(self, sender: str, qos: QoS, size: int, lasts: int) -> None:
        self.put(sender, qos, size, lasts)

    @rule(qos=st.sampled_from(ORDER), senders=st.lists(st.sampled_from(SENDERS), max_size=8))
    def put_small_ones(self, qos: QoS, senders: list[str]) -> None:
        for sender in senders:
            self.put(sender, qos, 10, 1000)

    def put(self, sender: str, qos: QoS, size: int, lasts: int) -> None:
        self.number += 1
        frame = Stored(
            to="t",
            sender=sender,
            message_id=self.number.to_bytes(16),
            qos=qos,
            sequence=self.number,
            created_at=self.now,
            expires_at=self.now + lasts,
            data=bytes(size),
            stranger=sender.endswith("stranger"),
        )
        dropped = self.queue.put(frame)
        if [each.frame for each in dropped] == [frame]:
            assert dropped[0].why.cause is not Cause.EVICTED
            return
        for each in dropped:
            assert each.why.cause is Cause.EVICTED
            assert each.frame.qos is QoS.BULK or each.frame.qos is qos is QoS.LOW_LATENCY
            assert qos is not QoS.BULK
            self.is_the_oldest_of_its_sender(each.frame)
            self.waiting.remove(each.frame)
        self.waiting.append(frame)
        self.who_has_nothing_more_is_owed_nothing()

    @rule(sender=st.sampled_from(SENDERS), size=st.integers(0, 450))
    def room_is_made(self, sender: str, size: int) -> None:
        frame = Stored(
            to="t",
            sender=sender,
            message_id=b"stored",
            qos=QoS.RELIABLE,
            created_at=self.now,
            expires_at=self.now + 1,
            data=bytes(size),
            stranger=sender.endswith("stranger"),
        )
        for each in self.queue.make_room(frame):
            assert each.frame.qos is QoS.BULK
            assert each.why.cause is Cause.EVICTED
            self.is_the_oldest_of_its_sender(each.frame)
            self.waiting.remove(each.frame)
        self.who_has_nothing_more_is_owed_nothing()

    def is_the_oldest_of_its_sender(self, frame: Stored) -> None:
        flow = [each for each in self.waiting if is_of_one_flow(each, frame)]
        assert flow[0] is frame

    @rule(frames=st.integers(0, 6), size=st.integers(0, 900), kept=st.integers(0, 3))
    def takes(self, frames: int, size: int, kept: int) -> None:
        taken = self.queue.take(frames, size, self.now)
        assert len(taken.frames) <= frames
        assert sum(len(each.data) for each in taken.frames[:-1]) < max(size, 1)
        assert all(each.expires_at > self.now for each in taken.frames)
        assert all(each.expires_at <= self.now for each in taken.expired)
        lanes = [ORDER.index(each.qos) for each in taken.frames]
        assert lanes == sorted(lanes)
        sent = max(0, len(taken.frames) - kept)
        self.queue.put_back(taken.frames[sent:])
        for each in taken.expired:
            self.waiting.remove(each)
            for owed in self.owed_in(each.qos):
                owed.discard(each.sender)
        for each in taken.frames[:sent]:
            self.is_the_oldest_of_its_sender(each)
            self.waiting.remove(each)
            self.is_served_in_turn(each)
        self.who_has_nothing_more_is_owed_nothing()

    def is_served_in_turn(self, frame: Stored) -> None:
        """Nobody is served again before all that waited when it was served last."""
        lane = frame.qos, frame.sender
        assert not self.owed.pop(lane, set()) - {frame.sender}
        for owed in self.owed_in(frame.qos):
            owed.discard(frame.sender)
        self.owed[lane] = {each.sender for each in self.waiting if each.qos is frame.qos}

    def who_has_nothing_more_is_owed_nothing(self) -> None:
        for qos in ORDER:
            present = {each.sender for each in self.waiting if each.qos is qos}
            for owed in self.owed_in(qos):
                owed &= present

    def owed_in(self, qos: QoS) -> list[set[str]]:
        return [owed for (lane, _), owed in self.owed.items() if lane is qos]

    @rule(milliseconds=st.integers(1, 30))
    def time_passes(self, milliseconds: int) -> None:
        self.now += milliseconds

    @rule()
    def expires(self) -> None:
        expired = self.queue.expire(self.now)
        assert {id(each) for each in expired} == {
            id(each) for each in self.waiting if each.expires_at <= self.now
        }
        self.waiting = [each for each in self.waiting if each.expires_at > self.now]
        self.who_has_nothing_more_is_owed_nothing()

    @rule(frames=st.integers(40, 60), stranger=st.booleans())
    def other_targets_get_something(self, frames: int, stranger: bool) -> None:
        if not self.elsewhere:
            self.elsewhere.append((frames, stranger))
            self.quotas.add("u", "d", QoS.RELIABLE, 0, stranger=stranger, frames=frames)

    @rule()
    def other_targets_are_done(self) -> None:
        for frames, stranger in self.elsewhere:
            self.quotas.give_back("u", "d", QoS.RELIABLE, 0, stranger=stranger, frames=frames)
        self.elsewhere.clear()

    @rule()
    def the_target_leaves(self) -> None:
        drained = self.queue.drain()
        for qos in ORDER:
            for sender in SENDERS:
                assert flow_of(drained, sender, qos) == flow_of(self.waiting, sender, qos)
        assert len(drained) == len(self.waiting)
        self.waiting.clear()
        self.owed.clear()

    @invariant()
    def everything_that_waits_is_there_in_order(self) -> None:
        found = list(self.queue)
        assert len(found) == len(self.queue) == len(self.waiting)
        for qos in ORDER:
            for sender in SENDERS:
                assert flow_of(found, sender, qos) == flow_of(self.waiting, sender, qos)

    @invariant()
    def the_quotas_know_what_waits(self) -> None:
        assert self.quotas.waiting_for("t") == load(self.waiting)
        assert self.quotas.bulk("t") == sum(each.qos is QoS.BULK for each in self.waiting)
        here = load(self.waiting)
        elsewhere = sum(frames for frames, _ in self.elsewhere)
        assert self.quotas.total == Load(here.frames + elsewhere, here.bytes)
        for sender in SENDERS:
            own = load(each for each in self.waiting if each.sender == sender)
            assert self.quotas.waiting_of(sender, "t") == own
            assert own.frames <= FRAMES // 4
            assert own.bytes <= BYTES // 4
        assert here.frames <= FRAMES
        assert here.bytes <= BYTES

    @invariant()
    def nothing_expires_before_it_is_said(self) -> None:
        deadline = self.queue.next_deadline
        soonest = min((each.expires_at for each in self.waiting), default=None)
        assert (deadline is None) == (soonest is None)
        assert deadline is None or soonest is None or deadline <= soonest


def is_of_one_flow(one: Stored, other: Stored) -> bool:
    return (one.sender, one.qos) == (other.sender, other.qos)


def flow_of(frames: Iterable[Stored], sender: str, qos: QoS) -> list[int | None]:
    return [each.sequence for each in frames if (each.sender, each.qos) == (sender, qos)]


def load(frames: Iterable[Stored]) -> Load:
    sizes = [len(each.data) for each in frames]
    return Load(len(sizes), sum(sizes))


def test_the_queue_agrees_with_the_model() -> None:
    run_state_machine_as_test(
        QueueMachine, settings=settings(max_examples=80, stateful_step_count=50, deadline=None)
    )
