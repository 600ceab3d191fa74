"""What a node takes over of settings that changed, and what it names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from thenodes_cli.settings_reload import SettingsReload, applied_and_kept
from thenodes_core import Config, ConfigError, ManualClock, MemoryNetwork, Node, Settings
from thenodes_core.config import make_config
from thenodes_plugin_api import ConfigDefaults, Event, Plugin, SystemEvent

POLICY = "encryption.trust_policy."


def differences(old: dict[str, Any], new: dict[str, Any]) -> tuple[Sequence[str], Sequence[str]]:
    return applied_and_kept(make_config(old).config, make_config(new).config)


def policy(**values: object) -> dict[str, Any]:
    return {"encryption": {"trust_policy": values}}


def test_equal_settings_differ_in_nothing() -> None:
    assert differences(policy(mode="tofu"), policy(mode="tofu")) == ([], [])
    nan = {"plugin": {"my": {"size": math.nan}}}
    assert differences(nan, {"plugin": {"my": {"size": float("nan")}}}) == ([], [])


def test_the_policy_is_applied_and_told_with_its_new_value() -> None:
    applied, kept = differences(
        policy(mode="allowlist"), policy(mode="observe", pin_subjects=["~x"])
    )

    assert applied == [f'{POLICY}mode = "observe"', f'{POLICY}pin_subjects = ["~x"]']
    assert kept == []


def test_a_setting_that_is_gone_is_told_with_its_default() -> None:
    assert differences(policy(mode="tofu"), {}) == ([f'{POLICY}mode = "open"'], [])


@pytest.mark.parametrize(
    ("new", "key"),
    [
        ({"port": 1}, "port"),
        ({"plugin": {"my": {"size": 1}}}, "plugin.my.size"),
        ({"encryption": {"mtls": True}}, "encryption.mtls"),
        ({"discovery": {"enabled": False}}, "discovery.enabled"),
        ({"limits": {"max_sessions": 7}}, "limits.max_sessions"),
        (policy(require_identity=False), f"{POLICY}require_identity"),
        (policy(paths={"observed_dir": "/x"}), f"{POLICY}paths.observed_dir"),
    ],
)
def test_all_else_needs_a_restart(new: dict[str, Any], key: str) -> None:
    assert differences({}, new) == ([], [key])


def test_what_a_file_says_is_shown_escaped_and_cut() -> None:
    (line,), _ = differences({}, policy(pin_subjects=["\u202e" + "x" * 1000]))

    assert line.isprintable()
    assert len(line) < 300


class Collector:
    """A sink that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def handle(self, event: Event) -> None:
        self.events.append(event)

    def told(self) -> list[tuple[str, str]]:
        actions = ("reloaded", "restart_needed", "reload_failed")
        events = [event for event in self.events if isinstance(event, SystemEvent)]
        return [(event.action, event.detail) for event in events if event.action in actions]


async def reload_through(*answers: dict[str, Any]) -> tuple[list[tuple[str, str]], Config]:
    """Start a node with the first settings, and let it reload each of the others."""
    sink = Collector()
    first, *later = (make_config(answer) for answer in answers)
    clock = ManualClock()
    transport = MemoryNetwork()
    async with Node(first, sinks=(sink,), transport=transport, clock=clock) as node:
        pending = iter(later)

        def read() -> Settings:
            settings = next(pending)
            if settings.config.app_name == "broken":
                raise ConfigError("node.toml: not TOML")
            return settings

        reload = SettingsReload(node, first, "node.toml", read)
        for _ in later:
            reload.run()
        config = node.config
    return sink.told(), config


async def test_a_running_node_takes_over_the_policy() -> None:
    told, config = await reload_through({}, policy(mode="tofu"))

    assert told == [
        ("reloaded", f'node.toml: {POLICY}mode = "tofu"; the keys on disk are read again')
    ]
    assert config.encryption.trust_policy.mode == "tofu"


async def test_what_needs_a_restart_is_named_until_there_is_one() -> None:
    told, config = await reload_through({}, {"app_name": "a"}, {"app_name": "a"}, {})

    assert [detail for action, detail in told if action == "restart_needed"] == [
        "changed, but in use only after a restart: app_name"
    ] * 2
    assert config.app_name is None


async def test_a_file_that_cannot_be_used_changes_nothing() -> None:
    told, config = await reload_through(
        policy(mode="tofu"), policy(mode="open") | {"app_name": "broken"}
    )

    assert told == [
        ("reload_failed", "nothing is reloaded, the node goes on as it was: node.toml: not TOML")
    ]
    assert config.encryption.trust_policy.mode == "tofu"


async def test_a_value_that_is_not_allowed_changes_nothing() -> None:
    told, config = await reload_through({}, policy(mode="tofu", pin_fingerprints=["x"]))

    assert told[0][0] == "reload_failed"
    assert "pin_fingerprints: expected 64 hexadecimal digits" in told[0][1]
    assert config.encryption.trust_policy.mode == "open"


async def test_a_running_node_dials_the_addresses_of_the_configuration_that_are_new() -> None:
    sink, clock = Collector(), ManualClock()
    first = make_config({"bootstrap_nodes": ["a:1", "b:2"]})
    later = make_config({"bootstrap_nodes": ["b:2", "c:3"], "discovery": {"request_want": 3}})
    async with Node(first, sinks=(sink,), transport=MemoryNetwork(), clock=clock) as node:
        SettingsReload(node, first, "node.toml", lambda: later).run()
        dialled = [dial.address for dial in node.status().dialling]
        config = node.config

    assert dialled == ["b:2", "c:3"]
    assert (config.bootstrap_nodes, config.discovery.request_want) == (("b:2", "c:3"), 3)
    ((_, detail),) = sink.told()
    assert 'bootstrap_nodes = ["b:2", "c:3"]; discovery.request_want = 3' in detail


class Preset(Plugin):
    """Presets an address."""

    abi = 1

    def early_config_defaults(self) -> ConfigDefaults:
        return ConfigDefaults(bootstrap_nodes=("preset:1",))


@pytest.mark.parametrize(
    ("new", "dialled"),
    [
        ({"discovery": {"request_want": 3}}, ["preset:1"]),
        ({"bootstrap_nodes": ["a:1"]}, ["a:1", "preset:1"]),
    ],
)
async def test_what_a_plugin_preset_stays_where_the_operator_changes_something(
    new: dict[str, Any], dialled: list[str]
) -> None:
    first, later = make_config({}), make_config(new)
    node = Node(first, plugins={"preset": Preset()}, transport=MemoryNetwork(), clock=ManualClock())
    async with node:
        SettingsReload(node, first, None, lambda: later).run()

        assert sorted(dial.address for dial in node.status().dialling) == dialled
        assert node.config.discovery == later.config.discovery
