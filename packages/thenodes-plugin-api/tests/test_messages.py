"""The message model against the wire protocol's tables."""

from __future__ import annotations

import msgspec
import pytest

from thenodes_plugin_api import (
    KINDS,
    DeliveryClass,
    Extension,
    Hello,
    Message,
    NodeId,
    Reason,
    Text,
    Verified,
)

# design: wire.md, Kinds
TOKENS = {
    1: "HELLO",
    2: "TEXT",
    3: "PEER_REQUEST",
    4: "PEER_LIST",
    5: "RELAY_BIND",
    6: "RELAY_BIND_ACK",
    7: "RELAY_FWD",
    8: "RELAY_UNBIND",
    9: "RELAY_NOTIFY",
    10: "ACK",
    11: "DELIVERY_ACK",
    12: "DATA_REQUEST",
    13: "DATA_RESPONSE",
    14: "HEARTBEAT",
    15: "DISCONNECT",
    16: "EXTENSION",
    17: "AUTH",
}

REASONS = (
    "policy_denied timeout already_bound unknown_target overload peer_left no_observed_addr "
    "capability_missing declined quota rate_limited not_bound no_card bad_frame unauthenticated "
    "replaced restarting"
).split()


def test_every_kind_has_the_wires_code_and_token() -> None:
    assert {kind.code: kind.token for kind in KINDS} == TOKENS


def test_the_kinds_stand_in_the_order_of_their_codes() -> None:
    assert [kind.code for kind in KINDS] == sorted(TOKENS)


def test_the_reasons_are_the_wires_and_one_for_what_is_not_known() -> None:
    assert [reason.value for reason in Reason] == [*REASONS, "unknown"]


def test_a_reason_of_a_later_version_reads_as_unknown() -> None:
    assert Reason("solar_flare") is Reason.UNKNOWN


def test_a_reason_that_is_no_text_is_an_error() -> None:
    with pytest.raises(ValueError, match="3"):
        Reason(3)  # type: ignore[arg-type]


def test_the_delivery_classes_are_the_references() -> None:
    assert [c.value for c in DeliveryClass] == [
        "fire_and_forget",
        "reliable",
        "ordered_reliable",
    ]


@pytest.mark.parametrize("node_id", ["a", "A.b_c-9", "x" * 128])
def test_a_node_id_of_the_right_form_is_taken(node_id: str) -> None:
    assert msgspec.convert(node_id, NodeId) == node_id


@pytest.mark.parametrize("node_id", ["", "x" * 129, "a b", "a/b", "a\n", "ü", "a\x00"])
def test_a_node_id_of_another_form_is_refused(node_id: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(node_id, NodeId)


@pytest.mark.parametrize("count", [0, 64])
def test_as_many_capabilities_as_allowed_are_taken(count: int) -> None:
    hello = msgspec.convert({"node_id": "a", "capabilities": ["c"] * count}, Hello)

    assert hello.capabilities == ("c",) * count


@pytest.mark.parametrize("capabilities", [["c"] * 65, ["c" * 65], [""]])
def test_capabilities_over_a_limit_are_refused(capabilities: list[str]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"node_id": "a", "capabilities": capabilities}, Hello)


def test_a_message_that_nobody_vouched_for_says_so() -> None:
    assert Message(Text("hello")).verified is Verified.NONE


def test_a_body_is_matched_by_its_class() -> None:
    match Message(Extension("my.greet", request_id="1")).body:
        case Extension(kind=kind, request_id=request_id):
            assert (kind, request_id) == ("my.greet", "1")
        case _:
            pytest.fail("an EXTENSION did not match its class")


def test_a_message_cannot_be_changed() -> None:
    message = Message(Text("hello"))

    with pytest.raises(AttributeError):
        message.sender = "mallory"  # type: ignore[misc]
