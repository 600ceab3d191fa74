"""Tests of the JSON encoding."""

from __future__ import annotations

import base64
import contextlib
import json
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thenodes_core.errors import ProtocolError
from thenodes_core.limits import Limits
from thenodes_core.protocol.codec import UnknownKind
from thenodes_core.protocol.codec_json import JsonCodec
from thenodes_plugin_api import (
    KINDS,
    Body,
    DataRequest,
    DeliveryClass,
    DeliveryMetadata,
    Disconnect,
    Extension,
    Heartbeat,
    Hello,
    Message,
    Payload,
    PayloadError,
    PayloadForm,
    PayloadTooLarge,
    PeerList,
    Realm,
    Reason,
    RelayForward,
    RelayNotify,
    Text,
    Verified,
)

LIMITS = Limits()
CODEC = JsonCodec(LIMITS)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


def envelope(msg_type: object, **fields: object) -> bytes:
    return json.dumps({"from": "a", "to": "b", "msg_type": msg_type, **fields}).encode()


def decode_one(data: bytes) -> Message:
    (message,) = CODEC.decode(data)
    assert isinstance(message, Message)
    return message


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        CODEC.decode(data)


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {"from": st.just("a"), "to": st.just("b")},
        optional={
            "msg_type": st.dictionaries(
                st.sampled_from([kind.token for kind in KINDS]) | st.text(max_size=8),
                json_values,
                max_size=3,
            ),
            "payload": json_values
            | st.fixed_dictionaries(
                {
                    "type": st.sampled_from(["Text", "Json", "Binary", "Sealed", "Frame", "?"]),
                    "value": json_values,
                }
            ),
            "realm": json_values,
            "delivery": json_values,
        },
    )
)
def test_an_envelope_of_any_values_is_a_message_or_a_protocol_error(
    fields: dict[str, object],
) -> None:
    with contextlib.suppress(ProtocolError):
        CODEC.decode(json.dumps(fields).encode())


def test_hello_is_written_as_the_reference_writes_it() -> None:
    hello = Hello("a", realm=Realm("My Home", "my-home", "2"))

    assert json.loads(CODEC.encode(Message(hello, sender="TheNodes", to="1.2.3.4:5"))) == {
        "from": "TheNodes",
        "to": "1.2.3.4:5",
        "msg_type": {
            "HELLO": {
                "node_id": "a",
                "listen_addr": None,
                "protocol": None,
                "version": None,
                "node_type": None,
                "capabilities": None,
            }
        },
        "payload": None,
        "realm": {"name": "My Home", "code": "my-home", "version": "2"},
    }


def test_text_is_written_without_an_object() -> None:
    assert json.loads(CODEC.encode(Message(Text("hi"))))["msg_type"] == {"TEXT": "hi"}


@pytest.mark.parametrize("body", [Heartbeat(), DataRequest(), Disconnect()])
def test_a_kind_without_fields_is_written_as_a_bare_string(body: Body) -> None:
    assert json.loads(CODEC.encode(Message(body)))["msg_type"] == body.token


def test_optional_fields_of_the_reference_are_written_as_null() -> None:
    written = json.loads(CODEC.encode(Message(RelayForward("a", "b"))))

    assert written["msg_type"] == {"RELAY_FWD": {"to": "a", "from": "b", "sequence": None}}


def test_our_own_optional_fields_are_left_out_where_they_are_null() -> None:
    written = json.loads(CODEC.encode(Message(RelayNotify(Reason.OVERLOAD))))

    assert written["msg_type"] == {
        "RELAY_NOTIFY": {"notif_type": "overload", "binding_id": None, "detail": None}
    }


def test_bytes_are_written_as_padded_base64() -> None:
    written = json.loads(CODEC.encode(Message(Hello("a", public_key=b"\xff\xfe"))))

    assert written["msg_type"]["HELLO"]["public_key"] == "//4="


def test_a_binary_payload_is_written_as_an_array_of_numbers() -> None:
    written = json.loads(CODEC.encode(Message(Heartbeat(), Payload.binary(b"\x00\xff"))))

    assert written["payload"] == {"type": "Binary", "value": [0, 255]}


@pytest.mark.parametrize(
    ("form", "name"), [(PayloadForm.SEALED, "Sealed"), (PayloadForm.FRAME, "Frame")]
)
def test_sealed_and_enclosed_payloads_are_written_as_base64(form: PayloadForm, name: str) -> None:
    written = json.loads(CODEC.encode(Message(Heartbeat(), Payload(form, b"\xff\xfe"))))

    assert written["payload"] == {"type": name, "value": "//4="}


def test_delivery_is_written_with_its_wire_names() -> None:
    message_id = uuid.UUID("0190b8a0-0000-7000-8000-000000000001")
    delivery = DeliveryMetadata(message_id, DeliveryClass.RELIABLE, created_at=5)

    written = json.loads(CODEC.encode(Message(DataRequest(), delivery=delivery)))

    assert written["delivery"] == {
        "message_id": str(message_id),
        "class": "reliable",
        "ordering_key": None,
        "ordering_sequence": None,
        "created_at": 5,
        "expires_at": None,
    }


def test_a_json_payload_keeps_its_bytes() -> None:
    data = envelope("DATA_REQUEST")[:-1] + b',"payload":{"type":"Json","value": {"b": 1e2} }}'

    assert decode_one(data).payload == Payload(PayloadForm.JSON, b'{"b": 1e2}')


def test_the_sender_is_the_sessions_id_whatever_the_envelope_says() -> None:
    (message,) = CODEC.decode(envelope({"TEXT": "hi"}), sender="me", verified=Verified.SESSION)

    assert message == Message(Text("hi"), sender="me", verified=Verified.SESSION)


def test_unknown_fields_are_ignored_everywhere() -> None:
    data = envelope(
        {"EXTENSION": {"kind": "k", "new": 1}},
        new={"a": []},
        payload={"type": "Text", "value": "x", "new": None},
    )

    assert decode_one(data) == Message(Extension("k"), Payload.text("x"))


@pytest.mark.parametrize("msg_type", ["OF_THE_FUTURE", {"OF_THE_FUTURE": {"a": [1]}}])
def test_an_unknown_kind_is_told_by_its_name(msg_type: object) -> None:
    assert CODEC.decode(envelope(msg_type)) == [UnknownKind("OF_THE_FUTURE")]


def test_a_realm_without_a_code_takes_it_from_its_name() -> None:
    data = envelope({"HELLO": {"node_id": "a"}}, realm={"name": "Müller", "version": "1"})

    assert decode_one(data).body == Hello("a", realm=Realm("Müller", "mueller", "1"))


def test_a_realm_counts_only_in_the_envelope() -> None:
    realm = {"name": "x", "code": "x", "version": "1"}

    body = decode_one(envelope({"HELLO": {"node_id": "a", "realm": realm}})).body

    assert body == Hello("a", realm=None)


def test_a_reason_that_this_version_does_not_know_is_unknown() -> None:
    assert decode_one(envelope({"DISCONNECT": {"reason": "of_the_future"}})).body == Disconnect(
        Reason.UNKNOWN
    )


@pytest.mark.parametrize("missing", ["from", "to", "msg_type"])
def test_an_envelope_without_a_required_field_is_refused(missing: str) -> None:
    fields = json.loads(envelope("HEARTBEAT"))
    del fields[missing]

    with pytest.raises(ProtocolError, match=missing):
        CODEC.decode(json.dumps(fields).encode())


@pytest.mark.parametrize(
    "msg_type",
    [
        {},
        {"TEXT": "a", "HEARTBEAT": {}},
        {"TEXT": None},
        {"TEXT": {}},
        "HELLO",
        "TEXT",
        None,
        7,
        [],
        {"HEARTBEAT": None},
    ],
)
def test_a_msg_type_that_is_not_one_kind_is_refused(msg_type: object) -> None:
    with pytest.raises(ProtocolError):
        CODEC.decode(envelope(msg_type))


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "Other", "value": 1},
        {"type": "Text", "value": 1},
        {"type": "Binary", "value": "AA=="},
        {"type": "Binary", "value": [256]},
        {"type": "Binary", "value": [-1]},
        {"type": "Binary", "value": [1.5]},
        {"type": "Sealed", "value": "not base64"},
        {"type": "Frame", "value": [1]},
        {"type": "Text"},
        {"value": "x"},
        [],
        "x",
    ],
)
def test_a_payload_that_is_not_of_its_type_is_refused(payload: object) -> None:
    with pytest.raises(ProtocolError):
        CODEC.decode(envelope("DATA_REQUEST", payload=payload))


@pytest.mark.parametrize(
    "data",
    [
        b'{"from":"a","to":"b","msg_type":{"TEXT":"\\ud800"}}',
        b'{"from":"a","to":"b","msg_type":{"TEXT":"\xff"}}',
        b'{"from":"a","to":"b","msg_type":"\\udfff"}',
        b'{"from":"a","to":"b","msg_type":"HEARTBEAT","payload":{"type":"Text","value":"\\ud800"}}',
    ],
)
def test_text_that_is_not_unicode_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        CODEC.decode(data)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_an_envelope_nested_thousands_deep_is_refused(opening: bytes) -> None:
    deep = opening * 50_000
    data = b'{"from":"a","to":"b","msg_type":{"OF_THE_FUTURE":' + deep

    with pytest.raises(ProtocolError):
        CODEC.decode(data)


def test_a_number_with_thousands_of_digits_is_refused() -> None:
    fields = b'{"ACK":{"to":"a","from":"b","sequence":' + b"9" * 100_000 + b"}}"

    with pytest.raises(ProtocolError):
        CODEC.decode(b'{"from":"a","to":"b","msg_type":' + fields + b"}")


def test_a_second_envelope_in_one_websocket_message_is_refused() -> None:
    one = CODEC.encode(Message(Heartbeat()))

    with pytest.raises(ProtocolError):
        CODEC.decode(one + one)


@pytest.mark.parametrize("node_id", ["", "a" * 129, "a b", "a\n", "ä"])
def test_an_id_that_is_not_one_is_refused(node_id: str) -> None:
    with pytest.raises(ProtocolError):
        CODEC.decode(envelope({"HELLO": {"node_id": node_id}}))


@pytest.mark.parametrize("capabilities", [["c"] * 65, ["c" * 65], [""]])
def test_capabilities_over_their_limit_are_refused(capabilities: list[str]) -> None:
    with pytest.raises(ProtocolError):
        CODEC.decode(envelope({"HELLO": {"node_id": "a", "capabilities": capabilities}}))


def test_256_peers_are_taken() -> None:
    peers = PeerList(("127.0.0.1:1",) * 256)

    assert decode_one(CODEC.encode(Message(peers))).body == peers


def test_257_peers_are_refused() -> None:
    with pytest.raises(ProtocolError):
        CODEC.decode(envelope({"PEER_LIST": {"peers": ["127.0.0.1:1"] * 257}}))


def test_a_payload_of_exactly_the_limit_is_taken() -> None:
    payload = Payload(PayloadForm.SEALED, bytes(LIMITS.frame_bytes))

    assert decode_one(CODEC.encode(Message(Extension("k"), payload))).payload == payload


def test_a_payload_over_the_limit_is_refused() -> None:
    value = base64.b64encode(bytes(LIMITS.frame_bytes + 1)).decode()

    with pytest.raises(ProtocolError, match="payload of 262145 bytes"):
        CODEC.decode(envelope("DATA_REQUEST", payload={"type": "Sealed", "value": value}))


def test_a_payload_that_the_peer_would_refuse_is_not_sent() -> None:
    payload = Payload(PayloadForm.SEALED, bytes(LIMITS.frame_bytes + 1))

    with pytest.raises(PayloadTooLarge, match="at most 262144"):
        CODEC.encode(Message(Extension("k"), payload))


def test_an_envelope_that_grows_over_the_message_limit_is_not_sent() -> None:
    payload = Payload.binary(b"\xff" * LIMITS.frame_bytes)

    with pytest.raises(PayloadTooLarge, match="at most 1048576"):
        CODEC.encode(Message(Extension("k"), payload))


def test_text_that_the_peer_would_refuse_is_not_sent() -> None:
    with pytest.raises(PayloadTooLarge, match="beside its payload"):
        CODEC.encode(Message(Text("x" * 6000)))


def test_text_over_the_limit_of_a_header_is_refused() -> None:
    with pytest.raises(ProtocolError, match="beside its payload"):
        CODEC.decode(envelope({"TEXT": "x" * 6000}))


@pytest.mark.parametrize(
    "data", [b"", b"not json", b"1}", b'1},"payload":{"type":"Text","value":"x"', b'"\xff"']
)
def test_a_payload_that_would_change_the_envelope_is_not_sent(data: bytes) -> None:
    with pytest.raises(PayloadError):
        CODEC.encode(Message(Heartbeat(), Payload(PayloadForm.JSON, data)))


def test_a_text_payload_that_is_not_utf_8_is_not_sent() -> None:
    with pytest.raises(PayloadError):
        CODEC.encode(Message(Heartbeat(), Payload(PayloadForm.TEXT, b"\xff")))


@pytest.mark.parametrize("field", ["name", "code", "version"])
def test_a_realm_of_too_many_characters_is_refused(field: str) -> None:
    realm = {"name": "x", "code": "x", "version": "1"} | {field: "x" * 129}

    with pytest.raises(ProtocolError, match=f"realm.{field}"):
        CODEC.decode(envelope({"HELLO": {"node_id": "a"}}, realm=realm))


def test_a_realms_code_is_compared_as_it_came() -> None:
    realm = {"name": "x", "code": "MY HOME", "version": "1"}

    body = decode_one(envelope({"HELLO": {"node_id": "a"}}, realm=realm)).body

    assert body == Hello("a", realm=Realm("x", "MY HOME", "1"))


def test_a_kind_of_extension_that_the_peer_would_refuse_is_not_sent() -> None:
    with pytest.raises(PayloadTooLarge, match="beside its payload"):
        CODEC.encode(Message(Extension("k" * 6000)))


def test_a_kind_of_extension_over_the_limit_of_a_header_is_refused() -> None:
    with pytest.raises(ProtocolError, match="beside its payload"):
        CODEC.decode(envelope({"EXTENSION": {"kind": "k" * 6000}}))


def test_a_payload_that_would_forge_another_kind_is_not_sent() -> None:
    forged = b'1},"msg_type":{"DISCONNECT":{}},"x":{"y":1'

    with pytest.raises(PayloadError):
        CODEC.encode(Message(Extension("k"), Payload(PayloadForm.JSON, forged)))
