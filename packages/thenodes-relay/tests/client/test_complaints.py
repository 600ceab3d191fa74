"""What the log of a sending node says of messages that relays do not deliver."""

from __future__ import annotations

import logging

from thenodes_plugin_api import Reason
from thenodes_plugin_api.testing import settle

from .rig import Rig, rig


def warnings(made: Rig) -> list[str]:
    return [line.text for line in made.context.log_lines if line.level >= logging.WARNING]


async def test_the_first_refusal_of_a_reason_is_logged_once_an_hour() -> None:
    async with rig() as made:
        relay = made.relay("relay-a")
        relay.join()
        await settle()
        for number in range(100):
            relay.notify(number, Reason.QUOTA, "a quarter is full")
        relay.notify(100, Reason.TIMEOUT, "it expired")

        first, second = warnings(made)
        assert first == (
            "relay-a does not deliver a message of this node: quota, a quarter is full; "
            "more are counted as relay_client_notified.quota"
        )
        assert "timeout, it expired" in second
        assert made.door.counters["relay_client_notified.quota"] == 100

        await made.clock.advance(3601)
        relay.notify(101, Reason.QUOTA, "a quarter is full")
        assert len(warnings(made)) == 3


async def test_that_a_target_is_away_is_no_complaint() -> None:
    async with rig() as made:
        relay = made.relay("relay-a")
        relay.join()
        await settle()
        relay.notify(1, Reason.PEER_LEFT, "bob is away")

        assert warnings(made) == []
