"""The way in of a whole node: from its service's door to its plugins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from thenodes_core import Config, ManualClock, MemoryNetwork, Node
from thenodes_core.clock import settle
from thenodes_core.config import make_config
from thenodes_core.limits import Limits
from thenodes_core.protocol.card import Card, make_card, open_card
from thenodes_core.protocol.codec_bin import BinaryCodec
from thenodes_core.protocol.forward import pack_forward, read_run
from thenodes_core.security.identity import Identity
from thenodes_core.security.seal import Sealer
from thenodes_plugin_api import (
    CardRefused,
    Message,
    Payload,
    PayloadForm,
    Plugin,
    PluginContext,
    QoS,
    Realm,
    Settled,
    Text,
    Verified,
)
from thenodes_plugin_api.service import DeliveryHeader, ForwardHeader, Frame

WritePlugin = Callable[..., Path]

SERVICE = """
[service]
kinds = ["RELAY_FWD"]
table = "network.relay"
"""
BODY = """
abi = 1
async def on_start(self, ctx):
    self.door = ctx.service
"""
CODEC = BinaryCodec(Limits())
MONTH_MS = 30 * 86_400_000


class Hearing(Plugin):
    """Keeps what it hears; a test may hold it up."""

    abi = 1

    def __init__(self) -> None:
        self.heard: list[Message] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def on_message(self, message: Message, ctx: PluginContext) -> None:
        self.heard.append(message)
        await self.go_on.wait()


class Far:
    """A node that is reached, and reaches, through relays alone."""

    def __init__(self, realm: Realm, now_ms: int) -> None:
        identity = Identity.generate()
        self.identity = identity
        self.node_id = identity.node_id
        card = Card(
            identity.node_id,
            identity.public_key,
            bytes(32),
            realm,
            ("relay-1",),
            now_ms,
            now_ms + MONTH_MS,
        )
        self.card = make_card(card, identity.sign)
        self.sealer = Sealer(self.node_id, realm, identity.sign, lambda: self.card)

    def seal(self, node: Node, number: int, qos: QoS = QoS.HIGH_THROUGHPUT) -> Frame:
        now_ms = int(node.clock.time() * 1000)
        delivery = DeliveryHeader(
            number.to_bytes(16, "big"), created_at=now_ms, expires_at=now_ms + 60_000
        )
        header = ForwardHeader(None, None, delivery, node.id, self.node_id, number, str(qos))
        enclosed = CODEC.encode(Message(Text(f"message {number}"), Payload.binary(b"x")))
        assert node.peers.local.card is not None
        key = open_card(node.peers.local.card, now_ms=now_ms).sealing_key
        body = self.sealer.seal(header, enclosed, key)
        data = pack_forward(header, PayloadForm.SEALED, body, Limits())
        (frame,), _ = read_run(data, 0, Limits())
        return frame


class House:
    """One node with a service, and with a plugin that hears."""

    def __init__(self, stack: AsyncExitStack, tree: Path, state_dir: Path) -> None:
        self.stack = stack
        self.tree = tree
        self.state_dir = state_dir
        self.clock = ManualClock(1_800_000_000.0)
        self.hearing = Hearing()
        self.settled: list[Settled] = []

    def config(self, **relay: Any) -> Config:
        return make_config(
            {
                "port": 0,
                "node": {"state_dir": str(self.state_dir)},
                "network": {"relay": {"enabled": True, **relay}},
                "plugins": {"paths": [str(self.tree)]},
            }
        ).config

    def make(self, **relay: Any) -> Node:
        return Node(
            self.config(**relay),
            plugins={"hearing": self.hearing},
            transport=MemoryNetwork(clock=self.clock),
            clock=self.clock,
        )

    async def open(self, **relay: Any) -> Node:
        return await self.stack.enter_async_context(self.make(**relay))

    def deliver(self, node: Node, *frames: Frame) -> None:
        door(node).deliver("relay-1", frames, lambda frame, settled: self.settled.append(settled))

    async def until_settled(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.settled) < count:
                await asyncio.sleep(0)


def door(node: Node) -> Any:
    """The door of its service."""
    (slot,) = [slot for slot in node._host.roster if slot.plugin_id == "relay"]
    return slot.loaded.plugin.door  # type: ignore[attr-defined]


@pytest.fixture
async def house(write_plugin: WritePlugin, tmp_path: Path) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        tree = write_plugin("relay", extra=SERVICE, body=BODY)
        yield House(stack, tree, tmp_path / "state")


async def test_what_a_relay_brings_reaches_plugins(house: House) -> None:
    node = await house.open()
    far = Far(node.realm, int(house.clock.time() * 1000))

    house.deliver(node, far.seal(node, 1))
    await settle()

    (message,) = house.hearing.heard
    assert (message.body, message.sender) == (Text("message 1"), far.node_id)
    assert message.verified is Verified.SEAL
    assert node.counters.get("relayed_received") == 1


async def test_what_a_relay_brings_waits_for_plugins(house: House) -> None:
    node = await house.open()
    far = Far(node.realm, int(house.clock.time() * 1000))
    house.hearing.go_on.clear()

    house.deliver(node, *(far.seal(node, number) for number in range(4000)))
    before = node.peers._services.is_crowded()
    house.deliver(node, *(far.seal(node, number) for number in range(4000, 4100)))

    assert (before, node.peers._services.is_crowded()) == (False, True)
    house.hearing.go_on.set()


async def test_a_revocation_counts_for_relayed_senders_at_once(house: House) -> None:
    node = await house.open()
    far = Far(node.realm, int(house.clock.time() * 1000))
    house.deliver(node, far.seal(node, 1))

    node.trust.revoke(far.identity.fingerprint)
    house.deliver(node, far.seal(node, 2))
    await settle()

    assert len(house.hearing.heard) == 1
    assert node.counters.get("relayed_dropped", reason="untrusted") == 1
    assert door(node).card_of(far.node_id) is None


async def test_a_reliable_message_is_acknowledged_when_its_handler_has_returned(
    house: House,
) -> None:
    node = await house.open()
    far = Far(node.realm, int(house.clock.time() * 1000))
    house.hearing.go_on.clear()
    house.deliver(node, far.seal(node, 1, QoS.RELIABLE))
    await settle()
    assert (len(house.hearing.heard), house.settled) == (1, [])

    house.hearing.go_on.set()
    await house.until_settled(1)

    assert house.settled == [Settled("ok")]


async def test_after_a_restart_plugins_do_not_get_again_what_they_had(house: House) -> None:
    async with house.make() as node:
        far = Far(node.realm, int(house.clock.time() * 1000))
        frames = [far.seal(node, number, QoS.RELIABLE) for number in (1, 2)]
        house.deliver(node, frames[0])
        await house.until_settled(1)

    again = await house.open()
    house.deliver(again, *frames)
    await house.until_settled(3)

    heard = [message.body for message in house.hearing.heard]
    assert heard == [Text("message 1"), Text("message 2")]
    assert house.settled == [Settled("ok"), Settled("dup"), Settled("ok")]


async def test_relays_that_are_signed_into_the_card_are_shown_to_peers(house: House) -> None:
    node = await house.open()

    card = door(node).sign_card(["relay-1", "relay-2"])

    assert node.peers.local.card == card
    assert door(node).read_card(card).relays == ("relay-1", "relay-2")
    assert door(node).sign_card(["relay-1", "relay-2"]) is card
    with pytest.raises(ValueError, match="in a card"):
        door(node).sign_card([f"relay-{number}" for number in range(9)])


async def test_a_card_that_is_handed_on_is_learned(house: House) -> None:
    node = await house.open()
    far = Far(node.realm, int(house.clock.time() * 1000))

    assert door(node).learn_card(far.card).relays == ("relay-1",)

    assert door(node).card_of(far.node_id).node_id == far.node_id
    with pytest.raises(CardRefused):
        door(node).learn_card(node.peers.local.card)


async def test_unsealed_messages_are_heard_where_sealing_is_off(house: House) -> None:
    node = await house.open(seal="off")
    frame = Far(node.realm, int(house.clock.time() * 1000)).seal(node, 1)
    enclosed = CODEC.encode(Message(Text("in the clear")))
    data = pack_forward(frame.header, PayloadForm.FRAME, enclosed, Limits())

    house.deliver(node, Frame(frame.header, data))
    await settle()

    (message,) = house.hearing.heard
    assert (message.body, message.verified) == (Text("in the clear"), Verified.NONE)
