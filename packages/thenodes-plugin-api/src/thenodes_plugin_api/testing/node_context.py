"""A context that works and remembers; how messages leave is its wire's business."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..context import Task
from ..delivery import DeliveryOptions, DeliveryOutcome, DeliveryStatus
from ..errors import KindNotAllowed, NoRoute, NotAService, NullContextError, SendError
from ..events import Level, PluginEvent
from ..messages import Body, Extension, Message, Reason
from ..payload import Payload
from ..peers import PeerInfo
from ..realm import Realm
from ..service import ServiceDoor
from .addresses import KnownAddresses
from .clock import ManualClock, timeout
from .event_log import EventLog, PluginEvents
from .records import Asked, Broadcast, Fault, LogLine, Repeated, Replied, Sent, Spawned
from .scripted_relay import ScriptedRelay
from .sendable import check_kind, check_size
from .wall import describe, raise_if_ours

__all__ = ["NodeContext", "Wire"]

_SENDS_A_TURN = 64


class Wire(Protocol):
    """A node's peers, and the way to them."""

    def all(self) -> Sequence[PeerInfo]:
        """Every connected peer, ordered by id."""
        ...

    def get(self, node_id: str) -> PeerInfo | None:
        """The peer with that id, if connected."""
        ...

    def reaches(self, node_id: str) -> bool:
        """Whether something can be sent there."""
        ...

    def send(
        self,
        to: str,
        body: Body,
        payload: Payload | None,
        had: Callable[[], object] | None = None,
    ) -> DeliveryOutcome:
        """Bring a message to a node, or raise SendError; `had` is called once plugins had it."""
        ...

    def broadcast(
        self, body: Body, payload: Payload | None, passed_over: Collection[str] = ()
    ) -> int:
        """Bring a message to every other peer, and return how many those are."""
        ...

    async def ask(
        self, plugin_id: str, peer: str, kind: str, payload: Payload | None, seconds: float
    ) -> Message:
        """Bring a question to a peer and wait for the answer."""
        ...


class NodeContext:
    """A `PluginContext` in which every member works, and which remembers its use.

    Args:
        plugin_id: the plugin's id.
        wire: the peers.
        node_id: the id of its node.
        realm: its realm.
        config: its table, the manifest's defaults included.
        data_dir: its directory, made where it is absent; without one, a temporary
            directory that `close` removes.
        clock: time.
        peer_store: known addresses.
        log: the node's events.
        service: the door of a plugin that is a service; without one there is none.

    Attributes:
        sent: what `send` took.
        broadcasts: what `broadcast` took.
        requests: what `request` asked.
        replies: what `reply` answered.
        log_lines: what was logged, at every level.
        spawned: what `spawn` started.
        repeated: what `every` repeats.
        faults: what spawned and repeated work, or a hook that the kit called, raised.
        refused: what was given to `send`, `broadcast` or `relay.forward` and belongs to
            the node.
        relay: what `relay` was asked, and where a test says what it answers.
        told: called after each fault.
    """

    def __init__(
        self,
        plugin_id: str,
        wire: Wire,
        *,
        node_id: str = "here",
        realm: Realm | None = None,
        config: Mapping[str, object] | None = None,
        data_dir: Path | None = None,
        clock: ManualClock | None = None,
        peer_store: KnownAddresses | None = None,
        log: EventLog | None = None,
        service: ServiceDoor | None = None,
    ) -> None:
        self.plugin_id = plugin_id
        self.node_id = node_id
        self.realm = realm or Realm()
        self.config: Mapping[str, object] = dict(config or {})
        self.clock = clock or ManualClock()
        self.peers: Wire = wire
        self.peer_store = peer_store or KnownAddresses()
        self.event_log = log or EventLog()
        self.events = PluginEvents(self.event_log)
        self.sent: list[Sent] = []
        self.broadcasts: list[Broadcast] = []
        self.requests: list[Asked] = []
        self.replies: list[Replied] = []
        self.log_lines: list[LogLine] = []
        self.spawned: list[Spawned] = []
        self.repeated: list[Repeated] = []
        self.faults: list[Fault] = []
        self.refused: list[Body] = []
        self.relay = ScriptedRelay(self._check_kind)
        self.told: Callable[[], None] = lambda: None
        self.logger: logging.LoggerAdapter[logging.Logger] = _RecordingLogger(
            logging.getLogger(f"thenodes.plugin.{plugin_id}"), node_id, self.log_lines
        )
        self._wire = wire
        self._service = service
        self._data_dir = data_dir
        self._temporary: Path | None = None
        self._failing: dict[str, SendError] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = True
        self._turns = 0

    @property
    def data_dir(self) -> Path:
        """The plugin's directory, mode 0700."""
        if self._data_dir is None:
            self._data_dir = self._temporary = Path(tempfile.mkdtemp(prefix="thenodes-plugin-"))
        self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._data_dir

    @property
    def service(self) -> ServiceDoor:
        """The door that the test gave."""
        if self._service is None:
            raise NotAService(
                f"plugin {self.plugin_id} has no service door: its manifest needs a section "
                "[service], and a test RecordingContext(service=...)"
            )
        return self._service

    def fail(self, peer: str, error: SendError | None) -> None:
        """Let everything that goes to `peer` fail with `error`; None ends that.

        A broadcast passes such a peer over.
        """
        if error is None:
            self._failing.pop(peer, None)
        else:
            self._failing[peer] = error

    async def send(
        self,
        to: str,
        body: Body,
        payload: Payload | None = None,
        *,
        timeout_seconds: float = 5.0,
        options: DeliveryOptions | None = None,
    ) -> DeliveryOutcome:
        """Bring a message to a node; with `confirm`, wait until its plugins had it."""
        self._check_kind(body)
        self._check_way(to)
        had = asyncio.Event() if options is not None and options.confirm else None
        outcome = self._wire.send(to, body, payload, had.set if had is not None else None)
        self.sent.append(Sent(to, body, payload, options))
        await self._take_turn()
        if had is None or outcome.relay is not None:
            return outcome
        with contextlib.suppress(TimeoutError):
            async with timeout(self.clock, timeout_seconds):
                await had.wait()
            return DeliveryOutcome(DeliveryStatus.DELIVERED)
        return outcome

    async def broadcast(self, body: Body, payload: Payload | None = None) -> int:
        """Bring a message to every connected peer; those of `fail` are passed over."""
        self._check_kind(body)
        check_size(body, payload)
        count = self._wire.broadcast(body, payload, self._failing)
        self.broadcasts.append(Broadcast(body, payload, count))
        await self._take_turn()
        return count

    async def request(
        self,
        peer: str,
        kind: str,
        payload: Payload | None = None,
        *,
        timeout_seconds: float = 10.0,
    ) -> Message:
        """Ask a node and wait for its answer."""
        self._check_way(peer)
        if not self._wire.reaches(peer):
            raise NoRoute(Reason.CAPABILITY_MISSING, f"no session with {peer}")
        check_size(Extension(kind, "0" * 24), payload)
        self.requests.append(Asked(peer, kind, payload, timeout_seconds))
        return await self._wire.ask(self.plugin_id, peer, kind, payload, timeout_seconds)

    async def reply(
        self, message: Message, payload: Payload | None = None, *, timeout_seconds: float = 0.0
    ) -> None:
        """Answer a question."""
        body = message.body
        if not isinstance(body, Extension) or body.request_id is None:
            raise ValueError(f"{body.token} from {message.sender} is not a question")
        self._check_way(message.sender)
        answer = Extension(body.kind, reply_to=body.request_id)
        self._wire.send(message.sender, answer, payload)
        self.replies.append(Replied(message, payload))
        await self._take_turn()

    def spawn(self, work: Coroutine[object, object, object], *, name: str | None = None) -> Task:
        """Run work in the background; what it raises goes to `faults`."""
        task = self._spawn(work, name)
        self.spawned.append(Spawned(name, task))
        return task

    def every(self, seconds: float, action: Callable[[], Awaitable[object]]) -> Task:
        """Call `action` each time the clock was moved by `seconds`."""
        if not seconds > 0:
            raise ValueError(f"every {seconds!r} seconds: expected more than 0")

        async def repeat() -> None:
            while True:
                await self.clock.sleep(seconds)
                try:
                    await action()
                except BaseException as error:
                    raise_if_ours(error)
                    self.report_fault("repeated work", error)

        task = self._spawn(repeat(), None)
        self.repeated.append(Repeated(seconds, action, task))
        return task

    async def close(self) -> None:
        """End background work and sinks, as a node does once `on_stop` has returned.

        Work that does not let itself be cancelled goes to `faults`.
        """
        self.shut()
        for _ in range(50):
            if not self._tasks:
                break
            await asyncio.sleep(0)
        for task in self._tasks:
            self.report_fault("background work", RuntimeError(f"{task.get_name()} does not end"))
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def shut(self) -> None:
        """As `close`, without waiting for anything to end."""
        self._open = False
        self.events.close()
        for task in self._tasks:
            task.cancel()

    def report_fault(self, where: str, error: BaseException) -> None:
        """Note what the plugin raised, and tell of it as a node does."""
        self.faults.append(Fault(self.plugin_id, where, error))
        self.logger.error("%s raised", where, exc_info=error)
        self.event_log.emit(
            PluginEvent(
                plugin=self.plugin_id,
                action="fault",
                detail=f"{where} raised {describe(error)}",
                level=Level.ERROR,
                at=self.clock.time(),
            )
        )
        self.told()

    def _spawn(
        self, work: Coroutine[object, object, object], name: str | None
    ) -> asyncio.Task[None]:
        if not self._open:
            work.close()
            raise NullContextError(f"plugin {self.plugin_id} is not running")
        task = asyncio.get_running_loop().create_task(
            self._contain(work), name=name or f"plugin {self.plugin_id}"
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Cancelled before its first step, the work itself was never started.
        task.add_done_callback(lambda _: work.close())
        return task

    async def _contain(self, work: Coroutine[object, object, object]) -> None:
        try:
            await work
        except BaseException as error:
            raise_if_ours(error)
            self.report_fault("background work", error)

    async def _take_turn(self) -> None:
        """Let others have the event loop now and then, as a node does."""
        self._turns += 1
        if self._turns % _SENDS_A_TURN == 0:
            await asyncio.sleep(0)

    def _check_kind(self, body: Body) -> None:
        try:
            check_kind(body)
        except KindNotAllowed:
            self.refused.append(body)
            raise

    def _check_way(self, to: str) -> None:
        if to in self._failing:
            raise self._failing[to]


class _RecordingLogger(logging.LoggerAdapter[logging.Logger]):
    def __init__(self, logger: logging.Logger, node_id: str, lines: list[LogLine]) -> None:
        super().__init__(logger, {"node_id": node_id})
        self._lines = lines

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Keep the line, then log it."""
        text = str(msg) % args if args else str(msg)
        self._lines.append(LogLine(level, text))
        super().log(level, msg, *args, **kwargs)
