"""A decision as an event: every field, and nothing that a terminal would obey."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from thenodes_core.security.decision import Decision, Subject, decision_event
from thenodes_plugin_api import BindingStatus, Direction, Level, Realm, TrustDecisionEvent

SUBJECT = Subject(
    node_id="kitchen",
    public_key=b"key",
    certificate=None,
    role=Direction.OUTBOUND,
    address="192.0.2.1:50000",
    dialled="kitchen.example:50000",
    realm=Realm("Müller Home", "mueller-home", "1.0"),
)
DECISION = Decision(
    accepted=True,
    reason="chain-valid",
    mode="hybrid",
    fingerprint="ab" * 32,
    observe=True,
    steps=(),
    pinned_fingerprint_match=True,
    pinned_subject_match=False,
    realm_binding=BindingStatus.PASSED,
    chain_valid=True,
    chain_reason="why",
    time_valid=False,
    time_reason="expired",
    override_action="trusted",
)


def test_an_event_has_every_field_of_the_decision() -> None:
    event = decision_event(DECISION, SUBJECT, at=5.0, stored="/pki/x.pem", dry_run=True)

    assert event == TrustDecisionEvent(
        level=Level.DEBUG,
        at=5.0,
        role=Direction.OUTBOUND,
        decision="accept",
        reason="chain-valid",
        mode="hybrid",
        fingerprint="ab" * 32,
        pinned_fingerprint_match=True,
        pinned_subject_match=False,
        realm_binding=BindingStatus.PASSED,
        chain_valid=True,
        chain_reason="why",
        time_valid=False,
        time_reason="expired",
        stored="/pki/x.pem",
        peer_addr="192.0.2.1:50000",
        realm="mueller-home",
        dry_run=True,
        override_action="trusted",
    )


def test_a_refusal_is_a_warning() -> None:
    refusal = Decision(
        accepted=False, reason="no-key", mode="open", fingerprint=None, observe=False, steps=()
    )

    event = decision_event(refusal, SUBJECT, at=5.0, stored=None)

    assert (event.decision, event.level) == ("reject", Level.WARNING)
    assert (event.fingerprint, event.stored, event.dry_run) == (None, None, False)


@pytest.mark.parametrize("address", ["\x1b[2J", "a\nb", "\u202e", "x" * 10_000])
def test_an_address_is_made_safe_to_print(address: str) -> None:
    subject = replace(SUBJECT, address=address)

    shown = decision_event(DECISION, subject, at=5.0, stored=None).peer_addr

    assert shown is not None
    assert shown.isprintable()
    assert len(shown) <= 513


def test_a_peer_without_an_address_has_none() -> None:
    subject = replace(SUBJECT, address=None)

    assert decision_event(DECISION, subject, at=5.0, stored=None).peer_addr is None
