"""A relay, two users of it, and a node that means no good."""

from __future__ import annotations

from typing import Any

from thenodes_core import Node
from thenodes_core.clock import settle
from thenodes_plugin_api import (
    DeliveryOptions,
    DeliveryStatus,
    QoS,
    RelayBind,
    ServiceSession,
    Text,
)

from .town import Town, User
from .wire import Heard, send_raw

__all__ = ["Place", "no_faults", "place"]

RELIABLE = DeliveryOptions(qos=QoS.RELIABLE)


def no_faults(*nodes: Node) -> bool:
    """Whether no plugin of these failed."""
    names = [name for node in nodes for name in node.counters.snapshot()]
    return not any(name.startswith(("plugin_faults", "task_failures")) for name in names)


class Place:
    """A relay; alice and bob, its users; and mallory, who has a session with it."""

    def __init__(self, made: Town, relay: Node, alice: User, bob: User, mallory: Node) -> None:
        self.made = made
        self.relay = relay
        self.alice = alice
        self.bob = bob
        self.mallory = mallory
        self.heard = Heard(mallory)

    @property
    def session(self) -> ServiceSession | None:
        """Mallory's with the relay."""
        return self.mallory.peers.service_session(self.relay.id)

    async def send(self, *frames: bytes) -> None:
        """Send as mallory, over another session where the last one was ended."""
        await self.made.until(lambda: self.session, 60)
        waiting = list(frames)
        while waiting and self.session:
            del waiting[: send_raw(self.mallory, self.relay.id, waiting[:64])]
            await settle(5)
        await self.made.clock.advance(1)

    async def serves(self) -> bool:
        """Whether alice reaches bob, and a reliable message is acknowledged."""
        acked = self.relay.counters.get("relay_acked")
        await self.made.reach(self.alice, self.bob)
        sending = self.alice.inbox.ctx.send(self.bob.node.id, Text(""), options=RELIABLE)
        outcome = await self.made.result(sending, 30)
        await self.made.until(lambda: self.relay.counters.get("relay_acked") == acked + 1)
        return outcome.status is DeliveryStatus.STORED

    def names(self) -> dict[str, str]:
        """Everybody's node id."""
        return {
            "alice": self.alice.node.id,
            "bob": self.bob.node.id,
            "relay": self.relay.id,
            "mallory": self.mallory.id,
        }

    def dropped(self) -> dict[str, int]:
        """What the relay dropped, by reason."""
        prefix = "relay_dropped."
        return {
            name.removeprefix(prefix): count
            for name, count in self.relay.counters.snapshot().items()
            if name.startswith(prefix)
        }


async def place(made: Town, **table: Any) -> Place:
    """Start everything; mallory is bound to bob."""
    relay = await made.relay(stores=True, **table)
    alice, bob = await made.user("alice"), await made.user("bob")
    mallory = await made.outsider("mallory", "relay-a")
    await made.until(lambda: relay.counters.get("relay_bound") >= 2)
    await made.until(lambda: mallory.peers.service_session(relay.id))
    there = Place(made, relay, alice, bob, mallory)
    assert there.session is not None
    there.session.send(RelayBind(bob.node.id, True))
    await made.until(there.heard.answers)
    assert there.heard.answers()[0].ok
    return there
