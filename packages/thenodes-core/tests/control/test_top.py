"""The command `top`: what a second brought, and how it is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

import pytest
from msgspec import structs

from thenodes_core.clock import ManualClock
from thenodes_core.control.commands import CommandTable, Reply
from thenodes_core.control.sample import Inbox, KindRate, Rate, Sample, SessionRate
from thenodes_core.control.top import Sampler, add_top_command
from thenodes_core.control.top_text import render
from thenodes_core.errors import CommandError
from thenodes_core.session.numbers import SessionNumbers
from thenodes_core.session.tally import Traffic
from thenodes_plugin_api import Extension, Text

KITCHEN = SessionNumbers("kitchen", 1.0, 10, 1000, 20, 2000, 0, 0, 0.004)


class Node:
    """What the command looks at; `looks` counts how often it does."""

    node_id = "here"

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.lag_seconds = 0.0012
        self.sessions: list[SessionNumbers] = [KITCHEN]
        self.boxes: list[Inbox] = []
        self.total = Traffic()
        self.hubs: frozenset[str] = frozenset()
        self.looks = 0

    @property
    def traffic(self) -> Traffic:
        return self.total

    def numbers(self) -> Sequence[SessionNumbers]:
        self.looks += 1
        return list(self.sessions)

    def relays(self) -> frozenset[str]:
        return self.hubs

    def inboxes(self) -> Sequence[Inbox]:
        return self.boxes

    def receives(self, code: int, frames: int, size: int) -> None:
        self.total.received.frames[code] += frames
        self.total.received.bytes[code] += size

    def sends(self, code: int, frames: int, size: int) -> None:
        self.total.sent.frames[code] += frames
        self.total.sent.bytes[code] += size


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def table(node: Node) -> CommandTable:
    table = CommandTable()
    add_top_command(table, node)
    return table


async def sample_after(node: Node, sampler: Sampler, seconds: float) -> Sample:
    await node.clock.advance(seconds)
    return sampler.sample()


async def test_rates_are_of_the_time_between_two_samples(node: Node) -> None:
    node.receives(Text.code, 1000, 1_000_000)
    sampler = Sampler(node)
    node.receives(Text.code, 20, 400)
    node.sends(Extension.code, 10, 5000)

    sample = await sample_after(node, sampler, 2.0)

    assert (sample.received, sample.sent) == (Rate(10.0, 200.0), Rate(5.0, 2500.0))
    assert sample.kinds == [
        KindRate("EXTENSION", Rate(), Rate(5.0, 2500.0)),
        KindRate("TEXT", Rate(10.0, 200.0), Rate()),
    ]
    quiet = await sample_after(node, sampler, 1.0)
    assert (quiet.received, quiet.kinds) == (Rate(), [])


async def test_the_busiest_sessions_come_first(node: Node) -> None:
    attic = SessionNumbers("attic", 1.0, 0, 0, 0, 0, 0, 0, None)
    node.sessions = [attic, KITCHEN]
    node.hubs = frozenset({"kitchen"})
    sampler = Sampler(node)
    node.sessions = [
        SessionNumbers("attic", 1.0, 1, 50, 0, 0, 3, 300, None),
        SessionNumbers("kitchen", 1.0, 12, 1200, 21, 2100, 0, 0, 0.004),
    ]

    sample = await sample_after(node, sampler, 1.0)

    assert sample.sessions == [
        SessionRate("kitchen", "relay", Rate(1.0, 100.0), Rate(2.0, 200.0), 0, 0, 0.004),
        SessionRate("attic", "direct", Rate(), Rate(1.0, 50.0), 3, 300, None),
    ]
    assert (sample.outbox_frames, sample.outbox_bytes, sample.waiting_peers) == (3, 300, 1)


async def test_another_session_with_a_peer_counts_from_its_start(node: Node) -> None:
    sampler = Sampler(node)
    node.sessions = [SessionNumbers("kitchen", 2.0, 1, 30, 2, 40, 0, 0, None)]

    sample = await sample_after(node, sampler, 1.0)

    (session,) = sample.sessions
    assert (session.received, session.sent) == (Rate(2.0, 40.0), Rate(1.0, 30.0))


async def test_no_rate_is_below_nothing(node: Node) -> None:
    sampler = Sampler(node)
    node.sessions = [SessionNumbers("kitchen", 1.0, 9, 900, 20, 2000, 1, 100, None)]

    sample = await sample_after(node, sampler, 1.0)

    assert sample.sessions[0].sent == Rate()


async def test_of_many_sessions_forty_are_told_and_all_are_counted(node: Node) -> None:
    node.sessions = [
        SessionNumbers(f"n{number}", 1.0, 0, 0, 0, 0, 1, 10, None) for number in range(41)
    ]

    sample = await sample_after(node, Sampler(node), 1.0)

    assert (sample.session_count, len(sample.sessions), sample.waiting_peers) == (41, 40, 41)


async def test_the_fullest_inboxes_come_first(node: Node) -> None:
    node.boxes = [Inbox("a", 1, 10), Inbox("b", 5, 50)]

    sample = await sample_after(node, Sampler(node), 1.0)

    assert sample.inboxes == [Inbox("b", 5, 50), Inbox("a", 1, 10)]


async def test_of_many_plugins_forty_are_told(node: Node) -> None:
    node.boxes = [Inbox(f"plugin-{number}", number, 0) for number in range(60)]
    sampler = Sampler(node)

    inboxes = sampler.sample().inboxes

    assert (len(inboxes), inboxes[0].plugin, inboxes[-1].plugin) == (40, "plugin-59", "plugin-20")


async def test_there_is_a_sample_a_second_each_in_the_place_of_the_one_before(
    node: Node, table: CommandTable
) -> None:
    found: list[Reply] = []

    async def look() -> None:
        async with aclosing(table.answers("top --json")) as answers:
            async for answer in answers:
                found.append(answer)  # noqa: PERF401  # each as it comes

    looking = asyncio.ensure_future(look())
    await node.clock.advance(0.9)
    assert found == []
    await node.clock.advance(2.1)
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)

    assert len(found) == 3
    assert all(answer.replaces and answer.more and answer.as_json for answer in found)
    assert isinstance(found[0].data, Sample)


async def test_nothing_is_looked_at_while_nobody_looks(node: Node, table: CommandTable) -> None:
    await node.clock.advance(60.0)
    assert node.looks == 0
    looking = asyncio.ensure_future(table.run("top --once"))
    await node.clock.advance(1.0)
    await looking
    looks = node.looks

    await node.clock.advance(60.0)

    assert node.looks == looks == 2


async def test_once_is_one_answer(node: Node, table: CommandTable) -> None:
    assert table.follow("top --once") is None
    running = asyncio.ensure_future(table.run("top --once"))

    await node.clock.advance(1.0)

    assert (await running).text.startswith("here")


@pytest.mark.parametrize("words", ["5", "--twice", "--once --once"])
async def test_other_words_are_refused(table: CommandTable, words: str) -> None:
    with pytest.raises(CommandError, match="top"):
        table.follow(f"top {words}")


def a_sample(kinds: int = 6, sessions: int = 40, node_id: str = "n" * 32) -> Sample:
    return Sample(
        at=1.0,
        node_id=node_id,
        interval_seconds=1.0,
        received=Rate(123456.0, 9.9e9),
        sent=Rate(123456.0, 9.9e9),
        kinds=[KindRate(f"KIND_{n}", Rate(9.0, 9.0), Rate()) for n in range(kinds)],
        session_count=500,
        sessions=[
            SessionRate(f"peer-{n:027}", "direct", Rate(1.0, 1e6), Rate(), 12, 5000, 0.0123)
            for n in range(sessions)
        ],
        outbox_frames=12,
        outbox_bytes=5000,
        waiting_peers=1,
        inboxes=[Inbox("kvstore", 12, 100)],
        lag_seconds=0.0012,
    )


@pytest.mark.parametrize("columns", [20, 38, 60, 80, 200])
@pytest.mark.parametrize("rows", [5, 12, 24, 60])
def test_it_fits_into_a_terminal_of_any_size(columns: int, rows: int) -> None:
    lines = render(a_sample(), columns=columns, rows=rows)

    assert len(lines) <= rows
    assert max(map(len, lines)) <= columns


def test_what_80_by_24_has_room_for_is_shown() -> None:
    lines = render(a_sample(), columns=80, rows=24)

    assert "500 peers  loop late by 1.2 ms" in lines[0]
    assert lines[1] == "in 123,456 messages/s, 9.9 GB/s   out 123,456 messages/s, 9.9 GB/s"
    assert "outboxes 12 frames, 5.0 kB, of 1" in lines
    assert "inboxes  kvstore 12" in lines
    assert "and 3 more kinds" in lines
    head = next(line for line in lines if line.startswith("PEER"))
    assert head.split() == ["PEER", "PATH", "IN/s", "OUT/s", "QUEUE", "RTT"]
    assert sum(line.startswith("peer-") for line in lines) == 24 - lines.index(head) - 1


def test_a_narrow_terminal_drops_columns_and_no_numbers_in_them() -> None:
    lines = render(a_sample(), columns=40, rows=24)

    head = next(line for line in lines if line.startswith("PEER"))
    assert head.split() == ["PEER", "IN/s", "OUT/s", "QUEUE"]
    row = next(line for line in lines if line.startswith("peer-"))
    assert row.split()[1:] == ["1.0", "MB", "0", "B", "5.0", "kB"]


def test_ids_with_escape_sequences_are_shown_escaped() -> None:
    sample = a_sample(node_id="a\x1b[2Jb")

    assert all(line.isprintable() for line in render(sample))
    assert render(sample)[0].startswith("a\\x1b[2Jb")


def test_what_peers_are_called_is_shown_escaped() -> None:
    sample = a_sample(sessions=1)
    (session,) = sample.sessions
    evil = structs.replace(sample, sessions=[structs.replace(session, node_id="a\x1b[2Jb")])

    assert all(line.isprintable() for line in render(evil))


def test_a_node_without_peers_is_shown() -> None:
    lines = render(a_sample(kinds=0, sessions=0))

    assert lines[-1].split() == ["PEER", "PATH", "IN/s", "OUT/s", "QUEUE", "RTT"]
