"""What services get of sessions: RELAY_FWD frames, kinds of their own, comings and goings."""

from __future__ import annotations

import asyncio
import random
import struct
import uuid
from collections.abc import AsyncIterator, Sequence

import pytest

from thenodes_core.address import Address, parse_address
from thenodes_core.clock import ManualClock, settle
from thenodes_core.errors import LinkClosed
from thenodes_core.events.counters import Counters
from thenodes_core.events.dispatcher import Dispatcher
from thenodes_core.limits import Limits
from thenodes_core.peers.manager import PeerManager, Served
from thenodes_core.peers.service_sessions import Undo
from thenodes_core.protocol.close import CloseCode
from thenodes_core.protocol.codec import Codec
from thenodes_core.protocol.codec_bin import BinaryCodec
from thenodes_core.protocol.codec_json import JsonCodec
from thenodes_core.protocol.forward import pack_forward
from thenodes_core.protocol.handshake import LocalNode, Role
from thenodes_core.transport.base import Link
from thenodes_core.transport.memory import MemoryNetwork
from thenodes_plugin_api import (
    Ack,
    Body,
    DeliveryHeader,
    Disconnect,
    Extension,
    ForwardHeader,
    Frame,
    Heartbeat,
    KindNotAllowed,
    Message,
    Payload,
    PayloadForm,
    PeerJoined,
    PeerLeft,
    Realm,
    Reason,
    RelayBind,
    RelayForward,
    RelayUnbind,
    ServiceSession,
    Text,
)

LIMITS = Limits()
BINARY = BinaryCodec(LIMITS)
BIND, UNBIND = RelayBind("*"), RelayUnbind("bind:1")
MESSAGE_ID = uuid.UUID("0190b8a0-0000-7000-8000-000000000001")


class Side:
    """A node's sessions with a service that remembers what it is told."""

    def __init__(self, node_id: str, network: MemoryNetwork, limits: Limits = LIMITS) -> None:
        self.network = network
        self.plugin_messages: list[Message] = []
        self.frames: list[tuple[str, list[Frame]]] = []
        self.served: list[tuple[str, Message]] = []
        self.order: list[str | int] = []
        self.life: list[tuple[str, ServiceSession]] = []
        self.counters = Counters()
        self.pass_on_to: ServiceSession | None = None
        self.tasks: set[asyncio.Task[Served]] = set()
        self.port = 0
        self.limits = limits
        self.start(node_id, b"first")

    def start(self, node_id: str, instance: bytes) -> None:
        """Be a new process of that node, with sessions of its own."""
        limits = self.limits
        codecs: list[Codec] = [BinaryCodec(limits), JsonCodec(limits)]
        self.manager = PeerManager(
            LocalNode(node_id=node_id, realm=Realm(), instance=instance, require_identity=False),
            {codec.subprotocol: codec for codec in codecs},
            self,
            Dispatcher(self.counters),
            self.counters,
            limits=limits,
            clock=self.network.clock,
            random_bytes=random.Random(0).randbytes,
        )

        self.stop_serving = self.manager.serve_frames(self._take_frames)
        self.manager.on_session(self._joined, self._left)

    def serve(self, kind: type[Body]) -> Undo:
        return self.manager.serve_kind(kind, self._take_message)

    async def listen(self) -> None:
        listener = await self.network.listen("127.0.0.1", self.port, self._accept, print)
        self.port = listener.port

    async def dial(
        self, other: Side, *, on: MemoryNetwork | None = None, dialled: Address | None = None
    ) -> Link:
        link = await (on or self.network).dial(f"ws://127.0.0.1:{other.port}")
        self._carry(link, Role.DIALER, dialled)
        await settle()
        return link

    def session(self, node_id: str) -> ServiceSession:
        session = self.manager.service_session(node_id)
        assert session is not None
        return session

    def deliver(self, messages: Sequence[Message]) -> bool:
        self.plugin_messages += messages
        return False

    def peer_changed(self, event: PeerJoined | PeerLeft) -> None:
        pass

    @property
    def told(self) -> list[str]:
        """What happened to sessions, in order."""
        return [what for what, _ in self.life]

    def _take_message(self, session: ServiceSession, message: Message) -> None:
        self.served.append((session.peer.node_id, message))
        self.order.append(message.body.token)

    def _take_frames(self, session: ServiceSession, frames: Sequence[Frame]) -> None:
        self.frames.append((session.peer.node_id, list(frames)))
        self.order.append(len(frames))
        if self.pass_on_to is not None:
            self.pass_on_to.offer([frame.data for frame in frames])

    def _joined(self, session: ServiceSession) -> None:
        self.life.append(("joined", session))

    def _left(self, session: ServiceSession, reason: Reason) -> None:
        self.life.append((reason.value, session))

    async def _accept(self, link: Link) -> None:
        await asyncio.wait([self._carry(link, Role.ACCEPTOR)])

    def _carry(
        self, link: Link, role: Role, dialled: Address | None = None
    ) -> asyncio.Task[Served]:
        serving = self.manager.serve(link, role, dialled=dialled)
        task = asyncio.get_running_loop().create_task(serving)
        self.tasks.add(task)
        return task


def forward(
    to: str,
    sender: str,
    body: bytes = b"sealed",
    *,
    form: PayloadForm = PayloadForm.SEALED,
    delivery: DeliveryHeader | None = None,
) -> bytes:
    header = ForwardHeader(None, None, delivery, to, sender, 1, "high_throughput")
    return pack_forward(header, form, body, LIMITS)


def encode(*bodies: Body) -> bytes:
    return b"".join(BINARY.encode(Message(body)) for body in bodies)


class Raw:
    """A peer whose every byte the test writes."""

    def __init__(self, link: Link, node_id: str, *, codec: Codec = BINARY) -> None:
        self.link = link
        self.local = LocalNode(
            node_id=node_id, realm=Realm(), instance=b"raw", require_identity=False
        )
        self.codec = codec

    async def shake_hands(self, *, more: bytes = b"") -> None:
        """Be admitted; `more` is in the same WebSocket message as nothing else."""
        await self.link.receive()
        await self.link.send(self.codec.encode(Message(self.local.hello(bytes(32)))))
        if more:
            await self.link.send(more)
        await settle()

    async def ending(self) -> tuple[Disconnect, LinkClosed]:
        """What the session ends with."""
        told = Disconnect()
        try:
            while True:
                for message in self.codec.decode(await self.link.receive()):
                    if isinstance(message.body, Disconnect):
                        told = message.body
        except LinkClosed as end:
            return told, end


class Town:
    """A relay `relay`, and what is connected with it."""

    def __init__(self, network: MemoryNetwork) -> None:
        self.network = network
        self.json = MemoryNetwork(clock=network.clock, subprotocol="thenodes.v1.json")
        self.sides: list[Side] = []
        self.relay = self.side("relay")

    def side(self, node_id: str, limits: Limits = LIMITS) -> Side:
        side = Side(node_id, self.network, limits)
        self.sides.append(side)
        return side

    async def connected(self, node_id: str) -> Side:
        """A node that dialled the relay."""
        side = self.side(node_id)
        await side.dial(self.relay)
        return side

    async def connected_in_json(self, node_id: str) -> Side:
        """A node that speaks JSON with the relay."""
        self.relay.network = self.json
        await self.relay.listen()
        self.relay.network = self.network
        side = self.side(node_id)
        await side.dial(self.relay, on=self.json)
        return side

    async def raw(self, node_id: str, *, more: bytes = b"") -> Raw:
        """A peer whose every byte the test writes."""
        raw = Raw(await self.network.dial(f"ws://127.0.0.1:{self.relay.port}"), node_id)
        await raw.shake_hands(more=more)
        return raw

    async def close(self) -> None:
        tasks = [task for side in self.sides for task in side.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    town = Town(MemoryNetwork(clock=ManualClock()))
    await town.relay.listen()
    yield town
    await town.close()


# Frames


async def test_a_frame_goes_through_a_relays_handler_to_another_session(town: Town) -> None:
    alice, bob = await town.connected("alice"), await town.connected("bob")
    frame = forward("bob", "alice")

    assert alice.session("relay").offer([frame]) == 1
    await settle()
    ((sender, (taken,)),) = town.relay.frames
    assert (sender, taken.header.to, taken.header.sender) == ("alice", "bob", "alice")

    assert town.relay.session("bob").offer([taken.data]) == 1
    await settle()
    assert bob.frames == [("relay", [taken])]
    assert taken.data == frame
    assert [town.relay.counters.get("messages_received"), bob.plugin_messages] == [1, []]


async def test_frames_of_one_message_come_in_one_call(town: Town) -> None:
    alice = await town.connected("alice")
    frames = [forward("bob", "alice", b"%d" % number) for number in range(50)]

    assert alice.session("relay").offer(frames) == 50
    await settle()

    ((_, taken),) = town.relay.frames
    assert [frame.data for frame in taken] == frames


async def test_frames_on_an_idle_link_leave_in_the_turn_in_which_they_came(town: Town) -> None:
    alice, bob = await town.connected("alice"), await town.raw("bob")
    town.relay.pass_on_to = town.relay.session("bob")
    before = bob.link.received_bytes
    frame = forward("bob", "alice")

    alice.session("relay").offer([frame])

    assert bob.link.received_bytes - before == len(frame)


async def test_frames_are_no_control_messages(town: Town) -> None:
    alice = await town.connected("alice")
    for _ in range(20):
        alice.session("relay").offer([forward("bob", "alice")] * 100)
        await settle()

    assert sum(len(frames) for _, frames in town.relay.frames) == 2000
    assert alice.session("relay").is_open


async def test_frames_and_messages_are_handled_in_the_order_they_came(town: Town) -> None:
    town.relay.serve(RelayBind)
    town.relay.serve(RelayUnbind)
    raw = await town.raw("alice")
    frame = forward("bob", "alice")

    await raw.link.send(encode(BIND) + frame + frame + encode(Text("hi"), UNBIND) + frame)
    await settle()

    assert town.relay.order == ["RELAY_BIND", 2, "RELAY_UNBIND", 1]
    assert [message.body for message in town.relay.plugin_messages] == [Text("hi")]


async def test_frames_that_came_during_the_handshake_are_handled(town: Town) -> None:
    town.relay.serve(RelayBind)

    await town.raw("alice", more=encode(BIND) + forward("bob", "alice"))

    assert town.relay.order == ["RELAY_BIND", 1]


async def test_without_a_service_plugins_get_frames_as_messages(town: Town) -> None:
    alice = await town.connected("alice")
    town.relay.stop_serving()

    alice.session("relay").offer([forward("bob", "alice")])
    await settle()

    assert town.relay.frames == []
    (message,) = town.relay.plugin_messages
    assert message.body == RelayForward("bob", "alice", 1, "high_throughput")
    assert message.payload == Payload(PayloadForm.SEALED, b"sealed")


def test_frames_are_given_to_one_service_only(town: Town) -> None:
    with pytest.raises(ValueError, match="RELAY_FWD is taken already"):
        town.relay.manager.serve_frames(lambda session, frames: None)

    town.relay.stop_serving()
    town.relay.manager.serve_frames(lambda session, frames: None)


@pytest.mark.parametrize(
    ("hostile", "detail"),
    [
        (struct.pack(">IBBH", 2**32 - 1, 7, 4, 0), "truncated frame: 4294967295 bytes announced"),
        (struct.pack(">IBBH", 3, 7, 4, 0), "header of 0 bytes in a frame of 3"),
        (struct.pack(">IBBH", 4, 7, 4, 9) + bytes(9), "header of 9 bytes in a frame of 4"),
        (forward("bob", "alice")[:-1], "truncated frame"),
        (forward("bob", "alice") + b"\x00", "truncated frame: 1 bytes, expected 8"),
        (struct.pack(">IBBH", 4 + 61441, 7, 4, 61441) + bytes(61441), "header of 61441 bytes"),
        (struct.pack(">IBBH", 262141, 7, 4, 0) + bytes(262137), "frame of 262145 bytes"),
        (struct.pack(">IBBH", 8, 7, 4, 4) + b"\xff" * 4, "RELAY_FWD header: "),
        (struct.pack(">IBBH", 5, 7, 4, 1) + b"\x90", "RELAY_FWD header: "),
        (struct.pack(">IBBH", 4, 7, 4, 0), "RELAY_FWD header: "),
        (forward("bob", "alice")[:5] + b"\x06" + forward("bob", "alice")[6:], "payload form 6"),
        (encode(Text("hi")) + struct.pack(">IBBH", 4, 7, 4, 0), "RELAY_FWD header: "),
    ],
)
async def test_a_hostile_frame_ends_the_session_and_nothing_beside_it_is_taken(
    town: Town, hostile: bytes, detail: str
) -> None:
    raw = await town.raw("alice")

    await raw.link.send(forward("bob", "alice") + hostile)

    told, end = await raw.ending()
    await settle()
    assert (end.code, told.reason) == (CloseCode.PROTOCOL, Reason.BAD_FRAME)
    assert detail in (told.detail or "")
    assert (town.relay.frames, town.relay.plugin_messages) == ([], [])
    assert town.relay.counters.get("sessions_refused", reason="protocol") == 1


# Messages of kinds that a service serves


async def test_messages_of_a_served_kind_go_to_the_service_and_others_to_plugins(
    town: Town,
) -> None:
    town.relay.serve(Ack)
    alice = await town.connected("alice")
    ack = Ack("bob", "alice", 7, "ok", MESSAGE_ID)

    assert alice.session("relay").send(ack)
    assert alice.session("relay").send(BIND)
    await settle()

    ((sender, message),) = town.relay.served
    assert (sender, message.body, message.sender) == ("alice", ack, "alice")
    assert [message.body for message in town.relay.plugin_messages] == [BIND]
    assert town.relay.counters.get("messages_received") == 2


async def test_a_kind_that_is_no_longer_served_goes_to_plugins_again(town: Town) -> None:
    undo = town.relay.serve(RelayBind)
    alice = await town.connected("alice")

    undo()
    undo()
    alice.session("relay").send(BIND)
    await settle()

    assert town.relay.served == []
    assert [message.body for message in town.relay.plugin_messages] == [BIND]


@pytest.mark.parametrize("kind", [RelayBind, Heartbeat])
def test_a_kind_that_is_anothers_is_not_served(town: Town, kind: type[Body]) -> None:
    town.relay.serve(RelayBind)

    with pytest.raises(ValueError, match="is taken already"):
        town.relay.serve(kind)


async def test_served_messages_do_not_use_up_the_rate_of_control_messages(town: Town) -> None:
    town.relay.serve(RelayBind)
    raw = await town.raw("alice")

    await raw.link.send(encode(*[BIND] * 500))
    await settle()

    assert len(town.relay.served) == 500


@pytest.mark.parametrize("body", [Extension("x"), RelayForward("bob", "alice"), Heartbeat()])
async def test_a_service_sends_no_other_kinds(town: Town, body: Body) -> None:
    alice = await town.connected("alice")

    with pytest.raises(KindNotAllowed, match=body.token):
        alice.session("relay").send(body)


async def test_a_message_without_room_is_refused(town: Town) -> None:
    alice = await town.connected("alice")
    session = alice.session("relay")

    sent = [session.send(BIND) for _ in range(LIMITS.outbox_frames + 2)]

    assert sent == [True] * (LIMITS.outbox_frames + 1) + [False]


# Comings and goings


async def test_a_service_hears_of_sessions_that_come_and_go(town: Town) -> None:
    alice = await town.connected("alice")
    session = town.relay.session("alice")
    assert town.relay.life == [("joined", session)]
    assert (session.peer.node_id, session.instance, session.card) == ("alice", b"first", None)
    assert session.is_open

    alice.session("relay").end(Reason.PEER_LEFT, "bye")
    await settle()

    assert town.relay.life == [("joined", session), ("peer_left", session)]
    assert not session.is_open
    assert session.offer([forward("alice", "bob")]) == 0
    assert not session.send(BIND)
    assert town.relay.manager.service_session("alice") is None


async def test_a_service_that_comes_later_hears_of_the_sessions_that_are_there(
    town: Town,
) -> None:
    await town.connected("alice")
    joined: list[ServiceSession] = []

    town.relay.manager.on_session(joined.append, lambda session, reason: None)

    assert joined == [town.relay.session("alice")]


async def test_a_service_that_is_gone_hears_nothing_more(town: Town) -> None:
    told: list[object] = []
    undo = town.relay.manager.on_session(told.append, lambda *left: told.append(left))

    undo()
    undo()
    alice = await town.connected("alice")
    alice.session("relay").end(Reason.PEER_LEFT, "bye")
    await settle()

    assert told == []


@pytest.mark.parametrize("instance", [b"first", b"second"])
async def test_of_two_sessions_the_newer_is_told_first(town: Town, instance: bytes) -> None:
    alice = await town.connected("alice")
    older = town.relay.session("alice")

    if instance != b"first":
        alice.start("alice", instance)
    await alice.dial(town.relay)

    newer = town.relay.session("alice")
    assert newer is not older
    assert town.relay.life == [("joined", older), ("joined", newer), ("replaced", older)]


async def test_nothing_of_a_session_comes_after_it_is_gone(town: Town) -> None:
    town.relay.serve(RelayBind)
    first = await town.raw("alice")
    # It reads nothing: the older session cannot even say that it ends.
    session = town.relay.session("alice")
    while session.is_open and session.waiting_frames < 2:
        session.send(UNBIND)
        await settle()
    await town.raw("alice")
    assert town.relay.told == ["joined", "joined", "replaced"]

    await first.link.send(encode(BIND) + forward("bob", "alice"))
    await settle()

    assert town.relay.order == []
    assert town.relay.counters.get("messages_dropped", reason="session_replaced") == 2


async def test_what_a_service_offers_when_it_hears_of_a_session_arrives(town: Town) -> None:
    frame = forward("alice", "bob")
    town.relay.manager.on_session(
        lambda session: [session.offer([frame]), session.send(UNBIND)],  # type: ignore[arg-type]
        lambda session, reason: None,
    )

    alice = await town.connected("alice")

    assert [frame.data for _, (frame,) in alice.frames] == [frame]
    assert [message.body for message in alice.plugin_messages] == [UNBIND]


async def test_a_session_ends_for_the_services_reason(town: Town) -> None:
    raw = await town.raw("alice")
    session = town.relay.session("alice")
    frame = forward("alice", "bob")
    session.offer([frame])

    session.end(Reason.RATE_LIMITED, "too much", retry_after=3.0)

    told, end = await raw.ending()
    await settle()
    assert told == Disconnect(Reason.RATE_LIMITED, "too much", 3.0)
    assert end.code == CloseCode.RATE_LIMITED
    assert town.relay.told == ["joined", "rate_limited"]


async def test_a_reason_without_a_code_of_its_own_ends_a_session_too(town: Town) -> None:
    raw = await town.raw("alice")

    town.relay.session("alice").end(Reason.QUOTA, "no more")

    told, end = await raw.ending()
    assert (told.reason, told.detail, end.code) == (Reason.QUOTA, "no more", CloseCode.NORMAL)


async def test_a_session_that_was_dialled_for_the_operator_is_configured(town: Town) -> None:
    alice, bob = town.side("alice"), town.side("bob")

    await alice.dial(town.relay, dialled=parse_address(f"127.0.0.1:{town.relay.port}"))
    await bob.dial(town.relay)

    assert alice.session("relay").is_configured
    assert not bob.session("relay").is_configured
    assert not town.relay.session("alice").is_configured


@pytest.mark.parametrize("node_id", ["alice", "zoe"])
async def test_of_two_sessions_the_one_that_stays_is_configured_if_either_was(
    town: Town, node_id: str
) -> None:
    node = town.side(node_id)
    await node.listen()
    address = parse_address(f"127.0.0.1:{town.relay.port}")

    await town.relay.dial(node)
    await node.dial(town.relay, dialled=address)

    assert len(node.manager.all()) == 1
    assert node.session("relay").is_configured


# Room, and signs of life


async def test_what_waits_for_a_peer_is_known_and_bounded_and_its_end_is_told(
    town: Town,
) -> None:
    raw = await town.raw("alice")
    session = town.relay.session("alice")
    frame = forward("alice", "bob", bytes(1000))
    while session.offer([frame] * 10) == 10:
        await settle()
    assert session.waiting_bytes >= LIMITS.window_bytes
    assert session.waiting_frames == session.waiting_bytes // len(frame)
    told: list[int] = []
    session.on_room(lambda: told.append(session.waiting_bytes))
    await settle()
    assert told == []

    while not told:
        await raw.link.receive()
        await settle()

    assert told[0] <= LIMITS.window_bytes // 2


async def test_a_peer_that_is_watched_closely_is_asked_and_cut_sooner(town: Town) -> None:
    raw = await town.raw("alice")
    await raw.link.receive()
    watching = asyncio.ensure_future(town.relay.manager.watch())
    clock = town.network.clock
    assert isinstance(clock, ManualClock)
    town.relay.session("alice").watch_closely(2.0)
    town.relay.session("alice").watch_closely(60.0)

    await clock.advance(1.9)
    assert raw.link.received_bytes == (before := raw.link.received_bytes)
    for _ in range(3):
        await clock.advance(1.0)
    assert raw.link.received_bytes > before
    for _ in range(3):
        await clock.advance(1.0)

    assert town.relay.told == ["joined", "timeout"]
    watching.cancel()


# JSON


async def test_a_frame_of_a_json_peer_becomes_a_binary_one(town: Town) -> None:
    alice = await town.connected_in_json("alice")
    frame = forward("bob", "alice", delivery=DeliveryHeader(MESSAGE_ID.bytes, "reliable"))
    assert alice.session("relay").peer.encoding == "json"

    assert alice.session("relay").offer([frame]) == 1
    await settle()

    ((sender, (taken,)),) = town.relay.frames
    assert (sender, taken.data) == ("alice", frame)


async def test_a_json_peer_is_given_frames_and_messages_of_this_hop(town: Town) -> None:
    alice = await town.connected_in_json("alice")
    session = town.relay.session("alice")
    frames = [forward("alice", "bob", b"%d" % number) for number in range(3)]

    assert session.offer(frames) == 3
    assert session.send(Ack("bob", "alice", 1, "stored"))
    await settle()

    assert [frame.data for _, (frame,) in alice.frames] == frames
    assert alice.counters.get("messages_received") == 4


async def test_a_frame_that_has_no_json_form_is_dropped_and_counted(town: Town) -> None:
    alice = await town.connected_in_json("alice")
    broken = forward("alice", "bob", b"{", form=PayloadForm.JSON)
    fit = forward("alice", "bob")

    assert town.relay.session("alice").offer([broken, fit]) == 2
    await settle()

    assert [frame.data for _, (frame,) in alice.frames] == [fit]
    assert town.relay.counters.get("messages_dropped", reason="no_envelope") == 1


async def test_a_json_peer_without_room_takes_the_first_frames_only(town: Town) -> None:
    await town.connected_in_json("alice")
    frame = forward("alice", "bob", bytes(60_000))

    taken = town.relay.session("alice").offer([frame] * 20)

    # The first goes out at once; base64 makes the others 80 KB each.
    assert taken == 1 + 4
