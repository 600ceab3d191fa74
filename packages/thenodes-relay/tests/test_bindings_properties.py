"""Whatever is bound and left in whatever order: the tables say what a plain model says."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from thenodes_relay.bindings import STRANGER_ABSENCE_SECONDS, Bindings
from thenodes_relay.causes import Refused
from thenodes_relay.grants import Bound, Ended
from thenodes_relay.settings import Settings

NODES = st.sampled_from(["a", "b", "c", "d"])
STRANGERS = frozenset({"c", "d"})
RETENTION = 7200
LIMITS = Settings(
    store_forward=True, mailboxes_max=3, max_bindings_per_node=2, retention_secs=RETENTION
)


class Session:
    """One session of a node."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.is_over = False


class Box:
    """What the model knows of a mailbox."""

    def __init__(self, session: Session | None, until: float | None, left_at: float) -> None:
        self.session = session
        self.until = until
        self.left_at = left_at

    def is_over(self, node: str, now: float, is_empty: bool) -> bool:
        if self.until is not None and self.until <= now:
            return True
        if self.session is not None:
            return False
        absent = now - self.left_at
        return absent >= RETENTION or (
            node in STRANGERS and is_empty and absent >= STRANGER_ABSENCE_SECONDS
        )


class BindingsMachine(RuleBasedStateMachine):
    """Mailboxes and bindings, beside plain dictionaries."""

    sessions = Bundle("sessions")

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.filled: set[str] = set()
        self.tables: Bindings[Session] = Bindings(LIMITS, lambda node: node not in self.filled)
        self.boxes: dict[str, Box] = {}
        self.routes: dict[tuple[str, str], tuple[Session, float | None]] = {}

    @rule(target=sessions, node=NODES)
    def joins(self, node: str) -> Session:
        return Session(node)

    @rule(session=sessions, store=st.booleans(), lasts=st.none() | st.integers(-5, 9000))
    def opens_its_mailbox(self, session: Session, store: bool, lasts: int | None) -> None:
        if session.is_over:
            return
        node, until = session.node, None if lasts is None else self.now + lasts
        strangers = sum(each in STRANGERS for each in self.boxes)
        has_room = node in self.boxes or (
            len(self.boxes) < 3 and not (node in STRANGERS and strangers >= 1)
        )
        opened = self.tables.open_mailbox(
            session,
            node,
            f"key of {node}",
            b"card",
            store=store,
            stranger=node in STRANGERS,
            expires_at=until,
            nonce=None,
            now=self.now,
        )
        if isinstance(opened, Refused):
            assert not has_room or (lasts is not None and lasts <= 0)
            return
        assert has_room
        assert opened.is_new == (node not in self.boxes)
        self.boxes[node] = Box(session, until, self.now)

    @rule(
        session=sessions,
        to=NODES,
        store=st.booleans(),
        lasts=st.none() | st.integers(-5, 9000),
    )
    def binds(self, session: Session, to: str, store: bool, lasts: int | None) -> None:
        if session.is_over:
            return
        node, until = session.node, None if lasts is None else self.now + lasts
        is_sound = to != node and (lasts is None or lasts > 0)
        count = sum(binder == node for binder, _ in self.routes)
        has_room = count < 2 or (node, to) in self.routes
        bound = self.tables.bind(
            session,
            node,
            to,
            store=store,
            qos=None,
            expires_at=until,
            nonce=None,
            now=self.now,
        )
        granted = is_sound and has_room and not (store and to not in self.boxes)
        assert isinstance(bound, Bound) == granted
        if granted:
            self.routes[node, to] = (session, until)

    @rule(node=NODES, to=NODES)
    def unbinds(self, node: str, to: str) -> None:
        ended = self.tables.unbind(node, f"bind:{node}:{to}:0")
        gone = self.routes.pop((node, to), None)
        assert len(ended.bindings) == (gone is not None)
        self.check_told(ended)

    @rule(node=NODES)
    def closes_its_mailbox(self, node: str) -> None:
        ended = self.tables.unbind(node, f"bind:{node}:*:0")
        assert len(ended.mailboxes) == (self.boxes.pop(node, None) is not None)
        self.check_told(ended)

    @rule(session=sessions)
    def leaves(self, session: Session) -> None:
        session.is_over = True
        ended = self.tables.session_left(session, session.node, self.now)
        for key, (bound_over, _) in tuple(self.routes.items()):
            if bound_over is session:
                del self.routes[key]
        box = self.boxes.get(session.node)
        if box is not None and box.session is session:
            box.session, box.left_at = None, self.now
        assert not ended.mailboxes
        self.check_told(ended)

    @rule(node=NODES)
    def has_something_stored(self, node: str) -> None:
        self.filled.symmetric_difference_update({node})

    @rule(seconds=st.sampled_from([1, 600, 3600, 9000]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds
        ended = self.tables.expire(self.now)
        over = {key for key, (_, until) in self.routes.items() if until and until <= self.now}
        assert {(each.node, each.target) for each in ended.bindings} == over
        for key in over:
            del self.routes[key]
        for mailbox in ended.mailboxes:
            box = self.boxes.pop(mailbox.node)
            assert box.is_over(mailbox.node, self.now, mailbox.node not in self.filled)
        assert not any(box.is_over(node, self.now, False) for node, box in self.boxes.items())
        self.check_told(ended)

    def check_told(self, ended: Ended[Session]) -> None:
        assert all(notice.session.node == notice.node for notice in ended.notices)
        assert not any(notice.session.is_over for notice in ended.notices)

    @invariant()
    def bindings_are_those_of_the_model(self) -> None:
        found = {(each.node, each.target): (each.session, each.expires_at) for each in self.tables}
        assert found == self.routes
        assert self.tables.binding_count == len(self.routes)
        for node, target in self.routes:
            binding = self.tables.find(node, target)
            assert binding is not None
            assert binding in tuple(self.tables.bindings_to(target))
            assert binding.mailbox is self.tables.mailbox(target)

    @invariant()
    def mailboxes_are_those_of_the_model(self) -> None:
        found = {each.node: each.session for each in self.tables.mailboxes}
        assert found == {node: box.session for node, box in self.boxes.items()}
        assert self.tables.mailbox_count == len(self.boxes)
        assert self.tables.stranger_count == len(STRANGERS & self.boxes.keys()) <= 1

    @invariant()
    def what_ends_is_announced(self) -> None:
        ends: list[Any] = [until for _, until in self.routes.values() if until]
        ends += [box.until for box in self.boxes.values() if box.until]
        ends += [box.left_at + RETENTION for box in self.boxes.values() if box.session is None]
        deadline = self.tables.next_deadline
        assert not ends or (deadline is not None and deadline <= min(ends))


def test_the_tables_agree_with_the_model() -> None:
    run_state_machine_as_test(
        BindingsMachine, settings=settings(max_examples=60, stateful_step_count=40, deadline=None)
    )
