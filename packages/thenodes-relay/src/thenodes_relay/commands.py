"""The commands of operators: `relay`, `relay bindings`, `relay queue`, `relay drain`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from thenodes_plugin_api import CommandReply, ServiceCommand

from .client import ClientStatus, RelayClient
from .report import RelayStatus, TargetStatus, bindings_of, status_of, target_of
from .server import RelayServer

__all__ = ["NodeStatus", "commands"]

_SHOWN = 20


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

    async def bindings(words: Sequence[str]) -> CommandReply:
        _no_words("relay bindings", words)
        rows = bindings_of(_server(server))
        text = "\n".join(
            f"{row.binding_id}  {row.qos}{', stores' if row.stores else ''}"
            f"{'' if row.is_present else ', away'}"
            for row in rows
        )
        return CommandReply(text or "no bindings", rows)

    async def queue(words: Sequence[str]) -> CommandReply:
        relay = _server(server)
        if len(words) > 1:
            raise ValueError(f"relay queue takes one target, got {len(words)} words")
        targets = [target_of(relay, word) for word in words] or status_of(relay).targets
        return CommandReply("\n".join(map(_line, targets)) or "nothing waits", list(targets))

    async def drain(words: Sequence[str]) -> CommandReply:
        _no_words("relay drain", words)
        told = _server(server).drain()
        text = f"new binds and frames are refused; {told} peers were told. Stop the node next"
        return CommandReply(text, {"told": told})

    return (
        ServiceCommand("relay", "the relay: what it carries and keeps", status),
        ServiceCommand("relay status", "the same", status),
        ServiceCommand("relay bindings", "who may forward to whom", bindings),
        ServiceCommand(
            "relay queue",
            "what waits, by target and class",
            queue,
            "[TARGET]",
            lambda: [] if server is None else server.waiting_targets(),
        ),
        ServiceCommand("relay drain", "refuse new binds and frames, and tell everybody", drain),
    )


def _server(server: RelayServer | None) -> RelayServer:
    if server is None:
        raise ValueError("this node is no relay: network.relay.enabled is false")
    return server


def _no_words(name: str, words: Sequence[str]) -> None:
    if words:
        raise ValueError(f"{name} takes no words, got {' '.join(words)!r}")


def _describe(status: NodeStatus) -> str:
    lines = []
    if status.relay is None:
        lines.append("no relay: network.relay.enabled is false")
    else:
        lines += _describe_relay(status.relay)
    client = status.client
    if client.active:
        lines.append(f"uses relays: {client.in_flight_frames} reliable frames not confirmed")
        lines += [
            f"  {use.relay}  {'connected' if use.connected else 'away'}, "
            f"mailbox {use.mailbox}, {use.routes} routes, {use.in_flight} in flight"
            for use in client.relays
        ]
    return "\n".join(lines)


def _describe_relay(relay: RelayStatus) -> list[str]:
    state = "draining: takes nothing new" if relay.is_draining else "serving"
    lines = [
        f"relay: {state}",
        f"mailboxes: {relay.mailboxes}, {relay.present} present, {relay.strangers} of strangers",
        f"bindings: {relay.bindings}",
        f"waiting: {relay.frames} frames, {relay.bytes} bytes; in flight: {relay.in_flight}",
        f"store: {relay.store_bytes} bytes; {relay.durability}",
    ]
    lines += [_line(target) for target in relay.targets[:_SHOWN]]
    if len(relay.targets) > _SHOWN:
        lines.append(f"  and {len(relay.targets) - _SHOWN} more: relay queue")
    if relay.stalled:
        lines.append(f"stalled: {', '.join(relay.stalled)}")
    if relay.stalled_lately:
        lines.append(f"stalled lately: {', '.join(sorted(set(relay.stalled_lately)))}")
    lines += [f"  {name} {number}" for name, number in relay.counters.items()]
    return lines


def _line(target: TargetStatus) -> str:
    state = "present" if target.is_present else "away"
    classes = ", ".join(
        f"{qos} {depth.frames} ({depth.bytes} bytes)" for qos, depth in target.classes.items()
    )
    stalled = ", stalled" if target.is_stalled else ""
    in_flight = f", {target.in_flight} in flight" if target.in_flight else ""
    return f"  {target.target}  {state}{stalled}{in_flight}: {classes or 'nothing waits'}"
