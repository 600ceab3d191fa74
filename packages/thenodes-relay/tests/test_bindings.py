"""Mailboxes and bindings: what is granted, refused and told (design: relay.md, Contract)."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from thenodes_plugin_api import QoS, Reason
from thenodes_relay.bindings import LONGEST_SECONDS, STRANGER_ABSENCE_SECONDS, Bindings
from thenodes_relay.causes import Cause, Refused
from thenodes_relay.grants import Binding, Bound, Ended, Mailbox, Opened
from thenodes_relay.settings import Settings

NOW = 1_000_000.0
HOUR, WEEK = 3600.0, 7 * 86_400.0


class Table:
    """Bindings whose sessions are words, with a clock."""

    def __init__(self, **settings: Any) -> None:
        self.now = NOW
        self.filled: set[str] = set()
        self.bindings: Bindings[str] = Bindings(
            Settings(**({"store_forward": True} | settings)), lambda node: node not in self.filled
        )

    def open(self, node: str, session: str | None = None, **given: Any) -> Opened[str] | Refused:
        arguments = {
            "store": True,
            "stranger": False,
            "expires_at": None,
            "nonce": None,
            "now": self.now,
            "fingerprint": f"key of {node}",
            "card": b"card",
        } | given
        return self.bindings.open_mailbox(the(session or f"{node}'s"), node, **arguments)

    def opened(self, node: str, session: str | None = None, **given: Any) -> Mailbox[str]:
        opened = self.open(node, session, **given)
        assert isinstance(opened, Opened)
        return opened.mailbox

    def bind(
        self, node: str, target: str, session: str | None = None, **given: Any
    ) -> Bound[str] | Refused:
        arguments = {
            "store": False,
            "qos": None,
            "expires_at": None,
            "nonce": None,
            "now": self.now,
        } | given
        return self.bindings.bind(the(session or f"{node}'s"), node, target, **arguments)

    def bound(
        self, node: str, target: str, session: str | None = None, **given: Any
    ) -> Binding[str]:
        bound = self.bind(node, target, session, **given)
        assert isinstance(bound, Bound)
        return bound.binding

    def leave(self, node: str, session: str | None = None) -> Ended[str]:
        return self.bindings.session_left(the(session or f"{node}'s"), node, self.now)

    def expire(self, after: float) -> Ended[str]:
        self.now += after
        return self.bindings.expire(self.now)


def the(session: str) -> str:
    """A session is compared by identity."""
    return sys.intern(session)


def cause(answer: object) -> Cause:
    assert isinstance(answer, Refused)
    return answer.cause


def told(ended: Ended[str]) -> set[tuple[str, str, str]]:
    """Who is told over which session of which binding."""
    return {(notice.node, notice.session, notice.binding_id) for notice in ended.notices}


def test_a_node_with_a_mailbox_can_be_bound_and_its_card_is_at_hand() -> None:
    table = Table()
    mailbox = table.opened("b", card=b"card of b")

    binding = table.bound("a", "b", store=True, qos="bulk", nonce=7)

    assert table.bindings.find("a", "b") is binding
    assert binding.mailbox is mailbox
    assert (mailbox.card, mailbox.session) == (b"card of b", "b's")
    assert (binding.qos, binding.stores, binding.binding_id) == (QoS.BULK, True, "bind:a:b:7")


def test_nothing_is_bound_the_other_way_round() -> None:
    table = Table()
    table.opened("a")
    table.opened("b")
    table.bound("a", "b")

    assert table.bindings.find("b", "a") is None


def test_frames_that_name_no_qos_are_of_high_throughput_unless_the_binding_says_otherwise() -> None:
    assert Table().bound("a", "b").qos is QoS.HIGH_THROUGHPUT


def test_a_binding_to_a_target_without_a_mailbox_gets_it_when_it_is_opened() -> None:
    table = Table()
    binding = table.bound("a", "b")
    assert binding.mailbox is None

    mailbox = table.opened("b")

    assert binding.mailbox is mailbox


@pytest.mark.parametrize(("by_binding", "by_mailbox"), [(True, False), (False, True)])
def test_nothing_is_stored_unless_binding_and_mailbox_ask_for_it(
    by_binding: bool, by_mailbox: bool
) -> None:
    table = Table()
    table.opened("b", store=by_mailbox)

    assert not table.bound("a", "b", store=by_binding).stores


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"target": ""}, Cause.NO_TARGET),
        ({"target": "no:id"}, Cause.NO_TARGET),
        ({"target": "x" * 129}, Cause.NO_TARGET),
        ({"target": "a"}, Cause.SELF_TARGET),
        ({"qos": "fastest"}, Cause.UNKNOWN_QOS),
        ({"expires_at": NOW}, Cause.EXPIRED_BIND),
        ({"expires_at": NOW - 1}, Cause.EXPIRED_BIND),
        ({"expires_at": -(10**400)}, Cause.EXPIRED_BIND),
        ({"nonce": 1 << 64}, Cause.BAD_NONCE),
        ({"nonce": -(10**400)}, Cause.BAD_NONCE),
        ({"target": "nobody", "store": True}, Cause.NO_MAILBOX_TO_STORE),
    ],
)
def test_a_bind_that_cannot_hold_is_refused(given: dict[str, Any], expected: Cause) -> None:
    table = Table()
    table.opened("b")

    assert cause(table.bind("a", **({"target": "b"} | given))) is expected
    assert table.bindings.binding_count == 0


@pytest.mark.parametrize("given", [{"store": True}, {"qos": "reliable"}])
def test_a_relay_that_stores_nothing_grants_no_storing(given: dict[str, Any]) -> None:
    table = Table(store_forward=False)
    table.opened("b", store=False)

    assert cause(table.bind("a", "b", **given)) is Cause.STORE_OFF
    assert cause(table.open("a", store=True)) is Cause.STORE_OFF


def test_a_mailbox_that_has_expired_already_is_refused() -> None:
    table = Table()

    assert cause(table.open("a", expires_at=NOW)) is Cause.EXPIRED_BIND
    assert table.bindings.mailbox("a") is None


def test_numbers_that_no_store_could_hold_do_no_harm() -> None:
    table = Table()

    mailbox = table.opened("b", expires_at=10**400)

    assert table.bound("a", "b", expires_at=10**400).expires_at == NOW + LONGEST_SECONDS
    assert mailbox.ends_at == table.bindings.next_deadline == NOW + LONGEST_SECONDS
    assert cause(table.open("c", nonce=10**400)) is Cause.BAD_NONCE


def test_a_bind_with_the_same_nonce_is_told_what_stands() -> None:
    table = Table()
    table.opened("b", nonce=1)
    table.bound("a", "b", nonce=2)

    again = [table.open("b", nonce=1), table.bind("a", "b", nonce=2, qos="bulk")]

    assert [cause(answer) for answer in again] == [Cause.REPEATED_NONCE] * 2
    assert isinstance(again[1], Refused)
    assert "bind:a:b:2" in again[1].detail
    assert table.bound("a", "b", nonce=3).qos is QoS.HIGH_THROUGHPUT


def test_a_bind_with_another_nonce_or_none_renews() -> None:
    table = Table()
    table.opened("b")
    table.bound("a", "b", nonce=1, expires_at=NOW + 10)

    renewed = table.bind("a", "b", nonce=2, qos="bulk", store=True, expires_at=NOW + 100)

    assert isinstance(renewed, Bound)
    assert not renewed.is_new
    assert renewed.binding.qos is QoS.BULK
    assert table.bindings.find("a", "b") is renewed.binding
    assert table.bindings.binding_count == 1
    assert not table.expire(10).bindings
    assert table.expire(90).bindings == [renewed.binding]


def test_a_renewal_that_is_refused_changes_nothing() -> None:
    table = Table()
    binding = table.bound("a", "b", nonce=1)

    assert cause(table.bind("a", "b", store=True, nonce=2)) is Cause.NO_MAILBOX_TO_STORE
    assert table.bindings.find("a", "b") is binding


def test_the_same_nonce_over_another_session_renews() -> None:
    table = Table()
    table.opened("b", "first", nonce=1)
    table.bound("a", "b", "first", nonce=1)

    assert table.opened("b", "second", nonce=1).session == "second"
    assert table.bound("a", "b", "second", nonce=1).session == "second"


def test_the_mailbox_stays_the_same_object_when_it_is_renewed() -> None:
    table = Table()
    mailbox = table.opened("b", card=b"old")
    binding = table.bound("a", "b")

    renewed = table.open("b", card=b"new", store=False)

    assert isinstance(renewed, Opened)
    assert (renewed.is_new, renewed.mailbox) == (False, mailbox)
    assert binding.mailbox is mailbox
    assert (mailbox.card, mailbox.store) == (b"new", False)


def test_one_node_binds_so_many_targets_and_no_more() -> None:
    table = Table(max_bindings_per_node=3)
    answers = [table.bind("a", f"t{number}") for number in range(10_000)]

    refused = [answer for answer in answers if isinstance(answer, Refused)]
    assert len(refused) == 9_997
    assert {(each.cause, each.reason) for each in refused} == {
        (Cause.TOO_MANY_BINDINGS, Reason.QUOTA)
    }
    assert "max_bindings_per_node = 3" in refused[0].detail
    assert isinstance(table.bind("a", "t0"), Bound)
    assert isinstance(table.bind("other", "t0"), Bound)


def test_the_relay_opens_so_many_mailboxes_and_no_more() -> None:
    table = Table(mailboxes_max=2)
    table.opened("a")
    table.opened("b")

    refused = table.open("c")

    assert isinstance(refused, Refused)
    assert (refused.cause, refused.reason) == (Cause.MAILBOXES_FULL, Reason.OVERLOAD)
    assert "mailboxes_max = 2" in refused.detail
    assert isinstance(table.open("a"), Opened)


def test_strangers_have_half_of_the_mailboxes() -> None:
    table = Table(mailboxes_max=4)
    table.opened("s1", stranger=True)
    table.opened("s2", stranger=True)

    refused = table.open("s3", stranger=True)

    assert isinstance(refused, Refused)
    assert (refused.cause, refused.reason) == (Cause.STRANGERS_MAILBOXES_FULL, Reason.QUOTA)
    assert isinstance(table.open("s2", stranger=True), Opened)
    assert isinstance(table.open("friend"), Opened)
    assert table.bindings.stranger_count == 2


def test_a_stranger_that_is_trusted_meanwhile_makes_room_for_another() -> None:
    table = Table(mailboxes_max=2)
    table.opened("s1", stranger=True)
    table.opened("s1", stranger=False)

    assert isinstance(table.open("s2", stranger=True), Opened)


def test_a_mailbox_outlives_the_session_by_the_retention_time() -> None:
    table = Table(retention_secs=int(WEEK))
    mailbox = table.opened("b")
    assert table.bindings.next_deadline is None

    table.leave("b")

    assert (mailbox.session, mailbox.ends_at) == (None, NOW + WEEK)
    assert table.bindings.next_deadline == NOW + WEEK
    assert not table.expire(WEEK - 1).mailboxes
    assert table.expire(1).mailboxes == [mailbox]
    assert table.bindings.mailbox("b") is None


def test_an_owner_that_came_back_keeps_its_mailbox() -> None:
    table = Table()
    mailbox = table.opened("b")
    table.leave("b")
    table.opened("b", "next")

    assert not table.expire(2 * WEEK).mailboxes
    assert (mailbox.session, mailbox.ends_at) == ("next", None)


def test_a_mailbox_that_was_asked_for_until_then_ends_then_whoever_is_there() -> None:
    table = Table()
    table.opened("there", expires_at=NOW + 10)
    table.opened("away", expires_at=NOW + 10)
    table.leave("away")

    ended = table.expire(10)

    assert {mailbox.node for mailbox in ended.mailboxes} == {"there", "away"}
    assert told(ended) == {("there", "there's", "bind:there:*:0")}


def test_a_strangers_empty_mailbox_ends_after_an_hours_absence() -> None:
    table = Table()
    stranger = table.opened("s", stranger=True)
    table.opened("friend")
    table.leave("s")
    table.leave("friend")

    assert not table.expire(STRANGER_ABSENCE_SECONDS - 1).mailboxes
    assert table.expire(1).mailboxes == [stranger]
    assert table.bindings.mailbox("friend") is not None


def test_a_strangers_mailbox_with_something_in_it_stays_until_it_is_empty() -> None:
    table = Table()
    stranger = table.opened("s", stranger=True)
    table.filled.add("s")
    table.leave("s")

    assert not table.expire(HOUR).mailboxes
    table.filled.clear()
    assert table.expire(HOUR).mailboxes == [stranger]


def test_a_strangers_mailbox_with_something_in_it_ends_with_the_retention_time() -> None:
    table = Table(retention_secs=int(2.5 * HOUR))
    stranger = table.opened("s", stranger=True)
    table.filled.add("s")
    table.leave("s")

    assert not table.expire(2 * HOUR).mailboxes
    assert table.expire(HOUR / 2).mailboxes == [stranger]


def test_a_present_strangers_empty_mailbox_stays() -> None:
    table = Table()
    table.opened("s", stranger=True)

    assert not table.expire(2 * WEEK).mailboxes


def test_named_bindings_end_with_the_binders_session_and_the_targets_are_told() -> None:
    table = Table()
    table.opened("b")
    table.opened("away")
    table.leave("away")
    table.bound("a", "b", nonce=1)
    table.bound("a", "away", nonce=2)

    ended = table.leave("a")

    assert {binding.target for binding in ended.bindings} == {"b", "away"}
    assert told(ended) == {("b", "b's", "bind:a:b:1")}
    assert table.bindings.find("a", "b") is None
    assert table.bindings.binding_count == 0


def test_those_who_bound_a_target_that_leaves_are_told_and_keep_their_bindings() -> None:
    table = Table()
    mailbox = table.opened("b")
    binding = table.bound("a", "b", nonce=1)

    ended = table.leave("b")

    assert told(ended) == {("a", "a's", "bind:a:b:1")}
    assert not ended.mailboxes
    assert table.bindings.find("a", "b") is binding
    assert binding.mailbox is mailbox


def test_a_session_that_was_replaced_takes_nothing_with_it_that_the_new_one_bound() -> None:
    table = Table()
    table.opened("a", "old")
    table.bound("a", "b", "old")
    table.bound("a", "c", "old")
    table.opened("a", "new")
    table.bound("a", "b", "new")

    ended = table.leave("a", "old")

    assert [binding.target for binding in ended.bindings] == ["c"]
    mailbox = table.bindings.mailbox("a")
    assert mailbox is not None
    assert mailbox.session == "new"
    assert table.bindings.find("a", "b") is not None


def test_a_node_that_does_not_open_its_mailbox_again_stays_away() -> None:
    table = Table()
    mailbox = table.opened("b", "old")
    table.bound("b", "c", "new")
    table.leave("b", "old")

    assert mailbox.session is None


def test_what_expired_is_gone_and_both_ends_are_told() -> None:
    table = Table()
    table.opened("b")
    binding = table.bound("a", "b", nonce=1, expires_at=NOW + 5)

    assert not table.expire(4).notices
    ended = table.expire(1)

    assert ended.bindings == [binding]
    assert told(ended) == {("a", "a's", "bind:a:b:1"), ("b", "b's", "bind:a:b:1")}
    assert table.bindings.next_deadline is None


def test_unbinding_tells_the_other_end() -> None:
    table = Table()
    table.opened("b")
    binding = table.bound("a", "b", nonce=9)

    ended = table.bindings.unbind("a", "bind:a:b:9")

    assert ended.bindings == [binding]
    assert told(ended) == {("b", "b's", "bind:a:b:9")}
    assert table.bindings.find("a", "b") is None


def test_a_mailbox_that_its_owner_closes_is_gone_for_everybody() -> None:
    table = Table()
    mailbox = table.opened("b", nonce=3)
    binding = table.bound("a", "b", nonce=1)

    ended = table.bindings.unbind("b", "bind:b:*:3")

    assert ended.mailboxes == [mailbox]
    assert told(ended) == {("a", "a's", "bind:a:b:1")}
    assert binding.mailbox is None
    assert table.bindings.mailbox_count == 0


@pytest.mark.parametrize(
    ("node", "binding_id"),
    [
        ("b", "bind:a:b:1"),
        ("c", "bind:a:b:1"),
        ("a", "bind:a:b:2"),
        ("a", "bind:a:c:1"),
        ("a", "bind:b:*:0"),
        ("b", "bind:b:*:7"),
        ("a", "nonsense"),
        ("a", ""),
    ],
)
def test_nobody_unbinds_what_is_not_its_own(node: str, binding_id: str) -> None:
    table = Table()
    table.opened("b")
    table.bound("a", "b", nonce=1)

    assert table.bindings.unbind(node, binding_id) == Ended()
    assert table.bindings.find("a", "b") is not None
    assert table.bindings.mailbox("b") is not None


def test_an_id_that_comes_with_another_key_gets_a_mailbox_of_its_own() -> None:
    table = Table()
    old = table.opened("b", fingerprint="one", nonce=1)
    binding = table.bound("a", "b")

    opened = table.open("b", fingerprint="other", nonce=1, session="next")

    assert isinstance(opened, Opened)
    assert opened.is_new
    assert opened.ended.mailboxes == [old]
    assert told(opened.ended) == {("a", "a's", binding.binding_id)}
    assert binding.mailbox is opened.mailbox
    assert table.bindings.mailbox_count == 1


def test_a_mailbox_from_before_a_restart_waits_for_its_owner() -> None:
    table = Table(retention_secs=int(WEEK))
    mailbox = table.bindings.restore(
        "b", "key of b", b"card", store=True, stranger=False, ends_at=NOW + HOUR, now=NOW
    )
    table.bindings.restore(
        "c", "key of c", b"card", store=True, stranger=False, ends_at=None, now=NOW
    )
    assert table.bound("a", "b", store=True).mailbox is mailbox
    assert mailbox.session is None

    assert [each.node for each in table.expire(HOUR).mailboxes] == ["b"]
    assert [each.node for each in table.expire(WEEK - HOUR).mailboxes] == ["c"]


def test_an_owner_that_comes_back_after_a_restart_has_its_mailbox() -> None:
    table = Table()
    mailbox = table.bindings.restore(
        "b", "key of b", b"card", store=True, stranger=True, ends_at=NOW + HOUR, now=NOW
    )

    opened = table.open("b", stranger=True)

    assert isinstance(opened, Opened)
    assert (opened.mailbox, opened.is_new) == (mailbox, False)
    assert not table.expire(2 * WEEK).mailboxes


def test_a_clock_that_is_set_back_lets_nothing_end_early() -> None:
    table = Table()
    table.opened("b")
    table.leave("b")

    assert not table.expire(-HOUR).mailboxes
    assert not table.expire(WEEK).mailboxes
    assert table.expire(HOUR).mailboxes
