"""Known addresses."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence

from msgspec import structs

from thenodes_plugin_api import PeerRecord, PeerSource

from ..address import parse_address
from ..clock import Clock

__all__ = ["KnownPeers"]


class KnownPeers:
    """Addresses and what became of them, in memory; the oldest success makes room at the cap.

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

    async def all(self) -> Sequence[PeerRecord]:
        """Every record, newest success first."""
        return sorted(self._records.values(), key=_newest_success_first)

    def add(self, addr: str, source: PeerSource) -> PeerRecord:
        """As `insert`."""
        parse_address(addr)
        record = self._records.get(addr)
        if record is None:
            self._make_room()
            record = self._records[addr] = PeerRecord(addr, source)
        return record

    def mark_success(
        self, addr: str, *, node_id: str, capabilities: tuple[str, ...] | None = None
    ) -> None:
        """Note that a peer answered at a known address."""
        if record := self._records.get(addr):
            self._records[addr] = structs.replace(
                record,
                failures=0,
                last_success_epoch=int(self._clock.time()),
                node_id=node_id,
                capabilities=capabilities,
            )

    def mark_failure(self, addr: str) -> None:
        """Note that nobody answered at a known address."""
        if record := self._records.get(addr):
            self._records[addr] = structs.replace(record, failures=record.failures + 1)

    def _make_room(self) -> None:
        if len(self._records) >= self._max_entries:
            oldest = max(self._records.values(), key=_newest_success_first)
            del self._records[oldest.addr]


def _newest_success_first(record: PeerRecord) -> tuple[int, int]:
    return (-(record.last_success_epoch or 0), record.failures)
