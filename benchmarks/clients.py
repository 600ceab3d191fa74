"""The cheapest client that a node takes for a peer: a socket and a few bytes of JSON."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import resource
from typing import Any

__all__ = ["Client", "raise_descriptor_limit"]

_REALM = {"name": "default", "code": "default", "version": "1.0"}
_UPGRADE = (
    "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{protocol}\r\n"
)


def raise_descriptor_limit(files: int) -> None:
    """Allow this process that many open files, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < files:
        most = files if hard == resource.RLIM_INFINITY else min(files, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class Client:
    """One connection, made with `open`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int, protocol: str | None = None) -> Client:
        """Connect and upgrade."""
        client = cls(*await asyncio.open_connection("127.0.0.1", port, limit=2**16))
        offer = f"Sec-WebSocket-Protocol: {protocol}\r\n" if protocol else ""
        key = base64.b64encode(os.urandom(16)).decode()
        client.writer.write(_UPGRADE.format(key=key, protocol=offer).encode())
        await client.reader.readuntil(b"\r\n\r\n")
        return client

    async def join(self, node_id: str) -> None:
        """Shake hands, until the node says that this peer is admitted."""
        await self.receive()
        hello = {"node_id": node_id, "protocol": "TheNodes", "version": "1"}
        self.send({"HELLO": hello}, realm=_REALM)
        await self.receive()

    def send(self, kind: object, payload: object = None, realm: object = None) -> None:
        """Send an envelope."""
        envelope = {"from": "", "to": "", "msg_type": kind, "payload": payload, "realm": realm}
        self.send_raw(json.dumps(envelope).encode())

    def send_raw(self, data: bytes) -> None:
        """Send a text message, masked with zeros."""
        length = bytes([0x80 | 126]) + len(data).to_bytes(2, "big")
        self.writer.write(b"\x81" + length + b"\0\0\0\0" + data)

    async def receive(self) -> dict[str, Any]:
        """The next envelope."""
        head = await self.reader.readexactly(2)
        size = head[1]
        if size == 126:
            size = int.from_bytes(await self.reader.readexactly(2), "big")
        elif size == 127:
            size = int.from_bytes(await self.reader.readexactly(8), "big")
        data = await self.reader.readexactly(size)
        if head[0] & 0x0F != 1:
            raise ConnectionError(f"closed: {data!r}")
        envelope: dict[str, Any] = json.loads(data)
        return envelope

    def close(self) -> None:
        """Cut."""
        self.writer.transport.abort()
