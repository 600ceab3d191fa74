"""Message ids in memory: which are still known, and for how many."""

from __future__ import annotations

from thenodes_core.relayed.recent import RecentIds


def ids(count: int, first: int = 0) -> list[bytes]:
    return [number.to_bytes(16, "big") for number in range(first, first + count)]


def test_an_id_is_new_once() -> None:
    window = RecentIds().of("alice")

    assert [window.take(name) for name in [*ids(2), *ids(3)]] == [True, True, False, False, True]


def test_each_sender_has_its_own() -> None:
    recent = RecentIds()

    assert recent.of("alice").take(bytes(16))
    assert recent.of("bob").take(bytes(16))
    assert not recent.of("alice").take(bytes(16))


def test_the_last_65536_of_a_sender_are_known() -> None:
    window = RecentIds().of("alice")
    many = ids(200_000)
    for name in many:
        window.take(name)

    assert not any(window.take(name) for name in many[-65_536:])
    assert len(window) <= 2 * 65_536


def test_what_is_older_than_that_is_forgotten() -> None:
    window = RecentIds(per_sender=2).of("alice")
    for name in ids(4):
        window.take(name)

    assert window.take(ids(1)[0])


def test_whoever_sends_most_loses_its_older_ids_first() -> None:
    recent = RecentIds(per_sender=8, most_ids=10)
    quiet, loud = recent.of("quiet"), recent.of("loud")
    quiet.take(bytes(16))
    for name in ids(100):
        loud.take(name)

    assert recent.count <= 10
    assert recent.count == len(quiet) + len(loud)
    assert not quiet.take(bytes(16))


def test_of_too_many_senders_the_one_that_was_asked_for_longest_ago_goes() -> None:
    recent = RecentIds(most_senders=2)
    alice = recent.of("alice")
    alice.take(bytes(16))
    recent.of("bob").take(bytes(16))
    recent.of("alice")
    recent.of("carol")

    assert not recent.of("alice").take(bytes(16))
    assert recent.of("bob").take(bytes(16))
    assert recent.count == 2


def test_a_window_that_went_serves_whoever_has_it() -> None:
    recent = RecentIds(per_sender=2, most_ids=4, most_senders=1)
    alice = recent.of("alice")
    alice.take(bytes(16))
    recent.of("bob")

    for name in ids(100, 1):
        alice.take(name)

    assert not alice.take(ids(1, 100)[0])
    assert recent.count == 0
