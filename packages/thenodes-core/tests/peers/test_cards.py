"""Cards that somebody hands on: whose are believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import structs

from thenodes_core import EncryptionTable, ManualClock, TrustPolicyTable
from thenodes_core.credentials import Credentials
from thenodes_core.events.counters import Counters
from thenodes_core.events.dispatcher import Dispatcher
from thenodes_core.peers.admission import Admission
from thenodes_core.peers.cards import Cards
from thenodes_core.peers.trust_keeper import TrustKeeper
from thenodes_core.protocol.card import Card, make_card
from thenodes_core.security.identity import Identity
from thenodes_plugin_api import CardRefused, Realm

REALM = Realm("Home", "home", "1")
DAY_MS = 86_400_000


class Known:
    """The cards of a node, and what it knows of keys."""

    def __init__(self, folder: Path, dispatcher: Dispatcher, counters: Counters) -> None:
        self.clock = ManualClock()
        self.keeper = TrustKeeper(folder, EncryptionTable(), REALM, dispatcher.emit, self.clock)
        self.keeper.load()
        credentials = Credentials.load(folder, EncryptionTable(), "here", REALM, (), self.clock)
        self.admission = Admission(
            credentials,
            self.keeper.policy,
            self.keeper.store,
            self.keeper.known,
            REALM,
            (),
            dispatcher,
            counters,
            clock=self.clock,
        )
        self.cards = Cards(self.admission, "here")

    @property
    def now_ms(self) -> int:
        return int(self.clock.time() * 1000)

    def card(self, identity: Identity, **changes: Any) -> bytes:
        card = Card(
            node_id=identity.node_id,
            public_key=identity.public_key,
            sealing_key=bytes(32),
            realm=REALM,
            relays=("relay-1",),
            issued_at=self.now_ms,
            not_after=self.now_ms + 30 * DAY_MS,
        )
        return make_card(structs.replace(card, **changes), identity.sign)

    def trust(self, identity: Identity) -> None:
        self.keeper.store.observe(identity.fingerprint, _pem(identity))
        self.keeper.promote(identity.fingerprint)

    def revoke(self, identity: Identity) -> None:
        self.keeper.revoke(identity.fingerprint)


def _pem(identity: Identity) -> bytes:
    return identity.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
async def known(tmp_path: Path, dispatcher: Dispatcher, counters: Counters) -> Known:
    return Known(tmp_path, dispatcher, counters)


@pytest.fixture
def identity() -> Identity:
    return Identity.generate()


async def test_a_card_of_a_derived_id_is_learned(known: Known, identity: Identity) -> None:
    info = known.cards.learn(known.card(identity))

    assert (info.node_id, info.fingerprint) == (identity.node_id, identity.fingerprint)
    assert info.relays == ("relay-1",)
    assert known.cards.get(identity.node_id) == info
    card = known.cards.card_of(identity.node_id)
    assert card is not None
    assert card.sealing_key == bytes(32)


async def test_a_card_is_read_and_not_learned(known: Known, identity: Identity) -> None:
    assert known.cards.read(known.card(identity)).node_id == identity.node_id

    assert known.cards.get(identity.node_id) is None


async def test_a_card_that_is_none_is_refused(known: Known) -> None:
    with pytest.raises(CardRefused, match="not a card"):
        known.cards.read(b"card")
    with pytest.raises(CardRefused, match="not a card"):
        known.cards.learn(b"card")


async def test_a_forged_card_is_refused(known: Known, identity: Identity) -> None:
    forged = make_card(
        Card("alice", identity.public_key, bytes(32), REALM, (), known.now_ms, known.now_ms),
        Identity.generate().sign,
    )

    with pytest.raises(CardRefused, match="not signed by its own key"):
        known.cards.learn(forged)


async def test_a_card_of_a_chosen_id_whose_key_was_never_met_is_refused(
    known: Known, identity: Identity
) -> None:
    with pytest.raises(CardRefused, match="its key is not known here"):
        known.cards.learn(known.card(identity, node_id="alice"))

    assert known.cards.get("alice") is None


async def test_a_card_of_a_chosen_id_that_was_met_with_its_key_is_learned(
    known: Known, identity: Identity
) -> None:
    known.admission.bind("alice", identity.fingerprint)

    assert known.cards.learn(known.card(identity, node_id="alice")).node_id == "alice"


async def test_a_card_of_a_chosen_id_is_learned_where_the_key_is_trusted(
    known: Known, identity: Identity
) -> None:
    known.trust(identity)

    assert known.cards.learn(known.card(identity, node_id="alice")).node_id == "alice"


async def test_a_card_of_a_chosen_id_is_learned_where_the_key_is_pinned(
    known: Known, identity: Identity
) -> None:
    pins = TrustPolicyTable(pin_fingerprints=(identity.fingerprint,))
    known.keeper.use(EncryptionTable(trust_policy=pins))
    known.admission.use(known.keeper.policy)

    assert known.cards.learn(known.card(identity, node_id="alice")).node_id == "alice"


async def test_a_card_of_an_id_that_is_known_with_another_key_is_refused(
    known: Known, identity: Identity
) -> None:
    known.admission.bind("alice", Identity.generate().fingerprint)
    known.trust(identity)

    with pytest.raises(CardRefused, match=r"with another key.*thenodes trust forget alice"):
        known.cards.learn(known.card(identity, node_id="alice"))


async def test_an_older_card_than_one_seen_is_refused(known: Known, identity: Identity) -> None:
    older = known.card(identity, issued_at=known.now_ms - 1)
    newer = known.card(identity, relays=("relay-2",))

    known.cards.learn(newer)

    assert known.cards.learn(newer).relays == ("relay-2",)
    with pytest.raises(CardRefused, match="older than one seen"):
        known.cards.learn(older)
    info = known.cards.get(identity.node_id)
    assert info is not None
    assert info.relays == ("relay-2",)


async def test_a_card_of_another_realm_is_refused(known: Known, identity: Identity) -> None:
    with pytest.raises(CardRefused, match="is of realm"):
        known.cards.learn(known.card(identity, realm=Realm("Home", "home", "2")))


async def test_nobody_hands_on_this_nodes_own_card(known: Known, identity: Identity) -> None:
    known.trust(identity)

    with pytest.raises(CardRefused, match="this node itself"):
        known.cards.learn(known.card(identity, node_id="here"))


async def test_a_card_of_a_revoked_key_is_refused(known: Known, identity: Identity) -> None:
    known.revoke(identity)

    with pytest.raises(CardRefused, match="revoked"):
        known.cards.learn(known.card(identity))


async def test_a_card_is_not_used_once_its_key_is_revoked(known: Known, identity: Identity) -> None:
    known.cards.learn(known.card(identity))

    known.revoke(identity)

    assert known.cards.get(identity.node_id) is None
    assert known.cards.card_of(identity.node_id) is None


async def test_a_card_is_not_used_once_its_id_is_bound_to_another_key(
    known: Known, identity: Identity
) -> None:
    known.trust(identity)
    known.cards.learn(known.card(identity, node_id="alice"))

    known.admission.bind("alice", Identity.generate().fingerprint)

    assert known.cards.card_of("alice") is None


async def test_a_card_is_not_used_after_its_time(known: Known, identity: Identity) -> None:
    known.cards.learn(known.card(identity))

    await known.clock.advance(31 * 86_400)

    assert known.cards.get(identity.node_id) is None
    with pytest.raises(CardRefused, match="expired"):
        known.cards.read(known.card(identity, issued_at=0, not_after=1))
