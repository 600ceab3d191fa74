"""Tests of what both encodings promise, for messages of every kind."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thenodes_core.errors import ProtocolError
from thenodes_core.limits import Limits
from thenodes_core.protocol.codec import BY_TOKEN, Codec, UnknownKind
from thenodes_core.protocol.codec_bin import BinaryCodec
from thenodes_core.protocol.codec_json import JsonCodec
from thenodes_plugin_api import (
    KINDS,
    Ack,
    Auth,
    Binding,
    Body,
    DataRequest,
    DataResponse,
    DeliveryAck,
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
    PeerList,
    PeerRequest,
    Realm,
    Reason,
    RelayBind,
    RelayBindAck,
    RelayForward,
    RelayLimits,
    RelayNotify,
    RelayUnbind,
    Text,
)

texts = st.text(max_size=40)
node_ids = st.from_regex(r"[A-Za-z0-9._-]{1,128}", fullmatch=True)
blobs = st.binary(max_size=64)
numbers = st.integers(min_value=-(2**63), max_value=2**63 - 1)
seconds = st.floats(allow_nan=False, allow_infinity=False)
reasons = st.sampled_from([reason for reason in Reason if reason is not Reason.UNKNOWN])
realms = st.builds(
    Realm,
    name=texts,
    code=st.from_regex(r"[a-z0-9]{1,8}(-[a-z0-9]{1,8}){0,3}", fullmatch=True),
    version=texts,
)
forms_of_bytes = st.sampled_from([PayloadForm.BINARY, PayloadForm.SEALED, PayloadForm.FRAME])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


def maybe(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.none() | strategy


BODIES: dict[type[Body], st.SearchStrategy[Body]] = {
    Hello: st.builds(
        Hello,
        node_id=node_ids,
        listen_addr=maybe(texts),
        protocol=maybe(texts),
        version=maybe(texts),
        node_type=maybe(texts),
        capabilities=maybe(
            st.lists(st.text(min_size=1, max_size=64), max_size=4).map(tuple),
        ),
        realm=maybe(realms),
        public_key=maybe(blobs),
        certificate=maybe(blobs),
        nonce=maybe(blobs),
        instance=maybe(blobs),
        card=maybe(blobs),
        binding=maybe(st.builds(Binding, mode=texts, value=blobs)),
        features=maybe(st.lists(texts, max_size=4).map(tuple)),
    ),
    Text: st.builds(Text, texts),
    PeerRequest: st.builds(PeerRequest, st.integers(0, 65535)),
    PeerList: st.builds(PeerList, st.lists(texts, max_size=256).map(tuple)),
    RelayBind: st.builds(
        RelayBind,
        target=texts,
        want_store_forward=maybe(st.booleans()),
        qos=maybe(texts),
        nonce=maybe(numbers),
        expires_at=maybe(numbers),
        card=maybe(blobs),
    ),
    RelayBindAck: st.builds(
        RelayBindAck,
        ok=st.booleans(),
        reason=maybe(reasons),
        binding_id=maybe(texts),
        peer_present=maybe(st.booleans()),
        nonce=maybe(numbers),
        limits=maybe(st.builds(RelayLimits, maybe(numbers), maybe(numbers))),
        target_card=maybe(blobs),
    ),
    RelayForward: st.builds(
        RelayForward, to=texts, sender=texts, sequence=maybe(numbers), qos=maybe(texts)
    ),
    RelayUnbind: st.builds(RelayUnbind, texts),
    RelayNotify: st.builds(
        RelayNotify,
        notif_type=reasons,
        binding_id=maybe(texts),
        detail=maybe(texts),
        message_id=maybe(st.uuids()),
        retry_after=maybe(seconds),
    ),
    Ack: st.builds(
        Ack,
        to=texts,
        sender=texts,
        sequence=numbers,
        status=maybe(texts),
        message_id=maybe(st.uuids()),
    ),
    DeliveryAck: st.builds(DeliveryAck, message_id=st.uuids(), status=maybe(texts)),
    DataRequest: st.builds(DataRequest),
    DataResponse: st.builds(DataResponse),
    Heartbeat: st.builds(Heartbeat),
    Disconnect: st.builds(
        Disconnect, maybe(reasons), detail=maybe(texts), retry_after=maybe(seconds)
    ),
    Extension: st.builds(Extension, kind=texts, request_id=maybe(texts), reply_to=maybe(texts)),
    Auth: st.builds(Auth, blobs),
}


deliveries = st.builds(
    DeliveryMetadata,
    message_id=st.uuids(),
    delivery_class=st.sampled_from(DeliveryClass),
    ordering_key=maybe(texts),
    ordering_sequence=maybe(numbers),
    created_at=maybe(numbers),
    expires_at=maybe(numbers),
)
payloads = st.one_of(
    st.builds(Payload.text, texts),
    st.builds(Payload.json, json_values),
    st.builds(Payload, forms_of_bytes, blobs),
)


messages = st.builds(
    Message,
    body=st.one_of(*BODIES.values()),
    payload=maybe(payloads),
    delivery=maybe(deliveries),
)

CODECS: list[Codec] = [BinaryCodec(Limits()), JsonCodec(Limits())]
every_codec = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)


def test_every_kind_is_found_by_its_code_and_its_token() -> None:
    assert [kind.code for kind in KINDS] == list(range(1, 18))
    assert [BY_TOKEN[kind.token] for kind in KINDS] == list(KINDS)


@every_codec
@settings(max_examples=60, deadline=None)
@given(message=messages)
def test_a_message_comes_out_as_it_went_in(codec: Codec, message: Message) -> None:
    assert codec.decode(codec.encode(message)) == [message]


@every_codec
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.token)
def test_every_kind_comes_out_as_it_went_in(codec: Codec, kind: type[Body]) -> None:
    @settings(max_examples=20, deadline=None)
    @given(BODIES[kind])
    def check(body: Body) -> None:
        assert codec.decode(codec.encode(Message(body))) == [Message(body)]

    check()


@every_codec
@settings(max_examples=60, deadline=None)
@given(message=messages, data=st.data())
def test_a_message_that_is_cut_anywhere_is_refused(
    codec: Codec, message: Message, data: st.DataObject
) -> None:
    whole = codec.encode(message)
    cut = data.draw(st.integers(0, len(whole) - 1))

    with pytest.raises(ProtocolError):
        codec.decode(whole[:cut])


@every_codec
@settings(deadline=None)
@given(message=messages, data=st.data())
def test_a_message_with_any_byte_changed_is_a_message_or_a_protocol_error(
    codec: Codec, message: Message, data: st.DataObject
) -> None:
    damaged = bytearray(codec.encode(message))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))

    with contextlib.suppress(ProtocolError):
        codec.decode(bytes(damaged))


@every_codec
@settings(deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_messages_or_a_protocol_error(codec: Codec, data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        assert codec.decode(data)


@settings(max_examples=30, deadline=None)
@given(message=messages)
def test_a_message_means_the_same_in_both_encodings(message: Message) -> None:
    binary, text = CODECS

    (between,) = binary.decode(binary.encode(message))

    assert isinstance(between, Message)
    assert text.decode(text.encode(between)) == [message]


@settings(max_examples=30, deadline=None)
@given(message=messages)
def test_a_repeat_is_marked_in_binary(message: Message) -> None:
    binary = CODECS[0]
    repeated = msgspec.structs.replace(message, redelivered=True)

    assert binary.decode(binary.encode(repeated)) == [repeated]


@pytest.mark.parametrize("codec", [BinaryCodec(Limits()), JsonCodec(Limits())])
def test_text_that_is_no_unicode_is_an_error_of_ours(codec: Codec) -> None:
    with pytest.raises(PayloadError, match="TEXT cannot be encoded"):
        codec.encode(Message(Text("\ud800")))


def test_an_unknown_kind_is_named_with_64_characters_at_most() -> None:
    data = b'{"from":"","to":"","msg_type":"%s"}' % (b"x" * 5000)

    assert JsonCodec(Limits()).decode(data) == [UnknownKind("x" * 64)]
