"""What a relay says of its limits, and how much of it is believed."""

from __future__ import annotations

import pytest

from thenodes_plugin_api import RelayBindAck, RelayLimits
from thenodes_plugin_api.delivery import MOST_TTL_SECONDS
from thenodes_relay.client.routes import Grant
from thenodes_relay.settings import FRAME_BYTES

from .rig import rig


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
    [(1024, 1024), (None, FRAME_BYTES), (-1, FRAME_BYTES), (10**400, FRAME_BYTES)],
)
async def test_a_relay_takes_frames_of_the_size_that_it_says_and_the_usual_at_most(
    said: int | None, size: int
) -> None:
    grant = await granted(RelayLimits(frame_bytes=said))

    assert grant.frame_bytes == size


async def granted(limits: RelayLimits) -> Grant:
    """A grant with these limits."""
    async with rig() as made:
        relay = made.relay("relay-a")
        relay.join()
        link = made.client._links.get("relay-a")
        assert link is not None
        assert link.session is not None
        grant = Grant(link, link.session, "bob")
        ack = RelayBindAck(True, None, "b", True, 1, limits, None)
        grant.granted(ack, store=True, own=False, now=0.0)
        return grant
