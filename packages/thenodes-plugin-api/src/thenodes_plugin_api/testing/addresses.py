"""Known addresses: the `peer_store` of a context."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Sequence
from urllib.parse import urlsplit

from ..peers import PeerRecord, PeerSource

__all__ = ["KnownAddresses"]


class KnownAddresses:
    """Addresses in memory; samples are the same in every run.

    Attributes:
        records: by address; a test may put in what it likes.
    """

    def __init__(self) -> None:
        self.records: dict[str, PeerRecord] = {}
        self._random = random.Random(0)

    async def sample(self, count: int, exclude: Collection[str] = ()) -> Sequence[PeerRecord]:
        """At most `count` random records whose address is not in `exclude`."""
        records = [record for addr, record in self.records.items() if addr not in exclude]
        return self._random.sample(records, min(max(count, 0), len(records)))

    async def insert(self, addr: str, source: PeerSource = PeerSource.MANUAL) -> PeerRecord:
        """Make an address known, keeping what is already known about it.

        Raises:
            ValueError: not an address.
        """
        _check_address(addr)
        return self.records.setdefault(addr, PeerRecord(addr, source))

    async def bulk_insert(
        self, addrs: Iterable[str], source: PeerSource = PeerSource.MANUAL
    ) -> int:
        """Make addresses known; what is no address is left out. Returns how many are new."""
        before = len(self.records)
        for addr in addrs:
            try:
                await self.insert(addr, source)
            except ValueError:
                continue
        return len(self.records) - before

    async def all(self) -> Sequence[PeerRecord]:
        """Every record, newest success first."""
        return sorted(
            self.records.values(), key=lambda r: (-(r.last_success_epoch or 0), r.failures)
        )


def _check_address(text: str) -> None:
    expected = f"{text!r} is no address: expected host:port, ws://… or wss://…"
    parts = urlsplit(text if "://" in text else f"ws://{text}")
    try:
        port = parts.port
    except ValueError as error:
        raise ValueError(expected) from error
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ValueError(expected)
    if port is None and "://" not in text:
        raise ValueError(expected)
