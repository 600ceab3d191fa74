"""Events: their levels, and their form in JSON."""

from __future__ import annotations

import logging

import msgspec
import pytest

from thenodes_plugin_api import (
    BindingStatus,
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

EVENTS: list[Event] = [
    SystemEvent(action="started", at=1.0),
    NetworkEvent(action="peer_left", node_id="a", reason=Reason.RESTARTING, at=1.0),
    PluginEvent(plugin="my", action="loaded", level=Level.ERROR, at=1.0),
    TrustDecisionEvent(
        role=Direction.INBOUND,
        decision="accept",
        reason="pinned",
        mode="open",
        realm_binding=BindingStatus.PASSED,
        at=1.0,
    ),
    PromotionEvent(
        fingerprint="ab",
        from_store="observed",
        to_store="trusted",
        operator="cli",
        success=True,
        at=1.0,
    ),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_survives_json(event: Event) -> None:
    assert msgspec.json.decode(msgspec.json.encode(event), type=Event) == event


def test_each_kind_of_event_has_a_tag_of_its_own() -> None:
    tags = [msgspec.to_builtins(event)["type"] for event in EVENTS]

    assert tags == ["system", "network", "plugin", "trust_decision", "promotion"]


@pytest.mark.parametrize("level", Level)
def test_the_severity_of_a_level_is_that_of_the_logging_module(level: Level) -> None:
    assert level.severity == logging.getLevelName(level.name)


def test_an_event_is_information_unless_it_says_otherwise() -> None:
    assert SystemEvent(action="started").level is Level.INFO
