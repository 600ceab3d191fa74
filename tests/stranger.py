"""A peer written by hand: it has a key, and says what a test wants it to say."""

from __future__ import annotations

import os

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from thenodes_core.limits import Limits
from thenodes_core.protocol.codec_bin import BinaryCodec
from thenodes_core.protocol.proof import Role, proof_content
from thenodes_core.security.identity import Identity
from thenodes_plugin_api import Auth, Binding, Body, Disconnect, Hello, Message, Realm

__all__ = ["BINARY", "CODEC", "PLAIN", "REALM", "Stranger", "body_of", "dial", "ending", "received"]

CODEC = BinaryCodec(Limits())
BINARY = Subprotocol("thenodes.v1.bin")
REALM = Realm("default", "default", "1.0")
PLAIN = Binding("plain", b"")


class Stranger:
    """Somebody with a key.

    Args:
        node_id: the id that it claims; derived from its key where None.
        identity: its key; made where None.
    """

    def __init__(self, node_id: str | None = None, *, identity: Identity | None = None) -> None:
        self.identity = identity or Identity.generate()
        self.node_id = node_id or self.identity.node_id

    def hello(
        self,
        binding: Binding | None = PLAIN,
        *,
        keyed: bool = True,
        certificate: bytes | None = None,
    ) -> bytes:
        """A HELLO with a nonce of its own."""
        return CODEC.encode(
            Message(
                Hello(
                    self.node_id,
                    protocol="TheNodes",
                    version="1",
                    realm=REALM,
                    public_key=self.identity.public_key if keyed else None,
                    certificate=certificate,
                    nonce=os.urandom(32),
                    instance=os.urandom(16),
                    binding=binding if keyed else None,
                )
            )
        )

    def proof(self, theirs: bytes, own: bytes, binding: Binding = PLAIN) -> bytes:
        """An AUTH over an accepting side's HELLO and the own one."""
        content = proof_content(Role.DIALER, BINARY, binding, theirs, own)
        return CODEC.encode(Message(Auth(self.identity.sign(Role.DIALER.purpose, content))))

    def join(self, connection: ClientConnection) -> Body:
        """Shake hands as is right; returns the answer: AUTH, or DISCONNECT with the reason."""
        theirs, own = received(connection), self.hello()
        connection.send(own)
        connection.send(self.proof(theirs, own))
        return body_of(received(connection))


def dial(port: int) -> ClientConnection:
    """A WebSocket connection without TLS on which nothing was said yet."""
    return connect(f"ws://127.0.0.1:{port}", subprotocols=[BINARY], compression=None, proxy=None)


def received(connection: ClientConnection) -> bytes:
    """The next message."""
    data = connection.recv(timeout=5)
    assert isinstance(data, bytes)
    return data


def body_of(data: bytes) -> Body:
    """What a message says, where it is one frame of a known kind."""
    (message,) = CODEC.decode(data)
    assert isinstance(message, Message)
    return message.body


def ending(connection: ClientConnection) -> tuple[int, str]:
    """The close code, and what the last DISCONNECT said, when the connection has ended."""
    detail = ""
    while True:
        try:
            body = body_of(received(connection))
        except ConnectionClosed as closed:
            if closed.rcvd is None:
                raise
            return closed.rcvd.code, detail
        if isinstance(body, Disconnect):
            detail = body.detail or ""
