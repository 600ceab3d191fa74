"""The cheapest client that a node takes for a peer: a socket and a few bytes of JSON."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import resource
import time
from typing import Any

from thenodes_core.protocol.card import CARD_DAYS, Card, make_card
from thenodes_core.protocol.proof import Role, proof_content
from thenodes_core.protocol.realm import make_realm
from thenodes_core.security.certificates import make_certificate
from thenodes_core.security.identity import Identity
from thenodes_plugin_api import Binding

__all__ = ["Client", "raise_descriptor_limit"]

_REALM = {"name": "default", "code": "default", "version": "1.0"}
_TEXT, _PING = 1, 9
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

    async def join_proven(self) -> None:
        """Shake hands with a new key, its certificate and its card, as a node does."""
        theirs = await self._receive_data()
        hello, identity = _hello_with_key()
        own = _envelope({"HELLO": hello}, realm=_REALM)
        binding = Binding("plain", b"")
        content = proof_content(Role.DIALER, "thenodes.v1.json", binding, theirs, own)
        proof = identity.sign(Role.DIALER.purpose, content)
        self.send_raw(own)
        self.send({"AUTH": {"proof": _base64(proof)}})
        await self.receive()

    def send(self, kind: object, payload: object = None, realm: object = None) -> None:
        """Send an envelope."""
        self.send_raw(_envelope(kind, payload, realm))

    def send_raw(self, data: bytes) -> None:
        """Send a text message, masked with zeros."""
        length = bytes([0x80 | 126]) + len(data).to_bytes(2, "big")
        self.writer.write(b"\x81" + length + b"\0\0\0\0" + data)

    async def receive(self) -> dict[str, Any]:
        """The next envelope."""
        envelope: dict[str, Any] = json.loads(await self._receive_data())
        return envelope

    async def _receive_data(self) -> bytes:
        """The next message. Pings are not answered: a peer that never does costs a node nothing."""
        while True:
            opcode, data = await self._receive_frame()
            if opcode == _TEXT:
                return data
            if opcode != _PING:
                raise ConnectionError(f"closed: {data!r}")

    async def _receive_frame(self) -> tuple[int, bytes]:
        head = await self.reader.readexactly(2)
        size = head[1]
        if size == 126:
            size = int.from_bytes(await self.reader.readexactly(2), "big")
        elif size == 127:
            size = int.from_bytes(await self.reader.readexactly(8), "big")
        return head[0] & 0x0F, await self.reader.readexactly(size)

    def close(self) -> None:
        """Cut."""
        self.writer.transport.abort()


def _hello_with_key() -> tuple[dict[str, object], Identity]:
    identity, realm, now = Identity.generate(), make_realm("default", "1.0"), time.time()
    certificate = make_certificate(identity, node_id=identity.node_id, realm=realm, now=now)
    issued_at = int(now * 1000)
    not_after = issued_at + CARD_DAYS * 86_400_000
    sealing_key = os.urandom(32)
    card = Card(identity.node_id, identity.public_key, sealing_key, realm, (), issued_at, not_after)
    hello: dict[str, object] = {
        "node_id": identity.node_id,
        "protocol": "TheNodes",
        "version": "1",
        "public_key": _base64(identity.public_key),
        "certificate": _base64(certificate.der),
        "nonce": _base64(os.urandom(32)),
        "instance": _base64(os.urandom(16)),
        "card": _base64(make_card(card, identity.sign)),
        "binding": {"mode": "plain", "value": ""},
    }
    return hello, identity


def _envelope(kind: object, payload: object = None, realm: object = None) -> bytes:
    envelope = {"from": "", "to": "", "msg_type": kind, "payload": payload, "realm": realm}
    return json.dumps(envelope).encode()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
