"""The plugin that behaviours are about, and what runs it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar, Protocol, TypeAlias, TypeVar

import msgspec

from ...context import PluginContext
from ...messages import Body, Message
from ...payload import Payload
from ...peers import PeerJoined, PeerLeft
from ...plugin import Plugin

__all__ = ["Behaviour", "Probe", "Rig", "Spec", "raises"]

E = TypeVar("E", bound=BaseException)


class Probe(Plugin):
    """Keeps what it gets, and does in `on_message` and `on_prompt` what a behaviour wants.

    Attributes:
        hooks: the hooks in the order of their calls.
        messages: what `on_message` got.
        peers: what `on_peer` got.
        ctx: its context, from `on_start` on.
        then: called at the end of `on_message`.
        answer: makes the answer of `on_prompt`.
    """

    abi: ClassVar[int] = 1

    def __init__(self) -> None:
        self.hooks: list[str] = []
        self.messages: list[Message] = []
        self.peers: list[PeerJoined | PeerLeft] = []
        self.ctx: PluginContext
        self.then: Callable[[Message, PluginContext], Awaitable[object]] | None = None
        self.answer: Callable[[str, PluginContext], Awaitable[str | None]] | None = None

    @property
    def bodies(self) -> list[Body]:
        """The bodies of its messages."""
        return [message.body for message in self.messages]

    async def on_start(self, ctx: PluginContext) -> None:
        """Keep the context."""
        self.hooks.append("on_start")
        self.ctx = ctx

    async def on_stop(self, ctx: PluginContext) -> None:
        """Note it."""
        self.hooks.append("on_stop")

    async def on_message(self, message: Message, ctx: PluginContext) -> None:
        """Keep the message."""
        self.hooks.append("on_message")
        self.messages.append(message)
        if self.then is not None:
            await self.then(message, ctx)

    async def on_peer(self, event: PeerJoined | PeerLeft, ctx: PluginContext) -> None:
        """Keep the event."""
        self.hooks.append("on_peer")
        self.peers.append(event)

    async def on_prompt(self, line: str, ctx: PluginContext) -> str | None:
        """Answer."""
        self.hooks.append("on_prompt")
        return f"got {line}" if self.answer is None else await self.answer(line, ctx)


class Spec(msgspec.Struct, frozen=True):
    """A plugin that a rig is to run.

    Attributes:
        id: its id.
        kind: its class, importable by module and name, made without arguments.
        handles: what its manifest claims; `<id>.*` where None.
        text: whether TEXT reaches it.
        advertises: the capabilities that its manifest allows.
        defaults: of its configuration table.
        table: the operator's.
    """

    id: str
    kind: type[Probe] = Probe
    handles: tuple[str, ...] | None = None
    text: bool = True
    advertises: tuple[str, ...] = ()
    defaults: dict[str, object] = {}
    table: dict[str, object] = {}

    @property
    def claims(self) -> tuple[str, ...]:
        """What it claims."""
        return (f"{self.id}.*",) if self.handles is None else self.handles


class Rig(Protocol):
    """Nodes that run plugins, whoever made them. Each method returns once all is at rest."""

    async def start(self, node_id: str, *specs: Spec) -> Sequence[Probe]:
        """Start a node that is connected with every other; returns its plugins."""
        ...

    async def stop(self, node_id: str) -> None:
        """Stop a node."""
        ...

    async def cut(self) -> None:
        """End every connection; none comes back by itself."""
        ...

    async def send(self, node_id: str, to: str, body: Body, payload: Payload | None = None) -> None:
        """Send as a node, not as one of its plugins."""
        ...

    async def prompt(self, node_id: str, line: str) -> str | None:
        """Type a line: a plugin's prefix, which is its id, and what it gets.

        Raises:
            PromptFailed: the plugin did not answer.
        """
        ...

    async def settle(self) -> None:
        """Let everything happen that needs no time."""
        ...

    async def advance(self, seconds: float) -> None:
        """Move the clock."""
        ...

    def told(self, node_id: str, action: str) -> Sequence[str]:
        """The ids of the plugins of which a node told this action, in order."""
        ...

    def dropped(self, node_id: str, reason: str) -> int:
        """How many messages a node has dropped for a reason."""
        ...


Behaviour: TypeAlias = Callable[[Rig], Awaitable[None]]
"""A coroutine function that asserts; its name is the sentence."""


async def raises(expected: type[E], work: Awaitable[object]) -> E:
    """Assert that awaiting `work` raises `expected`, and return it; without pytest."""
    try:
        made = await work
    except expected as error:
        return error
    raise AssertionError(f"expected {expected.__name__}, got {made!r}")
