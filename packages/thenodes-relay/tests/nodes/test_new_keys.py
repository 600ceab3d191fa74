"""How many session keys peers may bring, by what they are to the node."""

from __future__ import annotations

from pathlib import Path

import msgspec

from thenodes_plugin_api import DeliveryHeader, ForwardHeader, PayloadForm, RelayForward

from .false_relay import FalseRelay
from .town import User, town
from .wire import raw, send_raw

NOBODYS_SEAL = msgspec.msgpack.encode(
    [1, bytes(8), bytes(80), 0, 0, bytes(64), b"no card", b"nothing"]
)


def under_made_up_names(to: User, count: int) -> list[bytes]:
    """Frames that each say to be of somebody else, each under a session key of its own."""
    now_ms = int(to.node.clock.time() * 1000)
    times = DeliveryHeader(bytes(16), created_at=now_ms, expires_at=now_ms + 60_000)
    headers = [
        ForwardHeader(None, None, times, to.node.id, f"made-up-{number}") for number in range(count)
    ]
    flags = PayloadForm.SEALED
    return [raw(RelayForward.code, header, NOBODYS_SEAL, flags=flags) for header in headers]


async def test_a_peer_that_is_no_relay_brings_few(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        await made.relay()
        bob = await made.user("bob")
        mallory = await made.outsider("mallory", dials=(bob.node.address,))
        await made.until(lambda: mallory.peers.service_session(bob.node.id))

        send_raw(mallory, bob.node.id, under_made_up_names(bob, 300))
        await made.clock.advance(0.01)

        assert bob.node.counters.get("relayed_dropped", reason="unknown_key") == 256
        assert bob.node.counters.get("relayed_dropped", reason="too_many_keys") == 44


async def test_a_relay_of_the_operators_brings_as_many_as_a_town_needs(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        false = FalseRelay(await made.outsider("relay", port=1001))
        bob = await made.user("bob", "relay-a")
        await made.until(lambda: bob.node.peers.service_session(false.id))
        await made.until(lambda: false.node.peers.service_session(bob.node.id))

        send_raw(false.node, bob.node.id, under_made_up_names(bob, 300))
        await made.clock.advance(0.01)

        assert bob.node.counters.get("relayed_dropped", reason="unknown_key") == 300
