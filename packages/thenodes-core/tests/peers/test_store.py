"""Known addresses."""

from __future__ import annotations

import random

import pytest

from thenodes_core.clock import ManualClock
from thenodes_core.peers.store import KnownPeers
from thenodes_plugin_api import PeerRecord, PeerSource


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000.0)


@pytest.fixture
def known(clock: ManualClock) -> KnownPeers:
    return KnownPeers(clock, max_entries=3, rng=random.Random(0))


async def test_an_inserted_address_is_known(known: KnownPeers) -> None:
    record = await known.insert("a:1")

    assert record == PeerRecord("a:1", PeerSource.MANUAL)
    assert await known.all() == [record]


async def test_inserting_again_keeps_what_is_known(known: KnownPeers) -> None:
    await known.insert("a:1", PeerSource.BOOTSTRAP)
    known.mark_success("a:1", node_id="n", capabilities=("c/1",))

    record = await known.insert("a:1", PeerSource.GOSSIP)

    assert record == PeerRecord("a:1", PeerSource.BOOTSTRAP, 0, 1000, "n", ("c/1",))


@pytest.mark.parametrize("addr", ["", "a", "http://a:1", "a:0", "a b:1", "a:1\n"])
async def test_what_is_no_address_is_refused(known: KnownPeers, addr: str) -> None:
    with pytest.raises(ValueError, match=r"expected|not an address|port"):
        await known.insert(addr)

    assert await known.all() == []


async def test_failures_add_up_until_the_next_success(known: KnownPeers) -> None:
    await known.insert("a:1")
    known.mark_failure("a:1")
    known.mark_failure("a:1")
    failed = await known.all()

    known.mark_success("a:1", node_id="n")

    assert [record.failures for record in failed] == [2]
    assert [record.failures for record in await known.all()] == [0]


async def test_success_and_failure_of_an_unknown_address_are_ignored(known: KnownPeers) -> None:
    known.mark_success("a:1", node_id="n")
    known.mark_failure("a:1")

    assert await known.all() == []


async def test_records_come_by_their_newest_success(known: KnownPeers, clock: ManualClock) -> None:
    for addr in ("never:1", "early:1", "late:1"):
        await known.insert(addr)
    known.mark_success("early:1", node_id="e")
    await clock.advance(60)
    known.mark_success("late:1", node_id="l")

    assert [record.addr for record in await known.all()] == ["late:1", "early:1", "never:1"]


async def test_one_more_than_the_cap_makes_the_oldest_success_go(
    known: KnownPeers, clock: ManualClock
) -> None:
    for addr in ("a:1", "b:1", "c:1"):
        await known.insert(addr)
        await clock.advance(60)
        known.mark_success(addr, node_id="n")

    await known.insert("d:1")

    assert {record.addr for record in await known.all()} == {"b:1", "c:1", "d:1"}


async def test_a_sample_has_no_more_than_were_asked_for(known: KnownPeers) -> None:
    for addr in ("a:1", "b:1", "c:1"):
        await known.insert(addr)

    assert len(set(await known.sample(2))) == 2


async def test_a_sample_of_more_than_there_are_is_all_of_them(known: KnownPeers) -> None:
    await known.insert("a:1")

    assert [record.addr for record in await known.sample(10)] == ["a:1"]


@pytest.mark.parametrize("count", [0, -1])
async def test_a_sample_of_nothing_is_empty(known: KnownPeers, count: int) -> None:
    await known.insert("a:1")

    assert await known.sample(count) == []


async def test_what_is_excluded_is_not_in_a_sample(known: KnownPeers) -> None:
    await known.insert("a:1")
    await known.insert("b:1")

    assert [record.addr for record in await known.sample(2, exclude={"a:1"})] == ["b:1"]


async def test_many_addresses_are_inserted_at_once(known: KnownPeers) -> None:
    known.add("a:1", PeerSource.MANUAL)

    new = await known.bulk_insert(["a:1", "no address", "b:1"], PeerSource.GOSSIP)

    assert new == 1
    assert [record.addr for record in known.records] == ["a:1", "b:1"]


async def test_an_address_can_be_forgotten(known: KnownPeers) -> None:
    known.add("a:1", PeerSource.MANUAL)

    known.forget("a:1")
    known.forget("never:1")

    assert known.records == []


async def test_a_proven_address_is_not_evicted_by_claims(known: KnownPeers) -> None:
    known.add("good:1", PeerSource.GOSSIP)
    known.mark_success("good:1", node_id="n")

    for number in range(1, 50):
        known.add(f"claim:{number}", PeerSource.GOSSIP)

    assert known.get("good:1") is not None
    assert len(known.records) == 3


async def test_restored_records_are_taken_as_they_are(known: KnownPeers) -> None:
    record = PeerRecord("a:1", PeerSource.GOSSIP, 2, 5, "n")

    known.restore([record])

    assert known.records == [record]
    assert known.changes == 0


def order(known: KnownPeers) -> list[str]:
    return [record.addr for record in known.records]


async def test_among_addresses_that_never_answered_the_one_that_failed_most_goes(
    known: KnownPeers,
) -> None:
    for addr, failures in (("a:1", 1), ("b:1", 3), ("c:1", 2)):
        known.add(addr, PeerSource.GOSSIP)
        for _ in range(failures):
            known.mark_failure(addr)

    known.add("d:1", PeerSource.GOSSIP)

    assert order(known) == ["d:1", "a:1", "c:1"]


async def test_inserting_more_at_once_than_the_cap_keeps_to_the_cap(known: KnownPeers) -> None:
    new = await known.bulk_insert(f"a:{number}" for number in range(1, 11))

    assert (new, len(known.records)) == (10, 3)


async def test_an_address_that_is_known_makes_no_room_at_the_cap(known: KnownPeers) -> None:
    for addr in ("a:1", "b:1", "c:1"):
        known.add(addr, PeerSource.MANUAL)

    known.add("a:1", PeerSource.MANUAL)

    assert order(known) == ["a:1", "b:1", "c:1"]


async def test_restored_records_keep_to_the_cap(known: KnownPeers) -> None:
    known.restore([PeerRecord(f"a:{n}", PeerSource.MANUAL, 0, n) for n in range(1, 6)])

    assert order(known) == ["a:5", "a:4", "a:3"]


async def test_of_restored_records_the_newest_successes_stay_in_whatever_order(
    known: KnownPeers,
) -> None:
    known.restore([PeerRecord(f"a:{n}", PeerSource.MANUAL, 0, n) for n in range(5, 0, -1)])

    assert order(known) == ["a:5", "a:4", "a:3"]


async def test_a_restored_record_replaces_what_was_known(known: KnownPeers) -> None:
    known.add("a:1", PeerSource.GOSSIP)
    record = PeerRecord("a:1", PeerSource.MANUAL, 1, 7, "n")

    known.restore([record])

    assert known.get("a:1") == record


async def test_every_change_is_counted_and_nothing_else(known: KnownPeers) -> None:
    counts = []
    for act in (
        lambda: known.add("a:1", PeerSource.MANUAL),
        lambda: known.add("a:1", PeerSource.MANUAL),
        lambda: known.mark_success("a:1", node_id="n"),
        lambda: known.mark_success("b:1", node_id="n"),
        lambda: known.mark_failure("a:1"),
        lambda: known.mark_failure("b:1"),
        lambda: known.forget("b:1"),
        lambda: known.forget("a:1"),
    ):
        act()
        counts.append(known.changes)

    assert counts == [1, 1, 2, 2, 3, 3, 3, 4]
