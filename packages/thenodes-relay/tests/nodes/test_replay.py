"""Sealed frames that were recorded, and are sent again: by the relay, by others, changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs

from thenodes_core import Node
from thenodes_plugin_api import DeliveryOptions, ForwardHeader, Frame, Payload, QoS, Text

from .town import Town, User, town
from .wire import Heard, Tap, bind, raw, send_raw

_FORWARD = 7
_DAY = 86_400.0


class Recorded:
    """A relay, alice and bob; and one frame of each QoS that went between them.

    Attributes:
        frames: as they left alice.
    """

    def __init__(self, relay: Node, alice: User, bob: User, frames: list[Frame]) -> None:
        self.relay = relay
        self.alice = alice
        self.bob = bob
        self.frames = frames

    @property
    def data(self) -> list[bytes]:
        """The frames' bytes."""
        return [frame.data for frame in self.frames]


async def record(made: Town) -> Recorded:
    """Let alice send one message of each QoS to bob, and record the frames on their way."""
    tap = made.network.doubles = Tap()
    relay = await made.relay(stores=True)
    alice, bob = await made.user("alice"), await made.user("bob")
    await made.until(lambda: relay.counters.get("relay_bound") >= 2)
    for qos in QoS:
        options = DeliveryOptions(qos=qos, ttl_seconds=_DAY)
        sending = alice.inbox.ctx.send(bob.node.id, Text(""), Payload.text(qos), options=options)
        await made.result(sending)
    await made.until(lambda: len(bob.inbox.messages) == len(QoS))
    await made.until(lambda: relay.counters.get("relay_acked") == 1)
    first = {str(frame.header.qos): frame for frame in reversed(tap.frames)}
    assert len(first) == len(QoS)
    return Recorded(relay, alice, bob, list(first.values()))


async def come(made: Town, node: Node, count: int) -> None:
    """Wait until so many frames came to a node since its start, and were dealt with."""
    await made.until(lambda: node.counters.get("relay_client_received") >= count)
    await made.clock.advance(5)


async def test_a_relay_that_sends_recorded_frames_again_reaches_no_plugin(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        seen = await record(made)
        bob = seen.bob
        for wait in (0, 60, 3700):
            await made.clock.advance(wait)
            await made.until(lambda: seen.relay.peers.service_session(bob.node.id))
            came = bob.node.counters.get("relay_client_received")
            send_raw(seen.relay, bob.node.id, seen.data)
            await come(made, bob.node, came + len(QoS))

        assert len(bob.inbox.messages) == len(QoS)
        assert bob.node.counters.get("relayed_dropped", reason="duplicate") == 3 * len(QoS)
        assert seen.relay.counters.get("relay_acked") == 1


async def test_after_its_receivers_restart_a_reliable_frame_reaches_no_plugin_again(
    tmp_path: Path,
) -> None:
    async with town(tmp_path) as made:
        seen = await record(made)
        await made.stop("bob")
        bob = await made.user("bob")
        await made.until(lambda: seen.relay.counters.get("relay_bound") >= 4)
        reliable = [frame.data for frame in seen.frames if frame.header.qos == QoS.RELIABLE]
        send_raw(seen.relay, bob.node.id, reliable * 3)
        await come(made, bob.node, 3)

        assert bob.inbox.messages == []
        assert bob.node.counters.get("relayed_dropped", reason="duplicate") == 3


async def test_after_its_expiry_a_recorded_frame_reaches_no_plugin_whatever_is_forgotten(
    tmp_path: Path,
) -> None:
    async with town(tmp_path) as made:
        seen = await record(made)
        await made.stop("bob")
        (made.state("bob") / "received.sqlite3").unlink()
        made.clocks["bob"].ahead_seconds += _DAY + 1
        bob = await made.user("bob")
        await made.until(lambda: seen.relay.peers.service_session(bob.node.id))
        send_raw(seen.relay, bob.node.id, seen.data)
        await come(made, bob.node, len(QoS))

        assert bob.inbox.messages == []
        assert bob.node.counters.get("relayed_dropped", reason="expired") == len(QoS)


async def test_another_node_that_sends_recorded_frames_is_refused_by_the_relay(
    tmp_path: Path,
) -> None:
    async with town(tmp_path) as made:
        seen = await record(made)
        mallory = await made.outsider("mallory", "relay-a")
        heard = Heard(mallory)
        await made.until(lambda: mallory.peers.service_session(seen.relay.id))
        send_raw(mallory, seen.relay.id, [bind(seen.bob.node.id)])
        await made.until(heard.answers)
        send_raw(mallory, seen.relay.id, seen.data)
        await made.until(lambda: len(heard.notices()) == len(QoS))
        await made.clock.advance(5)

        assert len(seen.bob.inbox.messages) == len(QoS)
        assert seen.relay.counters.get("relay_dropped", reason="unauthenticated") == len(QoS)


async def test_another_node_that_sends_recorded_frames_as_its_own_is_refused_by_the_receiver(
    tmp_path: Path,
) -> None:
    async with town(tmp_path) as made:
        seen = await record(made)
        mallory = await made.outsider("mallory", "relay-a")
        heard = Heard(mallory)
        await made.until(lambda: mallory.peers.service_session(seen.relay.id))
        send_raw(mallory, seen.relay.id, [bind(seen.bob.node.id)])
        await made.until(heard.answers)
        own = [altered(frame, sender=mallory.id) for frame in seen.frames]
        send_raw(mallory, seen.relay.id, own)
        await come(made, seen.bob.node, 2 * len(QoS))

        assert len(seen.bob.inbox.messages) == len(QoS)
        assert seen.bob.node.counters.get("relayed_dropped", reason="other_sender") == len(QoS)
        # The reliable one is at an end, and its origin was told.
        assert seen.relay.counters.get("relay_dropped", reason="declined") == 1


async def test_a_frame_that_comes_straight_from_a_node_reaches_no_plugin_again(
    tmp_path: Path,
) -> None:
    async with town(tmp_path) as made:
        seen = await record(made)
        bob_address = seen.bob.node.address
        mallory = await made.outsider("mallory", dials=(bob_address,))
        await made.until(lambda: mallory.peers.service_session(seen.bob.node.id))
        send_raw(mallory, seen.bob.node.id, seen.data)
        await come(made, seen.bob.node, 2 * len(QoS))

        assert len(seen.bob.inbox.messages) == len(QoS)
        assert seen.bob.node.counters.get("relayed_dropped", reason="duplicate") == len(QoS)
        assert seen.relay.counters.get("relay_forwarded") == len(QoS) - 1


def with_delivery(**changes: object) -> Callable[[ForwardHeader], ForwardHeader]:
    """A header with other delivery data."""

    def change(header: ForwardHeader) -> ForwardHeader:
        assert header.delivery is not None
        return structs.replace(header, delivery=structs.replace(header.delivery, **changes))

    return change


def shifted(field: str, milliseconds: int) -> Callable[[ForwardHeader], ForwardHeader]:
    """A header with another time."""

    def change(header: ForwardHeader) -> ForwardHeader:
        time = getattr(header.delivery, field)
        return with_delivery(**{field: time + milliseconds})(header)

    return change


CHANGES: dict[str, Callable[[ForwardHeader], ForwardHeader]] = {
    "message_id": with_delivery(message_id=bytes(range(16))),
    "expires_at": shifted("expires_at", 1),
    "created_at": shifted("created_at", -1),
    "sequence": lambda header: structs.replace(header, sequence=(header.sequence or 0) + 1),
    "qos": lambda header: structs.replace(
        header, qos="bulk" if header.qos == "reliable" else "reliable"
    ),
    "no qos": lambda header: structs.replace(header, qos=None),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_recorded_frame_with_a_changed_header_reaches_no_plugin(
    tmp_path: Path, change: str
) -> None:
    async with town(tmp_path) as made:
        seen = await record(made)
        changed = [altered(frame, CHANGES[change]) for frame in seen.frames]
        send_raw(seen.relay, seen.bob.node.id, changed)
        await come(made, seen.bob.node, 2 * len(QoS))

        assert len(seen.bob.inbox.messages) == len(QoS)
        assert seen.bob.node.counters.get("relayed_dropped", reason="tampered") == len(QoS)
        assert seen.relay.counters.get("relay_forwarded") == len(QoS) - 1


def altered(
    frame: Frame,
    change: Callable[[ForwardHeader], ForwardHeader] = lambda header: header,
    **fields: object,
) -> bytes:
    """The frame's body under a changed header."""
    data = frame.data
    body_at = 8 + int.from_bytes(data[6:8], "big")
    header = structs.replace(change(frame.header), **fields)
    return raw(_FORWARD, header, data[body_at:], flags=data[5])
