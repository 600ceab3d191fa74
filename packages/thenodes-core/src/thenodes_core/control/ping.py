"""The command `ping`: how long a peer takes to answer."""

from __future__ import annotations

import statistics
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from difflib import get_close_matches
from typing import Protocol

import msgspec

from thenodes_plugin_api import NotConnected, RequestTimeout

from ..clock import Clock
from ..errors import CommandError, CommandFailed
from ..text import printable
from .commands import CommandTable, Reply
from .naming import find_peer

__all__ = ["Ping", "PingView", "Pings", "add_ping_command"]

_COUNT = 4
_MOST = 1000
_DIGITS = len(str(_MOST))
_EVERY_SECONDS = 1.0
_TIMEOUT_SECONDS = 5.0
_NEAR = 3


class Ping(msgspec.Struct, frozen=True):
    """One ping.

    Attributes:
        peer: who was asked for.
        via: the relay that was pinged in its place; None where the peer itself was.
        number: from 1 on.
        seconds: the round trip; None where no answer came in time.
    """

    peer: str
    via: str | None
    number: int
    seconds: float | None


class Pings(msgspec.Struct, frozen=True):
    """Several pings.

    Attributes:
        peer: who was asked for.
        via: the relay that was pinged in its place.
        sent: how many there were.
        answered: how many of them were answered.
        min_seconds: the shortest round trip.
        median_seconds: the one in the middle.
        max_seconds: the longest.
    """

    peer: str
    via: str | None
    sent: int
    answered: int
    min_seconds: float | None
    median_seconds: float | None
    max_seconds: float | None


class PingView(Protocol):
    """What this command looks at."""

    @property
    def clock(self) -> Clock:
        """The node's."""
        ...

    def peer_ids(self) -> Sequence[str]:
        """Every peer that may be named."""
        ...

    def is_connected(self, node_id: str) -> bool:
        """Whether there is a session with that peer."""
        ...

    def relay_of(self, node_id: str) -> str | None:
        """The relay through which a node was lately reached or heard."""
        ...

    async def ping(self, node_id: str, *, timeout_seconds: float) -> float:
        """Measure a round trip; returns seconds.

        Raises:
            NotConnected: no session with that peer, or it ended meanwhile.
            RequestTimeout: no answer in time.
        """
        ...


def add_ping_command(table: CommandTable, view: PingView) -> None:
    """Add `ping`, which answers as the answers come, and then says what they came to."""

    async def run(words: Sequence[str]) -> Reply:
        lines, last = [], Reply("")
        async with aclosing(follow(words)) as answers:
            async for last in answers:
                lines.append(last.text)
        return Reply("\n".join(lines), last.data)

    def follow(words: Sequence[str]) -> AsyncGenerator[Reply, None]:
        peer, count = _parse(words)
        node_id = _find(peer, view)
        if view.is_connected(node_id):
            return _pings(view, node_id, None, count)
        relay = view.relay_of(node_id)
        if relay is None:
            said = printable(node_id)
            raise CommandFailed(
                f"{said} is not connected, and was not met through a relay lately; "
                f"peer connect {said} dials it"
            )
        if not view.is_connected(relay):
            raise CommandFailed(
                printable(
                    f"{node_id} was reached through the relay {relay}, which is not connected now"
                )
            )
        return _pings(view, node_id, relay, count)

    table.define("ping", run, complete=lambda: list(view.peer_ids()), follow=follow)


async def _pings(
    view: PingView, peer: str, via: str | None, count: int
) -> AsyncGenerator[Reply, None]:
    found: list[float] = []
    for number in range(1, count + 1):
        if number > 1:
            await view.clock.sleep(_EVERY_SECONDS)
        try:
            seconds = await view.ping(via or peer, timeout_seconds=_TIMEOUT_SECONDS)
        except NotConnected as error:
            raise CommandFailed(printable(f"{via or peer}: {error}")) from error
        except RequestTimeout:
            yield _answer(Ping(peer, via, number, None))
            continue
        found.append(seconds)
        yield _answer(Ping(peer, via, number, seconds))
    if not found:
        raise CommandFailed(printable(f"{via or peer} is connected, and answered no ping"))
    low, high, median = min(found), max(found), statistics.median(found)
    times = f"min {_ms(low)}, median {_ms(median)}, max {_ms(high)}"
    said = f"{len(found)} of {count} answered: {times}"
    yield Reply(said, Pings(peer, via, count, len(found), low, median, high))


def _answer(ping: Ping) -> Reply:
    if ping.seconds is None:
        told = f"no answer within {_TIMEOUT_SECONDS:g} s"
    else:
        told = _ms(ping.seconds)
    whom = f"the relay {ping.via}, on the way to {ping.peer}" if ping.via else ping.peer
    return Reply(printable(f"{ping.number}  {whom}: {told}"), ping)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


def _find(typed: str, view: PingView) -> str:
    ids = view.peer_ids()
    try:
        return find_peer(typed, ids)
    except CommandFailed as error:
        near = _near(typed, ids)
        if not near:
            raise
        raise CommandFailed(f"{error}; near: {printable(', '.join(near))}") from error


def _near(typed: str, ids: Sequence[str]) -> Sequence[str]:
    """The ids whose beginning is much like what was typed, or some of them."""
    beginnings = {
        node_id[: len(typed)]: node_id for node_id in ids if not node_id.startswith(typed)
    }
    return [beginnings[found] for found in get_close_matches(typed, beginnings, n=_NEAR)]


def _parse(words: Sequence[str]) -> tuple[str, int]:
    if not words or len(words) > 2:
        got = " ".join(words) or "nothing"
        raise CommandError(printable(f"ping <peer> [COUNT]: got {got!r}"))
    if len(words) == 1:
        return words[0], _COUNT
    word = words[1]
    is_number = word.isascii() and word.isdigit() and len(word) <= _DIGITS
    if not is_number or not 1 <= int(word) <= _MOST:
        raise CommandError(printable(f"ping: expected a count of 1 to {_MOST}, got {word!r}"))
    return words[0], int(word)
