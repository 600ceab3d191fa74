"""Events as lines for people."""

from __future__ import annotations

import time

import pytest

from thenodes_core.events.console import ConsoleSink, describe
from thenodes_plugin_api import (
    Direction,
    Event,
    Level,
    NetworkEvent,
    PluginEvent,
    PromotionEvent,
    Reason,
    SystemEvent,
    TrustDecisionEvent,
)

EVIL = "a\x1b[2Jb\r\nc\u202ed\x00"


class Lines:
    """Remembers what was written."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, Level]] = []

    def __call__(self, line: str, level: Level) -> None:
        self.lines.append((line, level))


async def test_an_event_is_one_line_with_time_and_level() -> None:
    written = Lines()

    await ConsoleSink(written).handle(SystemEvent(action="started", detail="up", at=0.0))

    clock = time.strftime("%H:%M:%S", time.localtime(0.0))
    assert written.lines == [(f"{clock} info    up", Level.INFO)]


async def test_events_below_the_level_are_left_out() -> None:
    written = Lines()
    sink = ConsoleSink(written, level=Level.WARNING)

    for level in Level:
        await sink.handle(SystemEvent(action="a", level=level))

    assert [level for _, level in written.lines] == [Level.WARNING, Level.ERROR]


@pytest.mark.parametrize(
    "event",
    [
        SystemEvent(action=EVIL),
        NetworkEvent(action="a", detail=EVIL),
        NetworkEvent(action="a", node_id=EVIL, addr=EVIL),
        PluginEvent(plugin="my", action="a", detail=EVIL),
        PromotionEvent(
            fingerprint=EVIL, from_store="a", to_store=EVIL, operator="o", success=False
        ),
        TrustDecisionEvent(
            role=Direction.INBOUND, decision=EVIL, reason=EVIL, mode=EVIL, peer_addr=EVIL
        ),
    ],
)
async def test_control_and_bidirectional_characters_are_escaped(event: Event) -> None:
    written = Lines()

    await ConsoleSink(written).handle(event)

    line = written.lines[0][0]
    assert line.isprintable()
    assert "a\\x1b[2Jb\\r\\nc\\u202ed\\x00" in line


def test_an_overlong_text_is_cut() -> None:
    line = describe(SystemEvent(action="a", detail="x" * 100_000))

    assert len(line) < 3000
    assert line.endswith("…")


def test_a_network_event_without_detail_is_told_by_its_parts() -> None:
    event = NetworkEvent(action="peer_left", node_id="n", addr="a:1", reason=Reason.RESTARTING)

    assert describe(event) == "peer_left n a:1 restarting"


def test_a_plugins_event_names_the_plugin() -> None:
    assert describe(PluginEvent(plugin="my", action="loaded")) == "[my] loaded"
