"""Nodes with real sessions and nothing else: no plugins, no files, no thread of their own."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Self

from thenodes_core.clock import SystemClock
from thenodes_core.events.counters import Counters
from thenodes_core.events.dispatcher import Dispatcher
from thenodes_core.limits import Limits
from thenodes_core.peers.manager import PeerManager
from thenodes_core.protocol.card import CARD_DAYS, Card, make_card
from thenodes_core.protocol.codec_bin import BinaryCodec
from thenodes_core.protocol.handshake import LocalNode, Role
from thenodes_core.protocol.realm import make_realm
from thenodes_core.security.identity import Identity
from thenodes_core.transport.websocket import WebSocketTransport
from thenodes_plugin_api import (
    Message,
    PeerJoined,
    PeerLeft,
    RelayBind,
    RelayBindAck,
    ServiceSession,
)

__all__ = ["Ends", "joined"]

_BINARY = BinaryCodec.subprotocol


class _Nothing:
    """Takes what is for plugins, of which there are none."""

    def deliver(self, messages: Sequence[Message]) -> bool:
        return False

    def peer_changed(self, event: PeerJoined | PeerLeft) -> None:
        return None


class Ends:
    """A node that binds and sends by hand, connected with one relay inside its context.

    Args:
        port: of the relay.
        identity: its key; a new one where None.

    Attributes:
        peers: its sessions.
        session: the one with the relay.
    """

    session: ServiceSession

    def __init__(self, port: int, identity: Identity | None = None) -> None:
        self.identity = identity or Identity.generate()
        self._port = port
        self._acks: asyncio.Queue[RelayBindAck] = asyncio.Queue()
        limits, counters = Limits(), Counters()
        self._transport = WebSocketTransport(limits, offered=(_BINARY,))
        self.peers = PeerManager(
            _local(self.identity),
            {_BINARY: BinaryCodec(limits)},
            _Nothing(),
            Dispatcher(counters),
            counters,
            limits=limits,
            clock=SystemClock(),
            random_bytes=os.urandom,
        )
        self._serving: asyncio.Task[object] | None = None

    @property
    def id(self) -> str:
        """Its node id."""
        return self.identity.node_id

    async def bind(self, target: str, qos: str) -> None:
        """Open a mailbox, or a route."""
        ack = RelayBindAck(False)
        for nonce in range(200):
            self.session.send(RelayBind(target, True, qos, nonce))
            ack = await self._acks.get()
            if ack.ok:
                return
            await asyncio.sleep(0.05)
        raise RuntimeError(f"the relay refuses to bind: {ack}")

    async def __aenter__(self) -> Self:
        self.peers.serve_kind(RelayBindAck, self._take_ack)
        link = await self._transport.dial(f"ws://127.0.0.1:{self._port}")
        there: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._serving = asyncio.create_task(
            self.peers.serve(link, Role.DIALER, lambda peer: there.set_result(peer.node_id))
        )
        session = self.peers.service_session(await self._admitted(await there))
        assert session is not None
        self.session = session
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.peers.close()
        if self._serving is not None:
            await self._serving

    async def _admitted(self, relay: str) -> str:
        return (await self.peers.wait_for(relay)).node_id

    def _take_ack(self, session: ServiceSession, message: Message) -> None:
        assert isinstance(message.body, RelayBindAck)
        self._acks.put_nowait(message.body)


@asynccontextmanager
async def joined(port: int, count: int) -> AsyncIterator[list[Ends]]:
    """So many of them."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Ends(port)) for _ in range(count)]


def _local(identity: Identity) -> LocalNode:
    realm, now = make_realm("default", "1.0"), int(time.time() * 1000)
    not_after = now + CARD_DAYS * 86_400_000
    sealing_key = os.urandom(32)
    card = Card(identity.node_id, identity.public_key, sealing_key, realm, (), now, not_after)
    return LocalNode(
        node_id=identity.node_id,
        realm=realm,
        instance=os.urandom(16),
        public_key=identity.public_key,
        sign=identity.sign,
        card=make_card(card, identity.sign),
    )
