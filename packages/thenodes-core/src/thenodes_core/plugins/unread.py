"""Texts that no plugin takes: told as events, so that two people can talk at two prompts."""

from __future__ import annotations

from collections.abc import Sequence

from thenodes_plugin_api import Message, NetworkEvent, PayloadForm, Text, Verified

from ..clock import Clock
from ..events.counters import Counters
from ..events.dispatcher import Dispatcher
from ..rate import Damper, TokenBucket
from ..text import printable
from .inbox import Item

__all__ = ["UnreadTexts"]

_SHOWN_CHARACTERS = 1024
_NAME_CHARACTERS = 128
_A_PEER_AT_ONCE, _A_PEER_PER_SECOND = 20.0, 1.0
_ALL_AT_ONCE, _ALL_PER_SECOND = 100.0, 10.0
_MOST_PEERS = 256
_READABLE = (PayloadForm.TEXT, PayloadForm.JSON)


class UnreadTexts:
    """Tells operators of TEXT messages, escaped and cut, at a limited rate.

    Of one peer 20 at once and one a second, of all 100 and ten; what is beyond is dropped
    and counted. Of at most 256 peers it is known how much they sent lately: of one more,
    whoever was silent longest is forgotten.

    Args:
        events: told.
        counters: counts what is told, and what is not.
        clock: times the rate.
    """

    def __init__(self, events: Dispatcher, counters: Counters, clock: Clock) -> None:
        self._events = events
        self._counters = counters
        self._clock = clock
        self._rates: dict[str, Damper] = {}
        self._of_all = TokenBucket(_ALL_PER_SECOND, _ALL_AT_ONCE, clock.monotonic())

    def offer(self, items: Sequence[Item]) -> bool:
        """Tell of texts, in order; False, since nobody has to wait for that."""
        now = self._clock.monotonic()
        # At one moment, whoever has sent one too many has no more: the rest is only counted.
        beyond: dict[str, int] = {}
        for item in items:
            if type(item) is not Message:
                continue
            sender = item.sender
            if sender in beyond:
                beyond[sender] += 1
            elif not self._tell(item, now):
                beyond[sender] = 0
        for sender, count in beyond.items():
            self._rate_of(sender, now).keep_back(count)
            self._counters.add("messages_dropped", count, reason="too_many_texts")
        return False

    def take(self, message: Message) -> bool:
        """Tell of a text; False where it is one too many."""
        return self._tell(message, self._clock.monotonic())

    def _tell(self, message: Message, now: float) -> bool:
        kept_back = self._rate_of(message.sender, now).let_through(now)
        if kept_back is None or not self._of_all.take(now):
            self._counters.add("messages_dropped", reason="too_many_texts")
            return False
        self._counters.add("texts_received")
        sender = printable(message.sender, most=_NAME_CHARACTERS)
        who = sender if message.verified is not Verified.NONE else f"{sender} (not proven)"
        more = f" ({kept_back} more were not shown)" if kept_back else ""
        self._events.emit(
            NetworkEvent(
                action="text_received",
                detail=f"{who} says: {_shown(message)}{more}",
                node_id=sender,
                at=self._clock.time(),
            )
        )
        return True

    def _rate_of(self, sender: str, now: float) -> Damper:
        rate = self._rates.pop(sender, None)
        if rate is None:
            rate = Damper(_A_PEER_PER_SECOND, _A_PEER_AT_ONCE, now)
            if len(self._rates) >= _MOST_PEERS:
                del self._rates[next(iter(self._rates))]
        self._rates[sender] = rate
        return rate


def _shown(message: Message) -> str:
    """The text; where it is empty, its payload's, which is how relay builders send one."""
    body, payload = message.body, message.payload
    text = body.text if isinstance(body, Text) else ""
    if not text and payload is not None:
        if payload.form not in _READABLE:
            return f"({len(payload.data)} bytes)"
        # Each character has at most four bytes: what is shown needs no more of them.
        text = payload.data[: 4 * (_SHOWN_CHARACTERS + 1)].decode(errors="replace")
    # Cut first: what is not shown, up to 1 MiB, need not be looked at.
    return printable(text[: _SHOWN_CHARACTERS + 1], most=_SHOWN_CHARACTERS)
