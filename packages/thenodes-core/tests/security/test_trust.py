"""The trust policy: every mode, every setting, every state of the stores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from thenodes_core.config import TrustPolicyTable
from thenodes_core.security.certificates import Certificate, make_certificate
from thenodes_core.security.decision import Decision, Outcome, Subject
from thenodes_core.security.identity import Identity
from thenodes_core.security.trust import TrustPolicy
from thenodes_plugin_api import BindingStatus, Direction, Realm

NOW = 1_800_000_000.0
DAY = 86_400.0
REALM = Realm("Müller Home", "mueller-home", "1.0")
MODES = ["open", "allowlist", "observe", "tofu", "hybrid", "ca"]

PEER, OTHER, CA_KEY, FOREIGN_CA_KEY = (Identity.generate() for _ in range(4))


def make(identity: Identity = PEER, **options: Any) -> Certificate:
    options = {"node_id": "kitchen", "realm": REALM, "now": NOW, **options}
    return make_certificate(identity, **options)


CA = make(CA_KEY, common_name="Home CA", ca=True, days=3650)
FOREIGN_CA = make(FOREIGN_CA_KEY, common_name="Foreign CA", ca=True, days=3650)
OWN = make()
ISSUED = make(issuer=(CA_KEY, CA))
FOREIGN = make(issuer=(FOREIGN_CA_KEY, FOREIGN_CA))
CERTIFICATES = {"none": None, "own": OWN, "issued": ISSUED, "foreign": FOREIGN}


class Keys:
    """The keys on disk."""

    def __init__(self, trusted: str = "", observed: str = "", rejected: str = "") -> None:
        self._trusted, self._observed, self._rejected = trusted, observed, rejected

    def is_trusted(self, fingerprint: str) -> bool:
        return fingerprint in self._trusted

    def is_observed(self, fingerprint: str) -> bool:
        return fingerprint in self._observed

    def is_rejected(self, fingerprint: str) -> bool:
        return fingerprint in self._rejected


UNKNOWN = Keys()
TRUSTED = Keys(trusted=PEER.fingerprint)
OBSERVED = Keys(observed=PEER.fingerprint)
REJECTED = Keys(trusted=PEER.fingerprint, rejected=PEER.fingerprint)
REVOKED = Keys(rejected=PEER.fingerprint)


def subject(
    certificate: Certificate | None = OWN,
    *,
    key: Identity | None = PEER,
    dialled: str | None = None,
    realm: Realm = REALM,
) -> Subject:
    return Subject(
        node_id="kitchen",
        public_key=None if key is None else key.public_key,
        certificate=certificate,
        role=Direction.INBOUND,
        address="192.0.2.1:50000",
        dialled=dialled,
        realm=realm,
    )


def judge(
    whom: Subject | None = None,
    keys: Keys = UNKNOWN,
    *,
    now: float = NOW,
    fallback: bool | None = None,
    met: Mapping[str, str] | None = None,
    authorities: tuple[Certificate, ...] = (CA,),
    **settings: Any,
) -> Decision:
    policy = TrustPolicy(
        msgspec.convert(settings, TrustPolicyTable),
        keys,
        authorities,
        accept_self_signed=fallback,
        dialled=dict(met or {}).get,
    )
    return policy.judge(subject() if whom is None else whom, now)


def outcomes(decision: Decision) -> dict[str, Outcome]:
    return {step.name: step.outcome for step in decision.steps}


def text(decision: Decision, step: str) -> str:
    return next(one.text for one in decision.steps if one.name == step)


# Modes: what each says of a key by the stores and by its certificate.
ACCEPTED = {"open-policy", "present-in-trusted", "chain-valid", "new-tofu", "seen-before"}
BY_MODE = [
    # mode, certificate, unknown, observed, trusted
    ("open", "none", "open-policy", "open-policy", "open-policy"),
    ("open", "own", "open-policy", "open-policy", "open-policy"),
    ("open", "issued", "open-policy", "open-policy", "open-policy"),
    ("open", "foreign", "open-policy", "open-policy", "open-policy"),
    ("allowlist", "none", "not-in-trusted", "not-in-trusted", "present-in-trusted"),
    ("allowlist", "own", "not-in-trusted", "not-in-trusted", "present-in-trusted"),
    ("allowlist", "issued", "not-in-trusted", "not-in-trusted", "present-in-trusted"),
    ("allowlist", "foreign", "not-in-trusted", "not-in-trusted", "present-in-trusted"),
    ("observe", "none", "observe-only", "observe-only", "present-in-trusted"),
    ("observe", "own", "observe-only", "observe-only", "present-in-trusted"),
    ("observe", "issued", "observe-only", "observe-only", "present-in-trusted"),
    ("observe", "foreign", "observe-only", "observe-only", "present-in-trusted"),
    ("tofu", "none", "new-tofu", "seen-before", "present-in-trusted"),
    ("tofu", "own", "new-tofu", "seen-before", "present-in-trusted"),
    ("tofu", "issued", "new-tofu", "seen-before", "present-in-trusted"),
    ("tofu", "foreign", "new-tofu", "seen-before", "present-in-trusted"),
    ("hybrid", "none", "not-in-trusted", "not-in-trusted", "present-in-trusted"),
    ("hybrid", "own", "not-in-trusted", "not-in-trusted", "present-in-trusted"),
    ("hybrid", "issued", "chain-valid", "chain-valid", "present-in-trusted"),
    ("hybrid", "foreign", "not-in-trusted", "not-in-trusted", "present-in-trusted"),
    ("ca", "none", "chain-invalid", "chain-invalid", "chain-invalid"),
    ("ca", "own", "chain-invalid", "chain-invalid", "chain-invalid"),
    ("ca", "issued", "chain-valid", "chain-valid", "chain-valid"),
    ("ca", "foreign", "chain-invalid", "chain-invalid", "chain-invalid"),
]


@pytest.mark.parametrize(("mode", "certificate", "unknown", "observed", "trusted"), BY_MODE)
def test_each_mode_says_what_its_table_says(
    mode: str, certificate: str, unknown: str, observed: str, trusted: str
) -> None:
    whom = subject(CERTIFICATES[certificate])

    for keys, reason in ((UNKNOWN, unknown), (OBSERVED, observed), (TRUSTED, trusted)):
        decision = judge(whom, keys, mode=mode)

        assert (decision.reason, decision.accepted) == (reason, reason in ACCEPTED)
        assert decision.mode == mode
        assert decision.fingerprint == PEER.fingerprint


@pytest.mark.parametrize("certificate", CERTIFICATES)
@pytest.mark.parametrize("mode", MODES)
def test_a_revoked_key_is_refused_in_every_mode_even_if_it_is_trusted(
    mode: str, certificate: str
) -> None:
    pinned = (PEER.fingerprint,)

    decision = judge(
        subject(CERTIFICATES[certificate]), REJECTED, mode=mode, pin_fingerprints=pinned
    )

    assert (decision.accepted, decision.reason) == (False, "revoked")
    assert "trust promote" in text(decision, "rejected")


@pytest.mark.parametrize("mode", MODES)
def test_without_a_key_nobody_is_admitted(mode: str) -> None:
    decision = judge(subject(None, key=None), mode=mode)

    assert (decision.accepted, decision.reason) == (False, "no-key")
    assert decision.fingerprint is None
    assert not decision.observe


@pytest.mark.parametrize(
    ("mode", "accepted", "reason"),
    [
        ("open", True, "open-policy"),
        ("allowlist", False, "not-in-trusted"),
        ("observe", False, "observe-only"),
        ("tofu", True, "new-tofu"),
        ("hybrid", False, "not-in-trusted"),
        ("ca", False, "chain-invalid"),
    ],
)
def test_without_a_key_the_mode_decides_where_none_is_required(
    mode: str, accepted: bool, reason: str
) -> None:
    decision = judge(subject(None, key=None), TRUSTED, mode=mode, require_identity=False)

    assert (decision.accepted, decision.reason) == (accepted, reason)
    assert not decision.observe
    assert decision.fingerprint is None


def test_a_peer_without_a_key_has_no_certificate_either() -> None:
    whom = subject(ISSUED, key=None)

    assert judge(whom, mode="ca", require_identity=False).reason == "chain-invalid"
    assert judge(whom, mode="hybrid", require_identity=False).reason == "not-in-trusted"


# tofu: an address of the operator's that was met before.
HERE = "kitchen.example:50000"


@pytest.mark.parametrize(
    ("keys", "met", "key", "accepted", "reason"),
    [
        (UNKNOWN, None, PEER, True, "new-tofu"),
        (UNKNOWN, PEER.fingerprint, PEER, True, "seen-before"),
        (UNKNOWN, OTHER.fingerprint, PEER, False, "changed-key"),
        (OBSERVED, OTHER.fingerprint, PEER, False, "changed-key"),
        (TRUSTED, OTHER.fingerprint, PEER, True, "present-in-trusted"),
        (REJECTED, PEER.fingerprint, PEER, False, "revoked"),
        (UNKNOWN, OTHER.fingerprint, None, False, "changed-key"),
        (UNKNOWN, None, None, True, "new-tofu"),
    ],
)
def test_tofu_keeps_to_the_key_that_an_address_was_met_with(
    keys: Keys, met: str | None, key: Identity | None, accepted: bool, reason: str
) -> None:
    known = {} if met is None else {HERE: met}

    decision = judge(
        subject(None, key=key, dialled=HERE), keys, met=known, mode="tofu", require_identity=False
    )

    assert (decision.accepted, decision.reason) == (accepted, reason)


def test_a_changed_key_is_told_with_the_old_one_and_the_way_out() -> None:
    decision = judge(subject(dialled=HERE), met={HERE: OTHER.fingerprint}, mode="tofu")

    assert OTHER.fingerprint in text(decision, "mode")
    assert f"trust forget {HERE}" in text(decision, "mode")
    assert decision.observe


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "tofu"])
def test_other_modes_do_not_ask_for_addresses(mode: str) -> None:
    decision = judge(subject(ISSUED, dialled=HERE), met={HERE: OTHER.fingerprint}, mode=mode)

    assert decision == judge(subject(ISSUED), mode=mode)


def test_another_address_says_nothing_of_this_one() -> None:
    decision = judge(subject(dialled=HERE), met={"cellar:1": OTHER.fingerprint}, mode="tofu")

    assert decision.reason == "new-tofu"


# Validity.
EXPIRED, EARLY, LATE = NOW + 400 * DAY, NOW - DAY, NOW + 365 * DAY


@pytest.mark.parametrize(
    ("now", "flags", "reason"),
    [
        (NOW, ("reject_expired", "reject_before_valid"), "open-policy"),
        (EXPIRED, ("reject_expired",), "time-invalid"),
        (EXPIRED, ("reject_before_valid",), "open-policy"),
        (EXPIRED, (), "open-policy"),
        (EARLY, ("reject_before_valid",), "time-invalid"),
        (EARLY, ("reject_expired",), "open-policy"),
        (EARLY, (), "open-policy"),
        (OWN.not_after, ("reject_expired", "reject_before_valid"), "open-policy"),
        (OWN.not_after + 1, ("reject_expired",), "time-invalid"),
        (OWN.not_before, ("reject_expired", "reject_before_valid"), "open-policy"),
        (OWN.not_before - 1, ("reject_before_valid",), "time-invalid"),
    ],
)
def test_a_certificate_is_valid_from_its_first_second_to_its_last(
    now: float, flags: tuple[str, ...], reason: str
) -> None:
    settings: dict[str, Any] = dict.fromkeys(flags, True)

    decision = judge(now=now, **settings)

    valid = OWN.not_before <= now <= OWN.not_after
    assert decision.reason == reason
    assert decision.time_valid == (valid if flags else None)
    assert (decision.time_reason is None) == (valid or not flags)


def test_when_a_certificate_ended_or_begins_is_told() -> None:
    expired = judge(now=EXPIRED, reject_expired=True)
    early = judge(now=EARLY, reject_before_valid=True)

    assert expired.time_reason == "expired on 2028-01-15 08:00 UTC"
    assert "now is 2028-02-19 08:00 UTC" in text(expired, "validity")
    assert early.time_reason == "valid from 2027-01-15 07:00 UTC on"
    assert "now is 2027-01-14 08:00 UTC" in text(early, "validity")


@pytest.mark.parametrize("keys", [UNKNOWN, TRUSTED], ids=["unknown", "trusted"])
@pytest.mark.parametrize("flag", ["reject_expired", "reject_before_valid"])
@pytest.mark.parametrize("mode", MODES)
def test_without_a_certificate_validity_cannot_be_shown(mode: str, flag: str, keys: Keys) -> None:
    settings: dict[str, Any] = {"mode": mode, flag: True}

    decision = judge(subject(None), keys, **settings)

    assert (decision.accepted, decision.reason) == (False, "no-certificate")
    assert decision.time_valid is None


# Chains and self-signed certificates.
@pytest.mark.parametrize(
    ("certificate", "accept", "reason"),
    [
        ("none", None, "chain-invalid"),
        ("none", True, "chain-invalid"),
        ("none", False, "chain-invalid"),
        ("own", None, "chain-invalid"),
        ("own", True, "open-policy"),
        ("own", False, "chain-invalid"),
        ("issued", None, "open-policy"),
        ("issued", True, "open-policy"),
        ("issued", False, "open-policy"),
        ("foreign", None, "chain-invalid"),
        ("foreign", True, "chain-invalid"),
        ("foreign", False, "chain-invalid"),
    ],
)
@pytest.mark.parametrize("keys", [UNKNOWN, TRUSTED], ids=["unknown", "trusted"])
def test_an_enforced_chain_lets_self_signed_ones_pass_only_where_that_is_said(
    certificate: str, accept: bool | None, reason: str, keys: Keys
) -> None:
    decision = judge(
        subject(CERTIFICATES[certificate]), keys, enforce_ca_chain=True, accept_self_signed=accept
    )

    assert (decision.reason, decision.accepted) == (reason, reason == "open-policy")
    assert decision.chain_valid == (certificate == "issued")
    assert (decision.chain_reason is None) == (certificate == "issued")
    overridden = certificate == "own" and accept is True
    assert decision.override_action == ("accept_self_signed" if overridden else None)


@pytest.mark.parametrize("keys", [UNKNOWN, TRUSTED], ids=["unknown", "trusted"])
def test_in_mode_ca_no_setting_lets_a_self_signed_certificate_pass(keys: Keys) -> None:
    decision = judge(keys=keys, mode="ca", enforce_ca_chain=True, accept_self_signed=True)

    assert (decision.accepted, decision.reason) == (False, "chain-invalid")


@pytest.mark.parametrize("mode", ["ca", "hybrid"])
@pytest.mark.parametrize("now", [NOW - 2 * DAY, NOW + 400 * DAY])
def test_a_ca_does_not_vouch_for_a_certificate_outside_its_time(mode: str, now: float) -> None:
    decision = judge(subject(ISSUED), mode=mode, now=now)

    assert not decision.accepted
    assert decision.chain_valid is False


@pytest.mark.parametrize("mode", ["ca", "hybrid"])
def test_without_a_ca_there_is_no_chain(mode: str) -> None:
    assert not judge(subject(ISSUED), mode=mode, authorities=()).accepted


@pytest.mark.parametrize("mode", ["ca", "hybrid"])
def test_a_certificate_of_another_key_counts_as_none(mode: str) -> None:
    swapped = make(OTHER, issuer=(CA_KEY, CA))

    assert not judge(subject(swapped), mode=mode).accepted
    assert judge(subject(swapped), reject_expired=True).reason == "no-certificate"
    assert judge(subject(swapped), pin_subjects=(swapped.subject,)).reason == (
        "subject-pin-mismatch"
    )
    assert judge(subject(swapped), realm_subject_binding=True).reason == "realm-subject-mismatch"


@pytest.mark.parametrize(
    ("certificate", "keys", "reason"),
    [
        ("none", UNKNOWN, "self-signed"),
        ("own", UNKNOWN, "self-signed"),
        ("foreign", UNKNOWN, "self-signed"),
        ("issued", UNKNOWN, "open-policy"),
        ("none", TRUSTED, "open-policy"),
        ("own", TRUSTED, "open-policy"),
        ("issued", TRUSTED, "open-policy"),
        ("none", OBSERVED, "self-signed"),
    ],
)
def test_self_signed_certificates_can_be_refused_unless_trusted(
    certificate: str, keys: Keys, reason: str
) -> None:
    decision = judge(subject(CERTIFICATES[certificate]), keys, accept_self_signed=False)

    assert (decision.reason, decision.accepted) == (reason, reason == "open-policy")
    overridden = keys is TRUSTED and certificate != "issued"
    assert decision.override_action == ("trusted" if overridden else None)


@pytest.mark.parametrize(
    ("own", "fallback", "refused"),
    [
        (None, None, False),
        (None, False, True),
        (None, True, False),
        (True, False, False),
        (False, True, True),
    ],
)
def test_the_older_setting_counts_where_the_newer_is_absent(
    own: bool | None, fallback: bool | None, refused: bool
) -> None:
    decision = judge(fallback=fallback, accept_self_signed=own)

    assert decision.reason == ("self-signed" if refused else "open-policy")


# Pins.
@pytest.mark.parametrize(
    ("pins", "match"),
    [
        ((), None),
        ((PEER.fingerprint,), True),
        ((OTHER.fingerprint, PEER.fingerprint), True),
        ((OTHER.fingerprint,), False),
        ((PEER.fingerprint[:63],), False),
        (("",), False),
    ],
)
@pytest.mark.parametrize("keys", [UNKNOWN, TRUSTED], ids=["unknown", "trusted"])
def test_a_key_is_one_of_those_that_are_pinned(
    pins: tuple[str, ...], match: bool | None, keys: Keys
) -> None:
    decision = judge(keys=keys, pin_fingerprints=pins)

    assert decision.pinned_fingerprint_match == match
    assert decision.reason == ("fp-pin-mismatch" if match is False else "open-policy")


def test_a_peer_without_a_key_is_not_pinned() -> None:
    whom = subject(None, key=None)

    decision = judge(whom, require_identity=False, pin_fingerprints=(PEER.fingerprint,))

    assert decision.reason == "fp-pin-mismatch"


@pytest.mark.parametrize(
    ("pins", "match"),
    [
        ((), None),
        (("CN=kitchen,O=mueller-home",), True),
        (("CN=cellar", "CN=kitchen,O=mueller-home"), True),
        (("CN=kitchen",), False),
        (("cn=kitchen,o=mueller-home",), False),
        (("~kitchen",), True),
        (("~CN=kit",), True),
        (("~cellar",), False),
        (("~",), False),
        (("~~",), False),
        (("",), False),
    ],
)
@pytest.mark.parametrize("keys", [UNKNOWN, TRUSTED], ids=["unknown", "trusted"])
def test_a_subject_is_one_of_those_that_are_pinned(
    pins: tuple[str, ...], match: bool | None, keys: Keys
) -> None:
    decision = judge(keys=keys, pin_subjects=pins)

    assert decision.pinned_subject_match == match
    assert decision.reason == ("subject-pin-mismatch" if match is False else "open-policy")


def test_without_a_certificate_no_subject_is_pinned() -> None:
    decision = judge(subject(None), pin_subjects=("~kitchen",))

    assert decision.reason == "subject-pin-mismatch"
    assert decision.pinned_subject_match is False


# The realm in the certificate.
def certificate_of(subject: str, *names: str) -> Certificate:
    return msgspec.structs.replace(OWN, subject=subject, names=names)


@pytest.mark.parametrize(
    ("certificate", "passed"),
    [
        (certificate_of("CN=x,O=mueller-home"), True),
        (certificate_of("CN=x,O=Müller Home"), True),
        (certificate_of("CN=mueller-home"), True),
        (certificate_of("CN=x+OU=mueller-home"), True),
        (certificate_of("CN=x", "kitchen.mueller-home.thenodes"), True),
        (certificate_of("CN=x"), False),
        (certificate_of(""), False),
        (certificate_of("CN=x,O=mueller-home-2"), False),
        (certificate_of("CN=x\\,O=mueller-home"), False),
        (certificate_of("CN=x", "mueller-home.thenodes.example"), False),
        (certificate_of("CN=x", "kitchen.other.thenodes"), False),
        (certificate_of("CN=x", "kitchen.not-mueller-home.thenodes"), False),
        (None, False),
    ],
)
@pytest.mark.parametrize("keys", [UNKNOWN, TRUSTED], ids=["unknown", "trusted"])
def test_a_certificate_names_the_realm(
    certificate: Certificate | None, passed: bool, keys: Keys
) -> None:
    decision = judge(subject(certificate), keys, realm_subject_binding=True)

    assert decision.reason == ("open-policy" if passed else "realm-subject-mismatch")
    assert decision.realm_binding == (BindingStatus.PASSED if passed else BindingStatus.FAILED)


def test_a_realm_whose_name_is_escaped_in_a_subject_is_found() -> None:
    realm = Realm('A, B + "C"', "other", "1.0")
    whom = subject(certificate_of('CN=x,O=A\\, B \\+ \\"C\\"'), realm=realm)

    assert judge(whom, realm_subject_binding=True).accepted


def test_a_realm_without_a_name_is_not_found_in_an_empty_part() -> None:
    whom = subject(certificate_of("CN=,O=x"), realm=Realm("", "home", "1.0"))

    assert not judge(whom, realm_subject_binding=True).accepted


@pytest.mark.parametrize("certificate", ["own", "issued", "foreign"])
def test_certificates_made_here_name_their_realm(certificate: str) -> None:
    assert judge(subject(CERTIFICATES[certificate]), realm_subject_binding=True).accepted


# What is recorded.
@pytest.mark.parametrize("store", ["none", "observed"])
@pytest.mark.parametrize(
    "keys", [UNKNOWN, OBSERVED, TRUSTED, REVOKED], ids=["new", "observed", "trusted", "revoked"]
)
@pytest.mark.parametrize("mode", MODES)
def test_keys_that_are_neither_trusted_nor_revoked_are_recorded(
    mode: str, keys: Keys, store: str
) -> None:
    decision = judge(keys=keys, mode=mode, store_new_certs=store)

    wanted = store == "observed" or mode in ("observe", "tofu")
    assert decision.observe == (wanted and keys in (UNKNOWN, OBSERVED))


@pytest.mark.parametrize(
    "settings",
    [{"pin_fingerprints": (OTHER.fingerprint,)}, {"reject_expired": True}, {"mode": "ca"}],
)
def test_a_key_that_is_refused_early_is_recorded_too(settings: dict[str, Any]) -> None:
    decision = judge(now=EXPIRED, store_new_certs="observed", **settings)

    assert not decision.accepted
    assert decision.observe


# The order: of two checks that fail, the earlier decides, in every mode.
FAILING: list[tuple[str, str, dict[str, Any]]] = [
    ("validity", "time-invalid", {"reject_expired": True}),
    ("chain", "chain-invalid", {"enforce_ca_chain": True}),
    ("self-signed", "self-signed", {"accept_self_signed": False}),
    ("fingerprint pin", "fp-pin-mismatch", {"pin_fingerprints": (OTHER.fingerprint,)}),
    ("subject pin", "subject-pin-mismatch", {"pin_subjects": ("CN=cellar",)}),
    ("realm", "realm-subject-mismatch", {"realm_subject_binding": True}),
]
ELSEWHERE = Realm("Elsewhere", "elsewhere", "1.0")


@pytest.mark.parametrize("index", range(len(FAILING)))
@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "ca"])
def test_the_first_check_that_fails_decides_in_every_mode(mode: str, index: int) -> None:
    name, reason, _ = FAILING[index]
    settings: dict[str, Any] = {}
    for _, _, setting in FAILING[index:]:
        settings |= setting

    decision = judge(subject(realm=ELSEWHERE), now=EXPIRED, mode=mode, **settings)

    assert (decision.accepted, decision.reason) == (False, reason)
    names = list(outcomes(decision))
    failed = names.index(name)
    states = list(outcomes(decision).values())
    assert states[failed] is Outcome.FAILED
    assert set(states[failed + 1 :]) == {Outcome.NOT_REACHED}
    assert Outcome.FAILED not in states[:failed]


@pytest.mark.parametrize("index", range(2, len(FAILING)))
def test_mode_ca_asks_for_the_chain_first(index: int) -> None:
    settings: dict[str, Any] = {}
    for _, _, setting in FAILING[index:]:
        settings |= setting

    assert judge(mode="ca", **settings).reason == "chain-invalid"
    whom = subject(ISSUED, realm=ELSEWHERE)
    expected = "fp-pin-mismatch" if index == 2 else FAILING[index][1]
    assert judge(whom, mode="ca", **settings).reason == expected


def test_a_trusted_key_passes_no_check_but_that_of_self_signed_certificates() -> None:
    for name, reason, setting in FAILING:
        decision = judge(subject(realm=ELSEWHERE), TRUSTED, now=EXPIRED, **setting)

        assert decision.reason == ("open-policy" if name == "self-signed" else reason)


def test_revocation_comes_before_everything_but_the_key() -> None:
    everything = {key: value for _, _, setting in FAILING for key, value in setting.items()}

    assert judge(subject(None), REJECTED, **everything).reason == "revoked"
    assert judge(subject(None, key=None), REJECTED, **everything).reason == "no-key"


# Laziness.
@pytest.mark.parametrize(
    ("mode", "keys", "settings"),
    [
        ("open", UNKNOWN, {}),
        ("open", UNKNOWN, {"accept_self_signed": True}),
        ("allowlist", UNKNOWN, {}),
        ("observe", TRUSTED, {}),
        ("tofu", UNKNOWN, {"realm_subject_binding": True}),
        ("hybrid", TRUSTED, {"accept_self_signed": False}),
        ("ca", REJECTED, {"enforce_ca_chain": True}),
        ("ca", UNKNOWN, {"reject_before_valid": True}),
    ],
)
def test_a_chain_is_built_only_where_it_is_asked_for(
    mode: str, keys: Keys, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def costly(*_: object, now: float) -> str | None:
        raise AssertionError("a chain was built")

    monkeypatch.setattr("thenodes_core.security.trust.verify_chain", costly)

    decision = judge(subject(ISSUED), keys, mode=mode, now=EARLY, **settings)

    assert decision.chain_valid is None
    assert decision.chain_reason is None


def test_a_chain_is_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[float] = []

    def costly(*_: object, now: float) -> str | None:
        built.append(now)
        return None

    monkeypatch.setattr("thenodes_core.security.trust.verify_chain", costly)

    judge(subject(ISSUED), mode="hybrid", enforce_ca_chain=True, accept_self_signed=False)

    assert built == [NOW]


# What people read.
def test_every_step_is_told_of_whatever_the_settings() -> None:
    names = [
        "key",
        "rejected",
        "validity",
        "chain",
        "self-signed",
        "fingerprint pin",
        "subject pin",
        "realm",
        "mode",
    ]

    for mode in MODES:
        decision = judge(mode=mode)
        assert [step.name for step in decision.steps] == names
        assert all(step.text or step.outcome is Outcome.NOT_REACHED for step in decision.steps)
    assert outcomes(judge())["mode"] is Outcome.PASSED
    assert set(list(outcomes(judge()).values())[2:8]) == {Outcome.NOT_ASKED}


def test_a_refusal_tells_what_was_expected_and_what_came() -> None:
    subject_pin = judge(pin_subjects=("CN=cellar",))
    realm = judge(subject(realm=ELSEWHERE), realm_subject_binding=True)
    chain = judge(subject(FOREIGN), mode="ca")

    assert OWN.subject in text(subject_pin, "subject pin")
    assert "elsewhere" in text(realm, "realm")
    assert OWN.subject in text(realm, "realm")
    assert "no known CA issued it" in text(chain, "chain")
    assert chain.chain_reason == "no known CA issued it"


@pytest.mark.parametrize("pin", ["CN=cellar", "~\x1b"])
def test_a_subject_that_a_terminal_would_obey_is_escaped(pin: str) -> None:
    evil = make(common_name="\x1b[2J\u202e\r\n")

    decision = judge(subject(evil), pin_subjects=(pin,))

    assert "\\x1b[2J\\u202e" in text(decision, "subject pin")
    assert all(step.text.isprintable() for step in decision.steps)


def test_an_overlong_subject_is_cut() -> None:
    decision = judge(subject(certificate_of("CN=" + "x" * 7000)), pin_subjects=("~cellar",))

    assert len(text(decision, "subject pin")) < 500


def test_a_policy_asks_the_stores_anew_each_time() -> None:
    class Changing(Keys):
        trusted = False

        def is_trusted(self, fingerprint: str) -> bool:
            return self.trusted

    keys = Changing()
    policy = TrustPolicy(TrustPolicyTable(mode="allowlist"), keys)
    assert not policy.judge(subject(), NOW).accepted

    keys.trusted = True

    assert policy.judge(subject(), NOW).accepted
