"""The commands `status` and `glance`."""

from __future__ import annotations

import msgspec
import pytest

from thenodes_core.control.commands import CommandTable
from thenodes_core.control.status import (
    DialStatus,
    Glance,
    NodeStatus,
    PluginLine,
    RelayLine,
    add_status_commands,
    render_status,
)
from thenodes_plugin_api import Direction, Level, PeerInfo, SystemEvent

EVIL = "a\x1b[2Jb\n\u202e"

STATUS = NodeStatus(
    version="0.1",
    node_id="here",
    fingerprint="f",
    realm="default/1.0",
    app_name=None,
    node_type="daemon",
    listening="127.0.0.1:1",
    state_dir="/var/node",
    pid=7,
    started_at=0.0,
    uptime_seconds=3661.0,
    peers=[],
    dialling=[],
    plugins=[],
    counters={},
    advertised=["127.0.0.1:1", "node.example"],
    at=1000.0,
)


class View:
    """A node that stands still."""

    def __init__(self) -> None:
        self.unread = 2

    def status(self) -> NodeStatus:
        return msgspec.structs.replace(STATUS, unread=self.unread)

    def glance(self) -> Glance:
        return Glance("here", "default/1.0", 3, "1 of 2 relays", self.unread)

    def mark_read(self) -> None:
        self.unread = 0


def changed(**fields: object) -> str:
    return render_status(msgspec.structs.replace(STATUS, **fields))


def peer(node_id: str, direction: Direction = Direction.OUTBOUND) -> PeerInfo:
    return PeerInfo(node_id=node_id, address="b:1", direction=direction, connected_at=0.0)


def problem(detail: str, at: float) -> SystemEvent:
    return SystemEvent(action="told", detail=detail, level=Level.WARNING, at=at)


def test_an_idle_node_is_told_in_full() -> None:
    assert render_status(STATUS).splitlines() == [
        "node       here",
        "key        f",
        "realm      default/1.0",
        "up         1 h 1 min (process 7)",
        "listening  127.0.0.1:1",
        "advertised node.example",
        "state      /var/node",
        "sessions   none",
        "relays     none",
        "bootstrap  none",
        "plugins    none",
        "errors     none",
    ]


def test_a_temporary_state_directory_is_told_as_such() -> None:
    assert "state      temporary" in changed(state_dir=None)


def test_what_not_every_node_has_is_told_where_it_is_there() -> None:
    text = changed(app_name="My App", tls=True, health="http://127.0.0.1:9")

    assert text.startswith("app        My App\n")
    assert "listening  127.0.0.1:1 with TLS\n" in text
    assert "health     http://127.0.0.1:9\n" in text


def test_sessions_are_told_by_way_and_encoding() -> None:
    text = changed(peers=[peer("b"), peer("c"), peer("d", Direction.INBOUND)], relayed=2)

    assert (
        "sessions   3 (2 outbound, 1 inbound, 3 binary); 2 more lately through relays; "
        "peers lists them\n"
    ) in text


def test_relays_are_told_with_how_they_stand() -> None:
    text = changed(
        relays=[
            RelayLine("r1", "r1", is_connected=True, detail="connected"),
            RelayLine("a:1", None, is_connected=False, detail="waiting refused"),
        ],
        is_relay=True,
    )

    assert (
        "relays     r1 connected\n           a:1 waiting refused\n           this node is one\n"
        in text
    )


def test_entries_stand_below_each_other_and_long_ones_go_on_below() -> None:
    text = changed(
        dialling=[DialStatus("a:1", "connected", "", 0.0), DialStatus("b:1", "waiting", "no", 0.0)],
        plugins=[PluginLine("my", "0.1", "rejected", "/p", "TN-P011: " + "no " * 40)],
    )

    assert "bootstrap  a:1 connected\n           b:1 waiting: no\n" in text
    assert "plugins    my 0.1 rejected (/p): TN-P011: no no" in text
    assert max(map(len, text.splitlines())) <= 80


def test_an_address_that_does_not_answer_is_told_once() -> None:
    problem = "ws://b:1: connection refused"

    text = changed(dialling=[DialStatus("b:1", "waiting", problem, 0.0)])

    assert "bootstrap  b:1 waiting: connection refused\n" in text


def test_the_newest_problems_are_told_with_their_age_in_one_line_each() -> None:
    problems = [problem(f"{number} {'x' * 100}", 990.0 - 10 + number) for number in range(7)]

    lines = changed(problems=problems, unread=7).splitlines()
    told = lines[[line.startswith("errors") for line in lines].index(True) :]

    assert told[0].startswith("errors     14 s ago, warning: 6 xxx")
    assert len(told) == 6
    assert told[5] == "           more: events --level warning"
    assert max(map(len, told)) <= 80


def test_what_was_counted_is_told_where_that_is_asked_for() -> None:
    status = msgspec.structs.replace(STATUS, counters={"dials": 2, "peers_joined": 1})

    assert "dials" not in render_status(status)
    assert render_status(status, counters=True).endswith(
        "counters   dials 2\n           peers_joined 1"
    )


def test_what_peers_and_plugins_say_is_escaped() -> None:
    text = changed(
        dialling=[DialStatus("a:1", "waiting", EVIL, 0.0)],
        plugins=[PluginLine("my", EVIL, "rejected", EVIL, EVIL)],
        problems=[problem(EVIL, 0.0)],
        relays=[RelayLine(EVIL, EVIL, is_connected=False, detail=EVIL)],
        app_name=EVIL,
    )

    assert all(line.isprintable() for line in text.splitlines())
    assert len(text.splitlines()) == 13


@pytest.fixture
def view() -> View:
    return View()


@pytest.fixture
def table(view: View) -> CommandTable:
    table = CommandTable()
    add_status_commands(table, view)
    return table


async def test_whoever_looks_at_the_status_has_read_the_problems(
    table: CommandTable, view: View
) -> None:
    reply = await table.run("status")

    assert isinstance(reply.data, NodeStatus)
    assert (reply.data.unread, view.unread) == (2, 0)


async def test_a_program_that_looks_at_the_status_can_leave_the_problems_unread(
    table: CommandTable, view: View
) -> None:
    reply = await table.run("status --keep-unread --json")

    assert isinstance(reply.data, NodeStatus)
    assert (reply.data.unread, view.unread) == (2, 2)
    assert "counters" not in reply.text


async def test_a_glance_leaves_problems_unread_until_it_is_told_to(
    table: CommandTable, view: View
) -> None:
    reply = await table.run("glance")

    assert reply.data == view.glance()
    assert (reply.text, view.unread) == ("here default/1.0, 3 peers, 1 of 2 relays, 2 unread", 2)
    await table.run("glance read")
    assert view.unread == 0
