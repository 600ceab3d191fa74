"""The table of refusals."""

from __future__ import annotations

from typing import Any

import pytest

from thenodes_plugin_api import QoS, Reason
from thenodes_relay.causes import Cause

BIND = {
    Reason.POLICY_DENIED,
    Reason.TIMEOUT,
    Reason.ALREADY_BOUND,
    Reason.UNKNOWN_TARGET,
    Reason.OVERLOAD,
    Reason.QUOTA,
}
WORDS: dict[str, Any] = {
    "binding_id": "bind:a:b:1",
    "expires_at": 1.0,
    "key": "a_key",
    "limit": 7,
    "node": "a",
    "now": 2.0,
    "problem": "a problem",
    "sender": "b",
    "target": "c",
    "wanted": "x",
}


def test_binds_are_refused_for_the_reasons_of_the_contract_alone() -> None:
    causes = list(Cause)
    binds = causes[: causes.index(Cause.FORGED_SENDER)]

    assert {cause.reason for cause in binds} == BIND


def test_no_two_causes_are_one() -> None:
    assert len(Cause.__members__) == len(set(Cause))


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_says_what_was_met(cause: Cause) -> None:
    refused = cause.refuse(retry_after=1.5, **WORDS)

    assert (refused.cause, refused.reason, refused.retry_after) == (cause, cause.reason, 1.5)
    assert refused.detail
    assert "{" not in refused.detail


def test_where_there_is_no_room_a_reliable_frame_is_told_quota() -> None:
    reasons = {cause: cause.refuse(qos=QoS.RELIABLE, **WORDS).reason for cause in Cause}

    assert {cause for cause, reason in reasons.items() if reason is not cause.reason} == {
        Cause.SHARE_OF_TARGET_FULL,
        Cause.SHARE_OF_ALL_FULL,
        Cause.STRANGERS_FULL,
        Cause.TARGET_FULL,
        Cause.RELAY_FULL,
    }
    assert reasons[Cause.TARGET_FULL] is Reason.QUOTA


def test_what_a_peer_wrote_is_repeated_in_part_and_cannot_be_mistaken() -> None:
    sender = "\x1b[2J" + "x" * 60_000
    refused = Cause.FORGED_SENDER.refuse(sender=sender, node="a")

    assert len(refused.detail) < 400
    assert "\x1b" not in refused.detail
    assert len(Cause.NOT_BOUND.refuse(target="x" * 60_000).detail) < 400
