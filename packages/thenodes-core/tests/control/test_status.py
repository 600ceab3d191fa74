"""A node's status as text."""

from __future__ import annotations

import msgspec
import pytest

from thenodes_core.control.status import (
    DialStatus,
    NodeStatus,
    PluginLine,
    render_peers,
    render_status,
)
from thenodes_plugin_api import Direction, PeerInfo

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
    uptime_seconds=0.0,
    peers=[],
    dialling=[],
    plugins=[],
    counters={},
)


def peer(node_id: str, text: str) -> PeerInfo:
    return PeerInfo(
        node_id=node_id,
        address="b:1",
        direction=Direction.OUTBOUND,
        connected_at=0.0,
        node_type=text,
        capabilities=(text,),
    )


def test_an_idle_node_is_told_in_full() -> None:
    assert render_status(STATUS).splitlines() == [
        "node       here",
        "key        f",
        "realm      default/1.0",
        "listening  127.0.0.1:1",
        "up         0 s (process 7)",
        "state      /var/node",
        "peers      none",
        "bootstrap  none",
        "plugins    none",
        "counters   none",
    ]


def test_a_temporary_state_directory_is_told_as_such() -> None:
    assert "state      temporary" in render_status(msgspec.structs.replace(STATUS, state_dir=None))


def test_the_applications_name_comes_first() -> None:
    text = render_status(msgspec.structs.replace(STATUS, app_name="My App"))

    assert text.startswith("app        My App\n")


def test_entries_stand_below_each_other() -> None:
    status = msgspec.structs.replace(
        STATUS,
        dialling=[DialStatus("a:1", "connected", "", 0.0), DialStatus("b:1", "waiting", "no", 0.0)],
        plugins=[PluginLine("my", "0.1", "rejected", "/p", "TN-P011: no")],
        counters={"dials": 2},
    )

    text = render_status(status)

    assert "bootstrap  a:1 connected\n           b:1 waiting: no\n" in text
    assert "plugins    my 0.1 rejected (/p): TN-P011: no\n" in text
    assert text.endswith("counters   dials 2")


def test_no_peers_are_told_in_words() -> None:
    assert render_peers([]) == "no peers connected"


def test_a_peer_is_one_line_with_what_it_said_of_itself() -> None:
    line = render_peers([peer("b", "sensor")])

    assert line.startswith("b sensor outbound b:1 binary since ")
    assert line.endswith(" [sensor]")


def test_what_peers_and_plugins_say_is_escaped() -> None:
    status = msgspec.structs.replace(
        STATUS,
        peers=[peer("b", EVIL)],
        dialling=[DialStatus("a:1", "waiting", EVIL, 0.0)],
        plugins=[PluginLine("my", EVIL, "rejected", EVIL, EVIL)],
    )

    assert all(line.isprintable() for line in render_status(status).splitlines())
    assert len(render_status(status).splitlines()) == 10


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.9, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3601, "1 h 1 s"),
        (3661, "1 h 1 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_a_duration_is_told_by_its_two_largest_units(seconds: float, text: str) -> None:
    status = msgspec.structs.replace(STATUS, uptime_seconds=seconds)

    assert f"up         {text} (process 7)" in render_status(status)
