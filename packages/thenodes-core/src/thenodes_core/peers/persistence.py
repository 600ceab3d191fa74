"""Keeps the known addresses on disk."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

from thenodes_plugin_api import Level, PeerRecord, SystemEvent

from ..clock import Clock
from ..errors import StateDirError
from ..events.dispatcher import Dispatcher
from ..store.peers_file import PeersFile
from .store import KnownPeers

__all__ = ["KnownPeersKeeper"]


class KnownPeersKeeper:
    """Loads the known addresses once, and writes them where they changed.

    Args:
        known: the addresses.
        file: where they are kept.
        interval_seconds: how often changes are written.
        events: told of a damaged file, and of one that cannot be written.
        clock: times it.
    """

    def __init__(
        self,
        known: KnownPeers,
        file: PeersFile,
        interval_seconds: float,
        events: Dispatcher,
        clock: Clock,
    ) -> None:
        self._known = known
        self._file = file
        self._interval_seconds = interval_seconds
        self._events = events
        self._clock = clock
        self._saved = known.changes
        self._writing = threading.Lock()
        self._complained = False

    def load(self) -> None:
        """Read the file.

        Raises:
            StateDirError: it can be neither read nor set aside.
        """
        records, problem = self._file.load(self._clock.time())
        self._known.restore(records)
        if problem:
            # The damaged file is no longer in place: what was good of it is to be written.
            self._saved = -1
            self._emit("peers_file_damaged", problem, Level.WARNING)

    async def run(self) -> None:
        """Write changes now and then, for ever."""
        while True:
            await self._clock.sleep(self._interval_seconds)
            changes, records = self._known.changes, self._known.records
            try:
                await asyncio.to_thread(self._write, changes, records)
            except StateDirError as error:
                self._complain(error)
            else:
                self._complained = False

    def save(self) -> None:
        """Write what changed since the last time, at once."""
        try:
            self._write(self._known.changes, self._known.records)
        except StateDirError as error:
            self._complain(error)

    def _write(self, changes: int, records: Sequence[PeerRecord]) -> None:
        # A thread may outlive the task that waited for it, and must not write last.
        with self._writing:
            if changes > self._saved:
                self._file.save(records)
                self._saved = changes

    def _complain(self, error: StateDirError) -> None:
        if not self._complained:
            self._complained = True
            self._emit("peers_file_not_written", str(error), Level.ERROR)

    def _emit(self, action: str, detail: str, level: Level) -> None:
        at = self._clock.time()
        self._events.emit(SystemEvent(action=action, detail=detail, level=level, at=at))
