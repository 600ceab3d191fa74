"""What a handshake with keys checks beside the proof, and when it asks whom."""

from __future__ import annotations

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from thenodes_core.limits import Limits
from thenodes_core.protocol.close import CloseCode, Ending
from thenodes_core.protocol.codec_bin import BinaryCodec
from thenodes_core.protocol.handshake import (
    ANYBODY,
    Handshake,
    Judge,
    LocalNode,
    Refused,
    Role,
    Screen,
    State,
)
from thenodes_core.protocol.proof import Bindings, Channel, Mode, dialled_bindings, proof_content
from thenodes_core.security.identity import Identity
from thenodes_plugin_api import (
    Auth,
    Binding,
    Body,
    Extension,
    Heartbeat,
    Hello,
    Message,
    PeerRequest,
    Realm,
    Text,
    Verified,
)

BINARY = BinaryCodec(Limits())
HOME = Realm("Home", "home", "1")
A, D, MALLORY = (Identity(ec.derive_private_key(n, ec.SECP256R1())) for n in (5, 6, 7))
DIGEST, OTHER_DIGEST = b"\x01" * 32, b"\x02" * 32
NAME = "node.example.org"
PLAIN = dialled_bindings(encrypted=False)
TLS = dialled_bindings(encrypted=True, certificate_digest=DIGEST)
PROXY: Bindings = {Mode.PROXY: frozenset({NAME.encode()})}
UNKNOWN = dialled_bindings(encrypted=True)
VIA_PROXY = dialled_bindings(encrypted=True, certificate_digest=OTHER_DIGEST, verified_host=NAME)
KEYLESS = {"public_key": None, "binding": None, "nonce": None}


def node(identity: Identity, **changes: object) -> LocalNode:
    local = LocalNode(
        node_id=identity.node_id,
        realm=HOME,
        instance=bytes(16),
        public_key=identity.public_key,
        sign=identity.sign,
    )
    return msgspec.structs.replace(local, **changes)


def opened(
    role: Role,
    local: LocalNode,
    *,
    bindings: Bindings = PLAIN,
    judge: Judge = ANYBODY,
    screen: Screen | None = None,
    expected_id: str | None = None,
) -> tuple[Handshake, bytes]:
    """A handshake, and the HELLO that it has sent already."""
    handshake = Handshake(
        role,
        local,
        bytes(32),
        Channel(BINARY.subprotocol, bindings),
        encode,
        judge=judge,
        screen=screen,
        expected_id=expected_id,
    )
    return handshake, b"".join(handshake.open())


def encode(body: Body) -> bytes:
    return BINARY.encode(Message(body))


def give(handshake: Handshake, body: Body) -> list[bytes]:
    return handshake.receive(body, encode(body))


def refused(handshake: Handshake, body: Body, match: str) -> Ending:
    with pytest.raises(Refused, match=match) as caught:
        give(handshake, body)
    assert handshake.state is State.REFUSED
    return caught.value.ending


def said(identity: Identity, **fields: object) -> Hello:
    """What a peer says of itself on a plain connection, but for `fields`."""
    hello = node(identity).hello(b"n" * 32)
    return msgspec.structs.replace(hello, **({"binding": Binding("plain", b"")} | fields))


def proof(role: Role, identity: Identity, hello: Hello, own: bytes) -> Auth:
    """The right proof of a peer in that role.

    Args:
        role: the peer's.
        identity: the peer's key.
        hello: the peer's.
        own: the HELLO of the side that is tested, as sent.
    """
    hellos = [encode(hello), own] if role is Role.ACCEPTOR else [own, encode(hello)]
    content = proof_content(role, BINARY.subprotocol, Binding("plain", b""), *hellos)
    return Auth(identity.sign(role.purpose, content))


def prove(
    handshake: Handshake, role: Role, hello: Hello, own: bytes, identity: Identity
) -> list[bytes]:
    """Let a peer say HELLO and prove it; returns what was answered in all."""
    answer = give(handshake, hello)
    own = answer[0] if role is Role.DIALER else own
    return answer + give(handshake, proof(role.other, identity, hello, own))


@pytest.mark.parametrize("role", Role)
def test_a_peer_that_says_nothing_wrong_and_proves_it_is_established(role: Role) -> None:
    handshake, own = opened(role, node(A))

    prove(handshake, role, said(D), own, D)

    assert (handshake.peer, handshake.verified) == (said(D), Verified.SESSION)


# The order of the messages


@pytest.mark.parametrize("role", Role)
def test_a_proof_before_the_hello_is_refused(role: Role) -> None:
    handshake, own = opened(role, node(A))

    ending = refused(handshake, proof(role.other, D, said(D), own), "unexpected AUTH")

    assert ending.code == CloseCode.PROTOCOL


@pytest.mark.parametrize("role", Role)
def test_a_second_proof_is_refused(role: Role) -> None:
    handshake, own = opened(role, node(A))
    prove(handshake, role, said(D), own, D)

    ending = refused(handshake, proof(role.other, D, said(D), own), "unexpected AUTH")

    assert ending.code == CloseCode.PROTOCOL


@pytest.mark.parametrize(
    "again", [said(D), said(D, node_id="d", **KEYLESS)], ids=["keyed", "keyless"]
)
@pytest.mark.parametrize("role", Role)
def test_a_second_hello_instead_of_a_proof_is_refused(role: Role, again: Hello) -> None:
    handshake, _ = opened(role, node(A, require_identity=False))
    give(handshake, said(D))

    assert refused(handshake, again, "unexpected HELLO").code == CloseCode.PROTOCOL


@pytest.mark.parametrize("body", [Text("hi"), Heartbeat(), Extension("k"), PeerRequest(1)])
@pytest.mark.parametrize("role", Role)
def test_nothing_but_a_proof_is_taken_after_a_hello(role: Role, body: Body) -> None:
    handshake, _ = opened(role, node(A))
    give(handshake, said(D))

    assert refused(handshake, body, f"unexpected {body.token}").code == CloseCode.PROTOCOL


@pytest.mark.parametrize("role", Role)
def test_a_wrong_proof_is_not_mended_by_a_right_one(role: Role) -> None:
    handshake, own = opened(role, node(A))
    answer = give(handshake, said(D))
    own = answer[0] if role is Role.DIALER else own
    refused(handshake, Auth(bytes(64)), "the proof of")

    refused(handshake, proof(role.other, D, said(D), own), "unexpected AUTH")


# Keys that are left out, or do not fit the id


@pytest.mark.parametrize("role", Role)
def test_a_peer_without_a_key_is_one_that_nobody_has_verified(role: Role) -> None:
    handshake, _ = opened(role, node(A, require_identity=False))

    give(handshake, said(D, node_id="d", **KEYLESS))

    assert (handshake.is_established, handshake.verified) == (True, Verified.NONE)


@pytest.mark.parametrize("role", Role)
def test_a_peer_without_a_key_is_refused_where_one_is_required(role: Role) -> None:
    handshake, _ = opened(role, node(A, require_identity=True))

    ending = refused(handshake, said(D, node_id="d", **KEYLESS), "shows no key")

    assert ending.code == CloseCode.IDENTITY


@pytest.mark.parametrize("role", Role)
def test_a_proof_of_a_peer_without_a_key_is_refused(role: Role) -> None:
    handshake, own = opened(role, node(A, require_identity=False))
    give(handshake, said(D, node_id="d", **KEYLESS))

    refused(handshake, proof(role.other, D, said(D), own), "unexpected AUTH")


@pytest.mark.parametrize("role", Role)
def test_an_id_that_derives_from_a_key_is_refused_without_it(role: Role) -> None:
    handshake, _ = opened(role, node(A, require_identity=False))

    assert refused(handshake, said(D, **KEYLESS), "does not derive").code == CloseCode.IDENTITY


@pytest.mark.parametrize("node_id", [D.node_id, "a" * 32, "2" * 32], ids=["another's", "a", "2"])
@pytest.mark.parametrize("role", Role)
def test_an_id_of_derived_look_derives_from_the_key(role: Role, node_id: str) -> None:
    handshake, _ = opened(role, node(A))

    ending = refused(handshake, said(MALLORY, node_id=node_id), "does not derive")

    assert ending.code == CloseCode.IDENTITY


@pytest.mark.parametrize("role", Role)
def test_where_nothing_can_be_proven_nobody_is_admitted_that_has_to(role: Role) -> None:
    handshake, _ = opened(role, node(A, public_key=None, sign=None, require_identity=True))

    assert refused(handshake, said(D), "no key of its own").code == CloseCode.IDENTITY


@pytest.mark.parametrize("role", Role)
def test_of_a_peer_that_proved_nothing_no_key_is_kept(role: Role) -> None:
    handshake, _ = opened(role, node(A, public_key=None, sign=None, require_identity=False))

    give(handshake, said(D, certificate=b"certificate", card=b"card"))

    peer = handshake.peer
    assert handshake.verified is Verified.NONE
    assert (peer.public_key, peer.certificate, peer.card) == (None, None, None)


# Nonces and bindings


@pytest.mark.parametrize("nonce", [None, b"", b"n" * 31, b"n" * 33], ids=["none", "0", "31", "33"])
@pytest.mark.parametrize("role", Role)
def test_a_nonce_has_32_bytes(role: Role, nonce: bytes | None) -> None:
    handshake, _ = opened(role, node(A))

    ending = refused(handshake, said(D, nonce=nonce), "expected a nonce of 32 bytes")

    assert ending.code == CloseCode.IDENTITY


@pytest.mark.parametrize(
    ("accepted", "binding"),
    [
        (PLAIN, None),
        (PLAIN, Binding("tls", DIGEST)),
        (PLAIN, Binding("proxy", NAME.encode())),
        (PLAIN, Binding("plain", b"x")),
        (PLAIN, Binding("", b"")),
        (TLS, None),
        (TLS, Binding("plain")),
        (TLS, Binding("tls")),
        (TLS, Binding("tls", OTHER_DIGEST)),
        (TLS, Binding("proxy", NAME.encode())),
        (TLS, Binding("proxy", DIGEST)),
        (PROXY, None),
        (PROXY, Binding("plain")),
        (PROXY, Binding("tls", DIGEST)),
        (PROXY, Binding("proxy")),
        (PROXY, Binding("proxy", b"other.example.org")),
    ],
)
def test_an_accepting_side_takes_only_a_binding_of_this_connection(
    accepted: Bindings, binding: Binding | None
) -> None:
    handshake, _ = opened(Role.ACCEPTOR, node(A), bindings=accepted)

    ending = refused(handshake, said(D, binding=binding), "expected a proof bound to")

    assert ending.code == CloseCode.IDENTITY


@pytest.mark.parametrize(
    ("dialled", "offered"),
    [
        (PLAIN, None),
        (PLAIN, Binding("tls")),
        (PLAIN, Binding("proxy")),
        (TLS, None),
        (TLS, Binding("plain")),
        (TLS, Binding("proxy")),
        (VIA_PROXY, Binding("plain")),
        (UNKNOWN, Binding("tls")),
        (UNKNOWN, Binding("plain")),
    ],
)
def test_a_dialling_side_takes_only_a_mode_of_this_connection(
    dialled: Bindings, offered: Binding | None
) -> None:
    handshake, _ = opened(Role.DIALER, node(D), bindings=dialled)

    ending = refused(handshake, said(A, binding=offered), "expected a proof bound to")

    assert ending.code == CloseCode.IDENTITY


def test_what_a_refusal_quotes_of_a_mode_is_short() -> None:
    handshake, _ = opened(Role.ACCEPTOR, node(A))

    ending = refused(handshake, said(D, binding=Binding("x" * 10_000)), "bound to plain")

    assert ending.detail.endswith(", got " + "x" * 16)


# The judge, and the order of all checks


class Recorder:
    """A judge that remembers what it was asked, and may refuse at one question."""

    def __init__(self, refuses: str = "") -> None:
        self.asked: list[str] = []
        self._refuses = refuses

    def _ask(self, question: str) -> Ending | None:
        self.asked.append(question)
        if question != self._refuses:
            return None
        return Ending.here(CloseCode.IDENTITY, f"the judge {question} nobody")

    def knows(self, hello: Hello) -> Ending | None:
        return self._ask("knows")

    def reads(self, hello: Hello) -> Ending | None:
        return self._ask("reads")

    def admits(self, hello: Hello) -> Ending | None:
        return self._ask("admits")

    def met(self, hello: Hello) -> Ending | None:
        return self._ask("met")

    def screens(self, hello: Hello) -> Ending | None:
        return self._ask("screens")


@pytest.mark.parametrize("role", Role)
def test_the_trust_policy_is_asked_after_the_proof_and_the_last_word_at_the_end(
    role: Role,
) -> None:
    judge = Recorder()
    handshake, own = opened(role, node(A), judge=judge, screen=judge.screens)

    answer = give(handshake, said(D))
    before_the_proof = list(judge.asked)
    own = answer[0] if role is Role.DIALER else own
    give(handshake, proof(role.other, D, said(D), own))
    before_the_last_word = list(judge.asked)

    assert handshake.admit() is None
    assert before_the_proof == ["knows", "screens"]
    assert before_the_last_word == ["knows", "screens", "reads", "admits"]
    assert judge.asked == ["knows", "screens", "reads", "admits", "met"]


@pytest.mark.parametrize("role", Role)
def test_a_peer_without_a_key_is_judged_by_its_hello(role: Role) -> None:
    judge = Recorder()
    handshake, _ = opened(role, node(A, require_identity=False), judge=judge)

    give(handshake, said(D, node_id="d", **KEYLESS))

    assert judge.asked == ["knows", "admits"]


def test_what_was_shown_is_read_once_and_by_a_dialling_side_while_it_waits() -> None:
    asked = []
    for role in Role:
        judge = Recorder()
        handshake, own = opened(role, node(A), judge=judge)
        handshake.read_ahead()
        answer = give(handshake, said(D))
        handshake.read_ahead()
        asked.append(list(judge.asked))
        own = answer[0] if role is Role.DIALER else own
        give(handshake, proof(role.other, D, said(D), own))
        handshake.read_ahead()
        asked.append(list(judge.asked))

    all_of_it = ["knows", "reads", "admits"]
    assert asked == [["knows"], all_of_it, ["knows", "reads"], all_of_it]


@pytest.mark.parametrize("role", Role)
def test_a_peer_whose_certificate_or_card_is_refused_is_not_established(role: Role) -> None:
    handshake, own = opened(role, node(A), judge=Recorder("reads"))
    answer = give(handshake, said(D))
    own = answer[0] if role is Role.DIALER else own

    refused(handshake, proof(role.other, D, said(D), own), "the judge reads nobody")


@pytest.mark.parametrize("role", Role)
def test_the_trust_policy_is_not_asked_about_who_proved_nothing(role: Role) -> None:
    judge = Recorder()
    handshake, _ = opened(role, node(A), judge=judge)
    give(handshake, said(D))

    refused(handshake, Auth(bytes(64)), "the proof of")

    assert judge.asked == ["knows"]


@pytest.mark.parametrize("role", Role)
def test_who_claims_what_is_known_to_be_anothers_hears_nothing_of_this_side(role: Role) -> None:
    handshake, _ = opened(role, node(A), judge=Recorder("knows"))

    ending = refused(handshake, said(D), "the judge knows nobody")

    assert ending.code == CloseCode.IDENTITY


@pytest.mark.parametrize("role", Role)
def test_whom_the_trust_policy_refuses_is_not_established(role: Role) -> None:
    handshake, own = opened(role, node(A), judge=Recorder("admits"))
    answer = give(handshake, said(D))
    own = answer[0] if role is Role.DIALER else own

    refused(handshake, proof(role.other, D, said(D), own), "the judge admits nobody")

    assert handshake.verified is Verified.NONE


@pytest.mark.parametrize("refuses", ["knows", "admits"])
@pytest.mark.parametrize("role", Role)
def test_a_peer_without_a_key_that_the_judge_refuses_is_not_established(
    role: Role, refuses: str
) -> None:
    handshake, _ = opened(role, node(A, require_identity=False), judge=Recorder(refuses))

    refused(handshake, said(D, node_id="d", **KEYLESS), f"the judge {refuses} nobody")


@pytest.mark.parametrize("role", Role)
def test_the_judges_last_word_is_handed_on(role: Role) -> None:
    handshake, own = opened(role, node(A), judge=Recorder("met"))
    prove(handshake, role, said(D), own, D)

    ending = handshake.admit()

    assert ending is not None
    assert ending.detail == "the judge met nobody"


def test_nobody_has_a_last_word_on_a_peer_that_proved_nothing() -> None:
    handshake, _ = opened(Role.ACCEPTOR, node(A), judge=Recorder("met"))
    give(handshake, said(D))

    with pytest.raises(ValueError, match="expect auth"):
        handshake.admit()


FAULTS: list[tuple[dict[str, object], str]] = [
    ({"version": "2"}, "expected TheNodes 1"),
    ({"realm": None}, "expected realm"),
    ({"node_id": A.node_id}, "this node's own id"),
    ({"node_type": "sensor"}, "node type sensor is not admitted"),
    ({"public_key": b"no key"}, "is not usable"),
    ({"public_key": MALLORY.public_key}, "does not derive"),
    ({"public_key": D.public_key}, "the address is of somebody"),
    ({}, "the judge knows nobody"),
    ({}, "the judge screens nobody"),
    ({"nonce": None}, "a nonce of 32 bytes"),
    ({"nonce": bytes(32), "binding": None}, "bound to plain"),
]


@pytest.mark.parametrize("first", range(len(FAULTS)), ids=[match for _, match in FAULTS])
@pytest.mark.parametrize("role", Role)
def test_of_several_faults_the_first_in_the_order_of_the_checks_is_told(
    role: Role, first: int
) -> None:
    fields: dict[str, object] = {"node_type": "gateway", "node_id": D.node_id}
    for fault, _ in reversed(FAULTS[first:]):
        fields |= fault
    match = FAULTS[first][1]
    local = node(A, allowed_node_types=frozenset({"gateway"}))
    handshake, _ = opened(
        role,
        local,
        judge=Recorder("knows" if first <= 7 else ""),
        screen=Recorder("screens" if first <= 8 else "").screens,
        expected_id="somebody" if first <= 6 else D.node_id,
    )

    refused(handshake, said(D, **fields), match)
