"""The door of a service: what a plugin gets whose manifest has a section `[service]`."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import ParamSpec

from msgspec import structs

from thenodes_plugin_api import (
    Body,
    CardInfo,
    Carrier,
    CommandReply,
    Frame,
    FrameHandler,
    Manifest,
    Message,
    MessageHandler,
    NotAService,
    NullContextError,
    RelayForward,
    ServiceCommand,
    ServiceSession,
    Settled,
)

from ..clock import Clock, timeout
from ..errors import CommandError, CommandFailed
from .containment import describe, raise_if_ours
from .ground import Ground, Joined, Left, Undo

__all__ = ["Door"]

_COMMAND_SECONDS = 30.0
_LEVEL = re.compile(r"[a-z][a-z0-9_]{0,63}")

P = ParamSpec("P")
Fault = Callable[[str, BaseException], None]


class Door:
    """One service's `ServiceDoor`; see there for what each method promises.

    What the service raises where the node calls it is a fault of the plugin.

    Args:
        manifest: the plugin's.
        ground: what it leads to.
        clock: times its commands.
        fault: told of what the service raises.
        changed: called when it advertises something else.

    Raises:
        NotAService: the manifest has no section `[service]`.
    """

    def __init__(
        self,
        manifest: Manifest,
        ground: Ground,
        clock: Clock,
        fault: Fault,
        changed: Callable[[], None],
    ) -> None:
        if manifest.service is None:
            raise NotAService(
                f"{manifest.plugin.id} is no service: its manifest has no section [service]"
            )
        self._id = manifest.plugin.id
        self._section = manifest.service
        self._may_advertise = frozenset(manifest.network.advertises)
        self._ground = ground
        self._clock = clock
        self._fault = fault
        self._changed = changed
        self._closed = False
        self._draining = False
        self._undo: list[Undo] = []
        self._drains: list[tuple[Callable[[], None], Callable[[], bool]]] = []
        self.capabilities: tuple[str, ...] = ()
        table = ground.tables.get(self._section.table or "", {})
        self.table: Mapping[str, object] = MappingProxyType(dict(table))

    @property
    def instance(self) -> bytes:
        """Random, of this process."""
        return self._ground.instance

    @property
    def frame_bytes(self) -> int:
        """The largest frame that this node takes."""
        return self._ground.limits.frame_bytes

    @property
    def window_bytes(self) -> int:
        """How many bytes may wait for a peer before no more is taken for it."""
        limits = self._ground.limits
        return min(limits.window_bytes, limits.outbox_bytes)

    def close(self) -> None:
        """Take everything back that the service was given or has given."""
        self._closed = True
        self._drains.clear()
        self.capabilities = ()
        while self._undo:
            self._undo.pop()()

    def drain(self) -> None:
        """Tell the service that the node takes nothing new and will stop, once.

        A part of it that asks to be told only later, since it starts meanwhile, is told then.
        """
        if not self._draining:
            self._draining = True
            for begin, _ in self._drains:
                begin()

    @property
    def is_drained(self) -> bool:
        """Whether the service says that it has finished; where it fails to say, it has."""
        return all(is_done() for _, is_done in self._drains)

    def on_drain(self, begin: Callable[[], object], is_done: Callable[[], bool]) -> None:
        """Be told that the node will stop, and say when it may."""
        self._check_open()

        def contained() -> bool:
            try:
                return bool(is_done())
            except BaseException as error:
                raise_if_ours(error)
                self._fault("its is_done of on_drain", error)
                return True

        told = self._contained(begin, "its handler of the drain")
        self._drains.append((told, contained))
        if self._draining:
            told()

    def take_frames(self, handler: FrameHandler) -> None:
        """Get every RELAY_FWD frame from now on."""
        self._check_claim(RelayForward)
        told = self._contained(handler, "its handler of frames")
        self._undo.append(self._ground.sessions.serve_frames(told))

    def take(self, kind: type[Body], handler: MessageHandler) -> None:
        """Get every message of a kind from now on."""
        self._check_claim(kind)
        if kind is RelayForward:
            raise ValueError("RELAY_FWD comes as frames: use take_frames")
        told = self._contained(handler, f"its handler of {kind.token}")
        self._undo.append(self._ground.sessions.serve_kind(kind, told))

    def on_session(self, joined: Joined, left: Left) -> None:
        """Be told of sessions."""
        self._check_open()
        told = self._contained(joined, "its handler of sessions")
        told_left = self._contained(left, "its handler of ended sessions")
        self._undo.append(self._ground.sessions.on_session(told, told_left))

    def session(self, node_id: str) -> ServiceSession | None:
        """The session with a peer."""
        return self._ground.sessions.service_session(node_id)

    def count(self, name: str, amount: int = 1, *, reason: str | None = None) -> None:
        """Count something in the node's counters."""
        self._ground.counters.add(name, amount, reason=reason)

    def level(self, name: str, read: Callable[[], float]) -> None:
        """Show a number that may also go down."""
        self._check_open()
        if not _LEVEL.fullmatch(name):
            raise ValueError(f"expected 1 to 64 of [a-z0-9_], a letter first, got {name!r}")
        where = f"its level {name}"

        def contained() -> float | None:
            try:
                return float(read())
            except BaseException as error:
                raise_if_ours(error)
                self._fault(where, error)
                return None

        self._undo.append(self._ground.counters.show_level(name, contained))

    def is_trusted(self, fingerprint: str) -> bool:
        """Whether the operator pinned or trusted that key."""
        return self._ground.is_trusted(fingerprint)

    def read_card(self, card: bytes) -> CardInfo:
        """Check a card on its own."""
        return self._ground.cards.read(card)

    def learn_card(self, card: bytes) -> CardInfo:
        """Check a card that somebody handed on, and remember it."""
        return self._ground.cards.learn(card)

    def card_of(self, node_id: str) -> CardInfo | None:
        """The newest card of a node."""
        return self._ground.cards.get(node_id)

    def sign_card(self, relays: Sequence[str]) -> bytes:
        """Put these relays into this node's card."""
        self._check_open()
        return self._ground.cards.sign(relays)

    def deliver(
        self, relay: str, frames: Sequence[Frame], settled: Callable[[Frame, Settled], None]
    ) -> None:
        """Open frames for this node and give them to its plugins."""
        self._check_open()
        told = self._contained(settled, "its handler of delivered frames")
        self._ground.inbound.deliver(relay, frames, told)

    def dispatch(self, message: Message) -> None:
        """Give a message to the plugins that it is for."""
        self._check_open()
        self._ground.dispatch([message])

    def offer_carrier(self, carrier: Carrier) -> None:
        """Let the node send through `carrier`."""
        self._check_open()
        self._undo.append(self._ground.carriers.use(carrier, self._fault))

    def add_command(self, command: ServiceCommand) -> None:
        """Add a command, until the plugin stops."""
        self._check_open()
        first = command.name.partition(" ")[0]
        if first not in self._section.commands:
            named = ", ".join(self._section.commands) or "none"
            raise ValueError(
                f"the command {command.name!r} is not in the manifest's [service] commands; "
                f"there: {named}"
            )
        self._undo.append(self._ground.commands.add(self._contained_command(command)))

    def advertise(self, capabilities: Sequence[str]) -> None:
        """Advertise these in every HELLO from now on."""
        self._check_open()
        extra = [name for name in capabilities if name not in self._may_advertise]
        if extra:
            raise ValueError(f"capabilities {extra} are not in the manifest's [network] advertises")
        self.capabilities = tuple(dict.fromkeys(capabilities))
        self._changed()

    def _check_open(self) -> None:
        if self._closed:
            raise NullContextError(f"plugin {self._id} is not running")

    def _check_claim(self, kind: type[Body]) -> None:
        self._check_open()
        if kind.token not in self._section.kinds:
            claimed = ", ".join(self._section.kinds) or "none"
            raise ValueError(
                f"{kind.token} is not in the manifest's [service] kinds; there: {claimed}"
            )

    def _contained(self, call: Callable[P, object], where: str) -> Callable[P, None]:
        def contained(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                call(*args, **kwargs)
            except BaseException as error:
                raise_if_ours(error)
                self._fault(where, error)

        return contained

    def _contained_command(self, command: ServiceCommand) -> ServiceCommand:
        where = f"its command {command.name}"

        async def run(words: Sequence[str]) -> CommandReply:
            try:
                async with timeout(self._clock, _COMMAND_SECONDS):
                    return await self._answer(command.run, words, where)
            except TimeoutError as error:
                late = f"{command.name} did not answer within {_COMMAND_SECONDS:g} s"
                raise CommandFailed(late) from error

        def complete() -> Sequence[str]:
            try:
                return [] if command.complete is None else [str(w) for w in command.complete()]
            except BaseException as error:
                raise_if_ours(error)
                self._fault(where, error)
                return []

        return structs.replace(command, run=run, complete=complete)

    async def _answer(
        self,
        run: Callable[[Sequence[str]], Awaitable[CommandReply]],
        words: Sequence[str],
        where: str,
    ) -> CommandReply:
        try:
            reply = await run(words)
            if not isinstance(reply, CommandReply):
                raise TypeError(f"expected a CommandReply, got {type(reply).__name__}")
            return reply
        except ValueError as error:
            raise CommandError(str(error)) from error
        except BaseException as error:
            raise_if_ours(error)
            self._fault(where, error)
            raise CommandFailed(f"plugin {self._id} failed: {describe(error)}") from error
