"""`peers.json`: known addresses on disk, in the shape of the reference.

An array of `{"addr", "source", "failures", "last_success_epoch", "node_id"?,
"capabilities"?}`, newest success first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from thenodes_plugin_api import Capabilities, NodeId, PeerRecord, PeerSource

from ..address import parse_address
from ..errors import StateDirError
from ..files import set_aside, write_private

__all__ = ["PEERS_FILE", "PeersFile"]

PEERS_FILE = "peers.json"

_FILE_BYTES = 64 * 1024 * 1024
_LAST_EPOCH = 253_402_300_799  # The end of the year 9999.


class _Entry(msgspec.Struct, omit_defaults=True):
    addr: Annotated[str, msgspec.Meta(max_length=512)]
    source: PeerSource
    failures: Annotated[int, msgspec.Meta(ge=0)]
    last_success_epoch: Annotated[int, msgspec.Meta(ge=0, le=_LAST_EPOCH)] | None
    node_id: NodeId | None = None
    capabilities: Capabilities | None = None


_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_entry = msgspec.json.Decoder(_Entry).decode


class PeersFile:
    """Reads and writes the file.

    Args:
        path: where.
        ttl_seconds: an address whose last success is older is left out on reading.
        max_entries: how many are read and written at most.
    """

    def __init__(self, path: Path, *, ttl_seconds: float, max_entries: int) -> None:
        self.path = path
        self._ttl_seconds = ttl_seconds
        self._max_entries = max_entries

    def read(self, now: float) -> tuple[Sequence[PeerRecord], str]:
        """Return what is known, newest success first, and what is wrong with the file.

        What cannot be read is left out.

        Args:
            now: Unix seconds.

        Raises:
            StateDirError: it cannot be read at all.
        """
        try:
            if self.path.exists() and not self.path.is_file() and not self.path.is_dir():
                # A pipe that nobody writes to would be waited for.
                raise StateDirError(f"{self.path}: cannot be read: expected a regular file")
            with self.path.open("rb") as file:
                content = file.read(_FILE_BYTES + 1)
        except FileNotFoundError:
            return [], ""
        except OSError as error:
            raise StateDirError(f"{self.path}: cannot be read: {error.strerror}") from error
        records, problem = _parse(content)
        kept = [record for record in records if self._is_fresh(record, now)]
        ordered = sorted(kept, key=_newest_success_first)[: self._max_entries]
        return ordered, f"{self.path}: {problem}" if problem else ""

    def load(self, now: float) -> tuple[Sequence[PeerRecord], str]:
        """As `read`; a damaged file is set aside, so that the next writing loses nothing of it.

        Raises:
            StateDirError: it can be neither read nor set aside.
        """
        records, problem = self.read(now)
        if problem:
            problem += f"; the file is kept as {set_aside(self.path)}"
        return records, problem

    def save(self, records: Iterable[PeerRecord]) -> None:
        """Replace the file.

        Raises:
            StateDirError: it cannot be written; the old one is as it was.
        """
        ordered = sorted(records, key=_newest_success_first)[: self._max_entries]
        entries = [_Entry(r.addr, r.source, r.failures, r.last_success_epoch) for r in ordered]
        for entry, record in zip(entries, ordered, strict=True):
            entry.node_id, entry.capabilities = record.node_id, record.capabilities
        content = msgspec.json.format(msgspec.json.encode(entries), indent=1)
        try:
            write_private(self.path, content)
        except OSError as error:
            raise StateDirError(f"{self.path}: cannot be written: {error.strerror}") from error

    def _is_fresh(self, record: PeerRecord, now: float) -> bool:
        if record.last_success_epoch is None:
            # What a peer merely claimed is learned anew; what an operator said is kept.
            return record.source in (PeerSource.BOOTSTRAP, PeerSource.MANUAL)
        return now - record.last_success_epoch <= self._ttl_seconds


def _parse(content: bytes) -> tuple[list[PeerRecord], str]:
    if len(content) > _FILE_BYTES:
        return [], f"over {_FILE_BYTES} bytes"
    try:
        raws = _decode_array(content)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        return [], f"not a list of addresses: {error}"
    records: dict[str, PeerRecord] = {}
    bad, first = 0, ""
    for raw in raws:
        try:
            entry = _decode_entry(raw)
            parse_address(entry.addr)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            bad, first = bad + 1, first or str(error)
            continue
        records[entry.addr] = PeerRecord(
            entry.addr,
            entry.source,
            entry.failures,
            entry.last_success_epoch,
            entry.node_id,
            entry.capabilities,
        )
    return list(records.values()), f"{bad} of {len(raws)} entries are bad ({first})" if bad else ""


def _newest_success_first(record: PeerRecord) -> tuple[int, int]:
    return (-(record.last_success_epoch or 0), record.failures)
