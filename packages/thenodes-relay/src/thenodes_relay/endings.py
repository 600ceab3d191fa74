"""How frames end that do not reach their target: their origins are told, and it is counted."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from thenodes_plugin_api import Frame, RelayNotify

from .alarms import Alarms
from .causes import Refused
from .counters import Counter, Tally
from .flow import MESSAGE_ID_BYTES
from .notices import Notices

__all__ = ["DETAIL_MAX", "Endings"]

DETAIL_MAX = 500
"""Characters of a detail that are told: what peers say may stand in it."""


class Endings:
    """Ends frames.

    Args:
        notices: tells the origins.
        tally: counts.
        alarms: tells the operator.
    """

    def __init__(self, notices: Notices, tally: Tally, alarms: Alarms) -> None:
        self._alarms = alarms
        self._notices = notices
        self._tally = tally

    def refuse(
        self,
        origin: str,
        frames: Iterable[Frame],
        refused: Refused,
        *,
        binding_id: str | None = None,
    ) -> None:
        """End frames that came just now."""
        for frame in frames:
            header = frame.header
            message_id = None if header.delivery is None else header.delivery.message_id
            self.end(origin, message_id, header.sequence, refused, binding_id=binding_id)

    def end(
        self,
        origin: str,
        message_id: bytes | None,
        sequence: int | None,
        refused: Refused,
        *,
        counter: Counter | None = None,
        binding_id: str | None = None,
    ) -> None:
        """End one frame.

        Args:
            origin: whom to tell.
            message_id: of the frame; only 16 bytes are one that the origin knows.
            sequence: named in words where there is no message id.
            refused: why.
            counter: counts it besides.
            binding_id: the binding that it came by.
        """
        named, detail = None, refused.detail[:DETAIL_MAX]
        if message_id is not None and len(message_id) == MESSAGE_ID_BYTES:
            named = uuid.UUID(bytes=message_id)
        elif sequence is not None:
            detail = f"{detail} (sequence {sequence})"
        self._tally.add(Counter.DROPPED, reason=refused.reason)
        self._alarms.refused(origin, refused)
        if counter is not None:
            self._tally.add(counter)
        notice = RelayNotify(refused.reason, binding_id, detail, named, refused.retry_after)
        self._notices.tell(origin, notice)
