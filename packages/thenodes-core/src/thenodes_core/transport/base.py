"""What a session needs of a connection, as three small Protocols."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

__all__ = [
    "HUNG_UP",
    "SUBPROTOCOLS",
    "Accept",
    "Answered",
    "Link",
    "Listener",
    "Report",
    "Taken",
    "Transport",
]

SUBPROTOCOLS = ("thenodes.v1.bin", "thenodes.v1.json")
"""In the order of preference."""


Taken: TypeAlias = Callable[[bytes], bool]
"""Takes a message at once, without waiting; False where it does not."""


Answered: TypeAlias = Callable[[], None]
"""Told that the answer to a ping came."""


class Link(Protocol):
    """One open connection to a peer, carrying whole messages."""

    @property
    def subprotocol(self) -> str:
        """One of `SUBPROTOCOLS`."""
        ...

    @property
    def remote(self) -> str:
        """The other end, `host:port`."""
        ...

    @property
    def encrypted(self) -> bool:
        """Whether it is TLS, of which this node is one end."""
        ...

    @property
    def certificate_digest(self) -> bytes | None:
        """SHA-256 of the certificate that the other end showed, None where it showed none."""
        ...

    @property
    def verified_host(self) -> str | None:
        """The name that was dialled, where CAs vouch that the other end is there."""
        ...

    def limit(self, message_bytes: int) -> None:
        """Refuse messages longer than this from now on."""
        ...

    @property
    def received_bytes(self) -> int:
        """How many bytes ever came, of whatever kind: any is a sign of life.

        But for answers to `ping`, which come from a peer's connection even where its
        session is stuck.
        """
        ...

    @property
    def unsent_bytes(self) -> int:
        """How many bytes the peer's side has not taken off the socket yet."""
        ...

    async def receive(self, taken: Taken | None = None) -> bytes:
        """Return the next message.

        Args:
            taken: while this waits, each message may be offered to it, within the
                callback that brings it; one that it takes is not returned.

        Raises:
            LinkClosed: the connection ended.
        """
        ...

    def send_now(self, *messages: bytes) -> bool:
        """Send messages if that takes no waiting, all or none.

        Returns:
            False where it would, or the link ended.
        """
        ...

    async def send(self, data: bytes) -> None:
        """Send one message; returns once the connection can take another.

        Raises:
            LinkClosed: the connection ended.
        """
        ...

    def ping(self, answered: Answered) -> bool:
        """Ask the other end's connection for an answer, and call `answered` once it came.

        Until then, no other ping is to be sent.

        Returns:
            False where bytes wait for the peer already, or the link ended: nothing was sent.
        """
        ...

    async def close(self, code: int, reason: str) -> None:
        """Close in order, telling the peer; returns when closed, or given up."""
        ...

    def abort(self) -> None:
        """End it now; whoever waits on it gets LinkClosed."""
        ...


class Listener(Protocol):
    """Accepts connections until it is closed."""

    @property
    def host(self) -> str:
        """The address it is bound to."""
        ...

    @property
    def port(self) -> int:
        """The TCP port it is bound to."""
        ...

    async def close(self) -> None:
        """Accept no more; links that are open stay open."""
        ...


Accept: TypeAlias = Callable[[Link], Awaitable[None]]
"""Serves one accepted link; the link is closed when it returns."""

Report: TypeAlias = Callable[[str, str], None]
"""Told `(remote, what went wrong)` of a connection that never became a link."""

HUNG_UP = "it ended before it asked for anything"
"""What went wrong where nothing did here: a check that the port is open, or a scan of ports."""


class Transport(Protocol):
    """Makes links: by listening and by dialling."""

    async def listen(self, host: str, port: int, accept: Accept, report: Report) -> Listener:
        """Accept connections on an address; port 0 takes a free one.

        Raises:
            ListenError: the address cannot be used.
        """
        ...

    async def dial(self, address: str) -> Link:
        """Connect to `ws://…` or `wss://…`.

        Raises:
            DialError: no connection came about.
        """
        ...
