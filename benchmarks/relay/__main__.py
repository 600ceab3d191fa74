"""One far process of the relay measurements: `python -m benchmarks.relay PART OPTIONS`."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from ..clients import raise_descriptor_limit
from . import bare, light, nats_server, nodes
from .processes import FILES

PARTS: dict[str, Callable[..., Awaitable[None]]] = {
    "bare": bare.forward,
    "bare-receiver": lambda port, senders=1, echo=False: bare.receive(
        port, senders=senders, echo=echo
    ),
    "relay": nodes.relay,
    "receiver": nodes.receive,
    "crowd": light.crowd,
    "light-receiver": light.receive,
    "nats-receiver": lambda port, echo=False: nats_server.receive(port, echo=echo),
}


async def main() -> None:
    raise_descriptor_limit(FILES)
    part, options = sys.argv[1:]
    values: dict[str, Any] = json.loads(options)
    await PARTS[part](**values)


asyncio.run(main())
