"""The line below the input."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from thenodes_cli.prompt.toolbar import Glance, Glances, fit
from thenodes_core.control.access import LocalAccess
from thenodes_core.control.commands import Command, CommandTable, Reply

GLANCE = Glance("k6u33niqvrwoixzn3u5ci3lgkumqmef3", "default/1.0", 3, "1 of 2 relays", 2)


def text(glance: Glance, columns: int) -> str:
    return "  ".join(part for _, part in fit(glance, columns))


def test_a_wide_terminal_shows_all_of_it() -> None:
    assert text(GLANCE, 80) == "k6u33niqvrw…  default/1.0  3 peers  1 of 2 relays  2 unread errors"


def test_what_there_is_not_is_not_shown() -> None:
    assert text(Glance("kitchen", "home/1.0", 1), 80) == "kitchen  home/1.0  1 peer"


@pytest.mark.parametrize("columns", [60, 40, 20, 10, 3, 1])
def test_a_narrow_terminal_shows_what_fits_and_errors_to_the_last(columns: int) -> None:
    shown = text(GLANCE, columns)

    assert len(shown) <= columns
    assert shown[: columns - 2] in ("", shown) or "2 unread" in shown


def test_twenty_columns_hold_the_errors_or_the_peers() -> None:
    assert text(GLANCE, 20) == "2 unread errors"
    assert text(Glance("k6u33niqvrwoixzn", "default/1.0", 3), 20) == "3 peers"


def test_names_are_shown_without_control_characters() -> None:
    assert "\x1b" not in text(Glance("a\x1b[2J", "r\x1b", 0, "h\x1bub"), 80)


async def test_a_glance_is_taken_again_and_again_and_changes_are_told() -> None:
    connected = [0]
    told: list[int | None] = []

    async def glance(words: Sequence[str]) -> Reply:
        return Reply("", Glance("kitchen", "home/1.0", connected[-1]))

    table = CommandTable()
    table.add(Command("glance", "", glance, hidden=True))
    glances = Glances(
        LocalAccess(table),
        lambda: told.append(glances.last.peers if glances.last else None),
        seconds=0,
    )
    asking = asyncio.ensure_future(glances.run())
    for peers in (0, 0, 1):
        connected.append(peers)
        for _ in range(10):
            await asyncio.sleep(0)
    asking.cancel()

    assert told == [0, 1]


async def test_a_node_that_tells_nothing_has_no_toolbar() -> None:
    async def glance(words: Sequence[str]) -> Reply:
        return Reply("", {"other": 1})

    table = CommandTable()
    table.add(Command("glance", "", glance, hidden=True))
    for access in (LocalAccess(table), LocalAccess(CommandTable())):
        glances = Glances(access, lambda: None, seconds=0)
        asking = asyncio.ensure_future(glances.run())
        for _ in range(10):
            await asyncio.sleep(0)
        asking.cancel()

        assert glances.last is None
