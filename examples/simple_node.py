"""Two nodes in one program: one says hello to the other over a real WebSocket."""

import asyncio

from thenodes_core import Config, Node
from thenodes_plugin_api import Text


async def main() -> None:
    async with Node(Config(port=0)) as first:
        async with Node(Config(port=0, bootstrap_nodes=(first.address,))) as second:
            peer = await second.wait_for(first.id)
            await second.send(peer.node_id, Text("hello"))
            print(f"{second.id} said hello to {peer.node_id} at {peer.address}")


asyncio.run(main())
