"""Frames without a QoS of their own, as the reference sends them."""

from __future__ import annotations

from pathlib import Path

from thenodes_plugin_api import PayloadForm, RelayBind, RelayForward

from .town import town
from .wire import Heard, raw, send_raw


async def test_the_qos_of_the_binding_counts_to_the_end(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        relay = await made.relay(stores=True)
        bob = await made.user("bob", seal="off")
        away = await made.outsider("reference", "relay-a")
        heard = Heard(away)
        await made.until(lambda: away.peers.service_session(relay.id))
        await made.until(lambda: relay.counters.get("relay_bound") == 1)
        to = bob.node.id
        asked = raw(RelayBind.code, [None, None, None, to, True, "reliable"])
        send_raw(away, relay.id, [asked])
        await made.until(heard.answers)

        frame = [None, None, None, to, away.id, 7]
        flags = PayloadForm.TEXT
        send_raw(away, relay.id, [raw(RelayForward.code, frame, b"hi", flags=flags)])
        await made.until(lambda: relay.counters.get("relay_acked"))
        await made.clock.advance(10)

        assert [(ack.sequence, ack.status) for ack in heard.acks()] == [(7, "stored")]
        assert bob.inbox.texts() == ["hi"]
        assert relay.counters.get("relay_redelivered") == 0
