"""A relay behind a door that the test holds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from .relay import Relay, start

MakeRelay = Callable[..., Awaitable[Relay]]


@pytest.fixture
async def make_relay(tmp_path: Path) -> AsyncIterator[MakeRelay]:
    async with AsyncExitStack() as stack:

        async def make(limits: Mapping[str, int] | None = None, **table: object) -> Relay:
            relay = await start(tmp_path, table, **(limits or {}))
            stack.push_async_callback(relay.stop)
            return relay

        yield make
