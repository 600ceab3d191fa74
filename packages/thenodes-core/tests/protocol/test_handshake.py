"""Tests of the handshake's table, its checks and their order; proofs have a file of their own."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from thenodes_core.limits import Limits
from thenodes_core.protocol.close import CloseCode, Ending
from thenodes_core.protocol.codec_bin import BinaryCodec
from thenodes_core.protocol.handshake import Handshake, LocalNode, Refused, Role, State
from thenodes_core.protocol.proof import Channel, dialled_bindings
from thenodes_core.security.identity import Identity
from thenodes_plugin_api import (
    Auth,
    Binding,
    Body,
    Disconnect,
    Extension,
    Heartbeat,
    Hello,
    Message,
    Realm,
    Text,
    Verified,
)

CODEC = BinaryCodec(Limits())
NONCE = bytes(32)
PLAIN = Channel(CODEC.subprotocol, dialled_bindings(encrypted=False))
KEY, OTHER_KEY = (Identity(ec.derive_private_key(n, ec.SECP256R1())) for n in (7, 8))
LOCAL = LocalNode(
    node_id="here", realm=Realm("Home", "home", "1"), instance=bytes(16), require_identity=False
)
KEYED = msgspec.structs.replace(LOCAL, public_key=KEY.public_key, sign=KEY.sign)
PEER = Hello("there", protocol="TheNodes", version="1", realm=LOCAL.realm)


def encode(body: Body) -> bytes:
    return CODEC.encode(Message(body))


def new(role: Role = Role.ACCEPTOR, local: LocalNode = LOCAL) -> Handshake:
    return Handshake(role, local, NONCE, PLAIN, encode)


def opened(role: Role = Role.ACCEPTOR, local: LocalNode = LOCAL) -> Handshake:
    handshake = new(role, local)
    handshake.open()
    return handshake


def give(handshake: Handshake, body: Body) -> list[bytes]:
    """Let it receive a message that is alone in its WebSocket message."""
    return handshake.receive(body, encode(body))


def refusal(hello: Hello, local: LocalNode = LOCAL) -> CloseCode:
    handshake = opened(local=local)
    with pytest.raises(Refused) as caught:
        give(handshake, hello)
    assert handshake.state is State.REFUSED
    return CloseCode(caught.value.ending.code)


def changed(**changes: object) -> Hello:
    return msgspec.structs.replace(PEER, **changes)


def test_the_accepting_side_speaks_first() -> None:
    assert new(Role.ACCEPTOR).open() == [encode(LOCAL.hello(NONCE))]


def test_an_accepting_side_with_a_key_says_what_a_proof_has_to_be_bound_to() -> None:
    hello = msgspec.structs.replace(KEYED.hello(NONCE), binding=Binding("plain"))

    assert new(Role.ACCEPTOR, KEYED).open() == [encode(hello)]


def test_the_dialling_side_waits_for_the_other() -> None:
    assert new(Role.DIALER).open() == []


@pytest.mark.parametrize("local", [LOCAL, KEYED], ids=["no key here", "none there"])
def test_the_dialling_side_answers_with_its_own_hello(local: LocalNode) -> None:
    assert give(opened(Role.DIALER, local), PEER) == [encode(local.hello(NONCE))]


def test_the_accepting_side_answers_nothing_more() -> None:
    assert give(opened(Role.ACCEPTOR), PEER) == []


@pytest.mark.parametrize("role", Role)
def test_a_hello_that_passes_the_checks_establishes(role: Role) -> None:
    handshake = opened(role)

    give(handshake, PEER)

    assert (handshake.state, handshake.peer) == (State.ESTABLISHED, PEER)


@pytest.mark.parametrize("local", [LOCAL, KEYED], ids=["no key here", "none there"])
def test_a_peer_without_a_proof_is_not_verified(local: LocalNode) -> None:
    handshake = opened(local=local)

    give(handshake, PEER)

    assert handshake.verified is Verified.NONE


def test_an_unproven_peer_is_told_with_a_heartbeat_that_it_is_admitted() -> None:
    handshake = opened()

    give(handshake, PEER)

    assert handshake.confirmation() == encode(Heartbeat())


def test_there_is_no_peer_before_the_handshake_is_complete() -> None:
    with pytest.raises(ValueError, match="expect hello"):
        opened().peer  # noqa: B018  # the property is what is tested


def test_there_is_no_peer_that_was_refused() -> None:
    handshake = opened()
    with pytest.raises(Refused):
        give(handshake, changed(realm=None))

    with pytest.raises(ValueError, match="refused"):
        handshake.peer  # noqa: B018  # the property is what is tested


def test_a_hello_names_protocol_version_realm_and_key() -> None:
    hello = KEYED.hello(NONCE)

    assert (hello.protocol, hello.version, hello.realm) == ("TheNodes", "1", LOCAL.realm)
    assert (hello.public_key, hello.nonce, hello.instance) == (KEY.public_key, NONCE, bytes(16))


def test_a_hello_carries_certificate_and_card() -> None:
    local = msgspec.structs.replace(KEYED, certificate=b"certificate", card=b"card")

    hello = local.hello(NONCE)

    assert (hello.certificate, hello.card) == (b"certificate", b"card")


def test_a_handshake_is_not_opened_twice() -> None:
    with pytest.raises(Refused):
        opened().open()


def test_a_message_before_the_opening_is_refused() -> None:
    with pytest.raises(Refused):
        give(new(Role.DIALER), PEER)


@pytest.mark.parametrize("body", [Auth(b""), Text("hi"), Heartbeat(), Extension("k")])
def test_anything_but_hello_is_a_protocol_fault(body: Body) -> None:
    handshake = opened()

    with pytest.raises(Refused) as caught:
        give(handshake, body)

    assert caught.value.ending.code == CloseCode.PROTOCOL
    assert body.token in caught.value.ending.detail


def test_a_second_hello_is_a_protocol_fault() -> None:
    handshake = opened()
    give(handshake, PEER)

    with pytest.raises(Refused) as caught:
        give(handshake, PEER)

    assert caught.value.ending.code == CloseCode.PROTOCOL


def test_a_refused_peer_gets_no_second_chance() -> None:
    handshake = opened()
    with pytest.raises(Refused):
        give(handshake, changed(version="2"))

    with pytest.raises(Refused):
        give(handshake, PEER)

    assert handshake.state is State.REFUSED


@pytest.mark.parametrize("changes", [{"version": "2"}, {"protocol": "Other"}])
def test_another_protocol_or_version_is_refused(changes: dict[str, object]) -> None:
    assert refusal(changed(**changes)) is CloseCode.VERSION


def test_a_hello_without_protocol_and_version_is_taken_for_this_one() -> None:
    handshake = opened()

    give(handshake, changed(protocol=None, version=None))

    assert handshake.state is State.ESTABLISHED


@pytest.mark.parametrize("realm", [None, Realm("Home", "other", "1"), Realm("Home", "home", "2")])
def test_another_realm_is_refused(realm: Realm | None) -> None:
    assert refusal(changed(realm=realm)) is CloseCode.REALM


def test_a_realms_name_is_for_people_and_not_compared() -> None:
    handshake = opened()

    give(handshake, changed(realm=Realm("HOME!", "home", "1")))

    assert handshake.state is State.ESTABLISHED


def test_a_peer_with_this_nodes_own_id_is_refused() -> None:
    assert refusal(changed(node_id="here")) is CloseCode.SELF


@pytest.mark.parametrize("node_type", [None, "", "sensor"])
def test_a_node_type_that_is_not_admitted_is_refused(node_type: str | None) -> None:
    local = msgspec.structs.replace(LOCAL, allowed_node_types=frozenset({"gateway"}))

    assert refusal(changed(node_type=node_type), local) is CloseCode.NODE_TYPE


def test_a_node_type_that_is_admitted_is_taken() -> None:
    local = msgspec.structs.replace(LOCAL, allowed_node_types=frozenset({"gateway"}))
    handshake = opened(local=local)

    give(handshake, changed(node_type="gateway"))

    assert handshake.state is State.ESTABLISHED


@pytest.mark.parametrize("role", Role)
def test_a_peer_without_a_key_is_refused_where_one_is_required(role: Role) -> None:
    handshake = opened(role, msgspec.structs.replace(KEYED, require_identity=True))

    with pytest.raises(Refused, match="shows no key") as caught:
        give(handshake, PEER)

    assert caught.value.ending.code == CloseCode.IDENTITY


@pytest.mark.parametrize("public_key", [b"", b"key", KEY.public_key + b"\0"])
def test_a_key_that_is_none_is_refused(public_key: bytes) -> None:
    assert refusal(changed(public_key=public_key)) is CloseCode.IDENTITY


@pytest.mark.parametrize("public_key", [None, OTHER_KEY.public_key])
def test_a_derived_id_with_another_key_is_refused(public_key: bytes | None) -> None:
    hello = changed(node_id=KEY.node_id, public_key=public_key)

    assert refusal(hello) is CloseCode.IDENTITY


def test_an_id_that_only_looks_derived_is_refused() -> None:
    assert refusal(changed(node_id="a" * 32, public_key=KEY.public_key)) is CloseCode.IDENTITY


def test_a_derived_id_with_its_key_is_taken() -> None:
    handshake = opened()

    give(handshake, changed(node_id=KEY.node_id, public_key=KEY.public_key))

    assert handshake.state is State.ESTABLISHED


def test_a_chosen_id_needs_no_particular_key() -> None:
    handshake = opened()

    give(handshake, changed(node_id="chosen", public_key=KEY.public_key))

    assert handshake.state is State.ESTABLISHED


def test_the_checks_decide_in_the_order_of_the_protocol() -> None:
    local = msgspec.structs.replace(
        KEYED,
        node_id=KEY.node_id,
        require_identity=True,
        allowed_node_types=frozenset({"gateway"}),
    )
    wrong: list[dict[str, object]] = [
        {"version": "2"},
        {"realm": None},
        {"node_id": local.node_id},
        {"node_type": "sensor", "node_id": OTHER_KEY.node_id},
        {"node_type": "gateway"},
    ]

    codes = []
    for number in range(len(wrong)):
        changes: dict[str, object] = {}
        for fault in reversed(wrong[number:]):
            changes |= fault
        codes.append(refusal(changed(**({"node_id": OTHER_KEY.node_id} | changes)), local))

    assert codes == [
        CloseCode.VERSION,
        CloseCode.REALM,
        CloseCode.SELF,
        CloseCode.NODE_TYPE,
        CloseCode.IDENTITY,
    ]


def test_what_a_refusal_quotes_of_the_peer_is_short() -> None:
    handshake = opened()

    with pytest.raises(Refused) as caught:
        give(handshake, changed(protocol="x" * 10_000, version="y" * 10_000))

    assert len(caught.value.ending.detail) < 300


@pytest.mark.parametrize("role", Role)
def test_a_screen_has_its_say_before_this_side_names_itself(role: Role) -> None:
    seen: list[Hello] = []

    def screen(hello: Hello) -> Ending | None:
        seen.append(hello)
        return Ending.here(CloseCode.NORMAL, "seen enough")

    handshake = Handshake(role, LOCAL, NONCE, PLAIN, encode, screen=screen)
    handshake.open()

    with pytest.raises(Refused, match="seen enough"):
        give(handshake, PEER)
    assert (seen, handshake.state) == ([PEER], State.REFUSED)


def test_a_screen_that_has_nothing_against_it_lets_it_pass() -> None:
    handshake = Handshake(Role.DIALER, LOCAL, NONCE, PLAIN, encode, screen=lambda hello: None)
    handshake.open()

    give(handshake, PEER)

    assert handshake.is_established


def test_another_node_than_the_address_names_is_refused() -> None:
    handshake = Handshake(Role.DIALER, LOCAL, NONCE, PLAIN, encode, expected_id="somebody")
    handshake.open()

    with pytest.raises(Refused, match="the address is of somebody, but there answered") as caught:
        give(handshake, PEER)
    assert caught.value.ending.code == CloseCode.IDENTITY


def test_the_node_that_the_address_names_is_taken() -> None:
    handshake = Handshake(Role.DIALER, LOCAL, NONCE, PLAIN, encode, expected_id="there")
    handshake.open()

    give(handshake, PEER)

    assert handshake.is_established


hellos = st.builds(
    Hello,
    node_id=st.sampled_from(["here", "there", KEY.node_id, OTHER_KEY.node_id]),
    protocol=st.sampled_from([None, "", "TheNodes", "Other"]),
    version=st.sampled_from([None, "", "1", "2"]),
    node_type=st.none() | st.text(max_size=4),
    realm=st.none() | st.just(LOCAL.realm) | st.builds(Realm),
    public_key=st.none() | st.sampled_from([b"", b"key", KEY.public_key]),
)
bodies: st.SearchStrategy[Body] = st.one_of(
    hellos,
    st.just(PEER),
    st.builds(Auth, st.binary(max_size=4)),
    st.builds(Text, st.text(max_size=4)),
    st.just(Heartbeat()),
    st.just(Disconnect()),
)


def feed(handshake: Handshake, sequence: Sequence[Body]) -> list[Body]:
    """What was taken before the first refusal."""
    taken: list[Body] = []
    for body in sequence:
        try:
            give(handshake, body)
        except Refused:
            break
        taken.append(body)
    return taken


@settings(deadline=None)
@given(st.sampled_from(Role), st.lists(bodies, max_size=6))
def test_any_messages_establish_only_by_a_single_hello(role: Role, sequence: list[Body]) -> None:
    handshake = opened(role)

    taken = feed(handshake, sequence)

    established = handshake.state is State.ESTABLISHED
    assert established == (len(sequence) == 1 == len(taken))
    assert all(isinstance(body, Hello) for body in taken)


@settings(deadline=None)
@given(st.sampled_from(Role), st.lists(bodies, min_size=1, max_size=6))
def test_after_a_refusal_nothing_more_is_taken(role: Role, sequence: list[Body]) -> None:
    handshake = opened(role)
    feed(handshake, sequence)
    if handshake.state is not State.REFUSED:
        return

    for body in (*sequence, PEER):
        with pytest.raises(Refused):
            give(handshake, body)
    assert handshake.state is State.REFUSED
