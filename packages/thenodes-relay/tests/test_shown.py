"""What operators read."""

from __future__ import annotations

import msgspec
import pytest

from thenodes_relay.client import ClientStatus, RelayUse
from thenodes_relay.report import BindingRow, RelayStatus, TargetStatus
from thenodes_relay.room import Depth
from thenodes_relay.shown import show_bindings, show_client, show_queue, show_relay
from thenodes_relay.store.sqlite import DURABILITY

WAITING = TargetStatus("bob", False, False, 0, {"reliable": Depth(2, 1536), "bulk": Depth(1, 7)})
STALLED = TargetStatus("kitchen", True, True, 3, {})
RELAY = RelayStatus(
    is_draining=False,
    stores=True,
    mailboxes=3,
    present=1,
    strangers=2,
    bindings=4,
    frames=1,
    bytes=1536,
    in_flight=3,
    store_bytes=5 * 1024 * 1024,
    durability="full: nothing is lost",
    stalled=["kitchen"],
    stalled_lately=["kitchen", "bob"],
    targets=[WAITING, STALLED],
    counters={"relay_bound": 4, "relay_stored": 2},
)


def test_a_relay_is_shown_in_columns() -> None:
    assert show_relay(RELAY).splitlines() == [
        "relay      serving; keeps frames for who is away",
        "mailboxes  3: 1 present, 2 away; 2 of strangers",
        "routes     4",
        "waiting    1 frame, 1.5 KiB; 3 in flight",
        "for        bob      away              reliable 2 (1.5 KiB), bulk 1 (7 bytes)",
        "           kitchen  present, stalled  nothing waits                           3 in flight",
        "store      5.0 MiB",
        "durability full: nothing is lost",
        "stalled    kitchen",
        "           lately: bob",
        "counters   relay_bound 4",
        "           relay_stored 2",
    ]


@pytest.mark.parametrize("durability", DURABILITY.values())
def test_what_can_be_lost_goes_on_below_where_it_is_long(durability: str) -> None:
    text = show_relay(msgspec.structs.replace(RELAY, targets=[], durability=durability))

    assert f"durability {durability[:20]}" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_relay_that_stores_nothing_says_so_and_shows_no_store() -> None:
    text = show_relay(msgspec.structs.replace(RELAY, stores=False, is_draining=True))

    assert "relay      draining, takes nothing new; keeps nothing for who is away" in text
    assert "store  " not in text


def test_of_many_targets_the_first_are_shown_and_how_many_more_there_are() -> None:
    text = show_relay(msgspec.structs.replace(RELAY, targets=[WAITING] * 25))

    assert text.count("bob      away") + text.count("bob  away") == 20
    assert "           and 5 more: relay queue" in text


def test_a_user_sees_its_relays_and_those_that_it_cannot_reach() -> None:
    status = ClientStatus(
        True,
        (
            RelayUse("relay-a", True, "open", 1, 0, stores=True),
            RelayUse("relay-b", True, "refused: policy_denied", 0, 0),
            RelayUse("relay-c", False, "none", 0, 2, stores=True),
            RelayUse("relay-d", True, "none", 0, 0, stores=True, leaving=True),
        ),
        in_flight_frames=2,
        in_flight_bytes=2048,
        missing=("relay.example.org:50000",),
    )

    lines = show_client(status).splitlines()
    assert [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines] == [
        ["uses", "relay-a", "connected", "mailbox open", "stores", "1 route", "0 in flight"],
        [
            "relay-b",
            "connected",
            "mailbox refused: policy_denied",
            "stores nothing",
            "0 routes",
            "0 in flight",
        ],
        ["relay-c", "away", "no mailbox", "stores", "0 routes", "2 in flight"],
        ["relay-d", "about to stop", "no mailbox", "stores", "0 routes", "0 in flight"],
        ["relay.example.org:50000", "not connected"],
        ["unsaved", "2 reliable frames, 2.0 KiB: no relay has confirmed them"],
    ]
    assert len({line.index("stores") for line in lines[:4]}) == 1


def test_a_user_that_knows_no_relay_reads_how_it_would() -> None:
    assert "network.relay.use" in show_client(ClientStatus(True))


def test_mailboxes_and_routes_are_shown_with_whose_they_are() -> None:
    rows = [
        BindingRow("bind:bob:*:1", "bob", "*", "", True, False, 0.0),
        BindingRow("bind:alice:bob:2", "alice", "bob", "high_throughput", False, True, None),
    ]

    first, second = show_bindings(rows).splitlines()

    assert first.startswith("mailbox  bob           away     stores")
    assert "until 19" in first
    assert second == "route    alice to bob  present  stores nothing  high_throughput"


def test_where_there_is_nothing_nothing_is_shown() -> None:
    assert (show_bindings([]), show_queue([])) == ("", "")
