"""Tests of the binary encoding."""

from __future__ import annotations

import contextlib
import uuid

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thenodes_core.errors import ProtocolError
from thenodes_core.limits import Limits
from thenodes_core.protocol.codec import UnknownKind
from thenodes_core.protocol.codec_bin import BinaryCodec
from thenodes_core.protocol.frame import PREFIX_BYTES, make_head, pack
from thenodes_plugin_api import (
    KINDS,
    Body,
    DataRequest,
    DeliveryMetadata,
    Disconnect,
    Extension,
    Heartbeat,
    Hello,
    Message,
    Payload,
    PayloadForm,
    PayloadTooLarge,
    PeerList,
    Realm,
    Reason,
    Text,
    Verified,
)

LIMITS = Limits()
CODEC = BinaryCodec(LIMITS)
TEXT_KIND, HEARTBEAT_KIND, DISCONNECT_KIND, EXTENSION_KIND = 2, 14, 15, 16


def frame(kind: int, fields: object, *, flags: int = 0, body: bytes = b"") -> bytes:
    return pack(make_head(kind, flags, msgspec.msgpack.encode(fields)), body)


def decode_one(data: bytes) -> Message:
    (message,) = CODEC.decode(data)
    assert isinstance(message, Message)
    return message


@settings(deadline=None)
@given(st.lists(st.builds(Text, st.text(max_size=8)), min_size=1, max_size=9))
def test_several_messages_in_one_websocket_message_keep_their_order(several: list[Text]) -> None:
    frames = b"".join(CODEC.encode(Message(text)) for text in several)

    assert CODEC.decode(frames) == [Message(text) for text in several]


@settings(deadline=None)
@given(
    st.sampled_from(KINDS),
    st.integers(0, 255),
    st.binary(max_size=80),
    st.binary(max_size=20),
)
def test_a_header_of_any_bytes_is_a_message_or_a_protocol_error(
    kind: type[Body], flags: int, header: bytes, body: bytes
) -> None:
    with contextlib.suppress(ProtocolError):
        CODEC.decode(pack(make_head(kind.code, flags, header), body))


@settings(deadline=None)
@given(st.sampled_from(KINDS), st.data())
def test_a_header_of_any_values_is_a_message_or_a_protocol_error(
    kind: type[Body], data: st.DataObject
) -> None:
    scalars = (
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats()
        | st.text(max_size=8)
        | st.binary(max_size=17)
    )
    values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4), max_leaves=8)
    fields = data.draw(st.lists(values, max_size=20))

    with contextlib.suppress(ProtocolError):
        CODEC.decode(frame(kind.code, fields))


def test_a_header_leaves_to_and_from_empty() -> None:
    data = CODEC.encode(Message(Text("hi"), sender="me", to="you"))

    assert data == frame(TEXT_KIND, [None, None, None, "hi"])


def test_hello_carries_its_realm_as_an_array() -> None:
    data = CODEC.encode(Message(Hello("a", realm=Realm("My Home", "my-home", "2"))))

    header = msgspec.msgpack.decode(data[PREFIX_BYTES:])
    assert header[3:10] == ["a", None, None, None, None, None, ["My Home", "my-home", "2"]]


def test_delivery_is_an_array_with_the_id_in_16_bytes() -> None:
    message_id = uuid.UUID("0190b8a0-0000-7000-8000-000000000001")

    data = CODEC.encode(Message(DataRequest(), delivery=DeliveryMetadata(message_id)))

    header = msgspec.msgpack.decode(data[PREFIX_BYTES:])
    assert header == [
        None,
        None,
        [message_id.bytes, "fire_and_forget", None, None, None, None],
    ]


def test_the_sender_is_the_sessions_id_whatever_the_frame_says() -> None:
    forged = frame(TEXT_KIND, ["someone", "somebody else", None, "hi"])

    (message,) = CODEC.decode(forged, sender="me", verified=Verified.SESSION)

    assert message == Message(Text("hi"), sender="me", verified=Verified.SESSION)


def test_equal_frames_of_two_sessions_have_each_their_sender() -> None:
    data = CODEC.encode(Message(Extension("k")))

    senders = [CODEC.decode(data, sender=sender)[0] for sender in ("a", "b")]

    assert senders == [Message(Extension("k"), sender="a"), Message(Extension("k"), sender="b")]


def test_equal_headers_with_different_forms_are_told_apart() -> None:
    fields = [None, None, None, "k"]

    text, binary = (
        decode_one(frame(EXTENSION_KIND, fields, flags=form, body=b"x")).payload for form in (1, 3)
    )

    assert (text, binary) == (
        Payload(PayloadForm.TEXT, b"x"),
        Payload(PayloadForm.BINARY, b"x"),
    )


def test_equal_extensions_with_different_payload_forms_are_encoded_apart() -> None:
    codec = BinaryCodec(LIMITS)
    payloads = [None, Payload.text("x"), Payload.binary(b"x"), Payload.json("x"), None]

    decoded = [codec.decode(codec.encode(Message(Extension("k"), p)))[0] for p in payloads]

    assert decoded == [Message(Extension("k"), p) for p in payloads]


def test_a_question_is_not_encoded_as_the_plain_extension_before_it() -> None:
    codec = BinaryCodec(LIMITS)
    codec.encode(Message(Extension("k")))

    question = Message(Extension("k", request_id="1"))

    assert codec.decode(codec.encode(question)) == [question]


def test_more_kinds_of_extension_than_are_remembered_are_still_told_apart() -> None:
    codec = BinaryCodec(LIMITS)
    sent: list[Message | UnknownKind] = [Message(Extension(f"kind-{n}")) for n in range(3000)]

    received = [codec.decode(codec.encode(m))[0] for m in sent if isinstance(m, Message)]

    assert received == sent


def test_fields_that_are_missing_at_the_end_have_their_defaults() -> None:
    assert decode_one(frame(DISCONNECT_KIND, [None, None, None])).body == Disconnect()


def test_fields_that_a_later_version_adds_are_ignored() -> None:
    longer = frame(HEARTBEAT_KIND, [None, None, None, {"new": [1, 2]}, b"field"])

    assert decode_one(longer).body == Heartbeat()


def test_delivery_fields_that_a_later_version_adds_are_ignored() -> None:
    delivery = [bytes(16), "reliable", None, None, None, None, "new"]

    assert decode_one(frame(HEARTBEAT_KIND, [None, None, delivery])).delivery is not None


def test_a_required_field_that_is_missing_is_refused() -> None:
    with pytest.raises(ProtocolError, match="TEXT header"):
        CODEC.decode(frame(TEXT_KIND, [None, None, None]))


def test_a_field_of_another_type_is_refused() -> None:
    with pytest.raises(ProtocolError, match="TEXT header"):
        CODEC.decode(frame(TEXT_KIND, [None, None, None, 7]))


def test_bytes_after_the_header_array_are_refused() -> None:
    header = msgspec.msgpack.encode([None, None, None]) + b"\xc0"

    with pytest.raises(ProtocolError, match="HEARTBEAT header"):
        CODEC.decode(pack(make_head(HEARTBEAT_KIND, 0, header), b""))


def test_text_that_is_not_utf_8_is_refused() -> None:
    header = b"\x94\xc0\xc0\xc0\xa2\xff\xff"

    with pytest.raises(ProtocolError, match="TEXT header"):
        CODEC.decode(pack(make_head(TEXT_KIND, 0, header), b""))


def test_a_header_nested_thousands_deep_is_refused() -> None:
    header = b"\x94\xc0\xc0\xc0" + b"\x91" * 60_000 + b"\xc0"

    with pytest.raises(ProtocolError, match="HEARTBEAT header"):
        CODEC.decode(pack(make_head(HEARTBEAT_KIND, 0, header), b""))


def test_an_array_that_announces_four_billion_elements_is_refused() -> None:
    header = b"\x94\xc0\xc0\xc0\xdd\xff\xff\xff\xff"

    with pytest.raises(ProtocolError, match="PEER_LIST header"):
        CODEC.decode(pack(make_head(4, 0, header), b""))


def test_a_body_without_a_form_is_refused() -> None:
    with pytest.raises(ProtocolError, match="no form"):
        CODEC.decode(frame(HEARTBEAT_KIND, [None, None, None], body=b"x"))


def test_an_empty_body_with_a_form_is_an_empty_payload() -> None:
    message = decode_one(frame(HEARTBEAT_KIND, [None, None, None], flags=3))

    assert message.payload == Payload(PayloadForm.BINARY, b"")


@pytest.mark.parametrize("form", [6, 7])
def test_a_form_that_is_not_defined_is_refused(form: int) -> None:
    with pytest.raises(ProtocolError, match=f"payload form {form}"):
        CODEC.decode(frame(HEARTBEAT_KIND, [None, None, None], flags=form, body=b"x"))


def test_a_reason_that_this_version_does_not_know_is_unknown() -> None:
    message = decode_one(frame(DISCONNECT_KIND, [None, None, None, "of_the_future"]))

    assert message.body == Disconnect(Reason.UNKNOWN)


@pytest.mark.parametrize("kind", [0, 18, 255])
def test_an_unknown_kind_is_told_by_its_number(kind: int) -> None:
    assert CODEC.decode(pack(make_head(kind, 0, b"\xff"), b"x")) == [UnknownKind(str(kind))]


def test_known_messages_beside_an_unknown_kind_are_still_given() -> None:
    known = CODEC.encode(Message(Heartbeat()))

    messages = CODEC.decode(known + pack(make_head(99, 0, b""), b"") + known)

    assert messages == [Message(Heartbeat()), UnknownKind("99"), Message(Heartbeat())]


@pytest.mark.parametrize("node_id", ["", "a" * 129, "a b", "a\n", "ä", "a/b"])
def test_an_id_that_is_not_one_is_refused(node_id: str) -> None:
    with pytest.raises(ProtocolError, match="HELLO header"):
        CODEC.decode(frame(1, [None, None, None, node_id]))


def test_an_id_of_128_characters_is_taken() -> None:
    assert decode_one(frame(1, [None, None, None, "a" * 128])).body == Hello("a" * 128)


@pytest.mark.parametrize("capabilities", [["c"] * 65, ["c" * 65], [""]])
def test_capabilities_over_their_limit_are_refused(capabilities: list[str]) -> None:
    fields = [None, None, None, "a", None, None, None, None, capabilities]

    with pytest.raises(ProtocolError, match="HELLO header"):
        CODEC.decode(frame(1, fields))


def test_64_capabilities_of_64_characters_are_taken() -> None:
    hello = Hello("a", capabilities=("c" * 64,) * 64)

    assert decode_one(CODEC.encode(Message(hello))).body == hello


def test_256_peers_are_taken() -> None:
    peers = PeerList(("127.0.0.1:1",) * 256)

    assert decode_one(CODEC.encode(Message(peers))).body == peers


def test_257_peers_are_refused() -> None:
    with pytest.raises(ProtocolError, match="PEER_LIST header"):
        CODEC.decode(frame(4, [None, None, None, ["127.0.0.1:1"] * 257]))


@pytest.mark.parametrize("want", [-1, 65536])
def test_a_request_for_more_peers_than_the_field_holds_is_refused(want: int) -> None:
    with pytest.raises(ProtocolError, match="PEER_REQUEST header"):
        CODEC.decode(frame(3, [None, None, None, want]))


def test_the_largest_frame_can_be_sent() -> None:
    empty = CODEC.encode(Message(Extension("k"), Payload.binary(b"")))
    room = LIMITS.frame_bytes - len(empty)

    data = CODEC.encode(Message(Extension("k"), Payload.binary(bytes(room))))

    assert len(data) == LIMITS.frame_bytes
    assert len(CODEC.decode(data)) == 1


def test_a_frame_that_the_peer_would_refuse_is_not_sent() -> None:
    empty = CODEC.encode(Message(Extension("k"), Payload.binary(b"")))
    room = LIMITS.frame_bytes - len(empty)

    with pytest.raises(PayloadTooLarge, match="at most 262144"):
        CODEC.encode(Message(Extension("k"), Payload.binary(bytes(room + 1))))


@pytest.mark.parametrize("body", [Text("x" * 4100), Extension("x" * 4100)])
def test_a_relayable_header_that_the_peer_would_refuse_is_not_sent(body: Body) -> None:
    with pytest.raises(PayloadTooLarge, match="at most 4096; what is larger goes into a payload"):
        CODEC.encode(Message(body))


def test_another_header_that_the_peer_would_refuse_is_not_sent() -> None:
    with pytest.raises(PayloadTooLarge, match="at most 61440"):
        CODEC.encode(Message(PeerList(("x" * 1000,) * 62)))


def test_a_message_behind_one_with_a_fault_is_not_given() -> None:
    good = CODEC.encode(Message(Heartbeat()))

    with pytest.raises(ProtocolError):
        CODEC.decode(good + frame(TEXT_KIND, []))


@pytest.mark.parametrize("position", range(3))
def test_a_realm_of_too_many_characters_is_refused(position: int) -> None:
    realm = ["x", "x", "1"]
    realm[position] = "x" * 129

    with pytest.raises(ProtocolError, match="HELLO header"):
        CODEC.decode(frame(1, [None, None, None, "a", *[None] * 5, realm]))
