"""The door of a service: what it lets through, and what it takes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from thenodes_core.clock import ManualClock, settle
from thenodes_core.control.commands import CommandTable
from thenodes_core.control.service_commands import ServiceCommands
from thenodes_core.errors import CommandError, CommandFailed
from thenodes_core.events.counters import Counters
from thenodes_core.limits import Limits
from thenodes_core.plugins.door import Door
from thenodes_core.plugins.ground import Ground
from thenodes_plugin_api import (
    Ack,
    Body,
    CardInfo,
    Carrier,
    CommandReply,
    Frame,
    Manifest,
    Message,
    NotAService,
    NullContextError,
    Reason,
    RelayBind,
    RelayForward,
    RelayNotify,
    ServiceCommand,
    ServiceSession,
    Settled,
    Text,
    parse_manifest,
)

MANIFEST = """
manifest = 1
[plugin]
id = "carry"
version = "1"
entry = "carry:register"
abi = 1
[network]
advertises = ["relay", "more"]
[service]
kinds = ["RELAY_FWD", "RELAY_NOTIFY"]
table = "network.relay"
commands = ["carry"]
"""
CARD = CardInfo("b", "f" * 64, (), 1, 2)
SESSION = cast("ServiceSession", object())
Undo = Callable[[], None]


class Parts:
    """A node's parts that remember who was given what."""

    def __init__(self) -> None:
        self.taken: dict[str, Any] = {}
        self.carriers: list[object] = []
        self.told: list[Any] = []
        self.dispatched: list[Message] = []
        self.signed: Sequence[str] = ()
        self.delivered: list[tuple[str, Sequence[Frame], Callable[..., None]]] = []

    def serve_frames(self, handler: Any) -> Undo:
        self.taken["RELAY_FWD"] = handler
        return lambda: self.taken.clear()

    def serve_kind(self, kind: type[Body], handler: Any) -> Undo:
        self.taken[kind.token] = handler
        return lambda: self.taken.clear()

    def on_session(self, joined: Any, left: Any) -> Undo:
        self.told = [joined, left]
        return lambda: self.told.clear()

    def service_session(self, node_id: str) -> ServiceSession | None:
        return SESSION if node_id == "b" else None

    def read(self, card: bytes) -> CardInfo:
        return CARD

    def learn(self, card: bytes) -> CardInfo:
        return CARD

    def get(self, node_id: str) -> CardInfo | None:
        return CARD if node_id == "b" else None

    def sign(self, relays: Sequence[str]) -> bytes:
        self.signed = relays
        return b"signed"

    def deliver(
        self, relay: str, frames: Sequence[Frame], settled: Callable[[Frame, Settled], None]
    ) -> None:
        self.delivered.append((relay, frames, settled))

    def use(self, carrier: Carrier, fault: Any) -> Undo:
        self.carriers.append(carrier)
        return lambda: self.carriers.remove(carrier)


class Rig:
    """A door, and what it leads to."""

    def __init__(self, manifest: str = MANIFEST) -> None:
        self.parts = Parts()
        self.counters = Counters()
        self.table = CommandTable()
        self.clock = ManualClock()
        self.faults: list[str] = []
        self.changes = 0
        parts = self.parts
        ground = Ground(
            instance=b"i" * 16,
            tables={"network.relay": {"enabled": True}},
            limits=Limits(frame_bytes=70_000, window_bytes=300_000, outbox_bytes=200_000),
            counters=self.counters,
            commands=ServiceCommands(self.table),
            sessions=parts,
            cards=parts,
            inbound=parts,
            carriers=parts,
            is_trusted=lambda fingerprint: fingerprint == "trusted",
            dispatch=parts.dispatched.extend,
        )
        self.door = Door(parsed(manifest), ground, self.clock, self._fault, self._change)

    def _fault(self, where: str, error: BaseException) -> None:
        self.faults.append(f"{where}: {error}")

    def _change(self) -> None:
        self.changes += 1


def parsed(text: str) -> Manifest:
    return parse_manifest(text)


def command(name: str, run: Callable[[Sequence[str]], Any], **more: Any) -> ServiceCommand:
    async def answer(words: Sequence[str]) -> CommandReply:
        answered = run(words)
        if asyncio.iscoroutine(answered):
            answered = await answered
        return cast("CommandReply", answered)

    return ServiceCommand(name, "a command", answer, **more)


def fail(*arguments: object) -> None:
    raise LookupError("no such thing")


def test_a_plugin_that_is_no_service_has_no_door() -> None:
    with pytest.raises(NotAService, match="carry is no service"):
        Rig(MANIFEST.partition("[service]")[0])


def test_a_service_is_given_its_table_and_cannot_change_it() -> None:
    door = Rig().door

    assert dict(door.table) == {"enabled": True}
    with pytest.raises(TypeError):
        door.table["enabled"] = False  # type: ignore[index]


def test_a_service_that_names_no_table_is_given_none() -> None:
    door = Rig(MANIFEST.replace('table = "network.relay"\n', "")).door

    assert dict(door.table) == {}


def test_a_service_sees_the_nodes_instance_sessions_cards_and_trust() -> None:
    rig = Rig()
    door = rig.door

    assert door.instance == b"i" * 16
    assert (door.session("b"), door.session("c")) == (SESSION, None)
    assert (door.read_card(b""), door.learn_card(b"")) == (CARD, CARD)
    assert (door.card_of("b"), door.card_of("c")) == (CARD, None)
    assert (door.is_trusted("trusted"), door.is_trusted("other")) == (True, False)
    assert (door.sign_card(["r"]), rig.parts.signed) == (b"signed", ["r"])


def test_a_service_sees_the_largest_frame_and_how_much_may_wait_for_a_peer() -> None:
    rig = Rig()

    assert rig.door.frame_bytes == 70_000
    assert rig.door.window_bytes == 200_000


def test_what_a_service_counts_is_among_the_nodes_counters() -> None:
    rig = Rig()

    rig.door.count("relay_forwarded", 3)
    rig.door.count("relay_dropped", reason="quota")

    assert rig.counters.snapshot() == {"relay_dropped.quota": 1, "relay_forwarded": 3}


def test_a_level_is_read_when_somebody_asks_until_the_service_stops() -> None:
    rig = Rig()
    waiting = [1, 2]

    rig.door.level("relay_queue_frames", lambda: len(waiting))
    waiting.append(3)

    assert rig.counters.levels() == {"relay_queue_frames": 3.0}
    rig.door.close()
    assert rig.counters.levels() == {}


async def test_a_level_that_cannot_be_read_is_a_fault_of_the_plugin_and_not_shown() -> None:
    rig = Rig()

    rig.door.level("broken", lambda: 1 // 0)

    assert rig.counters.levels() == {}
    assert rig.faults == ["its level broken: integer division or modulo by zero"]


@pytest.mark.parametrize("name", ["", "9lives", "Frames", "a b", "x" * 65])
def test_a_level_has_a_name_for_metrics(name: str) -> None:
    with pytest.raises(ValueError, match="expected 1 to 64"):
        Rig().door.level(name, float)


def test_a_level_has_one_name() -> None:
    rig = Rig()
    rig.door.level("frames", float)

    with pytest.raises(ValueError, match="shown already"):
        rig.door.level("frames", float)


def test_a_service_takes_frames_and_the_kinds_that_its_manifest_names() -> None:
    rig = Rig()
    got: list[object] = []

    rig.door.take_frames(lambda session, frames: got.append(frames))
    rig.door.take(RelayNotify, lambda session, message: got.append(message))
    rig.parts.taken["RELAY_FWD"](SESSION, ["frame"])
    rig.parts.taken["RELAY_NOTIFY"](SESSION, "message")

    assert got == [["frame"], "message"]


@pytest.mark.parametrize("kind", [RelayBind, Ack, Text])
def test_a_kind_that_the_manifest_does_not_name_is_refused(kind: type[Body]) -> None:
    rig = Rig()

    with pytest.raises(ValueError, match=f"{kind.token} is not in the manifest's"):
        rig.door.take(kind, fail)
    assert rig.parts.taken == {}


def test_frames_are_refused_where_the_manifest_does_not_name_them() -> None:
    rig = Rig(MANIFEST.replace('"RELAY_FWD", ', ""))

    with pytest.raises(ValueError, match="RELAY_FWD is not in the manifest's"):
        rig.door.take_frames(fail)


def test_frames_are_not_taken_as_messages() -> None:
    with pytest.raises(ValueError, match="use take_frames"):
        Rig().door.take(RelayForward, fail)


async def test_what_a_handler_raises_is_a_fault_of_the_plugin_and_goes_no_further() -> None:
    rig = Rig()
    rig.door.take_frames(fail)
    rig.door.take(RelayNotify, fail)
    rig.door.on_session(fail, fail)
    rig.door.deliver("relay", [], fail)

    rig.parts.taken["RELAY_FWD"](SESSION, [])
    rig.parts.taken["RELAY_NOTIFY"](SESSION, Message(RelayNotify(Reason.QUOTA)))
    rig.parts.told[0](SESSION)
    rig.parts.told[1](SESSION, Reason.PEER_LEFT)
    rig.parts.delivered[0][2](None, Settled("ok"))

    assert [fault.partition(":")[0] for fault in rig.faults] == [
        "its handler of frames",
        "its handler of RELAY_NOTIFY",
        "its handler of sessions",
        "its handler of ended sessions",
        "its handler of delivered frames",
    ]


def test_messages_and_frames_go_to_the_nodes_plugins() -> None:
    rig = Rig()
    message = Message(RelayNotify(Reason.QUOTA))

    rig.door.dispatch(message)
    rig.door.deliver("relay", [], fail)

    assert rig.parts.dispatched == [message]
    assert rig.parts.delivered[0][:2] == ("relay", [])


def test_a_service_advertises_what_its_manifest_names() -> None:
    rig = Rig()

    rig.door.advertise(["relay", "relay"])

    assert (rig.door.capabilities, rig.changes) == (("relay",), 1)
    with pytest.raises(ValueError, match="other"):
        rig.door.advertise(["relay", "other"])
    assert (rig.door.capabilities, rig.changes) == (("relay",), 1)


async def test_a_command_of_a_service_answers_among_the_nodes() -> None:
    rig = Rig()
    rig.door.add_command(
        command("carry status", lambda words: CommandReply(f"got {words}", {"a": 1}))
    )

    reply = await rig.table.run("carry status now")

    assert (reply.text, reply.data) == ("got ['now']", {"a": 1})


def test_a_command_whose_first_word_the_manifest_does_not_name_is_refused() -> None:
    rig = Rig()

    with pytest.raises(ValueError, match="'status' is not in the manifest's"):
        rig.door.add_command(command("status", fail))
    with pytest.raises(ValueError, match="'carryall' is not in the manifest's"):
        rig.door.add_command(command("carryall", fail))


def test_a_command_is_added_once() -> None:
    rig = Rig()
    rig.door.add_command(command("carry", fail))

    with pytest.raises(ValueError, match="'carry' is taken"):
        rig.door.add_command(command("carry", fail))


async def test_wrong_words_are_the_operators_fault() -> None:
    rig = Rig()

    def refuse(words: Sequence[str]) -> None:
        raise ValueError("carry what?")

    rig.door.add_command(command("carry", refuse))

    with pytest.raises(CommandError, match=r"carry what\?") as caught:
        await rig.table.run("carry")
    assert not isinstance(caught.value, CommandFailed)
    assert rig.faults == []


@pytest.mark.parametrize("run", [fail, lambda words: "no reply"], ids=["raises", "answers wrongly"])
async def test_a_command_that_fails_is_a_fault_of_the_plugin(run: Callable[..., Any]) -> None:
    rig = Rig()
    rig.door.add_command(command("carry", run))

    with pytest.raises(CommandFailed, match="plugin carry failed"):
        await rig.table.run("carry")
    assert len(rig.faults) == 1


async def test_a_command_that_does_not_answer_is_given_up() -> None:
    rig = Rig()
    rig.door.add_command(command("carry", lambda words: asyncio.Event().wait()))
    asked = asyncio.ensure_future(rig.table.run("carry"))
    await settle()

    await rig.clock.advance(29.9)
    assert not asked.done()
    await rig.clock.advance(0.2)

    with pytest.raises(CommandFailed, match="carry did not answer within 30 s"):
        await asked


async def test_a_completion_that_raises_offers_nothing() -> None:
    rig = Rig()
    rig.door.add_command(command("carry", fail, complete=fail))

    (added,) = rig.table.commands

    assert added.complete is not None
    assert added.complete() == []
    assert len(rig.faults) == 1


def test_a_door_that_is_closed_takes_everything_back() -> None:
    rig = Rig()
    rig.door.take_frames(fail)
    rig.door.on_session(fail, fail)
    rig.door.offer_carrier(cast("Carrier", object()))
    rig.door.add_command(command("carry", fail))
    rig.door.advertise(["relay"])

    rig.door.close()

    assert (rig.parts.taken, rig.parts.told, rig.parts.carriers) == ({}, [], [])
    assert (list(rig.table.commands), rig.door.capabilities) == ([], ())


@pytest.mark.parametrize(
    "use",
    [
        lambda door: door.take_frames(fail),
        lambda door: door.take(RelayNotify, fail),
        lambda door: door.on_session(fail, fail),
        lambda door: door.sign_card([]),
        lambda door: door.deliver("relay", [], fail),
        lambda door: door.dispatch(Message(Text("x"))),
        lambda door: door.offer_carrier(None),
        lambda door: door.add_command(command("carry", fail)),
        lambda door: door.advertise(["relay"]),
    ],
)
def test_a_door_that_is_closed_gives_nothing(use: Callable[[Door], object]) -> None:
    rig = Rig()
    rig.door.close()

    with pytest.raises(NullContextError, match="plugin carry is not running"):
        use(rig.door)


def test_a_service_is_told_of_a_drain_and_says_when_it_is_done() -> None:
    rig = Rig()
    done: list[bool] = []
    rig.door.on_drain(lambda: done.append(False), lambda: bool(done and done[-1]))

    rig.door.drain()
    assert not rig.door.is_drained
    done.append(True)

    assert rig.door.is_drained


def test_a_service_that_starts_while_the_node_drains_is_told_then_and_once() -> None:
    rig = Rig()
    told: list[str] = []
    rig.door.drain()

    rig.door.on_drain(lambda: told.append("drain"), lambda: bool(told))
    rig.door.drain()

    assert told == ["drain"]
    assert rig.door.is_drained


async def test_a_service_that_fails_to_say_whether_it_is_done_is_not_waited_for() -> None:
    rig = Rig()
    rig.door.on_drain(lambda: 1 // 0, lambda: bool(1 // 0))

    rig.door.drain()

    assert rig.door.is_drained
    assert len(rig.faults) == 2
    assert rig.faults[0].startswith("its handler of the drain")


def test_a_service_that_was_stopped_is_not_told_of_a_drain() -> None:
    rig = Rig()
    told: list[str] = []
    rig.door.on_drain(lambda: told.append("drain"), lambda: False)

    rig.door.close()
    rig.door.drain()

    assert told == []
    assert rig.door.is_drained
