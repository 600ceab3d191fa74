"""Open questions of plugins to peers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from thenodes_plugin_api import Extension, Message, PeerGone, TooManyRequests

__all__ = ["Questions"]

_OPEN_PER_PLUGIN = 1024


class Questions:
    """Pairs answers with questions. At most 1024 are open for one plugin.

    Args:
        random_bytes: makes request ids, which a peer cannot guess.
    """

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes
        self._open: dict[str, tuple[str, str, asyncio.Future[Message]]] = {}
        self._count: Counter[str] = Counter()

    def ask(self, plugin_id: str, peer: str) -> tuple[str, asyncio.Future[Message]]:
        """Open a question; returns its request id and the answer to come.

        Raises:
            TooManyRequests: the plugin has too many open.
        """
        if self._count[plugin_id] >= _OPEN_PER_PLUGIN:
            raise TooManyRequests(f"{plugin_id} has {_OPEN_PER_PLUGIN} open questions already")
        request_id = self._random_bytes(12).hex()
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._open[request_id] = (plugin_id, peer, answer)
        self._count[plugin_id] += 1
        return request_id, answer

    def drop(self, request_id: str) -> None:
        """Forget a question."""
        asked = self._open.pop(request_id, None)
        if asked is None:
            return
        plugin_id, _, answer = asked
        self._count[plugin_id] -= 1
        if answer.cancel() or answer.cancelled():
            return
        answer.exception()  # Taken note of, where whoever asked has already failed otherwise.

    def answer(self, message: Message) -> bool:
        """Give an answer to whoever asked; False where nobody asked that peer."""
        if not isinstance(message.body, Extension) or message.body.reply_to is None:
            return False
        asked = self._open.get(message.body.reply_to)
        if asked is None or asked[1] != message.sender:
            return False
        if not asked[2].done():
            asked[2].set_result(message)
        return True

    def peer_gone(self, peer: str) -> None:
        """Tell everybody who waits for that peer."""
        for _, asked, answer in self._open.values():
            if asked == peer and not answer.done():
                answer.set_exception(PeerGone(f"{peer} left before it answered"))
