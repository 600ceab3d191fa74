"""What a relay says of its limits, and how much of it is believed."""

from __future__ import annotations

import logging

import pytest

from thenodes_plugin_api import RelayBindAck, RelayLimits
from thenodes_plugin_api.delivery import MOST_TTL_SECONDS
from thenodes_plugin_api.testing import settle
from thenodes_relay.client.routes import Grant

from .rig import rig

USUAL = 256 * 1024


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (600, 600.0),
        (None, 7 * 86_400.0),
        (0, 7 * 86_400.0),
        (-5, 7 * 86_400.0),
        (10**400, MOST_TTL_SECONDS),
    ],
)
async def test_a_relay_keeps_frames_as_long_as_it_says_and_30_days_at_most(
    said: int | None, seconds: float
) -> None:
    grant = await granted(RelayLimits(ttl_seconds=said))

    assert grant.ttl_seconds == seconds


@pytest.mark.parametrize(
    ("said", "size"),
    [(1024, 1024), (None, USUAL), (-1, USUAL), (500_000, 500_000), (10**400, 1_000_000)],
)
async def test_a_relay_takes_frames_of_the_size_that_it_says_and_this_nodes_own_at_most(
    said: int | None, size: int
) -> None:
    grant = await granted(RelayLimits(frame_bytes=said), own_bytes=1_000_000)

    assert grant.frame_bytes == size


@pytest.mark.parametrize("said", [None, USUAL])
async def test_no_more_is_offered_to_a_relay_than_this_node_takes_itself(said: int | None) -> None:
    async with rig() as made:
        made.door.frame_bytes = 70_000
        relay = made.relay("relay-a")
        relay.frame_bytes = said
        relay.know("bob")
        relay.join()

        assert (await made.open()).frame_bytes == 70_000


@pytest.mark.parametrize(("own", "warnings"), [(70_000, 0), (69_999, 1)])
async def test_a_node_that_takes_less_than_its_relay_may_bring_is_warned_once(
    own: int, warnings: int
) -> None:
    async with rig() as made:
        made.door.frame_bytes = own
        relay = made.relay("relay-a")
        relay.frame_bytes = 70_000
        for _ in range(2):
            relay.join()
            await settle()
            relay.leave()

        told = [line.text for line in made.context.log_lines if line.level == logging.WARNING]
        assert len(told) == warnings
        assert all("relay-a" in text and "limits.frame_bytes is 69999" in text for text in told)


async def granted(limits: RelayLimits, *, own_bytes: int = USUAL) -> Grant:
    """A grant with these limits."""
    async with rig() as made:
        relay = made.relay("relay-a")
        relay.join()
        link = made.client._links.get("relay-a")
        assert link is not None
        assert link.session is not None
        grant = Grant(link, link.session, "bob", own_bytes)
        ack = RelayBindAck(True, None, "b", True, 1, limits, None)
        grant.granted(ack, store=True, own=False, now=0.0)
        return grant
