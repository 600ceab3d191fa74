"""Lines in, answers out, and Ctrl-C."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest

from thenodes_cli.prompt.above import LinesAbove
from thenodes_cli.prompt.conversation import Conversation
from thenodes_cli.prompt.shell import PromptShell
from thenodes_core.control.access import LocalAccess
from thenodes_core.control.commands import Command, CommandTable, Reply
from thenodes_core.errors import NoNode


class Talk:
    """A conversation with a node that follows, is slow, or is gone."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.answer = asyncio.Event()
        self.done: list[str] = []
        table = CommandTable()
        table.add(Command("slow", "answers late", self._slow))
        table.add(Command("gone", "is gone", self._gone))
        table.add(Command("follow", "goes on", self._slow, follow=lambda words: self._follow()))
        self.now = 0.0
        self.talk = Conversation(
            PromptShell(LocalAccess(table)), self._show, monotonic=lambda: self.now
        )

    async def _show(self, reply: Reply) -> None:
        self.shown.append(reply.text)

    async def _slow(self, words: Sequence[str]) -> Reply:
        await self.answer.wait()
        self.done.append("slow")
        return Reply("at last")

    async def _gone(self, words: Sequence[str]) -> Reply:
        raise NoNode("the node is gone")

    async def _follow(self) -> AsyncGenerator[Reply, None]:
        try:
            yield Reply("first")
            await self.answer.wait()
            yield Reply("second")
        finally:
            self.done.append("follow")

    async def begin(self, line: str) -> asyncio.Task[None]:
        """Say a line, until its command waits."""
        saying = asyncio.ensure_future(self.talk.say(line))
        for _ in range(10):
            await asyncio.sleep(0)
        return saying


@pytest.fixture
async def talk() -> Talk:
    return Talk()


async def test_what_goes_on_is_shown_as_it_comes_and_ends_by_itself(talk: Talk) -> None:
    saying = await talk.begin("follow")
    assert (talk.shown, talk.talk.goes_on) == (["first"], True)

    talk.answer.set()
    await saying

    assert (talk.shown, talk.talk.goes_on) == (["first", "second"], False)


async def test_an_interrupt_ends_what_goes_on(talk: Talk) -> None:
    saying = await talk.begin("follow")

    assert talk.talk.interrupt()
    await saying

    assert (talk.shown, talk.done) == (["first"], ["follow"])


async def test_an_interrupt_leaves_a_command_that_is_underway_to_itself(talk: Talk) -> None:
    saying = await talk.begin("slow")

    assert talk.talk.interrupt()
    await saying
    assert talk.shown == ["not waited for any longer; the command goes on"]
    talk.answer.set()
    for _ in range(10):
        await asyncio.sleep(0)

    assert talk.done == ["slow"]
    assert len(talk.shown) == 1


async def test_a_second_ctrl_c_within_a_second_means_the_same_as_the_first(talk: Talk) -> None:
    saying = await talk.begin("follow")
    talk.talk.interrupt()
    await saying

    talk.now = 0.9
    assert talk.talk.interrupt()
    talk.now = 1.0
    assert not talk.talk.interrupt()


async def test_once_another_line_was_typed_ctrl_c_means_the_prompt_again(talk: Talk) -> None:
    saying = await talk.begin("follow")
    talk.talk.interrupt()
    await saying
    await talk.talk.say("bogus")

    assert not talk.talk.interrupt()


async def test_without_an_answer_underway_there_is_nothing_to_interrupt(talk: Talk) -> None:
    assert not talk.talk.interrupt()


async def test_the_end_of_the_prompt_ends_what_was_left_to_itself(talk: Talk) -> None:
    saying = await talk.begin("slow")
    talk.talk.interrupt()
    await saying

    await talk.talk.close()
    talk.answer.set()
    await asyncio.sleep(0)

    assert talk.done == []


async def test_a_prompt_that_ends_meanwhile_ends_what_it_waits_for(talk: Talk) -> None:
    saying = await talk.begin("follow")

    saying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saying

    assert talk.done == ["follow"]


async def test_that_the_node_is_gone_is_raised(talk: Talk) -> None:
    with pytest.raises(NoNode):
        await talk.talk.say("gone")


class Above:
    """Lines above the input line, each print by itself."""

    def __init__(self, talk: Talk) -> None:
        self.printed: list[str] = []
        self.lines = LinesAbove(talk.talk, self._show, seconds=0)

    async def _show(self, text: str) -> None:
        self.printed.append(text)


async def test_lines_that_come_together_are_printed_together(talk: Talk) -> None:
    above = Above(talk)
    printing = asyncio.ensure_future(above.lines.run())
    above.lines.put("one")
    above.lines.put("two")
    for _ in range(5):
        await asyncio.sleep(0)
    above.lines.put("three")
    for _ in range(5):
        await asyncio.sleep(0)
    printing.cancel()

    assert above.printed == ["one\ntwo\n", "three\n"]


async def test_of_more_lines_than_can_be_read_the_rest_is_a_number(talk: Talk) -> None:
    above = Above(talk)
    for number in range(10_000):
        above.lines.put(str(number))

    printed = above.lines.take().splitlines()

    assert len(printed) == 201
    assert printed[-1] == "9800 lines were left out: too many to read"
    assert above.lines.take() == ""


async def test_lines_of_another_thread_are_printed_too(talk: Talk) -> None:
    above = Above(talk)
    printing = asyncio.ensure_future(above.lines.run())

    await asyncio.to_thread(above.lines.put, "from a thread")
    for _ in range(5):
        await asyncio.sleep(0)
    printing.cancel()

    assert above.printed == ["from a thread\n"]


async def test_lines_that_come_while_a_command_goes_on_are_left_out(talk: Talk) -> None:
    above = Above(talk)
    saying = await talk.begin("follow")
    above.lines.put("meanwhile")
    talk.talk.interrupt()
    await saying
    above.lines.put("afterwards")

    assert above.lines.take() == "afterwards\n"
