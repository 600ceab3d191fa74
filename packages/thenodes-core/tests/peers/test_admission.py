"""The judge of a session: ids and keys, certificates and cards, and the trust policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from thenodes_core import EncryptionTable, ManualClock, TrustPolicyTable
from thenodes_core.address import parse_address
from thenodes_core.clock import settle
from thenodes_core.credentials import Credentials
from thenodes_core.events.counters import Counters
from thenodes_core.events.dispatcher import Dispatcher
from thenodes_core.peers.admission import Admission, Judgement
from thenodes_core.peers.trust_keeper import TrustKeeper
from thenodes_core.protocol.card import Card, make_card
from thenodes_core.protocol.close import CloseCode, Ending
from thenodes_core.protocol.proof import Role
from thenodes_core.security.certificates import make_certificate
from thenodes_core.security.identity import Identity
from thenodes_plugin_api import (
    Direction,
    Event,
    Hello,
    Level,
    NetworkEvent,
    Realm,
    Reason,
    TrustDecisionEvent,
)

REALM = Realm("Home", "home", "1")
REMOTE = "192.0.2.7:41000"
MONTH_MS = 30 * 86_400_000


class Gate:
    """An admission over a folder, and what it tells."""

    def __init__(self, folder: Path, dispatcher: Dispatcher, counters: Counters) -> None:
        self.clock = ManualClock()
        self.keeper = TrustKeeper(folder, EncryptionTable(), REALM, dispatcher.emit, self.clock)
        self.keeper.load()
        credentials = Credentials.load(folder, EncryptionTable(), None, REALM, (), self.clock)
        self.admission = Admission(
            credentials,
            self.keeper.policy,
            self.keeper.store,
            self.keeper.known,
            REALM,
            ("node.example.org",),
            dispatcher,
            counters,
            clock=self.clock,
        )

    def use(self, **changes: Any) -> None:
        self.keeper.use(EncryptionTable(trust_policy=TrustPolicyTable(**changes)))
        self.admission.use(self.keeper.policy)

    def judge(self, role: Role = Role.ACCEPTOR, dialled: str | None = None) -> Judgement:
        address = None if dialled is None else parse_address(dialled)
        return self.admission.judge(role, REMOTE, address)

    def all(self, hello: Hello, **judge: Any) -> Ending | None:
        """What the judge says to a peer, all the way."""
        judge_ = self.judge(**judge)
        return (
            judge_.knows(hello) or judge_.reads(hello) or judge_.admits(hello) or judge_.met(hello)
        )

    def hello(self, identity: Identity, node_id: str | None = None, **changes: Any) -> Hello:
        """A HELLO with certificate and card."""
        node_id, now = node_id or identity.node_id, self.clock.time()
        certificate = make_certificate(identity, node_id=node_id, realm=REALM, now=now)
        hello = Hello(
            node_id,
            listen_addr="10.0.0.1:50000",
            realm=REALM,
            public_key=identity.public_key,
            certificate=certificate.der,
            card=self.card(identity, node_id),
        )
        return structs.replace(hello, **changes)

    def card(self, identity: Identity, node_id: str | None = None, *, age_ms: int = 0) -> bytes:
        issued_at = int(self.clock.time() * 1000) - age_ms
        fields = (identity.public_key, bytes(32), REALM, (), issued_at, issued_at + MONTH_MS)
        return make_card(Card(node_id or identity.node_id, *fields), identity.sign)


@pytest.fixture
async def gate(tmp_path: Path, dispatcher: Dispatcher, counters: Counters) -> Gate:
    return Gate(tmp_path, dispatcher, counters)


@pytest.fixture
def identity() -> Identity:
    return Identity.generate()


def refused(ending: Ending | None) -> str:
    """Why somebody was refused for what it is."""
    assert ending is not None
    assert ending.code == CloseCode.IDENTITY
    return ending.detail


async def test_a_peer_with_a_key_a_certificate_and_a_card_is_admitted(
    gate: Gate, identity: Identity
) -> None:
    assert gate.all(gate.hello(identity)) is None

    card = gate.admission.cards.get(identity.node_id)
    assert card is not None
    assert card.public_key == identity.public_key


async def test_a_chosen_id_is_bound_to_its_key_when_all_is_passed(
    gate: Gate, identity: Identity
) -> None:
    hello = gate.hello(identity, "hub")
    judge = gate.judge()
    assert judge.knows(hello) is None
    assert judge.admits(hello) is None
    before = gate.keeper.known.fingerprint_of("hub")

    judge.met(hello)

    assert before is None
    assert gate.keeper.known.fingerprint_of("hub") == identity.fingerprint


async def test_a_chosen_id_under_a_second_key_is_refused_with_the_way_out(
    gate: Gate, identity: Identity
) -> None:
    gate.all(gate.hello(identity, "hub"))

    detail = refused(gate.judge().knows(gate.hello(Identity.generate(), "hub")))

    assert "hub is known here with the key" in detail
    assert "thenodes trust forget hub" in detail


async def test_of_two_that_shake_hands_with_one_id_at_once_the_second_is_refused(
    gate: Gate, identity: Identity
) -> None:
    first, second = gate.hello(identity, "hub"), gate.hello(Identity.generate(), "hub")
    judges = [gate.judge(), gate.judge()]
    for judge, hello in zip(judges, (first, second), strict=True):
        assert judge.knows(hello) is None
        assert judge.admits(hello) is None

    assert judges[0].met(first) is None

    assert "hub is known here" in refused(judges[1].met(second))


async def test_a_derived_id_takes_no_place_among_the_chosen_ones(
    gate: Gate, identity: Identity
) -> None:
    gate.all(gate.hello(identity))

    assert gate.keeper.ids() == {}


async def test_where_too_many_ids_are_known_another_chosen_one_is_told_so(
    gate: Gate, identity: Identity
) -> None:
    for number in range(4096):
        gate.keeper.known.bind(f"n{number}", "0" * 64, gate.clock.time())

    ending = gate.all(gate.hello(identity, "one-more"))
    derived = gate.all(gate.hello(identity))

    assert ending is not None
    assert ending.code == CloseCode.OVERLOADED
    assert derived is None


async def test_a_peer_without_a_key_may_not_use_an_id_that_is_known_with_one(
    gate: Gate, identity: Identity
) -> None:
    gate.use(require_identity=False)
    gate.all(gate.hello(identity, "hub"))

    assert gate.all(Hello("page", realm=REALM)) is None
    assert "is known here with a key" in refused(gate.all(Hello("hub", realm=REALM)))


async def test_a_peer_without_a_key_that_took_its_time_may_not_use_an_id_proven_meanwhile(
    gate: Gate, identity: Identity
) -> None:
    gate.use(require_identity=False)
    keyless, judge = Hello("hub", realm=REALM), gate.judge()
    assert judge.knows(keyless) is None
    assert judge.admits(keyless) is None

    gate.all(gate.hello(identity, "hub"))

    assert "is known here with a key" in refused(judge.met(keyless))


async def test_a_certificate_of_another_key_is_refused(gate: Gate, identity: Identity) -> None:
    other = gate.hello(Identity.generate())

    detail = refused(gate.all(gate.hello(identity, certificate=other.certificate)))

    assert "the certificate is of another key" in detail


@pytest.mark.parametrize("field", ["certificate", "card"])
async def test_what_is_no_certificate_and_no_card_is_refused(
    gate: Gate, identity: Identity, field: str
) -> None:
    hello = structs.replace(gate.hello(identity), **{field: b"nonsense"})

    assert "not a c" in refused(gate.all(hello))


async def test_a_card_of_another_node_is_refused(gate: Gate, identity: Identity) -> None:
    card = gate.card(Identity.generate())

    detail = refused(gate.all(gate.hello(identity, card=card)))

    assert "the card is of another node" in detail


async def test_a_card_that_expired_is_refused(gate: Gate, identity: Identity) -> None:
    hello = gate.hello(identity)
    await gate.clock.advance(30 * 86_400.0 + 1)

    assert "expired" in refused(gate.all(hello))


async def test_a_card_that_is_older_than_one_seen_is_refused(
    gate: Gate, identity: Identity
) -> None:
    old = gate.hello(identity, card=gate.card(identity, age_ms=1))
    gate.all(gate.hello(identity))

    assert "older than one seen" in refused(gate.all(old))


async def test_a_refusal_of_the_policy_is_told_counted_and_recorded(
    gate: Gate, identity: Identity, events: list[Event], counters: Counters
) -> None:
    gate.use(mode="allowlist", store_new_certs="observed")

    ending = gate.all(gate.hello(identity))
    await settle()

    assert ending is not None
    assert (ending.code, ending.reason) == (CloseCode.IDENTITY, Reason.POLICY_DENIED)
    assert ending.detail == "not trusted here: not-in-trusted"
    (event,) = events
    assert isinstance(event, TrustDecisionEvent)
    assert (event.decision, event.reason, event.mode) == ("reject", "not-in-trusted", "allowlist")
    assert (event.fingerprint, event.peer_addr) == (identity.fingerprint, REMOTE)
    assert (event.level, event.role) == (Level.WARNING, Direction.INBOUND)
    assert event.stored == str(gate.keeper.store.observed[identity.fingerprint])
    assert counters.get("trust_decisions", reason="not-in-trusted") == 1


async def test_refusals_are_told_at_a_limited_rate_and_all_counted(
    gate: Gate, identity: Identity, events: list[Event], counters: Counters
) -> None:
    gate.use(mode="allowlist")
    hello = gate.hello(identity)

    for _ in range(100):
        gate.all(hello)
        await settle(5)

    assert len(events) == 20
    assert counters.get("trust_decisions", reason="not-in-trusted") == 100


async def test_a_refused_peer_is_known_by_where_it_listens_until_its_key_is_trusted(
    gate: Gate, identity: Identity
) -> None:
    gate.use(mode="allowlist", store_new_certs="observed")
    gate.all(gate.hello(identity))
    gate.all(gate.hello(Identity.generate()))
    before = gate.admission.now_trusted()

    gate.keeper.promote(identity.fingerprint)

    assert before == []
    assert gate.admission.now_trusted() == ["192.0.2.7:50000"]
    assert gate.admission.now_trusted() == []


async def test_only_the_last_256_that_were_refused_are_known_by_where_they_listen(
    gate: Gate, identity: Identity
) -> None:
    gate.use(mode="allowlist", store_new_certs="observed")
    last = Identity.generate()
    gate.all(gate.hello(identity))
    for number in range(255):
        gate.admission.remember_refused(f"{number:064x}", "192.0.2.8:50000")
    gate.all(gate.hello(last))

    for promoted in (identity, last):
        gate.keeper.promote(promoted.fingerprint)

    assert gate.admission.now_trusted() == ["192.0.2.7:50000"]


async def test_an_address_with_another_key_is_refused_in_mode_tofu_alone(
    gate: Gate, identity: Identity
) -> None:
    gate.use(mode="tofu")
    dialled = {"role": Role.DIALER, "dialled": "hub.example.org:50000"}
    assert gate.all(gate.hello(identity), **dialled) is None

    changed = gate.all(gate.hello(Identity.generate()), **dialled)
    again = gate.all(gate.hello(identity), **dialled)
    gate.use(mode="open")
    where_it_is_open = gate.all(gate.hello(Identity.generate()), **dialled)

    assert "changed-key" in refused(changed)
    assert again is None
    assert where_it_is_open is None


async def test_a_key_that_cannot_be_recorded_is_told_once_and_admitted(
    gate: Gate, events: list[Event], tmp_path: Path
) -> None:
    gate.use(mode="tofu")
    folder = tmp_path / "pki" / "observed"
    folder.mkdir(parents=True)
    (folder / "certs").write_text("not a folder")

    endings = [gate.all(gate.hello(Identity.generate())) for _ in range(3)]
    await settle()

    assert endings == [None] * 3
    told = [event for event in events if isinstance(event, NetworkEvent)]
    assert [event.action for event in told] == ["key_not_recorded"]


async def test_a_peer_that_comes_again_with_another_certificate_is_read_again(
    gate: Gate, identity: Identity
) -> None:
    first = gate.hello(identity)
    other = gate.hello(Identity.generate())
    await gate.clock.advance(5.0)
    renewed = gate.hello(identity)
    gate.all(first)

    known = gate.admission.certificate_of(first)
    again = gate.admission.certificate_of(first)
    after = gate.admission.certificate_of(renewed)

    assert known is again
    assert after is not None
    assert after.der == renewed.certificate
    swapped = structs.replace(first, certificate=other.certificate)
    assert "another key" in refused(gate.all(swapped))
