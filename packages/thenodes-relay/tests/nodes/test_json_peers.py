"""Nodes that speak JSON with their relay reach those that speak binary, and are reached."""

from __future__ import annotations

from pathlib import Path

import pytest

from thenodes_plugin_api import DeliveryOptions, DeliveryStatus, Payload, QoS, Text, Verified

from .town import Town, User, town

JSON, BINARY = "thenodes.v1.json", "thenodes.v1.bin"
PAYLOADS = [Payload.text("hi"), Payload.json({"a": [1, "\u2028"]}), Payload.binary(bytes(200_000))]


async def user(made: Town, name: str, encoding: str, seal: str) -> User:
    """A user that speaks so with its relay."""
    made.network.subprotocol = encoding
    started = await made.user(name, seal=seal)
    await made.until(started.node.peers.all)
    (peer,) = started.node.peers.all()
    assert peer.encoding == ("json" if encoding == JSON else "binary")
    return started


@pytest.mark.parametrize("seal", ["required", "off"])
@pytest.mark.parametrize(("one", "other"), [(JSON, BINARY), (BINARY, JSON), (JSON, JSON)])
async def test_messages_come_through_a_relay_whatever_each_side_speaks(
    one: str, other: str, seal: str, tmp_path: Path
) -> None:
    async with town(tmp_path) as made:
        relay = await made.relay(stores=True)
        alice, bob = await user(made, "alice", one, seal), await user(made, "bob", other, seal)
        to = bob.node.id
        await made.until(lambda: relay.counters.get("relay_bound") == 2)

        async def send(payload: Payload, options: DeliveryOptions) -> DeliveryStatus:
            sending = alice.inbox.ctx.send(to, Text(""), payload, options=options)
            return (await made.result(sending)).status

        for payload in PAYLOADS:
            assert await send(payload, DeliveryOptions()) is DeliveryStatus.SENT
            confirmed = DeliveryOptions(qos=QoS.RELIABLE, confirm=True)
            assert await send(payload, confirmed) is DeliveryStatus.DELIVERED
        question = alice.inbox.ctx.request(to, "inbox.ask", Payload.text("who?"))
        answer = await made.result(question)
        await made.stop("bob")
        away = Payload.text("while you were away")
        assert await send(away, DeliveryOptions(qos=QoS.RELIABLE)) is DeliveryStatus.STORED
        again = await user(made, "bob", other, seal)
        await made.until(lambda: again.inbox.messages)

        assert answer.payload == Payload.text("who?")
        had = [message.payload for message in bob.inbox.messages]
        assert had == [payload for payload in PAYLOADS for _ in range(2)]
        assert again.inbox.texts() == ["while you were away"]
        proven = Verified.SEAL if seal == "required" else Verified.NONE
        assert {message.verified for message in bob.inbox.messages} == {proven}
        assert relay.counters.get("relay_forwarded") > 0
        assert relay.counters.get("relay_delivered_from_store") >= 4
        assert relay.counters.get("messages_dropped", reason="no_envelope") == 0
