"""Links that break in mid-frame every two seconds, and messages that come twice."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest

from thenodes_core import Node
from thenodes_core.session.session import Session
from thenodes_plugin_api import (
    Ack,
    DeliveryOptions,
    DeliveryStatus,
    Frame,
    Message,
    Payload,
    QoS,
    RelayForward,
    SendError,
    Text,
)

from .town import Town, User, town

_CUT_SECONDS = 2.0
# Messages that begin with RELAY_FWD or an ACK: after a cut these are sent once more.
_DOUBLED = (RelayForward.code, Ack.code)
_SENDERS = ("alice", "carol", "dave")
_RELAYS = ("relay-a", "relay-b")


class Stream:
    """Messages of one sender: what it sent, and what became of it.

    Attributes:
        sent: the numbers, in order, by QoS.
        stored: numbers of reliable messages that a relay has.
        ids: their message ids, and the numbers.
    """

    def __init__(self, sender: User) -> None:
        self.sender = sender
        self.sent: dict[QoS, list[int]] = defaultdict(list)
        self.stored: list[int] = []
        self.ids: dict[bytes, int] = {}

    async def send(self, town: Town, to: str, count: int, chance: random.Random) -> None:
        """Send so many, one after the other, each of a QoS by chance."""
        for number in range(count):
            await self._send_one(to, number, chance.choice(list(QoS)))
            await town.clock.sleep(chance.choice((0.0, 0.0, 0.1, 0.3)))

    async def _send_one(self, to: str, number: int, qos: QoS) -> None:
        self.sent[qos].append(number)
        text = Payload.text(f"{qos} {number}")
        options = DeliveryOptions(qos=qos)
        # What is not reliable may be lost; nobody sends it again.
        with contextlib.suppress(SendError):
            outcome = await self.sender.inbox.ctx.send(
                to, Text(""), text, options=options, timeout_seconds=120.0
            )
            assert outcome.message_id is not None
            self.ids[outcome.message_id.bytes] = number
            if outcome.status is DeliveryStatus.STORED:
                self.stored.append(number)


def received(user: User, sender: User) -> dict[QoS, list[int]]:
    """The numbers that came of a sender, in order, by QoS."""
    numbers: dict[QoS, list[int]] = defaultdict(list)
    for message in user.inbox.messages:
        if message.sender == sender.node.id:
            qos, _, number = _text(message).partition(" ")
            numbers[QoS(qos)].append(int(number))
    return numbers


def _text(message: Message) -> str:
    assert message.payload is not None
    return message.payload.as_text()


class Watched:
    """What each relay brought a node, in order; a frame that it brought before left out."""

    def __init__(self, node: Node) -> None:
        self.brought: dict[tuple[str, str, str], dict[bytes, None]] = defaultdict(dict)
        takers = node.peers._services.takers
        take = takers.frames
        assert take is not None

        def watch(session: Session, frames: Sequence[Frame]) -> bool:
            for frame in frames:
                header = frame.header
                assert header.delivery is not None
                key = (session.node_id, header.sender, str(header.qos))
                self.brought[key].setdefault(header.delivery.message_id)
            return take(session, frames)

        takers.frames = watch

    def is_in_order(self, stream: Stream) -> bool:
        """Whether every relay brought a sender's messages of each QoS in order."""
        for (_, sender, _), ids in self.brought.items():
            if sender == stream.sender.node.id:
                numbers = [stream.ids[each] for each in ids if each in stream.ids]
                if numbers != sorted(numbers):
                    return False
        return True


async def keep_cutting(town: Town) -> None:
    """Cut every link in mid-frame, again and again."""
    while True:
        await town.clock.sleep(_CUT_SECONDS)
        town.network.cut_in_message()


async def run_streams(made: Town, seed: int, count: int, relays: tuple[str, ...]) -> None:
    """Send from all to bob while links are cut; then see what he has."""
    chance = random.Random(seed)
    nodes = [await made.relay(name, stores=True) for name in relays]
    senders = [await made.user(name, *relays) for name in _SENDERS]
    bob = await made.user("bob", *relays)
    watched = Watched(bob.node)
    users = len(senders) + 1
    await made.until(lambda: all(node.counters.get("relay_bound") >= users for node in nodes))
    made.network.doubles = lambda message: message[4] in _DOUBLED and chance.random() < 0.3
    streams = [Stream(sender) for sender in senders]
    cutting = asyncio.ensure_future(keep_cutting(made))
    sending = asyncio.gather(
        *(stream.send(made, bob.node.id, count, random.Random(seed)) for stream in streams)
    )
    await made.until(sending.done, 60 + 2.0 * count)
    await sending
    cutting.cancel()
    wanted = sum(len(stream.sent[QoS.RELIABLE]) for stream in streams)
    await made.until(lambda: _reliable(bob) >= wanted, 120)
    await made.clock.advance(40)

    for stream in streams:
        _judge(stream, received(bob, stream.sender), relays=len(relays))
        assert watched.is_in_order(stream)
    _judge_counters(nodes, bob, wanted)


def _reliable(user: User) -> int:
    return sum(_text(message).startswith("reliable") for message in user.inbox.messages)


def _judge(stream: Stream, came: dict[QoS, list[int]], *, relays: int) -> None:
    assert stream.stored == stream.sent[QoS.RELIABLE]
    assert sorted(came[QoS.RELIABLE]) == stream.sent[QoS.RELIABLE]
    for qos in QoS:
        assert len(set(came[qos])) == len(came[qos])
        assert set(came[qos]) <= set(stream.sent[qos])
        if relays == 1:
            assert came[qos] == sorted(came[qos]), qos


def _judge_counters(relays: list[Node], bob: User, wanted: int) -> None:
    assert sum(relay.counters.get("relay_acked") for relay in relays) >= wanted
    assert sum(relay.counters.get("relay_forwarded") for relay in relays) > 0
    again = ("relay_redelivered", "relay_duplicates")
    assert sum(relay.counters.get(name) for relay in relays for name in again) > 0
    assert bob.node.counters.get("relayed_dropped", reason="duplicate") > 0
    for node in (*relays, bob.node):
        faults = [name for name in node.counters.snapshot() if name.startswith("plugin_faults")]
        assert faults == []


@pytest.mark.parametrize("seed", range(3))
async def test_every_message_comes_as_its_qos_says_while_links_are_cut(
    tmp_path: Path, seed: int
) -> None:
    async with town(tmp_path) as made:
        await run_streams(made, seed, 120, ("relay-a",))


async def test_two_relays_lose_no_reliable_message_while_links_are_cut(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        await run_streams(made, 7, 120, _RELAYS)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("relays", [("relay-a",), _RELAYS])
@pytest.mark.parametrize("seed", range(4))
async def test_thousands_of_messages_come_as_their_qos_says_while_links_are_cut(
    tmp_path: Path, seed: int, relays: tuple[str, ...]
) -> None:
    async with town(tmp_path) as made:
        await run_streams(made, seed, 1500, relays)
