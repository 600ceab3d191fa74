"""Known addresses."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Sequence

from msgspec import structs

from thenodes_plugin_api import PeerRecord, PeerSource

from ..address import parse_address
from ..clock import Clock

__all__ = ["KnownPeers"]


class KnownPeers:
    """Addresses and what became of them; the oldest success makes room at the cap.

    `changes` counts them, so that whoever writes it to disk knows when.

    Args:
        clock: dates successes.
        max_entries: the cap.
        rng: picks samples.
    """

    def __init__(
        self, clock: Clock, *, max_entries: int = 1024, rng: random.Random | None = None
    ) -> None:
        self._clock = clock
        self._max_entries = max_entries
        self._random = rng or random.Random()
        self._records: dict[str, PeerRecord] = {}
        self.changes = 0

    @property
    def records(self) -> Sequence[PeerRecord]:
        """Every record, newest success first."""
        return sorted(self._records.values(), key=_newest_success_first)

    def get(self, addr: str) -> PeerRecord | None:
        """What is known of an address."""
        return self._records.get(addr)

    async def sample(self, count: int, exclude: Collection[str] = ()) -> Sequence[PeerRecord]:
        """At most `count` random records whose address is not in `exclude`."""
        records = [record for addr, record in self._records.items() if addr not in exclude]
        return self._random.sample(records, min(max(count, 0), len(records)))

    async def insert(self, addr: str, source: PeerSource = PeerSource.MANUAL) -> PeerRecord:
        """Make an address known, keeping what is already known about it.

        Raises:
            ValueError: not an address.
        """
        return self.add(addr, source)

    async def bulk_insert(
        self, addrs: Iterable[str], source: PeerSource = PeerSource.MANUAL
    ) -> int:
        """Make addresses known; what is no address is left out. Returns how many are new."""
        before = self.changes
        for addr in addrs:
            try:
                self.add(addr, source)
            except ValueError:
                continue
        return self.changes - before

    async def all(self) -> Sequence[PeerRecord]:
        """Every record, newest success first."""
        return self.records

    def restore(self, records: Iterable[PeerRecord]) -> None:
        """Take records as they are, such as those of a file; the newest successes stay."""
        everything = self._records | {record.addr: record for record in records}
        ordered = sorted(everything.values(), key=_newest_success_first)
        self._records = {record.addr: record for record in ordered[: self._max_entries]}

    def add(self, addr: str, source: PeerSource) -> PeerRecord:
        """As `insert`."""
        parse_address(addr)
        record = self._records.get(addr)
        if record is None:
            self._make_room()
            self.changes += 1
            record = self._records[addr] = PeerRecord(addr, source)
        return record

    def mark_success(
        self, addr: str, *, node_id: str | None = None, capabilities: Sequence[str] | None = None
    ) -> None:
        """Note that a peer answered at a known address; which one, where that is known."""
        if record := self._records.get(addr):
            self.changes += 1
            self._records[addr] = structs.replace(
                record,
                failures=0,
                last_success_epoch=int(self._clock.time()),
                node_id=node_id,
                capabilities=None if capabilities is None else tuple(capabilities),
            )

    def mark_failure(self, addr: str) -> None:
        """Note that nobody answered at a known address."""
        if record := self._records.get(addr):
            self.changes += 1
            self._records[addr] = structs.replace(record, failures=record.failures + 1)

    def forget(self, addr: str) -> None:
        """Know an address no more."""
        if self._records.pop(addr, None):
            self.changes += 1

    def _make_room(self) -> None:
        if len(self._records) >= self._max_entries:
            oldest = max(self._records.values(), key=_newest_success_first)
            del self._records[oldest.addr]


def _newest_success_first(record: PeerRecord) -> tuple[int, int]:
    return (-(record.last_success_epoch or 0), record.failures)
