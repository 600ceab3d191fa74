"""The commands of operators: `relay`, `relay bindings`, `relay queue`, `relay drain`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from thenodes_plugin_api import CommandReply, ServiceCommand

from .client import ClientStatus, RelayClient
from .report import RelayStatus, bindings_of, status_of, target_of
from .server import RelayServer
from .shown import show_bindings, show_client, show_queue, show_relay
from .texts import TEXTS

__all__ = ["NodeStatus", "commands"]

_VERBS = "status, bindings, queue or drain"


class NodeStatus(msgspec.Struct, frozen=True):
    """What `relay status` answers.

    Attributes:
        relay: as a relay; None where this node is none.
        client: as a user of relays.
    """

    relay: RelayStatus | None
    client: ClientStatus


def commands(client: RelayClient, server: RelayServer | None) -> Sequence[ServiceCommand]:
    """The commands of a node."""

    async def status(words: Sequence[str]) -> CommandReply:
        _no_words("relay status", words)
        relay = None if server is None else status_of(server)
        data = NodeStatus(relay, client.status())
        return CommandReply(_describe(data), data)

    async def whole(words: Sequence[str]) -> CommandReply:
        if words:
            raise ValueError(f"relay has no {words[0]!r}: expected {_VERBS}")
        return await status(words)

    async def bindings(words: Sequence[str]) -> CommandReply:
        _no_words("relay bindings", words)
        rows = bindings_of(_server(server))
        return CommandReply(show_bindings(rows) or "no mailboxes and no routes", rows)

    async def queue(words: Sequence[str]) -> CommandReply:
        relay = _server(server)
        if len(words) > 1:
            raise ValueError(f"relay queue takes one target, got {len(words)} words")
        targets = [target_of(relay, word) for word in words] or status_of(relay).targets
        return CommandReply(show_queue(targets) or "nothing waits", list(targets))

    async def drain(words: Sequence[str]) -> CommandReply:
        _no_words("relay drain", words)
        told = _server(server).drain()
        nodes = "1 connected node was" if told == 1 else f"{told} connected nodes were"
        text = f"new binds and frames are refused from now on; {nodes} told. Stop the node next"
        return CommandReply(text, {"told": told})

    def waiting() -> Sequence[str]:
        return [] if server is None else server.waiting_targets()

    return (
        _command("relay", whole),
        _command("relay status", status),
        _command("relay bindings", bindings),
        _command("relay queue", queue, waiting),
        _command("relay drain", drain),
    )


def _command(
    name: str,
    run: Callable[[Sequence[str]], Awaitable[CommandReply]],
    complete: Callable[[], Sequence[str]] | None = None,
) -> ServiceCommand:
    text = TEXTS[name]
    return ServiceCommand(name, text.help, run, text.usage, complete, text.example, text.more)


def _server(server: RelayServer | None) -> RelayServer:
    if server is None:
        raise ValueError("this node is no relay: network.relay.enabled is false")
    return server


def _no_words(name: str, words: Sequence[str]) -> None:
    if words:
        raise ValueError(f"{name} takes no words, got {' '.join(words)!r}")


def _describe(status: NodeStatus) -> str:
    parts = [] if status.relay is None else [show_relay(status.relay)]
    if status.client.active or status.relay is None:
        parts.append(show_client(status.client))
    return "\n".join(parts)
