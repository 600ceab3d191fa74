"""Tests of the handshake's table, its checks and their order."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thenodes_core.node_id import derive_node_id
from thenodes_core.protocol.close import CloseCode
from thenodes_core.protocol.handshake import Handshake, LocalNode, Refused, Role, State
from thenodes_plugin_api import (
    Auth,
    Body,
    Disconnect,
    Extension,
    Heartbeat,
    Hello,
    Realm,
    Text,
    Verified,
)

NONCE = bytes(32)
LOCAL = LocalNode(
    node_id="here", realm=Realm("Home", "home", "1"), instance=bytes(16), public_key=b"key"
)
PEER = Hello("there", protocol="TheNodes", version="1", realm=LOCAL.realm)


def opened(role: Role = Role.ACCEPTOR, local: LocalNode = LOCAL) -> Handshake:
    handshake = Handshake(role, local, NONCE)
    handshake.open()
    return handshake


def refusal(hello: Hello, local: LocalNode = LOCAL) -> CloseCode:
    handshake = opened(local=local)
    with pytest.raises(Refused) as caught:
        handshake.receive(hello)
    assert handshake.state is State.REFUSED
    return CloseCode(caught.value.ending.code)


def changed(**changes: object) -> Hello:
    return msgspec.structs.replace(PEER, **changes)


def test_the_accepting_side_speaks_first() -> None:
    assert Handshake(Role.ACCEPTOR, LOCAL, NONCE).open() == [LOCAL.hello(NONCE)]


def test_the_dialling_side_waits_for_the_other() -> None:
    assert Handshake(Role.DIALER, LOCAL, NONCE).open() == []


def test_the_dialling_side_answers_with_its_own_hello() -> None:
    assert opened(Role.DIALER).receive(PEER) == [LOCAL.hello(NONCE)]


def test_the_accepting_side_answers_nothing_more() -> None:
    assert opened(Role.ACCEPTOR).receive(PEER) == []


@pytest.mark.parametrize("role", Role)
def test_a_hello_that_passes_the_checks_establishes(role: Role) -> None:
    handshake = opened(role)

    handshake.receive(PEER)

    assert (handshake.state, handshake.peer) == (State.ESTABLISHED, PEER)


def test_a_peer_without_a_proof_is_not_verified() -> None:
    handshake = opened()

    handshake.receive(PEER)

    assert handshake.verified is Verified.NONE


def test_there_is_no_peer_before_the_handshake_is_complete() -> None:
    with pytest.raises(ValueError, match="expect hello"):
        opened().peer  # noqa: B018  # the property is what is tested


def test_there_is_no_peer_that_was_refused() -> None:
    handshake = opened()
    with pytest.raises(Refused):
        handshake.receive(changed(realm=None))

    with pytest.raises(ValueError, match="refused"):
        handshake.peer  # noqa: B018  # the property is what is tested


def test_a_hello_names_protocol_version_realm_and_key() -> None:
    hello = LOCAL.hello(NONCE)

    assert (hello.protocol, hello.version, hello.realm) == ("TheNodes", "1", LOCAL.realm)
    assert (hello.public_key, hello.nonce, hello.instance) == (b"key", NONCE, bytes(16))


def test_a_handshake_is_not_opened_twice() -> None:
    with pytest.raises(Refused):
        opened().open()


def test_a_message_before_the_opening_is_refused() -> None:
    with pytest.raises(Refused):
        Handshake(Role.DIALER, LOCAL, NONCE).receive(PEER)


@pytest.mark.parametrize("body", [Auth(b""), Text("hi"), Heartbeat(), Extension("k")])
def test_anything_but_hello_is_a_protocol_fault(body: Body) -> None:
    handshake = opened()

    with pytest.raises(Refused) as caught:
        handshake.receive(body)

    assert caught.value.ending.code == CloseCode.PROTOCOL
    assert body.token in caught.value.ending.detail


def test_a_second_hello_is_a_protocol_fault() -> None:
    handshake = opened()
    handshake.receive(PEER)

    with pytest.raises(Refused) as caught:
        handshake.receive(PEER)

    assert caught.value.ending.code == CloseCode.PROTOCOL


def test_a_refused_peer_gets_no_second_chance() -> None:
    handshake = opened()
    with pytest.raises(Refused):
        handshake.receive(changed(version="2"))

    with pytest.raises(Refused):
        handshake.receive(PEER)

    assert handshake.state is State.REFUSED


@pytest.mark.parametrize("changes", [{"version": "2"}, {"protocol": "Other"}])
def test_another_protocol_or_version_is_refused(changes: dict[str, object]) -> None:
    assert refusal(changed(**changes)) is CloseCode.VERSION


def test_a_hello_without_protocol_and_version_is_taken_for_this_one() -> None:
    handshake = opened()

    handshake.receive(changed(protocol=None, version=None))

    assert handshake.state is State.ESTABLISHED


@pytest.mark.parametrize("realm", [None, Realm("Home", "other", "1"), Realm("Home", "home", "2")])
def test_another_realm_is_refused(realm: Realm | None) -> None:
    assert refusal(changed(realm=realm)) is CloseCode.REALM


def test_a_realms_name_is_for_people_and_not_compared() -> None:
    handshake = opened()

    handshake.receive(changed(realm=Realm("HOME!", "home", "1")))

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

    handshake.receive(changed(node_type="gateway"))

    assert handshake.state is State.ESTABLISHED


@pytest.mark.parametrize("public_key", [None, b"", b"another key"])
def test_a_derived_id_with_another_key_is_refused(public_key: bytes | None) -> None:
    hello = changed(node_id=derive_node_id(b"their key"), public_key=public_key)

    assert refusal(hello) is CloseCode.IDENTITY


def test_a_derived_id_with_its_key_is_taken() -> None:
    handshake = opened()

    handshake.receive(changed(node_id=derive_node_id(b"their key"), public_key=b"their key"))

    assert handshake.state is State.ESTABLISHED


def test_the_checks_decide_in_the_order_of_the_protocol() -> None:
    local = msgspec.structs.replace(
        LOCAL, node_id=derive_node_id(b"key"), allowed_node_types=frozenset({"gateway"})
    )
    other_id = derive_node_id(b"another key")
    wrong: list[dict[str, object]] = [
        {"version": "2"},
        {"realm": None},
        {"node_id": local.node_id},
        {"node_type": "sensor", "node_id": other_id},
        {"node_type": "gateway"},
    ]

    codes = []
    for number in range(len(wrong)):
        changes: dict[str, object] = {}
        for fault in reversed(wrong[number:]):
            changes |= fault
        codes.append(refusal(changed(**({"node_id": other_id} | changes)), local))

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
        handshake.receive(changed(protocol="x" * 10_000, version="y" * 10_000))

    assert len(caught.value.ending.detail) < 300


hellos = st.builds(
    Hello,
    node_id=st.sampled_from(["here", "there", derive_node_id(b"key"), derive_node_id(b"other")]),
    protocol=st.sampled_from([None, "", "TheNodes", "Other"]),
    version=st.sampled_from([None, "", "1", "2"]),
    node_type=st.none() | st.text(max_size=4),
    realm=st.none() | st.just(LOCAL.realm) | st.builds(Realm),
    public_key=st.none() | st.sampled_from([b"", b"key"]),
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
            handshake.receive(body)
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
            handshake.receive(body)
    assert handshake.state is State.REFUSED
