"""What a plugin is given: its way to the node, as Protocols that any host can meet."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from .delivery import DeliveryOptions, DeliveryOutcome
from .events import Event, EventSink
from .messages import Body, Message
from .payload import Payload
from .peers import PeerInfo, PeerRecord, PeerSource
from .realm import Realm
from .relay import Relay
from .service import ServiceDoor

__all__ = ["Clock", "Events", "PeerStore", "Peers", "PluginContext", "Task"]


class Clock(Protocol):
    """Time as the node sees it; tests hand in one that they move themselves."""

    def time(self) -> float:
        """Unix seconds."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back, from an arbitrary start."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class Task(Protocol):
    """Background work that a plugin started."""

    def cancel(self) -> object:
        """Ask it to stop."""
        ...

    def done(self) -> bool:
        """True once it has ended."""
        ...


class Peers(Protocol):
    """The connected peers."""

    def all(self) -> Sequence[PeerInfo]:
        """Every connected peer, ordered by id."""
        ...

    def get(self, node_id: str) -> PeerInfo | None:
        """The peer with that id, if connected."""
        ...


class PeerStore(Protocol):
    """The known addresses, connected or not."""

    async def sample(self, count: int, exclude: Collection[str] = ()) -> Sequence[PeerRecord]:
        """At most `count` random records whose address is not in `exclude`."""
        ...

    async def insert(self, addr: str, source: PeerSource = PeerSource.MANUAL) -> PeerRecord:
        """Make an address known, keeping what is already known about it.

        Raises:
            ValueError: not an address.
        """
        ...

    async def bulk_insert(
        self, addrs: Iterable[str], source: PeerSource = PeerSource.MANUAL
    ) -> int:
        """Make addresses known; what is no address is left out. Returns how many are new."""
        ...

    async def all(self) -> Sequence[PeerRecord]:
        """Every record, newest success first."""
        ...


class Events(Protocol):
    """The node's events."""

    def emit(self, event: Event) -> None:
        """Tell every sink. Never waits.

        Raises:
            TypeError: it is not one of the event types.
        """
        ...

    def add_sink(self, sink: EventSink) -> None:
        """Give the sink every event from now on, until the plugin stops.

        Raises:
            TypeError: it has no method `handle`.
        """
        ...


class PluginContext(Protocol):
    """A plugin's way to its node. One a plugin; valid from `on_start` until `on_stop` returned."""

    @property
    def plugin_id(self) -> str:
        """The plugin's id, from its manifest."""
        ...

    @property
    def node_id(self) -> str:
        """This node's id."""
        ...

    @property
    def realm(self) -> Realm:
        """This node's realm."""
        ...

    @property
    def config(self) -> Mapping[str, object]:
        """The manifest's defaults, overlaid with the operator's `[plugin.<id>]` table."""
        ...

    @property
    def data_dir(self) -> Path:
        """A directory of the plugin's own, mode 0700, that exists."""
        ...

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """The logger `thenodes.plugin.<id>`."""
        ...

    @property
    def clock(self) -> Clock:
        """The node's clock."""
        ...

    @property
    def peers(self) -> Peers:
        """The connected peers."""
        ...

    @property
    def peer_store(self) -> PeerStore:
        """The known addresses."""
        ...

    @property
    def events(self) -> Events:
        """The node's events."""
        ...

    @property
    def relay(self) -> Relay:
        """The node's way through relays."""
        ...

    @property
    def service(self) -> ServiceDoor:
        """What plugins get whose manifest has a section `[service]`.

        Raises:
            NotAService: this one has none.
        """
        ...

    async def send(
        self,
        to: str,
        body: Body,
        payload: Payload | None = None,
        *,
        timeout_seconds: float = 5.0,
        options: DeliveryOptions | None = None,
    ) -> DeliveryOutcome:
        """Send a message to a node: over the session with it, else through a relay.

        On a session it waits only where the peer's queue is full. Through a relay it also
        waits for the route, the first time; and a reliable message, until it is stored.

        Args:
            to: the node's id.
            body: a `Text`, `Extension`, `DataRequest` or `DataResponse`.
            payload: the data.
            timeout_seconds: how long it may wait.
            options: what is asked of delivery.

        Returns:
            How far it came. Where the time is up first it says how far it had come by then,
            and a reliable message that is on its way goes on. `REFUSED` only by a relay.

        Raises:
            NotConnected: no session with that node, and no way through a relay (`NoRoute`).
            PayloadTooLarge: over the frame limit.
            OutboxFull: no room in time.
            KindNotAllowed: a kind that belongs to the node.
        """
        ...

    async def broadcast(self, body: Body, payload: Payload | None = None) -> int:
        """Queue a message for every connected peer; a peer without room is passed over.

        Returns:
            The number of peers it was queued for.

        Raises:
            PayloadTooLarge: over the frame limit.
            KindNotAllowed: a kind that belongs to the node.
        """
        ...

    async def request(
        self,
        peer: str,
        kind: str,
        payload: Payload | None = None,
        *,
        timeout_seconds: float = 10.0,
    ) -> Message:
        """Send an `Extension` of this kind and wait for the peer's `reply`.

        Only the asked peer's answer counts.

        Raises:
            SendError: as `send`.
            RequestTimeout: no answer in time.
            PeerGone: the peer left first.
            TooManyRequests: over 1024 open questions.
        """
        ...

    async def reply(
        self, message: Message, payload: Payload | None = None, *, timeout_seconds: float = 0.0
    ) -> None:
        """Answer a message that was sent with `request`.

        Does not wait unless told to: a peer that does not read its answers must
        not hold up the plugin for the others. A `SendError` may be left to escape
        from `on_message`; it is counted and harms nobody.

        Raises:
            ValueError: the message is not a question.
            SendError: as `send`.
        """
        ...

    def spawn(self, work: Coroutine[object, object, object], *, name: str | None = None) -> Task:
        """Run work in the background until it ends or the plugin stops.

        Whatever it raises is reported as an event and harms nobody else.
        """
        ...

    def every(self, seconds: float, action: Callable[[], Awaitable[object]]) -> Task:
        """Call `action` every `seconds`, first after `seconds`, until the plugin stops.

        A call that raises is reported; the next one comes all the same.
        """
        ...
