"""What waits for a plugin, and how much of it."""

from __future__ import annotations

from thenodes_core.plugins.inbox import Inbox
from thenodes_plugin_api import Message, Payload, Text


def message(size: int = 0) -> Message:
    return Message(Text("x"), Payload.binary(bytes(size)) if size else None, "b")


def test_what_was_put_in_waits_in_order() -> None:
    inbox = Inbox()
    first, second = message(1), message(2)

    inbox.put([first, second])

    assert [*inbox.items] == [first, second]


def test_of_items_that_do_not_fit_the_first_are_taken() -> None:
    inbox = Inbox()

    assert inbox.put([message()] * 8195) == 3
    assert len(inbox.items) == 8192


def test_bytes_count_too_until_they_are_freed() -> None:
    inbox = Inbox()
    big = message(16 * 1024 * 1024)

    assert [inbox.put([big]), inbox.put([message(1)])] == [0, 1]
    inbox.items.popleft()
    before = inbox.put([big])
    inbox.free(16 * 1024 * 1024)
    assert (before, inbox.put([big])) == (1, 0)


def test_bytes_that_are_freed_after_it_was_emptied_make_no_room_that_is_not_there() -> None:
    inbox = Inbox()
    inbox.put([message(5)])
    inbox.clear()

    inbox.free(5)

    assert [inbox.put([message(16 * 1024 * 1024)]), inbox.put([message(1)])] == [0, 1]


def test_emptying_tells_how_much_was_in_it_and_makes_room() -> None:
    inbox = Inbox()
    big = message(16 * 1024 * 1024)
    inbox.put([big])

    assert inbox.clear() == 1
    assert inbox.put([big]) == 0


def test_half_full_is_crowded() -> None:
    inbox = Inbox()

    inbox.put([message()] * 4095)
    before = inbox.crowded
    inbox.put([message()])

    assert (before, inbox.crowded) == (False, True)
