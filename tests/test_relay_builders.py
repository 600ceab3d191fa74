"""The builders of relay messages, as plugin authors write them, on nodes that share a relay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from thenodes_core import Config, DiscoveryTable, NetworkTable, Node, NodeTable, RelayTable
from thenodes_plugin_api import (
    DeliveryStatus,
    Extension,
    Message,
    Payload,
    PayloadTooLarge,
    Plugin,
    PluginContext,
    Reason,
    RelayBindBuilder,
    RelayForwardBuilder,
    Text,
    Verified,
)

NOBODY = "a" * 32


class Inbox(Plugin):
    """Keeps what comes."""

    abi = 1

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.ctx: PluginContext

    async def on_start(self, ctx: PluginContext) -> None:
        self.ctx = ctx

    async def on_message(self, message: Message, ctx: PluginContext) -> None:
        self.messages.append(message)


class Three:
    """A relay and two nodes that know nobody but it."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self.hub: Node
        self.inboxes: dict[str, Inbox] = {}

    async def start(self) -> None:
        self.hub = await self._start("hub", RelayTable(enabled=True, store_forward=True))
        for name in ("me", "target"):
            self.inboxes[name] = Inbox()
            table = RelayTable(use=(self.hub.address,))
            node = await self._start(name, table, inbox=self.inboxes[name])
            await node.wait_for(self.hub.id)
        await until(lambda: self.hub.counters.get("relay_bound") >= 2)

    async def _start(self, name: str, table: RelayTable, **plugins: Plugin) -> Node:
        config = Config(
            port=0,
            node=NodeTable(state_dir=str(self._folder / name)),
            discovery=DiscoveryTable(enabled=False),
            network=NetworkTable(relay=table),
        )
        return await self._stack.enter_async_context(Node(config, plugins=plugins))


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[Three]:
    async with AsyncExitStack() as stack:
        made = Three(tmp_path, stack)
        await made.start()
        yield made


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(15):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_route_is_granted_with_its_limits(three: Three) -> None:
    ctx, target = three.inboxes["me"].ctx, three.inboxes["target"].ctx.node_id
    me, relay = ctx.node_id, three.hub.id
    bound = three.hub.counters.get("relay_bound")

    ack = await (
        RelayBindBuilder(me, target).store_forward(True).qos("reliable").ttl(3600).send(ctx, relay)
    )

    assert (ack.ok, ack.reason, ack.peer_present) == (True, None, True)
    assert ack.binding_id is not None
    assert ack.binding_id.startswith(f"bind:{me}:{target}:")
    assert ack.limits is not None
    assert ack.limits.queue_frames == 1024
    assert ack.target_card is not None
    assert three.hub.counters.get("relay_bound") == bound + 1


async def test_a_refusal_is_an_answer(three: Three) -> None:
    ctx = three.inboxes["me"].ctx

    ack = await RelayBindBuilder(ctx.node_id, NOBODY).store_forward(True).send(ctx, three.hub.id)
    away = await RelayBindBuilder(ctx.node_id, NOBODY).send(ctx, NOBODY)

    assert (ack.ok, ack.reason) == (False, Reason.UNKNOWN_TARGET)
    assert three.hub.counters.get("relay_refused_binds", reason="unknown_target") >= 1
    assert (away.ok, away.reason) == (False, Reason.PEER_LEFT)


async def test_every_payload_arrives_with_its_sender_proven(three: Three) -> None:
    ctx, inbox = three.inboxes["me"].ctx, three.inboxes["target"]
    to, relay = inbox.ctx.node_id, ctx.peers.all()[0]

    outcomes = [
        await RelayForwardBuilder(ctx.node_id, to).sequence(42).payload_text("a").send(ctx, relay),
        await RelayForwardBuilder(ctx.node_id, to).payload_json({"n": 1}).send(ctx, relay),
        await RelayForwardBuilder(ctx.node_id, to).payload_binary(b"\x00").send(ctx, relay),
        await RelayForwardBuilder(ctx.node_id, to).body(Extension("inbox.x")).send(ctx, relay),
    ]
    await until(lambda: len(inbox.messages) == 4)

    assert [outcome.status for outcome in outcomes] == [DeliveryStatus.SENT] * 4
    assert {outcome.relay for outcome in outcomes} == {three.hub.id}
    assert [message.payload for message in inbox.messages] == [
        Payload.text("a"),
        Payload.json({"n": 1}),
        Payload.binary(b"\x00"),
        None,
    ]
    assert [message.body for message in inbox.messages] == [Text("")] * 3 + [Extension("inbox.x")]
    for message in inbox.messages:
        assert (message.sender, message.verified) == (ctx.node_id, Verified.SEAL)
    assert three.hub.counters.get("relay_forwarded") == 4


async def test_a_reliable_message_is_stored_and_a_confirmed_one_was_had(three: Three) -> None:
    ctx, inbox = three.inboxes["me"].ctx, three.inboxes["target"]
    me, to, relay = ctx.node_id, inbox.ctx.node_id, three.hub.id

    stored = await RelayForwardBuilder(me, to).qos("reliable").payload_text("1").send(ctx, relay)
    had = await RelayForwardBuilder(me, to).confirm().payload_text("2").send(ctx, relay)

    assert (stored.status, had.status) == (DeliveryStatus.STORED, DeliveryStatus.DELIVERED)
    assert [m.payload for m in inbox.messages] == [Payload.text("1"), Payload.text("2")]
    assert three.hub.counters.get("relay_stored") == 2
    await until(lambda: three.hub.counters.get("relay_acked") == 2)


async def test_what_cannot_be_forwarded_says_why(three: Three) -> None:
    ctx = three.inboxes["me"].ctx
    me, relay = ctx.node_id, three.hub.id

    builder = RelayForwardBuilder(me, NOBODY).payload_text("hi")
    outcome = await builder.send(ctx, relay, timeout_seconds=0.5)
    away = await builder.send(ctx, NOBODY, timeout_seconds=0.5)

    assert (outcome.status, away.status) == (DeliveryStatus.REFUSED, DeliveryStatus.REFUSED)
    assert (outcome.reason, away.reason) == (Reason.UNKNOWN_TARGET, Reason.PEER_LEFT)
    assert outcome.detail
    to = three.inboxes["target"].ctx.node_id
    with pytest.raises(PayloadTooLarge):
        await RelayForwardBuilder(me, to).payload_binary(bytes(256 * 1024)).send(ctx, relay)
