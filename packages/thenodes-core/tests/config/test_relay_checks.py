"""What `[network.relay]` may not say."""

from __future__ import annotations

from typing import Any

import pytest

from thenodes_core.config import Config, make_config, validate
from thenodes_core.config.relay_checks import relay_addresses
from thenodes_core.errors import ConfigError


def settings(**relay: Any) -> Config:
    return make_config({"network": {"relay": relay}}).config


def problem(**relay: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        validate(settings(**relay))
    return str(caught.value)


def test_a_relay_and_its_users_are_allowed() -> None:
    validate(settings(enabled=True, store_forward=True))
    validate(settings(use=["relay.example:50000", "wss://relay.example#relay", "a.b-c_d"]))
    validate(settings(selection="rendezvous"))


@pytest.mark.parametrize(
    ("relay", "is_user", "is_on"),
    [
        ({}, False, False),
        ({"enabled": True}, False, True),
        ({"use": ["relay"]}, True, True),
        ({"selection": "rendezvous"}, True, True),
    ],
)
def test_the_plugin_is_needed_by_relays_and_their_users(
    relay: dict[str, Any], is_user: bool, is_on: bool
) -> None:
    table = settings(**relay).network.relay

    assert (table.is_user, table.is_on) == (is_user, is_on)


def test_what_of_use_is_no_node_id_is_an_address() -> None:
    table = settings(use=["relay.example:1", "relay", "ws://r.example"]).network.relay

    assert relay_addresses(table) == ("relay.example:1", "ws://r.example")


def test_keeping_messages_without_being_a_relay_is_refused() -> None:
    assert problem(store_forward=True) == (
        "network.relay.store_forward: true needs a relay; set network.relay.enabled = true"
    )


@pytest.mark.parametrize("entry", ["", "with space", "ftp://relay.example", "x" * 129])
def test_what_is_neither_address_nor_node_id_is_refused(entry: str) -> None:
    told = problem(use=[entry])

    assert told.startswith("network.relay.use: ")
    assert told.endswith(", or a node id")


@pytest.mark.parametrize("entry", ["127.0.0.1", "localhost", "192.168.0.1"])
def test_an_address_without_its_port_is_not_taken_for_a_node_id(entry: str) -> None:
    assert problem(use=[entry]) == (
        f"network.relay.use: {entry!r} has no port; expected host:port, or a node id"
    )


@pytest.mark.parametrize("key", ["allow", "deny"])
def test_who_is_admitted_is_said_by_id_or_fingerprint(key: str) -> None:
    validate(settings(**{key: ["a" * 64, "node"]}))

    assert problem(**{key: ["a b"]}) == (
        f"network.relay.{key}: expected node ids or fingerprints, got 'a b'"
    )


def test_nobody_is_allowed_and_denied() -> None:
    told = problem(allow=["one", "two"], deny=["two"])

    assert told == "network.relay.allow: two is in network.relay.deny too; leave one out"


def test_one_nodes_queue_is_not_longer_than_all() -> None:
    validate(settings(enabled=True, queue_max_per_target=8192))

    assert problem(enabled=True, queue_max_per_target=8193) == (
        "network.relay.queue_max_per_target: expected at most network.relay.queue_max_global "
        "(8192), got 8193"
    )


@pytest.mark.parametrize("key", ["queue_bytes_per_target", "bytes_burst"])
def test_the_largest_frame_has_to_fit(key: str) -> None:
    validate(settings(enabled=True, **{key: 262_144}))

    assert problem(enabled=True, **{key: 262_143}) == (
        f"network.relay.{key}: expected at least limits.frame_bytes (262144), got 262143"
    )


def test_sizes_that_nobody_uses_are_not_judged() -> None:
    validate(settings(bytes_burst=1, queue_max_per_target=9000))
