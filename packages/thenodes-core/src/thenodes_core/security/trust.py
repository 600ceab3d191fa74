"""The trust policy: whose key is admitted; pure, files and time are handed in.

A key has been proven when it is judged. The steps, in this order; the first that
fails decides, and what follows is not reached:

| step | asks | reason of a refusal |
| --- | --- | --- |
| key | the peer has a key, unless `require_identity = false` | `no-key` |
| rejected | the key was not revoked | `revoked` |
| validity | its certificate is valid: `reject_expired`, `reject_before_valid` | `time-invalid` |
| chain | a CA vouches for it: `enforce_ca_chain`, mode `ca` | `chain-invalid` |
| self-signed | `accept_self_signed = false`: a CA vouches, or the key is trusted | `self-signed` |
| fingerprint pin | the key is one of `pin_fingerprints` | `fp-pin-mismatch` |
| subject pin | the subject is one of `pin_subjects` | `subject-pin-mismatch` |
| realm | the certificate names the realm: `realm_subject_binding` | `realm-subject-mismatch` |
| mode | see `_MODES` | `not-in-trusted`, `observe-only`, `changed-key`, `chain-invalid` |

Reasons are the reference's words where it has one. Where a certificate is asked for that
the peer does not have, the validity step says `no-certificate`. A certificate of another
key says nothing of this one, and counts as none.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from msgspec import structs

from thenodes_plugin_api import BindingStatus, Realm

from ..config import TrustPolicyTable
from ..node_id import fingerprint
from ..text import printable
from .certificates import Certificate, verify_chain
from .decision import Decision, Outcome, Step, Subject

__all__ = ["Stores", "TrustPolicy"]

_TEXT_CHARACTERS = 400
# RFC 4514: a comma within a value is escaped.
_BETWEEN_PARTS = re.compile(r"(?<!\\)[,+]")
_ESCAPED = re.compile(r"\\(.)")


class Stores(Protocol):
    """What the policy asks of the keys on disk."""

    def is_trusted(self, fingerprint: str) -> bool:
        """Whether the operator trusts the key."""
        ...

    def is_rejected(self, fingerprint: str) -> bool:
        """Whether the operator revoked the key."""
        ...

    def is_observed(self, fingerprint: str) -> bool:
        """Whether the key was recorded before."""
        ...


class TrustPolicy:
    """Judges peers by the settings, and by the keys on disk as they are then.

    Args:
        table: the settings.
        stores: the keys on disk.
        authorities: certificates of the CAs that are believed.
        accept_self_signed: the reference's older setting, where `table` has none.
        dialled: the fingerprint that an address of the operator's was met with, or None.
    """

    def __init__(
        self,
        table: TrustPolicyTable,
        stores: Stores,
        authorities: Sequence[Certificate] = (),
        *,
        accept_self_signed: bool | None = None,
        dialled: Callable[[str], str | None] = lambda address: None,
    ) -> None:
        self.table = table
        self.stores = stores
        self.authorities = tuple(authorities)
        own = table.accept_self_signed
        self.accept_self_signed = accept_self_signed if own is None else own
        self.dialled = dialled

    @property
    def without_keys(self) -> TrustPolicy:
        """The same policy for those that prove no key: `require_identity = false`."""
        return TrustPolicy(
            structs.replace(self.table, require_identity=False),
            self.stores,
            self.authorities,
            accept_self_signed=self.accept_self_signed,
            dialled=self.dialled,
        )

    def judge(self, subject: Subject, now: float, *, explain: bool = True) -> Decision:
        """Decide on a peer.

        Args:
            subject: whom, with a key that is proven.
            now: Unix seconds.
            explain: whether the decision is to have the steps to it.
        """
        return _Case(self, subject, now).decide(explain=explain)


class _Finding(msgspec.Struct, frozen=True):
    """How a step went; with a reason where it decides."""

    outcome: Outcome
    text: str
    reason: str = ""


def _passed(text: str, reason: str = "") -> _Finding:
    return _Finding(Outcome.PASSED, text, reason)


def _failed(reason: str, text: str) -> _Finding:
    return _Finding(Outcome.FAILED, text, reason)


def _not_asked(text: str) -> _Finding:
    return _Finding(Outcome.NOT_ASKED, text)


class _Case:
    """One peer on its way through the steps."""

    def __init__(self, policy: TrustPolicy, subject: Subject, now: float) -> None:
        self._policy = policy
        self._table = policy.table
        self._subject = subject
        certificate = subject.certificate
        is_its_own = certificate is not None and certificate.public_key == subject.public_key
        self._certificate = certificate if is_its_own else None
        self._now = now
        self._key = None if subject.public_key is None else fingerprint(subject.public_key)
        self._chain_asked = False
        self._chain_problem: str | None = None
        self._time_problem: str | None = None
        self._time_valid: bool | None = None
        self._fingerprint_match: bool | None = None
        self._subject_match: bool | None = None
        self._realm_binding = BindingStatus.NOT_APPLIED
        self._override: str | None = None

    def decide(self, *, explain: bool) -> Decision:
        steps: list[Step] = []
        last: _Finding | None = None
        for name, look in _STEPS.items():
            if last is not None and last.outcome is Outcome.FAILED:
                if not explain:
                    break
                steps.append(Step(name, Outcome.NOT_REACHED))
                continue
            last = look(self)
            if explain:
                text = printable(last.text, most=_TEXT_CHARACTERS)
                steps.append(Step(name, last.outcome, text))
        if last is None:
            raise ValueError("a policy without steps")
        return Decision(
            accepted=last.outcome is Outcome.PASSED,
            reason=last.reason,
            mode=self._table.mode,
            fingerprint=self._key,
            observe=self._is_recorded(),
            steps=tuple(steps),
            pinned_fingerprint_match=self._fingerprint_match,
            pinned_subject_match=self._subject_match,
            realm_binding=self._realm_binding,
            chain_valid=self._chain_problem is None if self._chain_asked else None,
            chain_reason=self._chain_problem,
            time_valid=self._time_valid,
            time_reason=self._time_problem,
            override_action=self._override,
        )

    def _is_recorded(self) -> bool:
        stores, key = self._policy.stores, self._key
        if key is None or stores.is_trusted(key) or stores.is_rejected(key):
            return False
        return self._table.store_new_certs == "observed" or self._table.mode in _RECORDING

    def _chain(self) -> str | None:
        """Why no CA vouches for the certificate; None where one does. Looked up once."""
        if not self._chain_asked:
            self._chain_asked = True
            self._chain_problem = (
                "there is no certificate"
                if self._certificate is None
                else verify_chain(self._certificate, self._policy.authorities, (), now=self._now)
            )
        return self._chain_problem

    def _is_trusted(self) -> bool:
        return self._key is not None and self._policy.stores.is_trusted(self._key)

    def look_at_key(self) -> _Finding:
        if self._key is not None:
            return _passed(f"the key {self._key}")
        if self._table.require_identity:
            return _failed("no-key", "require_identity asks for a key, and there is none")
        return _passed("no key, which require_identity = false allows")

    def look_at_rejected(self) -> _Finding:
        if self._key is not None and self._policy.stores.is_rejected(self._key):
            return _failed("revoked", "the key is in rejected; trust promote takes it out again")
        return _passed("the key was not revoked")

    def look_at_validity(self) -> _Finding:
        table, certificate = self._table, self._certificate
        if not table.reject_expired and not table.reject_before_valid:
            return _not_asked("reject_expired and reject_before_valid are false")
        if certificate is None:
            return _failed("no-certificate", "a valid certificate is asked for, and there is none")
        expired = self._now > certificate.not_after
        early = self._now < certificate.not_before
        self._time_valid = not expired and not early
        if self._time_valid:
            return _passed(f"the certificate is valid until {_date(certificate.not_after)}")
        self._time_problem = (
            f"expired on {_date(certificate.not_after)}"
            if expired
            else f"valid from {_date(certificate.not_before)} on"
        )
        text = f"the certificate is {self._time_problem}, and now is {_date(self._now)}"
        if (expired and table.reject_expired) or (early and table.reject_before_valid):
            return _failed("time-invalid", text)
        return _passed(f"{text}, which is not asked about")

    def look_at_chain(self) -> _Finding:
        table, certificate = self._table, self._certificate
        by_mode = table.mode == "ca"
        if not by_mode and not table.enforce_ca_chain:
            return _not_asked("enforce_ca_chain is false")
        problem = self._chain()
        if problem is None:
            return _passed("a CA vouches for the certificate")
        may_be_own = self._policy.accept_self_signed is True and not by_mode
        if may_be_own and certificate is not None and certificate.self_signed:
            self._override = "accept_self_signed"
            return _passed("self-signed, which accept_self_signed = true allows")
        return _failed("chain-invalid", f"no CA vouches for the certificate: {problem}")

    def look_at_self_signed(self) -> _Finding:
        if self._policy.accept_self_signed is not False:
            return _not_asked("accept_self_signed is not false")
        if self._is_trusted():
            if self._certificate is None or self._certificate.self_signed:
                self._override = "trusted"
            return _passed("the key is trusted")
        problem = self._chain()
        if problem is None:
            return _passed("a CA vouches for the certificate")
        text = f"accept_self_signed = false, and no CA vouches for the certificate: {problem}"
        return _failed("self-signed", text)

    def look_at_fingerprint(self) -> _Finding:
        pins = self._table.pin_fingerprints
        if not pins:
            return _not_asked("pin_fingerprints is empty")
        self._fingerprint_match = self._key in pins
        if self._fingerprint_match:
            return _passed("the key is pinned")
        return _failed("fp-pin-mismatch", f"the key is none of the {len(pins)} that are pinned")

    def look_at_subject(self) -> _Finding:
        pins = self._table.pin_subjects
        if not pins:
            return _not_asked("pin_subjects is empty")
        self._subject_match = False
        if self._certificate is None:
            return _failed("subject-pin-mismatch", "subjects are pinned; there is no certificate")
        subject = self._certificate.subject
        self._subject_match = any(_matches(pin, subject) for pin in pins)
        if self._subject_match:
            return _passed(f"the subject {subject} is pinned")
        return _failed("subject-pin-mismatch", f"the subject {subject} is not pinned")

    def look_at_realm(self) -> _Finding:
        if not self._table.realm_subject_binding:
            return _not_asked("realm_subject_binding is false")
        self._realm_binding = BindingStatus.FAILED
        realm, certificate = self._subject.realm, self._certificate
        if certificate is None:
            return _failed("realm-subject-mismatch", "the realm is asked for; no certificate")
        if _names_realm(certificate, realm):
            self._realm_binding = BindingStatus.PASSED
            return _passed(f"the certificate names the realm {realm.code}")
        text = f"the subject {certificate.subject} does not name the realm {realm.code}"
        return _failed("realm-subject-mismatch", text)

    def look_at_mode(self) -> _Finding:
        return _MODES[self._table.mode](self)

    def is_open(self) -> _Finding:
        return _passed("open admits every key that got here", "open-policy")

    def is_listed(self) -> _Finding:
        if self._is_trusted():
            return _passed("the key is trusted", "present-in-trusted")
        return _failed("not-in-trusted", "allowlist admits only trusted keys; see trust promote")

    def is_observed(self) -> _Finding:
        if self._is_trusted():
            return _passed("the key is trusted", "present-in-trusted")
        return _failed("observe-only", "observe records the key; trust promote admits it")

    def is_first_use(self) -> _Finding:
        if self._is_trusted():
            return _passed("the key is trusted", "present-in-trusted")
        dialled = self._subject.dialled
        met = None if dialled is None else self._policy.dialled(dialled)
        if met is not None and met == self._key:
            return _passed(f"{dialled} was met with this key before", "seen-before")
        if met is None and self._key is not None and self._policy.stores.is_observed(self._key):
            return _passed("the key was met before", "seen-before")
        if met is None:
            return _passed("tofu admits a key that is met first", "new-tofu")
        text = f"{dialled} was met with the key {met} before; trust forget {dialled} lets it change"
        return _failed("changed-key", text)

    def is_hybrid(self) -> _Finding:
        if self._is_trusted():
            return _passed("the key is trusted", "present-in-trusted")
        problem = self._chain()
        if problem is None:
            return _passed("a CA vouches for the certificate", "chain-valid")
        return _failed("not-in-trusted", f"the key is not trusted, and no CA vouches: {problem}")

    def is_of_authority(self) -> _Finding:
        # That step came before.
        return _passed("ca admits every key that a CA vouches for", "chain-valid")


_STEPS: dict[str, Callable[[_Case], _Finding]] = {
    "key": _Case.look_at_key,
    "rejected": _Case.look_at_rejected,
    "validity": _Case.look_at_validity,
    "chain": _Case.look_at_chain,
    "self-signed": _Case.look_at_self_signed,
    "fingerprint pin": _Case.look_at_fingerprint,
    "subject pin": _Case.look_at_subject,
    "realm": _Case.look_at_realm,
    "mode": _Case.look_at_mode,
}

_MODES: dict[str, Callable[[_Case], _Finding]] = {
    "open": _Case.is_open,
    "allowlist": _Case.is_listed,
    "observe": _Case.is_observed,
    "tofu": _Case.is_first_use,
    "hybrid": _Case.is_hybrid,
    "ca": _Case.is_of_authority,
}

# Modes that record keys whatever store_new_certs says.
_RECORDING = frozenset({"observe", "tofu"})


def _matches(pin: str, subject: str) -> bool:
    if not pin.strip("~"):
        # Otherwise an empty part would be found in every subject.
        return False
    return pin[1:] in subject if pin.startswith("~") else pin == subject


def _names_realm(certificate: Certificate, realm: Realm) -> bool:
    parts = [part.partition("=")[2] for part in _BETWEEN_PARTS.split(certificate.subject)]
    values = {_ESCAPED.sub(r"\1", part) for part in parts} - {""}
    suffix = f".{realm.code}.thenodes"
    return bool({realm.name, realm.code} & values) or any(
        name.endswith(suffix) for name in certificate.names
    )


def _date(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))
