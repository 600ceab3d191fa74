"""Whom the trust policy judges, and what it says; as data and as an event."""

from __future__ import annotations

import enum

import msgspec

from thenodes_plugin_api import BindingStatus, Direction, Level, Realm, TrustDecisionEvent

from ..text import printable
from .certificates import Certificate

__all__ = ["Decision", "Outcome", "Step", "Subject", "decision_event"]

_ADDRESS = 512  # Characters; a host name has up to 253.


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """Whom the policy judges.

    Attributes:
        node_id: the id that goes with the key.
        public_key: the proven key, SubjectPublicKeyInfo, DER; None where there is none.
        certificate: over that key, None where the peer sent none.
        role: which side dialled.
        address: the peer's end of the connection, or None.
        dialled: the operator's address that led there, or None.
        realm: this node's realm.
    """

    node_id: str
    public_key: bytes | None
    certificate: Certificate | None
    role: Direction
    address: str | None
    dialled: str | None
    realm: Realm


class Outcome(enum.StrEnum):
    """How a step went."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_ASKED = "not asked"
    NOT_REACHED = "not reached"


class Step(msgspec.Struct, frozen=True):
    """One step of a decision: its name, how it went, and why, for people."""

    name: str
    outcome: Outcome
    text: str = ""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy says of a peer.

    Attributes:
        accepted: whether it is admitted.
        reason: why, one word.
        mode: the policy's.
        fingerprint: of the key, None without one.
        observe: whether the key is to be recorded.
        steps: the way to it.
        pinned_fingerprint_match: None where no fingerprint is pinned, or that was not reached.
        pinned_subject_match: as above, of subjects.
        realm_binding: whether the certificate names the realm.
        chain_valid: whether a CA vouches for it; None where nobody asked.
        chain_reason: why not.
        time_valid: whether it is valid now; None where nobody asked.
        time_reason: why not.
        override_action: what admitted a peer past a step that it would have failed:
            `accept_self_signed`, or `trusted`.
    """

    accepted: bool
    reason: str
    mode: str
    fingerprint: str | None
    observe: bool
    steps: tuple[Step, ...]
    pinned_fingerprint_match: bool | None = None
    pinned_subject_match: bool | None = None
    realm_binding: BindingStatus = BindingStatus.NOT_APPLIED
    chain_valid: bool | None = None
    chain_reason: str | None = None
    time_valid: bool | None = None
    time_reason: str | None = None
    override_action: str | None = None


def decision_event(
    decision: Decision,
    subject: Subject,
    *,
    at: float,
    stored: str | None,
    dry_run: bool = False,
) -> TrustDecisionEvent:
    """What sinks are told of a decision.

    Args:
        decision: the decision.
        subject: whom it is about.
        at: Unix seconds.
        stored: the file that the key was recorded in, or None.
        dry_run: True where nothing follows from it.
    """
    return TrustDecisionEvent(
        level=Level.DEBUG if decision.accepted else Level.WARNING,
        at=at,
        role=subject.role,
        decision="accept" if decision.accepted else "reject",
        reason=decision.reason,
        mode=decision.mode,
        fingerprint=decision.fingerprint,
        pinned_fingerprint_match=decision.pinned_fingerprint_match,
        pinned_subject_match=decision.pinned_subject_match,
        realm_binding=decision.realm_binding,
        chain_valid=decision.chain_valid,
        chain_reason=decision.chain_reason,
        time_valid=decision.time_valid,
        time_reason=decision.time_reason,
        stored=stored,
        peer_addr=None if subject.address is None else printable(subject.address, most=_ADDRESS),
        realm=subject.realm.code,
        dry_run=dry_run,
        override_action=decision.override_action,
    )
