"""Whatever happens, every frame has one ending, and nothing is left behind of it."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from msgspec import structs

from thenodes_plugin_api import Ack, ForwardHeader, QoS, RelayBind, RelayNotify, RelayUnbind
from thenodes_plugin_api.testing import ManualClock
from thenodes_relay.quotas import Load
from thenodes_relay.server import RelayServer
from thenodes_relay.settings import Settings
from thenodes_relay.store.base import FrameStore
from thenodes_relay.store.memory import MemoryStore
from thenodes_relay.store.sqlite import SqliteStore

from .door import Door, Session, frame
from .relay import ServiceContext, start

NODES = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi")
STEPS = 800
SETTINGS = Settings(
    enabled=True,
    store_forward=True,
    queue_max_per_target=12,
    queue_max_global=400,
    queue_bytes_per_target=9000,
    frames_per_second=0,
    bytes_per_second=0,
)


class History:
    """A relay to which anything happens, by chance.

    Attributes:
        sent: the QoS of each frame, by its message id.
        sessions: all that ever were.
    """

    def __init__(self, server: RelayServer, door: Door, clock: ManualClock, seed: int) -> None:
        self.chance = random.Random(seed)
        self.server = server
        self.door = door
        self.clock = clock
        self.sent: dict[int, QoS] = {}
        self.sessions: list[Session] = []

    async def run(self) -> None:
        """Let things happen."""
        steps: list[Callable[[], None]] = [self.come, self.leave, self.acknowledge, self.read]
        steps += [self.bring] * 4 + [self.stop_reading] * 2 + [self.unbind]
        for _ in range(STEPS):
            self.chance.choice(steps)()
            if self.chance.random() < 0.5:
                await self.pass_time(self.chance.choice((0.0, 0.0, 0.3, 2.0)))

    async def end(self) -> None:
        """Let everybody come, and take whatever waits."""
        for node in NODES:
            self.come(node)
        for _ in range(100):
            self.read_all()
            await self.pass_time(1.0)
            if not self.server.quotas.total.frames:
                break
        for node in NODES:
            while await self.server.store.notices(node):
                await asyncio.sleep(0)

    async def has_nothing(self) -> bool:
        """Whether nothing is left of any frame."""
        server = self.server
        return (
            server.quotas.total == server.quotas.strangers == Load()
            and list(server.quotas.targets) == []
            and not any(server.room.depths(node) for node in NODES)
            and not any([await server.store.take(node, 0, 1) for node in NODES])
        )

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and whatever is under way go on a little."""
        await self.clock.advance(seconds)
        await self.server.tick()
        for _ in range(self.chance.randrange(6)):
            await asyncio.sleep(0)
        await asyncio.sleep(self.chance.choice((0, 0, 0.002)))

    def come(self, node: str | None = None) -> None:
        """A node comes, perhaps in the place of its own session, and binds everybody."""
        node = node or self.chance.choice(NODES)
        session = self.door.join(node)
        session.frames_max = 10
        self.sessions.append(session)
        self.door.bind(session, store=True)
        for other in NODES:
            if other != node:
                self.door.bind(session, other, store=True)

    def leave(self) -> None:
        """A node leaves."""
        for session in self.there():
            self.door.leave(session)

    def bring(self) -> None:
        """A node brings some frames for another."""
        for session in self.there():
            name, qos = session.peer.node_id, self.chance.choice([*QoS, QoS.BULK])
            to = self.chance.choice([node for node in ("alice", "bob", "bob") if node != name])
            frames = []
            for _ in range(self.chance.randrange(1, 4)):
                number = len(self.sent) + 1
                self.sent[number] = qos
                lives = self.chance.choice((None, None, 500, 3000))
                ends = None if lives is None else int(self.clock.time() * 1000) + lives
                text = f"{number} ".ljust(self.chance.choice((10, 100, 900)), "x")
                id_ = number.to_bytes(16, "big")
                frames.append(frame(name, to, text, qos=qos.value, message_id=id_, expires_at=ends))
            self.door.bring(session, *frames)

    def acknowledge(self) -> None:
        """A node acknowledges what it has."""
        for session in self.there():
            self.acknowledge_all(session)

    def stop_reading(self) -> None:
        """A node takes nothing any more."""
        for session in self.there():
            session.reads = False

    def read(self) -> None:
        """A node takes what waits for it."""
        for session in self.there():
            session.reads = True
            session.read()

    def unbind(self) -> None:
        """A node closes its mailbox, or one of its bindings, now and then."""
        for session in self.there():
            if self.chance.random() < 0.3:
                answer = self.chance.choice(session.acks())
                if answer.binding_id is not None:
                    self.door.say(session, RelayUnbind(answer.binding_id))
                if self.chance.random() < 0.7:
                    self.door.bind(session, store=True)

    def read_all(self) -> None:
        """Every node takes what it is given, and acknowledges it."""
        for session in list(self.door.sessions.values()):
            session.reads = True
            session.read()
            self.acknowledge_all(session)

    def acknowledge_all(self, session: Session) -> None:
        """Acknowledge every reliable frame that a session brought."""
        for number, origin in numbers(session.frames):
            if self.sent[number] is QoS.RELIABLE:
                self.door.say(
                    session, Ack(origin, session.peer.node_id, 0, "ok", uuid.UUID(int=number))
                )

    def there(self) -> list[Session]:
        """One node that is there, if any is."""
        sessions = list(self.door.sessions.values())
        return [self.chance.choice(sessions)] if sessions else []

    def delivered(self) -> Counter[int]:
        """How often each frame was handed to a session."""
        everything = [data for each in self.sessions for data in (*each.frames, *each._waiting)]
        return Counter(number for number, _ in numbers(everything))

    def told(self) -> Counter[int]:
        """How often each frame's origin was told that it ended."""
        notices = [body for each in self.sessions for body in each.bodies]
        return Counter(
            body.message_id.int
            for body in notices
            if isinstance(body, RelayNotify) and body.message_id is not None
        )


def numbers(frames: list[bytes]) -> list[tuple[int, str]]:
    """The numbers and origins of frames."""
    found = []
    for data in frames:
        at = 8 + int.from_bytes(data[6:8], "big")
        header = msgspec.msgpack.decode(data[8:at], type=ForwardHeader)
        found.append((int(data[at:].split()[0]), header.sender))
    return found


@asynccontextmanager
async def stores(kind: str, folder: Path) -> AsyncIterator[FrameStore]:
    """A store of that kind."""
    if kind == "memory":
        yield MemoryStore(max_bytes=20_000)
        return
    path = folder / "frames.sqlite3"
    async with await SqliteStore.open(path, on_problem=lambda problem: None) as store:
        yield store


def serve(folder: Path, store: FrameStore, seed: int) -> History:
    """A relay with that store, and what is to happen to it."""
    clock, door = ManualClock(), Door({})
    context = ServiceContext(door, folder, clock)
    server = RelayServer(context, SETTINGS, store, lambda session, frames: None)
    door.take_frames(server.take_frames)
    door.take(RelayBind, server.take_bind)
    door.take(RelayUnbind, server.take_unbind)
    door.take(Ack, server.take_ack)
    door.on_session(server.session_joined, server.session_left)
    return History(server, door, clock, seed)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("seed", range(6))
async def test_after_any_history_every_frame_had_one_ending_and_no_room_is_taken(
    tmp_path: Path, seed: int, kind: str
) -> None:
    async with stores(kind, tmp_path) as store:
        history = serve(tmp_path, store, seed)
        await history.run()
        await history.clock.advance(8 * 86_400.0)
        await history.end()
        counters = history.door.counters

        assert await history.has_nothing()
        delivered, told = history.delivered(), history.told()
        untold = 0
        for number, qos in history.sent.items():
            assert told[number] <= 1, number
            if qos is not QoS.RELIABLE:
                assert delivered[number] + told[number] <= 1, number
            untold += not (delivered[number] or told[number])
        # Who is away and has no mailbox is not told; that is counted.
        assert untold <= counters["relay_notices_lost.peer_left"]
        assert untold < len(history.sent) / 20
        assert counters["relay_stored"] > 0
        assert counters["relay_forwarded"] > 0
        assert counters["relay_delivered_from_store"] > 0
        if kind == "memory":
            # With threads these are a matter of chance.
            assert counters["relay_evicted"] > 0
            assert counters["relay_acked"] > 0


@pytest.mark.parametrize("seed", range(4))
async def test_a_relay_that_stops_amid_anything_counts_what_it_keeps_when_it_starts_again(
    tmp_path: Path, seed: int
) -> None:
    sent: dict[int, QoS] = {}
    for life in range(3):
        relay = await start(tmp_path, structs.asdict(SETTINGS))
        server = relay.plugin._server
        assert server is not None
        history = History(server, relay.door, relay.clock, 10 * seed + life)
        history.sent = sent
        await history.run()
        if life == 2:
            await history.end()
            assert await history.has_nothing()
        await relay.stop()

        assert relay.context.faults == []
        assert relay.counters["relay_stored"] > 0
