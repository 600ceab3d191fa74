"""The plugin class: a relay, a user of relays, or both, as `[network.relay]` says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from thenodes_plugin_api import (
    Ack,
    Frame,
    Level,
    Message,
    Plugin,
    PluginContext,
    PluginEvent,
    PluginRegistrarApi,
    Reason,
    RelayBind,
    RelayBindAck,
    RelayNotify,
    RelayUnbind,
    ServiceSession,
)

from ._version import __version__
from .client import RelayClient
from .commands import commands
from .counters import ClientCounter, Counter
from .report import levels_of
from .server import RelayServer
from .settings import Settings, read_settings
from .store.base import FrameStore, StoreProblem
from .store.memory import MemoryStore
from .store.sqlite import SqliteStore

__all__ = ["RelayService", "register_plugin"]

_TICK_SECONDS = 0.5
_FILE = "frames.sqlite3"
_CAPABILITY = "relay"
_STORING = "relay_store_forward"
_NO_RELAY = "this node is no relay: network.relay.enabled is false here"


class RelayService(Plugin):
    """Carries other nodes' messages, and has this node's own carried."""

    abi = 1

    def __init__(self) -> None:
        self._ctx: PluginContext | None = None
        self._client: RelayClient | None = None
        self._server: RelayServer | None = None
        self._opened = AsyncExitStack()

    async def on_start(self, ctx: PluginContext) -> None:
        """Open the store, and begin to handle what comes."""
        settings = read_settings(ctx.service.table)
        self._ctx = ctx
        client = self._client = RelayClient(ctx)
        server = None
        async with AsyncExitStack() as opened:
            if settings.enabled:
                store = await _open_store(ctx, settings, self._on_problem)
                opened.push_async_callback(store.close)
                server = self._server = RelayServer(ctx, settings, store, client.take_frames)
                await server.restore()
                ctx.every(_TICK_SECONDS, server.tick)
            self._handle(ctx, client, server)
            client.start()
            self._opened = opened.pop_all()
        detail = f"thenodes-relay {__version__}: {_what(settings, client)}"
        _tell(ctx, Level.INFO, "announced", detail)

    async def on_stop(self, ctx: PluginContext) -> None:
        """Keep what waits."""
        if self._client is not None:
            self._client.stop()
        if self._server is not None:
            self._server.close()
        await self._opened.aclose()

    def _handle(self, ctx: PluginContext, client: RelayClient, server: RelayServer | None) -> None:
        door = ctx.service
        carrying = Carrying(ctx, client, server)
        door.take_frames(carrying.take_frames)
        door.take(RelayBind, carrying.take_bind)
        door.take(RelayUnbind, carrying.take_unbind)
        door.take(RelayBindAck, client.take_bind_ack)
        door.take(RelayNotify, client.take_notify)
        door.take(Ack, carrying.take_ack)
        for command in commands(client, server):
            door.add_command(command)
        if server is not None:
            for name, read in levels_of(server).items():
                door.level(name, read)
            storing = (_STORING,) if server.settings.store_forward else ()
            door.advertise((_CAPABILITY, *storing))
        door.on_drain(carrying.drain, lambda: carrying.is_drained)
        door.on_session(carrying.session_joined, carrying.session_left)

    def _on_problem(self, problem: StoreProblem) -> None:
        if self._ctx is not None:
            level = Level.INFO if problem.is_over else Level.ERROR
            _tell(self._ctx, level, "relay_store", problem.text)
        if problem.is_lost and self._server is not None:
            self._server.store_lost()


class Carrying:
    """Gives each message to the half that it concerns.

    Args:
        ctx: the plugin's context.
        client: the user's half.
        server: the relay's half, if this node is one.
    """

    def __init__(self, ctx: PluginContext, client: RelayClient, server: RelayServer | None) -> None:
        self._node_id = ctx.node_id
        self._count = ctx.service.count
        self._client = client
        self._server = server

    def drain(self) -> None:
        """The node will stop: a relay sends its users elsewhere."""
        if self._server is not None and not self._server.is_draining:
            self._server.drain()

    @property
    def is_drained(self) -> bool:
        """Whether users have moved, and what this node sent is at its relays."""
        is_moved = self._server is None or self._server.is_drained
        return is_moved and self._client.is_settled

    def session_joined(self, session: ServiceSession) -> None:
        """A session was established."""
        if self._server is not None:
            self._server.session_joined(session)
        self._client.session_joined(session)

    def session_left(self, session: ServiceSession, reason: Reason) -> None:
        """A session ended."""
        if self._server is not None:
            self._server.session_left(session, reason)
        self._client.session_left(session, reason)

    def take_frames(self, session: ServiceSession, frames: Sequence[Frame]) -> None:
        """Take the frames of one WebSocket message."""
        if self._server is not None:
            self._server.take_frames(session, frames)
            return
        own = [frame for frame in frames if frame.header.to == self._node_id]
        if own:
            self._client.take_frames(session, own)
        if len(own) < len(frames):
            reason = Reason.CAPABILITY_MISSING
            self._count(Counter.DROPPED, len(frames) - len(own), reason=reason)
            session.send(RelayNotify(reason, detail=_NO_RELAY))

    def take_bind(self, session: ServiceSession, message: Message) -> None:
        """Take a RELAY_BIND."""
        if self._server is not None:
            self._server.take_bind(session, message)
        elif isinstance(message.body, RelayBind):
            reason = Reason.CAPABILITY_MISSING
            self._count(Counter.REFUSED_BINDS, reason=reason)
            session.send(RelayBindAck(False, reason, nonce=message.body.nonce))

    def take_unbind(self, session: ServiceSession, message: Message) -> None:
        """Take a RELAY_UNBIND."""
        if self._server is not None:
            self._server.take_unbind(session, message)

    def take_ack(self, session: ServiceSession, message: Message) -> None:
        """Take an ACK: of a relay that this node uses, or of a target of this relay's."""
        if self._client.take_ack(session, message):
            return
        if self._server is not None:
            self._server.take_ack(session, message)
        else:
            self._count(ClientCounter.IGNORED, reason="ack")


async def _open_store(
    ctx: PluginContext, settings: Settings, on_problem: Callable[[StoreProblem], None]
) -> FrameStore:
    if not settings.store_forward:
        return MemoryStore()
    path = ctx.data_dir / _FILE if settings.store_path is None else Path(settings.store_path)
    return await SqliteStore.open(
        path,
        on_problem=on_problem,
        synchronous=settings.synchronous,
        clock=ctx.clock.time,
    )


def _what(settings: Settings, client: RelayClient) -> str:
    parts = []
    if settings.enabled:
        parts.append("a relay" + (", storing" if settings.store_forward else ""))
    if client.is_active:
        parts.append("a user of relays")
    return " and ".join(parts) or "neither a relay nor a user of relays; see [network.relay]"


def _tell(ctx: PluginContext, level: Level, action: str, detail: str) -> None:
    ctx.events.emit(
        PluginEvent(
            plugin=ctx.plugin_id, level=level, action=action, detail=detail, at=ctx.clock.time()
        )
    )


def register_plugin(api: PluginRegistrarApi) -> None:
    """Called by the host once, at load."""
    api.register_plugin(RelayService())
