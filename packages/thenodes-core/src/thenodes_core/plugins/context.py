"""The context that a plugin gets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec

from thenodes_plugin_api import (
    Body,
    DeliveryOptions,
    DeliveryOutcome,
    DeliveryStatus,
    Extension,
    Level,
    Manifest,
    Message,
    NoRoute,
    NotAService,
    NotConnected,
    NullContextError,
    OutboxFull,
    Payload,
    Peers,
    PeerStore,
    PluginEvent,
    Realm,
    Reason,
    Relay,
    RequestTimeout,
    ServiceDoor,
    Task,
)

from ..clock import Clock
from ..events.dispatcher import Dispatcher
from .containment import raise_if_ours
from .delivery import ALLOWED, Begun, Delivery, NoRelays, PluginRelay, not_allowed
from .door import Door
from .ground import Ground
from .plugin_events import PluginEvents
from .questions import Questions

__all__ = ["Context", "Network", "Services"]

# After so many messages, one that never waits lets the event loop's other tasks run. Many,
# or a burst would not fill a WebSocket message; a full outbox makes it wait anyway.
_SENDS_A_TURN = 1024
# One through a relay counts as so many: the relay keeps a quarter of a target's room for one
# sender, and takes 256 at once where the room is what it is by default.
_RELAYED_COUNTS = 8
# A broadcast never waits, and goes to many.
_BROADCASTS_A_TURN = 64
_FAR = 1024
_REFUSED_TOLD = 100
_REFUSED_SECONDS = 60.0

_SENT = DeliveryOutcome(DeliveryStatus.SENT)

Spawn = Callable[[Coroutine[object, object, object], str], "asyncio.Task[None]"]
Fault = Callable[[str, BaseException], None]


class Network(Peers, Protocol):
    """The peers, and the way to them."""

    async def send(
        self, to: str, body: Body, payload: Payload | None = None, *, timeout_seconds: float = 5.0
    ) -> None:
        """Queue a message for a peer."""
        ...

    def broadcast(self, body: Body, payload: Payload | None = None) -> int:
        """Queue a message for every peer."""
        ...


class Services(msgspec.Struct, frozen=True):
    """What all contexts of a node share.

    Attributes:
        node_id: the node's.
        realm: the node's.
        clock: the node's.
        network: the peers.
        peer_store: the known addresses.
        events: told of what happens.
        questions: who waits for an answer.
        delivery: reaches nodes with whom there is no session.
        ground: what the doors of services lead to; a node without one has no services.
    """

    node_id: str
    realm: Realm
    clock: Clock
    network: Network
    peer_store: PeerStore
    events: Dispatcher
    questions: Questions
    delivery: Delivery = NoRelays()
    ground: Ground | None = None


class Context:
    """One plugin's `PluginContext`; see there for what each method promises.

    Args:
        plugin_id: whose it is.
        config: its table, defaults included.
        data_dir: its directory.
        services: what all plugins share.
        manifest: the plugin's; one without has no door.
        changed: called when what it advertises has changed.
    """

    def __init__(
        self,
        plugin_id: str,
        config: Mapping[str, object],
        data_dir: Path,
        services: Services,
        *,
        manifest: Manifest | None = None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.plugin_id = plugin_id
        self.config = config
        self.data_dir = data_dir
        self.node_id = services.node_id
        self.realm = services.realm
        self.clock = services.clock
        self.peers: Peers = services.network
        self.peer_store = services.peer_store
        self.logger = logging.LoggerAdapter(
            logging.getLogger(f"thenodes.plugin.{plugin_id}"), {"node_id": services.node_id}
        )
        self.events = PluginEvents(services.events, partial(self._tell_fault, "its event sink"))
        self.relay: Relay = PluginRelay(services.delivery)
        self._network = services.network
        self._delivery = services.delivery
        self._questions = services.questions
        self._door = self._make_door(manifest, services.ground, changed)
        self._spawn: Spawn | None = None
        self._fault: Fault | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._sends_left = _SENDS_A_TURN
        # Without a session when something was sent to them last: to be refused once more takes
        # longer than to look.
        self._far: set[str] = set()
        self._broadcasts = 0
        self._refused = 0
        self._refused_until = 0.0

    def open(self, spawn: Spawn, fault: Fault) -> None:
        """Allow background work; the host calls this before `on_start`.

        Args:
            spawn: starts a task whose faults are contained.
            fault: told of what repeated work raises.
        """
        self._spawn = spawn
        self._fault = fault

    def close(self) -> None:
        """End background work and sinks; the host calls this after `on_stop`."""
        self._spawn = None
        for task in self._tasks:
            task.cancel()
        if self._door is not None:
            self._door.close()
        self.events.close()

    def has_task(self, task: asyncio.Task[object]) -> bool:
        """Whether it was begun with `spawn`. May be called from any thread."""
        return task in self._tasks

    @property
    def service(self) -> ServiceDoor:
        """What a plugin gets whose manifest has a section `[service]`."""
        if self._door is None:
            raise NotAService(
                f"{self.plugin_id} is no service: its manifest has no section [service]"
            )
        return self._door

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What it advertises through its door."""
        return () if self._door is None else self._door.capabilities

    def drain(self) -> None:
        """Tell it, if it is a service, that the node takes nothing new and will stop."""
        if self._door is not None:
            self._door.drain()

    @property
    def is_drained(self) -> bool:
        """Whether it has, as a service, finished what it had begun."""
        return self._door is None or self._door.is_drained

    async def send(
        self,
        to: str,
        body: Body,
        payload: Payload | None = None,
        *,
        timeout_seconds: float = 5.0,
        options: DeliveryOptions | None = None,
    ) -> DeliveryOutcome:
        """Send a message to a node: over the session with it, else through a relay."""
        if type(body) not in ALLOWED:
            raise not_allowed(body)
        if options is not None and options.confirm:
            return await self._send_confirmed(to, body, payload, timeout_seconds, options)
        outcome: DeliveryOutcome | None = None
        if to not in self._far or self._has_come(to):
            try:
                await self._network.send(to, body, payload, timeout_seconds=timeout_seconds)
                outcome = _SENT
            except NotConnected:
                self._note_far(to)
            except OutboxFull:
                await self._refuse()
                raise
        if outcome is None:
            begun = self._delivery.begin(to, body, payload, options)
            if isinstance(begun, DeliveryOutcome):
                outcome = begun
            else:
                outcome = await self._finish(begun, timeout_seconds)
            self._sends_left -= _RELAYED_COUNTS - 1
        left = self._sends_left = self._sends_left - 1
        if left <= 0:
            self._sends_left = _SENDS_A_TURN
            await asyncio.sleep(0)
        return outcome

    def _has_come(self, to: str) -> bool:
        """Whether there is a session with a node that there was none with."""
        if self._network.get(to) is None:
            return False
        self._far.discard(to)
        return True

    def _note_far(self, to: str) -> None:
        if len(self._far) >= _FAR:
            self._far.clear()
        self._far.add(to)

    async def _send_confirmed(
        self,
        to: str,
        body: Body,
        payload: Payload | None,
        seconds: float,
        options: DeliveryOptions,
    ) -> DeliveryOutcome:
        try:
            return await self._delivery.send_confirmed(
                to, body, payload, options=options, timeout_seconds=seconds
            )
        except OutboxFull:
            await self._refuse()
            raise
        except NotConnected:
            pass
        begun = self._delivery.begin(to, body, payload, options)
        if isinstance(begun, DeliveryOutcome):
            return begun
        return await self._finish(begun, seconds)

    async def _finish(self, begun: Begun, seconds: float) -> DeliveryOutcome:
        try:
            return await begun.finish(seconds)
        except OutboxFull:
            await self._refuse()
            raise

    async def _refuse(self) -> None:
        self._note_refused(1)
        await asyncio.sleep(0)

    async def broadcast(self, body: Body, payload: Payload | None = None) -> int:
        """Queue a message for every connected peer."""
        if type(body) not in ALLOWED:
            raise not_allowed(body)
        reached = self._network.broadcast(body, payload)
        self._broadcasts += 1
        if not self._broadcasts % _BROADCASTS_A_TURN:
            await asyncio.sleep(0)
            # Looked at now and then, since counting the peers each time would cost as much.
            self._note_refused((len(self.peers.all()) - reached) * _BROADCASTS_A_TURN)
        return reached

    def _note_refused(self, count: int) -> None:
        if count <= 0:
            return
        now = self.clock.monotonic()
        if now >= self._refused_until:
            self._refused, self._refused_until = 0, now + _REFUSED_SECONDS
        before, self._refused = self._refused, self._refused + count
        if before < _REFUSED_TOLD <= self._refused:
            detail = f"sends more than its peers take: about {self._refused} messages had no room"
            self.events.emit(
                PluginEvent(
                    plugin=self.plugin_id, action="flooding", detail=detail, level=Level.WARNING
                )
            )

    async def request(
        self,
        peer: str,
        kind: str,
        payload: Payload | None = None,
        *,
        timeout_seconds: float = 10.0,
    ) -> Message:
        """Ask a peer and wait for its reply."""
        request_id, answer = self._questions.ask(self.plugin_id, peer)

        def expire() -> None:
            if not answer.done():
                late = f"{peer} did not answer {kind} within {timeout_seconds:g} s"
                answer.set_exception(RequestTimeout(late))

        timer = self.clock.call_later(timeout_seconds, expire)
        try:
            await self._ask(peer, Extension(kind, request_id), payload, timeout_seconds)
            return await answer
        finally:
            timer.cancel()
            self._questions.drop(request_id)

    async def reply(
        self, message: Message, payload: Payload | None = None, *, timeout_seconds: float = 0.0
    ) -> None:
        """Answer a message that was sent with `request`."""
        body = message.body
        if not isinstance(body, Extension) or body.request_id is None:
            raise ValueError(f"{body.token} from {message.sender} is not a question")
        to, answer = message.sender, Extension(body.kind, reply_to=body.request_id)
        try:
            await self._network.send(to, answer, payload, timeout_seconds=timeout_seconds)
        except NotConnected:
            if timeout_seconds > 0:
                outcome = await self._delivery.send(
                    to, answer, payload, timeout_seconds=timeout_seconds
                )
                _expect_sent(outcome)
            else:
                await self._delivery.answer(to, answer, payload)

    async def _ask(
        self, peer: str, question: Extension, payload: Payload | None, seconds: float
    ) -> None:
        try:
            await self._network.send(peer, question, payload, timeout_seconds=seconds)
        except NotConnected:
            outcome = await self._delivery.send(peer, question, payload, timeout_seconds=seconds)
            _expect_sent(outcome)

    def spawn(self, work: Coroutine[object, object, object], *, name: str | None = None) -> Task:
        """Run work in the background."""
        if self._spawn is None:
            work.close()
            raise NullContextError(f"plugin {self.plugin_id} is not running")
        task = self._spawn(work, name or f"plugin {self.plugin_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Cancelled before its first step, the work itself was never started.
        task.add_done_callback(lambda _: work.close())
        return task

    def every(self, seconds: float, action: Callable[[], Awaitable[object]]) -> Task:
        """Call `action` every `seconds`."""
        if not seconds > 0:
            raise ValueError(f"every {seconds!r} seconds: expected more than 0")

        async def repeat() -> None:
            while True:
                await self.clock.sleep(seconds)
                try:
                    await action()
                except BaseException as error:
                    raise_if_ours(error)
                    self._tell_fault("repeated work", error)

        return self.spawn(repeat())

    def _make_door(
        self, manifest: Manifest | None, ground: Ground | None, changed: Callable[[], None]
    ) -> Door | None:
        if manifest is None or manifest.service is None or ground is None:
            return None
        return Door(manifest, ground, self.clock, self._tell_fault, changed)

    def _tell_fault(self, where: str, error: BaseException) -> None:
        if self._fault is not None:
            self._fault(where, error)


def _expect_sent(outcome: DeliveryOutcome) -> None:
    """Raise where a relay did not take what has no use unless it arrives."""
    if not outcome.ok:
        raise NoRoute(outcome.reason or Reason.UNKNOWN, outcome.detail)
