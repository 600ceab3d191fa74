"""The own card: what it names, and when there is another."""

from __future__ import annotations

from pathlib import Path

import pytest

from thenodes_core import EncryptionTable, ManualClock
from thenodes_core.credentials import Credentials
from thenodes_core.errors import CredentialError
from thenodes_core.protocol.card import Card, open_card
from thenodes_plugin_api import Realm

DAY = 86_400.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def credentials(tmp_path: Path, clock: ManualClock) -> Credentials:
    return load(tmp_path, clock)


def load(folder: Path, clock: ManualClock) -> Credentials:
    realm = Realm("Home", "home", "1")
    return Credentials.load(folder, EncryptionTable(), None, realm, (), clock)


def card_of(credentials: Credentials, clock: ManualClock) -> Card:
    return open_card(credentials.card, now_ms=int(clock.time() * 1000))


def test_the_card_names_relays_once_they_are_put_in(
    credentials: Credentials, clock: ManualClock
) -> None:
    first = card_of(credentials, clock)

    assert credentials.put_relays(["relay-1", "relay-2"])

    second = card_of(credentials, clock)
    assert (first.relays, second.relays) == ((), ("relay-1", "relay-2"))
    assert second.issued_at > first.issued_at


def test_the_same_relays_change_nothing(credentials: Credentials) -> None:
    credentials.put_relays(["relay-1"])
    card = credentials.card

    assert not credentials.put_relays(["relay-1"])

    assert credentials.card is card


def test_a_card_that_nobody_would_take_is_not_made(credentials: Credentials) -> None:
    credentials.put_relays(["relay-1"])
    card = credentials.card

    with pytest.raises(CredentialError):
        credentials.put_relays([f"relay-{number}" for number in range(9)])

    assert credentials.card is card
    assert not credentials.put_relays(["relay-1"])


async def test_a_renewed_card_names_the_same_relays(
    credentials: Credentials, clock: ManualClock
) -> None:
    credentials.put_relays(["relay-1"])
    await clock.advance(DAY)

    assert credentials.renew()

    assert card_of(credentials, clock).relays == ("relay-1",)


async def test_a_card_with_new_relays_is_as_good_as_a_renewed_one(
    credentials: Credentials, clock: ManualClock
) -> None:
    await clock.advance(DAY - 1)
    credentials.put_relays(["relay-1"])
    await clock.advance(1)

    assert not credentials.renew()


async def test_sealing_keys_are_kept_when_they_are_renewed(
    credentials: Credentials, clock: ManualClock
) -> None:
    (first,) = credentials.sealing_keys

    await clock.advance(30 * DAY)
    credentials.renew()

    current, kept = credentials.sealing_keys
    assert kept.private_bytes_raw() == first.private_bytes_raw()
    assert card_of(credentials, clock).sealing_key == current.public_key().public_bytes_raw()
