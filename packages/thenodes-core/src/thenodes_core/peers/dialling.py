"""The addresses that a node stays connected with, and what an operator changes of that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence

from thenodes_plugin_api import PeerSource

from ..address import Address
from ..clock import Clock, timeout
from .dialer import Attempt, Dialer

__all__ = ["Dialling"]

_CONNECTED = frozenset({"connected", "duplicate"})
# A failed one is there only where nobody waited for the outcome.
_ENDED = frozenset({"disconnected", "failed"})


class Dialling:
    """Keeps addresses connected: those of the configuration, and those that were named by hand.

    Args:
        parse: reads an address.
        make: makes the dialer of one.
        spawn: runs it in the background.
        clock: times how long is waited for an outcome.
    """

    def __init__(
        self,
        parse: Callable[[str], Address],
        make: Callable[[Address, PeerSource], Dialer],
        spawn: Callable[[Callable[[], Awaitable[object]], str], object],
        clock: Clock,
    ) -> None:
        self._parse = parse
        self._make = make
        self._spawn = spawn
        self._clock = clock
        self._dialers: dict[str, Dialer] = {}
        self._held_off: set[str] = set()

    def __iter__(self) -> Iterator[Dialer]:
        return iter(self._dialers.values())

    def keep(self, text: str, source: PeerSource = PeerSource.BOOTSTRAP) -> Dialer:
        """Stay connected with an address from now on.

        Raises:
            ValueError: it is none.
        """
        address = self._parse(text)
        dialer = self._dialers[address.text] = self._make(address, source)
        self._spawn(dialer.run, f"dial {text}")
        return dialer

    def configure(self, texts: Sequence[str]) -> None:
        """Let these be the addresses of the configuration, in the place of those there were.

        Sessions with peers that it no longer names go on; they are not dialled again. One
        that was named by hand before is kept as it is.

        Raises:
            ValueError: one is no address; then nothing changes.
        """
        wanted = {self._parse(text).text: text for text in texts}
        for dialer in list(self):
            if dialer.source is PeerSource.BOOTSTRAP and dialer.address.text not in wanted:
                self._drop(dialer)
        for address, text in wanted.items():
            if address not in self._dialers:
                self.keep(text)

    async def connect(self, text: str, *, seconds: float) -> Attempt:
        """Dial an address now, and stay connected with it where that works.

        One of the configuration, or that was connected before, is dialled again whatever
        comes of it.

        Args:
            text: the address.
            seconds: how long to wait for an outcome.

        Returns:
            What came of it: `connected`, `duplicate` where a session with that peer is
            there already, or another state, with the error.

        Raises:
            ValueError: it is no address.
        """
        url = self._parse(text).url
        dialer = next((dialer for dialer in self if dialer.address.url == url), None)
        if dialer is None:
            dialer = self.keep(text, PeerSource.MANUAL)
        elif dialer.attempt.state in _ENDED:
            dialer = self.keep(dialer.address.text, dialer.source)
        else:
            dialer.retry()
        try:
            async with timeout(self._clock, seconds):
                attempt = await dialer.wait_tried()
        except TimeoutError:
            late = f"{text}: no answer within {seconds:g} s"
            attempt = Attempt(text, "waiting", late, self._clock.time())
        if attempt.state in _CONNECTED:
            self.admit(attempt.node_id)
        elif not dialer.is_kept:
            self._drop(dialer)
        return attempt

    def release(self, node_id: str) -> Sequence[str]:
        """Dial a peer no more, at whatever address; returns those that led to it."""
        self._held_off.add(node_id)
        released = [d for d in self if node_id in (d.attempt.node_id, d.address.node_id)]
        for dialer in released:
            if dialer.source is PeerSource.MANUAL:
                self._drop(dialer)
            else:
                dialer.stop()
        return [dialer.address.text for dialer in released]

    def admit(self, node_id: str | None) -> None:
        """Let a peer be dialled again that was released."""
        self._held_off.discard(node_id or "")

    def is_held_off(self, node_id: str) -> bool:
        """Whether an operator let go of that peer: nobody is to dial it."""
        return node_id in self._held_off

    def addresses_of(self, node_id: str) -> Sequence[str]:
        """The addresses here that led to a peer, or name it."""
        return [
            dialer.address.text
            for dialer in self
            if node_id in (dialer.attempt.node_id, dialer.address.node_id)
        ]

    def _drop(self, dialer: Dialer) -> None:
        dialer.stop()
        if self._dialers.get(dialer.address.text) is dialer:
            del self._dialers[dialer.address.text]
