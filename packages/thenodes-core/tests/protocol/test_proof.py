"""What proofs are bound to, and what they cover."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from thenodes_core.protocol.proof import (
    Bindings,
    Channel,
    Mode,
    Role,
    accepted_bindings,
    dialled_bindings,
    proof_content,
)
from thenodes_core.signatures import Purpose
from thenodes_plugin_api import Binding

DIGEST, OTHER_DIGEST = bytes(32), b"\x01" * 32
BINARY = "thenodes.v1.bin"


def channel(bindings: Bindings) -> Channel:
    return Channel(BINARY, bindings)


# What a connection can be bound to


def test_a_connection_without_tls_is_bound_to_nothing() -> None:
    assert dialled_bindings(encrypted=False) == {"plain": {b""}}


def test_a_connection_without_tls_is_plain_whatever_else_is_said_of_it() -> None:
    bindings = dialled_bindings(
        encrypted=False, certificate_digest=DIGEST, verified_host="node.example.org"
    )

    assert bindings == {"plain": {b""}}


def test_a_connection_with_tls_is_bound_to_the_servers_certificate() -> None:
    assert dialled_bindings(encrypted=True, certificate_digest=DIGEST) == {"tls": {DIGEST}}


def test_a_host_that_a_ca_vouches_for_may_be_a_proxy_too() -> None:
    bindings = dialled_bindings(
        encrypted=True, certificate_digest=DIGEST, verified_host="Node.Example.ORG"
    )

    assert bindings == {"tls": {DIGEST}, "proxy": {b"node.example.org"}}


def test_tls_without_a_certificate_is_bound_to_nothing_at_all() -> None:
    assert dialled_bindings(encrypted=True) == {}


def test_an_acceptor_that_ends_tls_takes_its_certificates_and_nothing_else() -> None:
    bindings = accepted_bindings(
        encrypted=True,
        certificate_digests=frozenset({DIGEST, OTHER_DIGEST}),
        public_hosts=("node.example.org",),
    )

    assert bindings == {"tls": {DIGEST, OTHER_DIGEST}}


def test_an_acceptor_behind_a_proxy_takes_its_public_names_and_nothing_else() -> None:
    bindings = accepted_bindings(
        encrypted=False,
        certificate_digests=frozenset({DIGEST}),
        public_hosts=("a.example", "b.example"),
    )

    assert bindings == {"proxy": {b"a.example", b"b.example"}}


def test_an_acceptor_without_either_takes_plain_connections() -> None:
    bindings = accepted_bindings(
        encrypted=False, certificate_digests=frozenset({DIGEST}), public_hosts=()
    )

    assert bindings == {"plain": {b""}}


# What the sides say of it


@pytest.mark.parametrize("mode", Mode)
def test_an_acceptor_offers_its_mode_and_no_value(mode: Mode) -> None:
    assert channel({mode: frozenset({b"a", b"b"})}).offer == Binding(mode.value)


@pytest.mark.parametrize("mode", Mode)
def test_a_dialling_side_answers_with_the_value_of_that_mode(mode: Mode) -> None:
    sides = channel({m: frozenset({m.value.encode()}) for m in Mode})

    assert sides.answer(Binding(mode)) == Binding(mode, mode.value.encode())


def test_the_value_of_an_offer_is_not_believed() -> None:
    assert channel({Mode.TLS: frozenset({DIGEST})}).answer(Binding("tls", OTHER_DIGEST)) == Binding(
        "tls", DIGEST
    )


@pytest.mark.parametrize("offered", [None, Binding("plain"), Binding("proxy"), Binding("other")])
def test_an_offer_of_a_mode_that_is_not_possible_has_no_answer(offered: Binding | None) -> None:
    assert channel({Mode.TLS: frozenset({DIGEST})}).answer(offered) is None


def test_an_acceptor_takes_each_of_its_values() -> None:
    sides = channel({Mode.TLS: frozenset({DIGEST, OTHER_DIGEST})})

    assert sides.takes(Binding("tls", DIGEST))
    assert sides.takes(Binding("tls", OTHER_DIGEST))


@pytest.mark.parametrize(
    "said",
    [
        None,
        Binding("tls"),
        Binding("tls", OTHER_DIGEST),
        Binding("plain"),
        Binding("proxy", DIGEST),
        Binding("TLS", DIGEST),
    ],
)
def test_an_acceptor_takes_no_other_mode_or_value(said: Binding | None) -> None:
    assert not channel({Mode.TLS: frozenset({DIGEST})}).takes(said)


# What is signed


def test_the_sides_sign_for_purposes_of_their_own() -> None:
    assert Role.ACCEPTOR.purpose is Purpose.HANDSHAKE_ACCEPTOR
    assert Role.DIALER.purpose is Purpose.HANDSHAKE_DIALER


@pytest.mark.parametrize("role", Role)
def test_each_side_has_another(role: Role) -> None:
    assert role.other is not role
    assert role.other.other is role


def test_a_proof_covers_role_subprotocol_binding_and_both_hellos() -> None:
    content = proof_content(Role.DIALER, BINARY, Binding("tls", DIGEST), b"hello a", b"hello d")

    assert msgspec.msgpack.decode(content) == [
        "dialer",
        BINARY,
        "tls",
        DIGEST,
        hashlib.sha256(b"hello a").digest(),
        hashlib.sha256(b"hello d").digest(),
    ]


def test_what_a_proof_covers_is_written_in_one_way() -> None:
    content = proof_content(Role.ACCEPTOR, "x", Binding("plain"), b"a", b"d")

    hashes = b"".join(b"\xc4\x20" + hashlib.sha256(hello).digest() for hello in (b"a", b"d"))
    assert content == b"\x96\xa8acceptor\xa1x\xa5plain\xc4\x00" + hashes
