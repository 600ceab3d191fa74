"""Who is admitted: what is known of ids, keys and cards, and the trust policy."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives import serialization

from thenodes_plugin_api import Direction, Hello, Level, NetworkEvent, Realm, Reason

from ..address import Address, listening_at
from ..clock import Clock
from ..credentials import Credentials
from ..errors import CredentialError, StateDirError
from ..events.counters import Counters
from ..events.dispatcher import Dispatcher
from ..node_id import derive_node_id, fingerprint, id_of_fingerprint
from ..protocol.card import Card, CardBook, open_card
from ..protocol.close import CloseCode, Ending
from ..protocol.proof import Role
from ..rate import STRANGERS_AT_ONCE, STRANGERS_PER_SECOND, Damper
from ..security.certificates import Certificate, parse_certificate, pem
from ..security.decision import Decision, Subject, decision_event
from ..security.refusal import DropReason
from ..security.trust import TrustPolicy
from ..store.known_ids import KnownIds
from ..store.trust_store import TrustStore

__all__ = ["Admission"]

_REFUSED = 256
_CERTIFICATES = 1024
_DIRECTIONS = {Role.ACCEPTOR: Direction.INBOUND, Role.DIALER: Direction.OUTBOUND}


class Admission:
    """The gate of a node: makes a judge for each session.

    Args:
        credentials: what this node shows of itself.
        policy: the trust policy; replaced by `use`.
        store: trusted, observed and rejected keys.
        ids: which key an id, or an address, was met with.
        realm: this node's realm.
        public_hosts: names by which a proxy in front of this node is reached.
        events: told of each decision, of refusals at a limited rate.
        counters: counts them by reason.
        clock: dates them.
    """

    def __init__(
        self,
        credentials: Credentials,
        policy: TrustPolicy,
        store: TrustStore,
        ids: KnownIds,
        realm: Realm,
        public_hosts: tuple[str, ...],
        events: Dispatcher,
        counters: Counters,
        *,
        clock: Clock,
    ) -> None:
        self.cards = CardBook()
        self.public_hosts = public_hosts
        self.ids = ids
        self.realm = realm
        self._credentials = credentials
        self._policy = policy
        self._store = store
        self._events = events
        self._counters = counters
        self._clock = clock
        self._refusals, self._relayed = (
            Damper(STRANGERS_PER_SECOND, STRANGERS_AT_ONCE, clock.monotonic()) for _ in range(2)
        )
        self._unrecorded = False
        # By key, the latest last.
        self._certificates: dict[bytes, Certificate] = {}
        # Refused keys with where they listen, the latest last.
        self._refused: dict[str, str] = {}

    @property
    def certificate_digests(self) -> frozenset[bytes]:
        """SHA-256 of the certificates that this node's TLS may have shown to a peer."""
        return self._credentials.certificate_digests

    @property
    def now(self) -> float:
        """Unix seconds."""
        return self._clock.time()

    def use(self, policy: TrustPolicy) -> None:
        """Judge by another policy from now on."""
        self._policy = policy

    def judge(self, role: Role, remote: str, dialled: Address | None) -> Judgement:
        """The judge of one session."""
        return Judgement(self, role, remote, None if dialled is None else dialled.text)

    def decide(self, subject: Subject, *, needs_key: bool = True) -> Decision:
        """Apply the trust policy: the decision is counted and told, and the key is recorded.

        Of relayed senders, too: whoever proves a key passes here before it is heard. What is
        refused, and what came through a relay, is told at a limited rate.

        Args:
            subject: whom to judge.
            needs_key: False where the operator lets peers prove nothing, whatever
                `require_identity` says of sessions.
        """
        policy = self._policy if needs_key else self._policy.without_keys
        decision = policy.judge(subject, self.now, explain=False)
        self._counters.add("trust_decisions", reason=decision.reason)
        stored = self._record(subject) if decision.observe else None
        if self._is_told(subject, decision):
            self._events.emit(decision_event(decision, subject, at=self.now, stored=stored))
        return decision

    def _is_told(self, subject: Subject, decision: Decision) -> bool:
        now = self._clock.monotonic()
        if not decision.accepted:
            return self._refusals.let_through(now) is not None
        # A session is dear to whoever wants one. Through a relay, names cost next to nothing.
        return subject.address is not None or self._relayed.let_through(now) is not None

    def objection(self, node_id: str, public_key: bytes) -> DropReason | None:
        """What speaks against an id and its key that no handshake has put to the test.

        Derived ids prove themselves. A chosen one has to be bound to that key here, or not
        to any, and then the operator has to vouch for the key (design: wire.md, Identity).
        """
        if node_id == derive_node_id(public_key):
            return None
        key = fingerprint(public_key)
        known = self.ids.fingerprint_of(node_id)
        if known is not None:
            return None if known == key else DropReason.OTHER_KEY
        return None if self._vouches_for(key) else DropReason.UNKNOWN_ID

    def is_revoked(self, key: str) -> bool:
        """Whether the operator rejected the key of that fingerprint."""
        return self._store.is_rejected(key)

    def is_of_revoked(self, node_id: str) -> bool:
        """Whether an id derives from a key that the operator rejected."""
        return any(id_of_fingerprint(key) == node_id for key in self._store.rejected)

    def _vouches_for(self, key: str) -> bool:
        pinned = key in self._policy.table.pin_fingerprints
        return (pinned or self._store.is_trusted(key)) and not self.is_revoked(key)

    def shown_certificate(self, public_key: bytes) -> Certificate | None:
        """The certificate that a peer with that key showed in a session of its own."""
        return self._certificates.get(public_key)

    def certificate_of(self, hello: Hello) -> Certificate | None:
        """Read a peer's certificate, unless it showed the same before.

        Raises:
            CredentialError: it is none, or of another key than the HELLO.
        """
        if hello.certificate is None or hello.public_key is None:
            return None
        known = self._certificates.pop(hello.public_key, None)
        if known is None or known.der != hello.certificate:
            known = parse_certificate(hello.certificate)
            if known.public_key != hello.public_key:
                raise CredentialError("the certificate is of another key than the HELLO")
        self._certificates[hello.public_key] = known
        if len(self._certificates) > _CERTIFICATES:
            del self._certificates[next(iter(self._certificates))]
        return known

    def remember_refused(self, key: str, address: str) -> None:
        """Note where a peer listens that was refused: its key may be trusted soon."""
        self._refused.pop(key, None)
        self._refused[key] = address
        if len(self._refused) > _REFUSED:
            del self._refused[next(iter(self._refused))]

    def now_trusted(self) -> Sequence[str]:
        """Where peers listen that were refused, and whose keys are trusted since."""
        found = [key for key in self._refused if self._store.is_trusted(key)]
        return [self._refused.pop(key) for key in found]

    def bind(self, node_id: str, key: str) -> bool:
        """Bind a chosen id to a key; False where too many are bound."""
        return self.ids.bind(node_id, key, self.now, trusted=self._store.is_trusted(key))

    def _record(self, subject: Subject) -> str | None:
        key, certificate = subject.public_key, subject.certificate
        if key is None:
            return None
        content = pem(certificate.der) if certificate is not None else _key_pem(key)
        try:
            path = self._store.observe(fingerprint(key), content)
        except (CredentialError, StateDirError) as error:
            if not self._unrecorded:
                self._unrecorded = True
                self.report("key_not_recorded", str(error), subject)
            return None
        return None if path is None else str(path)

    def report(self, action: str, detail: str, subject: Subject) -> None:
        """Tell operators of something about a peer."""
        self._events.emit(
            NetworkEvent(
                action=action,
                detail=detail,
                addr=subject.address,
                node_id=subject.node_id,
                level=Level.WARNING,
                at=self.now,
            )
        )


class Judgement:
    """Judges one peer; see `Judge` of the handshake.

    Args:
        admission: what it judges by.
        role: which side of the connection this node is.
        remote: the peer's end of it.
        dialled: the operator's address that led there.
    """

    def __init__(self, admission: Admission, role: Role, remote: str, dialled: str | None) -> None:
        self._admission = admission
        self._role = role
        self._remote = remote
        self._dialled = dialled
        self._certificate: Certificate | None = None
        self._card: Card | None = None

    def knows(self, hello: Hello) -> Ending | None:
        """Check a HELLO against what is known of its id and key; nothing is proven yet."""
        return self._knows_key(hello)

    def reads(self, hello: Hello) -> Ending | None:
        """Read certificate and card."""
        try:
            self._certificate = self._admission.certificate_of(hello)
            self._card = self._card_of(hello)
        except CredentialError as error:
            return _refused(f"{hello.node_id}: {error}")
        return None

    def admits(self, hello: Hello) -> Ending | None:
        """Apply the trust policy."""
        subject = Subject(
            node_id=hello.node_id,
            public_key=hello.public_key,
            certificate=self._certificate,
            role=_DIRECTIONS[self._role],
            address=self._remote,
            dialled=self._dialled,
            realm=self._admission.realm,
        )
        decision = self._admission.decide(subject)
        if decision.accepted:
            return None
        address = listening_at(self._remote, hello.listen_addr)
        if self._role is Role.ACCEPTOR and decision.fingerprint is not None and address:
            self._admission.remember_refused(decision.fingerprint, address)
        detail = f"not trusted here: {decision.reason}"
        return Ending.here(CloseCode.IDENTITY, detail, reason=Reason.POLICY_DENIED)

    def met(self, hello: Hello) -> Ending | None:
        """Bind the id to the key, and keep the card."""
        if hello.public_key is None:
            # Somebody may have proven a key for that id while this peer took its time.
            return self._knows_key(hello)
        admission, key = self._admission, fingerprint(hello.public_key)
        card = self._card
        if card is not None and not admission.cards.take(card, hello.card or b""):
            return _refused(f"{hello.node_id} shows a card that is older than one seen")
        if self._dialled is not None:
            admission.ids.bind_address(self._dialled, key, admission.now)
        if hello.node_id == derive_node_id(hello.public_key):
            return None
        # Another session may have bound it while this one shook hands.
        if (ending := self._knows_key(hello)) is not None:
            return ending
        if not admission.bind(hello.node_id, key):
            return Ending.here(
                CloseCode.OVERLOADED, "too many ids are known here to admit another chosen one"
            )
        return None

    def _knows_key(self, hello: Hello) -> Ending | None:
        known = self._admission.ids.fingerprint_of(hello.node_id)
        if known is None:
            return None
        if hello.public_key is None:
            return _refused(f"{hello.node_id} is known here with a key, and shows none")
        if known != fingerprint(hello.public_key):
            return _refused(_another_key(hello.node_id, known, hello.public_key))
        return None

    def _card_of(self, hello: Hello) -> Card | None:
        if hello.card is None:
            return None
        now_ms = int(self._admission.now * 1000)
        card = self._admission.cards.recognise(hello.node_id, hello.card, now_ms=now_ms)
        card = card or open_card(hello.card, now_ms=now_ms)
        realm = self._admission.realm
        expected = (hello.node_id, hello.public_key, realm.code, realm.version)
        if (card.node_id, card.public_key, card.realm.code, card.realm.version) != expected:
            raise CredentialError("the card is of another node, key or realm than the HELLO")
        return card


def _another_key(node_id: str, known: str, came: bytes) -> str:
    return (
        f"{node_id} is known here with the key {known[:16]}…, and came with "
        f"{fingerprint(came)[:16]}…; if it has a new one: thenodes trust forget {node_id}"
    )


def _refused(detail: str) -> Ending:
    return Ending.here(CloseCode.IDENTITY, detail)


def _key_pem(public_key: bytes) -> bytes:
    return serialization.load_der_public_key(public_key).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
