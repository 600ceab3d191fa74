"""Which plugin of a node gets what; the rules that a host has."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Sequence

from ..errors import PeerGone, RequestTimeout, TooManyRequests
from ..messages import DataRequest, DataResponse, Extension, Message, RelayNotify, Text
from .clock import ManualClock
from .running import RunningPlugin

__all__ = ["Questions", "overlap", "owner", "route"]

_FOR_ALL = frozenset({DataRequest, DataResponse, RelayNotify})
_OPEN_PER_PLUGIN = 1024


def owner(kind: str, plugins: Sequence[RunningPlugin]) -> RunningPlugin | None:
    """Return who claims a kind: an exact claim first, then the longest that ends in `.*`."""
    best: tuple[int, RunningPlugin] | None = None
    for plugin in plugins:
        for claim in plugin.registered.manifest.messages.handles:
            if claim == kind:
                return plugin
            prefix = claim[:-1]
            if claim.endswith(".*") and kind.startswith(prefix):
                best = max(best or (0, plugin), (len(prefix), plugin), key=lambda found: found[0])
    return best[1] if best else None


def overlap(one: str, other: str) -> bool:
    """True where some kind would be claimed by both."""
    shorter, longer = sorted((one, other), key=len)
    return one == other or (shorter.endswith(".*") and longer.startswith(shorter[:-1]))


def route(
    message: Message,
    plugins: Sequence[RunningPlugin],
    questions: Questions,
    dropped: Counter[str],
    had: Callable[[], object] | None = None,
) -> None:
    """Give a message to whom it is for, or count why nobody gets it.

    `had` is called once nobody has it any more before them.
    """
    takers: Sequence[RunningPlugin] = ()
    body = message.body
    if isinstance(body, Extension) and body.reply_to is not None:
        if not questions.answer(message):
            dropped["unexpected_reply"] += 1
    elif isinstance(body, Extension):
        found = owner(body.kind, plugins)
        if found is None:
            dropped["unclaimed_kind"] += 1
        else:
            takers = (found,)
    elif type(body) is Text:
        takers = [p for p in plugins if p.registered.manifest.messages.text]
    elif type(body) in _FOR_ALL:
        takers = plugins
    else:
        dropped["not_handled"] += 1
    _offer(message, takers, had)


def _offer(
    message: Message, takers: Sequence[RunningPlugin], had: Callable[[], object] | None
) -> None:
    if had is None:
        for plugin in takers:
            plugin.offer(message)
        return
    waiting = len(takers)

    def one_had_it() -> None:
        nonlocal waiting
        waiting -= 1
        if waiting == 0:
            had()

    if not takers:
        had()
    for plugin in takers:
        plugin.offer(message, one_had_it)


class Questions:
    """Pairs answers with a node's questions; at most 1024 are open for one plugin.

    Args:
        clock: times them.
    """

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._numbers = itertools.count(1)
        self._open: dict[str, tuple[str, asyncio.Future[Message]]] = {}
        self._count: Counter[str] = Counter()

    def ask(self, plugin_id: str, peer: str) -> tuple[str, asyncio.Future[Message]]:
        """Open a question; returns its request id and the answer to come."""
        if self._count[plugin_id] >= _OPEN_PER_PLUGIN:
            raise TooManyRequests(f"{plugin_id} has {_OPEN_PER_PLUGIN} open questions already")
        request_id = f"question-{next(self._numbers)}"
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._open[request_id] = peer, answer
        self._count[plugin_id] += 1
        return request_id, answer

    async def wait(self, plugin_id: str, request_id: str, kind: str, seconds: float) -> Message:
        """Wait for the answer to a question that was sent."""
        peer, answer = self._open[request_id]

        def expire() -> None:
            if not answer.done():
                late = f"{peer} did not answer {kind} within {seconds:g} s"
                answer.set_exception(RequestTimeout(late))

        timer = self._clock.call_later(seconds, expire)
        try:
            return await answer
        finally:
            timer.cancel()
            self.drop(plugin_id, request_id)

    def drop(self, plugin_id: str, request_id: str) -> None:
        """Forget a question."""
        if request_id in self._open:
            del self._open[request_id]
            self._count[plugin_id] -= 1

    def answer(self, message: Message) -> bool:
        """Give an answer to whoever asked; False where nobody asked that peer."""
        if not isinstance(message.body, Extension) or message.body.reply_to is None:
            return False
        asked = self._open.get(message.body.reply_to)
        if asked is None or asked[0] != message.sender:
            return False
        if not asked[1].done():
            asked[1].set_result(message)
        return True

    def peer_gone(self, peer: str) -> None:
        """Tell everybody who waits for that peer."""
        for asked, answer in self._open.values():
            if asked == peer and not answer.done():
                answer.set_exception(PeerGone(f"{peer} left before it answered"))
