"""What goes through relays is wrapped as relay.md says."""

from __future__ import annotations

import random
import uuid
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from msgspec import structs

from thenodes_core.limits import Limits
from thenodes_core.protocol.card import Card, make_card, open_card
from thenodes_core.protocol.codec_bin import BinaryCodec
from thenodes_core.protocol.forward import read_run, split_forward
from thenodes_core.relayed import envelope as module
from thenodes_core.relayed.envelope import Envelopes, MessageIds, check_size
from thenodes_core.security.identity import Identity
from thenodes_core.security.seal import Opener, Sealer
from thenodes_plugin_api import (
    Body,
    DataRequest,
    DataResponse,
    DeliveryAck,
    DeliveryClass,
    DeliveryMetadata,
    Extension,
    Frame,
    Heartbeat,
    KindNotAllowed,
    Message,
    NoRoute,
    Payload,
    PayloadForm,
    PayloadTooLarge,
    QoS,
    Realm,
    Reason,
    RelayForward,
    Text,
)

NOW = 1_800_000_000_000
DAY = 86_400_000
HOME = Realm("Home", "home", "1")
LIMITS = Limits()


class Party:
    """A node with its keys and its card."""

    def __init__(self) -> None:
        self.identity = Identity.generate()
        self.node_id = self.identity.node_id
        self.private = X25519PrivateKey.generate()
        self.card = Card(
            self.node_id,
            self.identity.public_key,
            self.private.public_key().public_bytes_raw(),
            HOME,
            (),
            NOW,
            NOW + 30 * DAY,
        )


class Rig:
    """Wraps what one party sends to another, and opens it there."""

    def __init__(self, *, seal: bool = True, limits: Limits = LIMITS) -> None:
        self.alice, self.bob = alice, bob = Party(), Party()
        self.cards = {bob.node_id: bob.card}
        own = make_card(alice.card, alice.identity.sign)
        sealer = Sealer(alice.node_id, HOME, alice.identity.sign, lambda: own)
        self.codec = BinaryCodec(limits)
        self.opener = Opener(
            bob.node_id,
            HOME,
            lambda: [bob.private],
            lambda data, now_ms: open_card(data, now_ms=now_ms),
        )
        self.envelopes = Envelopes(
            alice.node_id,
            sealer if seal else None,
            self.cards.get,
            self.codec,
            limits,
            random_bytes=random.Random(0).randbytes,
        )

    def wrap(
        self, body: Body, payload: Payload | None = None, qos: QoS = QoS.BULK, **more: Any
    ) -> Frame:
        to = more.pop("to", self.bob.node_id)
        times = {"now_ms": NOW, "life_ms": 5000} | more
        wrapped = self.envelopes.wrap(to, body, payload, qos, **times)
        (frame,), _ = read_run(wrapped.frame, 0, LIMITS)
        assert frame.header.delivery is not None
        assert frame.header.delivery.message_id == wrapped.message_id
        return frame

    def opened(self, frame: Frame) -> Message:
        form, body = split_forward(frame.data)
        assert form is PayloadForm.SEALED
        _, enclosed = self.opener.open(frame.header, frame.data, len(frame.data) - len(body))
        (message,) = self.codec.decode(enclosed)
        assert isinstance(message, Message)
        return message


def test_ids_are_uuids_of_version_7_that_say_when_they_were_made() -> None:
    ids = MessageIds(random.Random(0).randbytes)

    made = [ids.next(NOW) for _ in range(1000)]

    first = uuid.UUID(bytes=made[0])
    assert (first.version, first.variant) == (7, uuid.RFC_4122)
    assert int.from_bytes(made[0][:6], "big") == NOW
    assert made == sorted(set(made))
    assert ids.next(NOW + 1) > made[-1]
    assert ids.next(NOW - 1) > made[-1]
    assert {uuid.UUID(bytes=one).version for one in made} == {7}


@pytest.mark.parametrize(
    "body",
    [
        Text("hi"),
        Extension("my.kind", "q"),
        DataRequest(),
        DataResponse(),
        DeliveryAck(uuid.UUID(int=7)),
    ],
    ids=lambda body: body.token,
)
def test_what_is_wrapped_opens_at_its_receiver(body: Body) -> None:
    rig = Rig()

    message = rig.opened(rig.wrap(body, Payload.text("data")))

    assert (message.body, message.payload) == (body, Payload.text("data"))
    assert message.delivery is None


def test_the_header_says_all_that_relays_go_by() -> None:
    rig = Rig()

    header = rig.wrap(Text("hi"), qos=QoS.LOW_LATENCY, sequence=42).header

    assert (header.to, header.sender) == (rig.bob.node_id, rig.alice.node_id)
    assert (header.envelope_to, header.envelope_from) == (None, None)
    assert (header.sequence, header.qos) == (42, "low_latency")
    assert header.delivery is not None
    assert (header.delivery.created_at, header.delivery.expires_at) == (NOW, NOW + 5000)
    assert header.delivery.delivery_class == "fire_and_forget"


def test_what_is_to_be_confirmed_says_so_inside_and_outside() -> None:
    rig = Rig()

    frame = rig.wrap(Text("hi"), qos=QoS.RELIABLE, confirm=True)

    assert frame.header.delivery is not None
    assert frame.header.delivery.delivery_class == "reliable"
    message_id = uuid.UUID(bytes=frame.header.delivery.message_id)
    assert rig.opened(frame).delivery == DeliveryMetadata(message_id, DeliveryClass.RELIABLE)


def test_without_sealing_the_frame_is_enclosed_as_it_is() -> None:
    rig = Rig(seal=False)
    rig.cards.clear()

    form, enclosed = split_forward(rig.wrap(Text("hi")).data)

    assert form is PayloadForm.FRAME
    (message,) = rig.codec.decode(enclosed)
    assert isinstance(message, Message)
    assert message.body == Text("hi")


def test_nothing_is_sealed_for_a_node_without_a_card() -> None:
    with pytest.raises(NoRoute, match="no valid card of stranger") as caught:
        Rig().wrap(Text("hi"), to="stranger")
    assert caught.value.reason is Reason.NO_CARD


@pytest.mark.parametrize(
    ("to", "way_out"),
    [
        ("kitchen", "its id was chosen, so its key has to be met in a session, pinned or trusted"),
        ("a2" * 16, "it has to open its mailbox at a relay again"),
    ],
)
def test_what_helps_where_there_is_no_card_depends_on_the_id(to: str, way_out: str) -> None:
    with pytest.raises(NoRoute, match=way_out):
        Rig().wrap(Text("hi"), to=to)


def test_nothing_is_sealed_for_a_key_that_is_none() -> None:
    rig = Rig()
    rig.cards[rig.bob.node_id] = structs.replace(rig.bob.card, sealing_key=bytes(32))

    with pytest.raises(NoRoute, match=f"the key in the card of {rig.bob.node_id}") as raised:
        rig.wrap(Text("hello"))

    assert raised.value.reason is Reason.NO_CARD


def test_nothing_is_sealed_for_a_card_that_expired() -> None:
    rig = Rig()
    rig.wrap(Text("hi"), now_ms=NOW + 30 * DAY)

    with pytest.raises(NoRoute, match="no valid card") as caught:
        rig.wrap(Text("hi"), now_ms=NOW + 30 * DAY + 1)
    assert caught.value.reason is Reason.NO_CARD


def test_a_newer_card_of_the_receiver_is_used_within_a_second() -> None:
    rig = Rig()
    rig.wrap(Text("hi"))
    rig.bob.private = X25519PrivateKey.generate()
    key = rig.bob.private.public_key().public_bytes_raw()
    rig.cards[rig.bob.node_id] = msgspec.structs.replace(rig.bob.card, sealing_key=key)

    assert rig.opened(rig.wrap(Text("again"), now_ms=NOW + 1000)).body == Text("again")


def test_a_card_is_looked_up_once_a_second() -> None:
    rig = Rig()
    rig.wrap(Text("hi"))
    rig.cards.clear()

    rig.wrap(Text("hi"), now_ms=NOW + 999)
    with pytest.raises(NoRoute):
        rig.wrap(Text("hi"), now_ms=NOW + 1000)
    with pytest.raises(NoRoute):
        rig.wrap(Text("hi"), now_ms=NOW)


def test_no_more_cards_are_kept_at_hand_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CARDS", 2)
    rig = Rig()
    rig.cards |= dict.fromkeys(("b", "c"), rig.bob.card)

    for to in (rig.bob.node_id, "b", "c"):
        rig.wrap(Text("hi"), to=to)

    assert len(rig.envelopes._cards) <= 2


@pytest.mark.parametrize("body", [Heartbeat(), RelayForward("a", "b")], ids=lambda b: b.token)
def test_what_belongs_to_sessions_goes_through_no_relay(body: Body) -> None:
    with pytest.raises(KindNotAllowed, match=body.token):
        Rig().wrap(body)


def test_what_no_peer_would_take_is_refused() -> None:
    rig = Rig(seal=False, limits=Limits(frame_bytes=4096))
    rig.wrap(Text(""), Payload.binary(bytes(3900)))

    with pytest.raises(PayloadTooLarge, match="RELAY_FWD of 4"):
        rig.wrap(Text(""), Payload.binary(bytes(4060)))


def test_what_a_relay_does_not_take_is_refused() -> None:
    check_size(bytes(100), 100, "relay")

    with pytest.raises(PayloadTooLarge, match="101 bytes: the relay relay takes at most 100"):
        check_size(bytes(101), 100, "relay")
