"""The command `ping`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

import pytest

from thenodes_core.clock import ManualClock
from thenodes_core.control.commands import CommandTable, Reply
from thenodes_core.control.ping import Ping, Pings, add_ping_command
from thenodes_core.errors import CommandError, CommandFailed
from thenodes_plugin_api import NotConnected, RequestTimeout


class Peers:
    """`kitchen` and `hub` are connected, `attic` was reached through the hub, `cellar` is known."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.connected = {"kitchen", "hub"}
        self.via = {"attic": "hub"}
        self.times: list[float | Exception] = []
        self.asked: list[str] = []

    def peer_ids(self) -> Sequence[str]:
        return ["attic", "cellar", "hub", "kitchen"]

    def is_connected(self, node_id: str) -> bool:
        return node_id in self.connected

    def relay_of(self, node_id: str) -> str | None:
        return self.via.get(node_id)

    async def ping(self, node_id: str, *, timeout_seconds: float) -> float:
        self.asked.append(node_id)
        found = self.times.pop(0) if self.times else 0.001
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def peers() -> Peers:
    return Peers()


@pytest.fixture
def table(peers: Peers) -> CommandTable:
    table = CommandTable()
    add_ping_command(table, peers)
    return table


async def told(table: CommandTable, peers: Peers, line: str) -> list[Reply]:
    """Every answer, with the clock moved on as far as it takes."""

    async def collect() -> list[Reply]:
        async with aclosing(table.answers(line)) as answers:
            return [answer async for answer in answers]

    collecting = asyncio.ensure_future(collect())
    for _ in range(10):
        await peers.clock.advance(1.0)
    return await collecting


async def test_a_peer_is_pinged_four_times_a_second_apart(
    table: CommandTable, peers: Peers
) -> None:
    peers.times = [0.001, 0.004, 0.002, 0.010]

    *each, summary = await told(table, peers, "ping kitchen")

    assert [answer.text for answer in each] == [
        "1  kitchen: 1.00 ms",
        "2  kitchen: 4.00 ms",
        "3  kitchen: 2.00 ms",
        "4  kitchen: 10.00 ms",
    ]
    assert summary.text == "4 of 4 answered: min 1.00 ms, median 3.00 ms, max 10.00 ms"
    assert summary.data == Pings("kitchen", None, 4, 4, 0.001, 0.003, 0.010)
    assert all(answer.more for answer in each)


async def test_answers_come_as_they_happen(table: CommandTable, peers: Peers) -> None:
    async with aclosing(table.answers("ping kitchen 2")) as answers:
        first = await anext(answers)

        assert first.data == Ping("kitchen", None, 1, 0.001)
        assert peers.asked == ["kitchen"]


async def test_the_relay_is_pinged_for_a_node_behind_it_and_named(
    table: CommandTable, peers: Peers
) -> None:
    first, summary = await told(table, peers, "ping attic 1")

    assert peers.asked == ["hub"]
    assert first.text == "1  the relay hub, on the way to attic: 1.00 ms"
    assert first.data == Ping("attic", "hub", 1, 0.001)
    assert isinstance(summary.data, Pings)
    assert summary.data.via == "hub"


async def test_a_ping_without_an_answer_is_told_and_the_others_go_on(
    table: CommandTable, peers: Peers
) -> None:
    peers.times = [0.001, RequestTimeout("late"), 0.003]

    answers = await told(table, peers, "ping kitchen 3")

    assert answers[1].text == "2  kitchen: no answer within 5 s"
    assert answers[1].data == Ping("kitchen", None, 2, None)
    assert answers[-1].text == "2 of 3 answered: min 1.00 ms, median 2.00 ms, max 3.00 ms"


async def test_a_peer_that_answers_nothing_at_all_is_a_failure(
    table: CommandTable, peers: Peers
) -> None:
    peers.times = [RequestTimeout("late")] * 2

    with pytest.raises(CommandFailed, match="kitchen is connected, and answered no ping"):
        await told(table, peers, "ping kitchen 2")


async def test_a_peer_that_leaves_ends_it(table: CommandTable, peers: Peers) -> None:
    peers.times = [0.001, NotConnected("the session has ended")]

    with pytest.raises(CommandFailed, match="kitchen: the session has ended"):
        await told(table, peers, "ping kitchen")


async def test_an_unknown_peer_is_named_with_those_near(table: CommandTable) -> None:
    with pytest.raises(CommandFailed, match=r"'kitchn'.*near: kitchen"):
        await table.run("ping kitchn")


async def test_a_beginning_with_a_slip_is_told_whom_it_may_mean(table: CommandTable) -> None:
    with pytest.raises(CommandFailed, match=r"'kitx'.*near: kitchen"):
        await table.run("ping kitx")


async def test_the_beginning_of_an_id_names_a_peer(table: CommandTable, peers: Peers) -> None:
    await told(table, peers, "ping kit 1")

    assert peers.asked == ["kitchen"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("ping cellar", "peer connect cellar"),
        ("ping attic", "the relay hub, which is not connected"),
    ],
)
async def test_who_cannot_be_reached_now_is_said(
    table: CommandTable, peers: Peers, line: str, problem: str
) -> None:
    peers.connected = set()

    with pytest.raises(CommandFailed, match=problem):
        await table.run(line)


@pytest.mark.parametrize(
    "words",
    [
        "",
        "kitchen 0",
        "kitchen 1001",
        "kitchen x",
        "kitchen ²",
        "kitchen 1 2",
        pytest.param("kitchen 0000000009999", id="one that begins as a small number"),
        pytest.param(f"kitchen {'9' * 5000}", id="more digits than Python reads"),
    ],
)
async def test_other_words_are_refused(table: CommandTable, words: str) -> None:
    with pytest.raises(CommandError, match="ping"):
        await table.run(f"ping {words}")


async def test_the_longest_count_that_is_allowed_is_begun(
    table: CommandTable, peers: Peers
) -> None:
    async with aclosing(table.answers("ping kitchen 1000")) as answers:
        assert (await anext(answers)).text == "1  kitchen: 1.00 ms"


async def test_asked_for_one_answer_it_gives_all_lines_and_the_summary(
    table: CommandTable, peers: Peers
) -> None:
    running = asyncio.ensure_future(table.run("ping kitchen 2"))
    for _ in range(3):
        await peers.clock.advance(1.0)

    reply = await running

    assert len(reply.text.splitlines()) == 3
    assert isinstance(reply.data, Pings)
