"""A defect in a command, and a line of very many words: neither harms the node."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Sequence

import pytest

from thenodes_core import Config, Node
from thenodes_core.control.commands import Command, CommandTable, Reply
from thenodes_core.errors import CommandError, CommandFailed, StateDirError

WORDS = 30_000


class Broken:
    """A command that has a defect, or is refused by something of the node's."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self.ended = 0

    async def run(self, words: Sequence[str]) -> Reply:
        raise self._error

    def follow(self, words: Sequence[str]) -> AsyncGenerator[Reply, None] | None:
        return self._follow() if words else None

    async def _follow(self) -> AsyncGenerator[Reply, None]:
        try:
            yield Reply("one")
            raise self._error
        finally:
            self.ended += 1


class Defects:
    """Told of defects."""

    def __init__(self) -> None:
        self.told: list[Exception] = []

    async def supervise(self, work: Awaitable[object]) -> bool:
        try:
            await work
        except Exception as error:
            self.told.append(error)
            return False
        return True


def table_with(broken: Broken, defects: Defects) -> CommandTable:
    table = CommandTable(defects.supervise)
    table.add(Command("broken", "", broken.run, follow=broken.follow))
    return table


async def test_a_defect_in_a_command_is_told_and_fails_the_command() -> None:
    defect, defects = KeyError("x"), Defects()
    table = table_with(Broken(defect), defects)

    with pytest.raises(CommandFailed, match="internal error; the node's log says more"):
        await table.run("broken")

    assert defects.told == [defect]


async def test_a_defect_amid_answers_is_told_and_ends_them() -> None:
    broken, defects = Broken(KeyError("x")), Defects()
    answers = table_with(broken, defects).answers("broken on")

    first = await anext(answers)
    with pytest.raises(CommandFailed, match="internal error"):
        await anext(answers)

    assert (first.text, first.more, broken.ended, len(defects.told)) == ("one", True, 1, 1)


async def test_a_command_that_is_refused_is_no_defect() -> None:
    defects = Defects()

    with pytest.raises(CommandError, match="not so") as raised:
        await table_with(Broken(CommandError("not so")), defects).run("broken")
    with pytest.raises(CommandFailed, match="state: no room"):
        await table_with(Broken(StateDirError("state: no room")), defects).run("broken")

    assert type(raised.value) is CommandError
    assert defects.told == []


async def test_a_node_counts_the_defects_of_its_commands(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Node(Config(port=0)) as node:
        node.commands.add(Command("broken", "", Broken(KeyError("x")).run))
        with caplog.at_level(logging.CRITICAL), pytest.raises(CommandFailed):
            await node.commands.run("broken")

        assert node.counters.get("internal_errors") == 1


@pytest.mark.timeout(2)
async def test_a_line_of_very_many_words_is_read_at_once() -> None:
    table = CommandTable()

    async def count(words: Sequence[str]) -> Reply:
        return Reply(str(len(words)))

    table.add(Command("count the words", "", count))

    assert (await table.run(f"count the words {'a ' * WORDS}")).text == str(WORDS)
    with pytest.raises(CommandError, match="unknown command"):
        await table.run("a " * WORDS)
