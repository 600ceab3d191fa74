"""The commands `status` and `glance`: what a node tells of itself, as data and as text."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from thenodes_plugin_api import Event, PeerInfo

from ..errors import CommandError
from ..events.console import describe
from ..text import printable
from .commands import CommandTable, Reply
from .table import duration, section

__all__ = [
    "DialStatus",
    "Glance",
    "NodeStatus",
    "PluginLine",
    "RelayLine",
    "StatusView",
    "add_status_commands",
    "render_status",
]

_WIDTH = 80 - 11
_SHOWN_PROBLEMS = 5
_COUNTERS, _KEEP_UNREAD = "--counters", "--keep-unread"


class DialStatus(msgspec.Struct, frozen=True):
    """An address that the node stays connected with; see `peers.dialer.Attempt`."""

    address: str
    state: str
    error: str
    at: float
    node_id: str | None = None


class PluginLine(msgspec.Struct, frozen=True):
    """A plugin.

    Attributes:
        id: its id; of a rejected one, its source where the id cannot be read.
        version: its version.
        state: where it stands, such as `running`, `quarantined` or `rejected`.
        source: where it came from.
        detail: why it stands there.
        abi: the ABI generation that it was written for.
        abi_revision: the revision that it needs of that generation.
        codes: why it was rejected.
        faults: how often something of it raised.
        prefix: the word that enters its shell.
    """

    id: str
    version: str
    state: str
    source: str
    detail: str
    abi: int | None = None
    abi_revision: int | None = None
    codes: tuple[str, ...] = ()
    faults: int = 0
    prefix: str | None = None


class RelayLine(msgspec.Struct, frozen=True):
    """A relay that this node has its messages carried by.

    Attributes:
        name: as the configuration names it, or its node id.
        node_id: its node id, where that is known.
        is_connected: whether there is a session with it.
        detail: how it stands.
    """

    name: str
    node_id: str | None
    is_connected: bool
    detail: str


class NodeStatus(msgspec.Struct, frozen=True):
    """A running node.

    Attributes:
        version: of thenodes-core.
        node_id: its id.
        fingerprint: of its key.
        realm: code and version.
        app_name: the application's name.
        node_type: its type in the realm.
        listening: `host:port`.
        state_dir: its state directory, or None where it is temporary.
        pid: its process.
        started_at: Unix seconds.
        uptime_seconds: since then.
        peers: who is connected.
        dialling: addresses that it stays connected with.
        plugins: loaded and rejected.
        counters: counts since the start.
        tls: whether connections to it are encrypted.
        health: where it tells machines how it is; None where it does not.
        advertised: where it says in every HELLO that it listens, and the names of a proxy.
        relayed: how many nodes were lately reached or heard through relays alone.
        relays: those in use.
        is_relay: whether it carries messages of others.
        problems: the last warnings and errors, oldest first.
        unread: how many warnings and errors nobody has looked at.
        at: when this was so, Unix seconds.
    """

    version: str
    node_id: str
    fingerprint: str
    realm: str
    app_name: str | None
    node_type: str
    listening: str
    state_dir: str | None
    pid: int
    started_at: float
    uptime_seconds: float
    peers: Sequence[PeerInfo]
    dialling: Sequence[DialStatus]
    plugins: Sequence[PluginLine]
    counters: Mapping[str, int]
    tls: bool = False
    health: str | None = None
    advertised: Sequence[str] = ()
    relayed: int = 0
    relays: Sequence[RelayLine] = ()
    is_relay: bool = False
    problems: Sequence[Event] = ()
    unread: int = 0
    at: float = 0.0


class Glance(msgspec.Struct, frozen=True):
    """What a toolbar shows.

    Attributes:
        node_id: the node's id.
        realm: code and version.
        peers: how many are connected.
        relay: how it stands with relays, in a word or two; None where it has to do with none.
        errors: warnings and errors that nobody has looked at.
    """

    node_id: str
    realm: str
    peers: int
    relay: str | None
    errors: int


class StatusView(Protocol):
    """What these commands look at."""

    def status(self) -> NodeStatus:
        """The node, now."""
        ...

    def glance(self) -> Glance:
        """What a toolbar shows of it; quick."""
        ...

    def mark_read(self) -> None:
        """Somebody has looked at the warnings and errors."""
        ...


def add_status_commands(table: CommandTable, view: StatusView) -> None:
    """Add `status` and `glance`."""

    async def status(words: Sequence[str]) -> Reply:
        if not {_COUNTERS, _KEEP_UNREAD}.issuperset(words):
            known, got = f"{_COUNTERS} and {_KEEP_UNREAD}", " ".join(words)
            raise CommandError(f"status takes no arguments but {known}, got {got!r}")
        now = view.status()
        if _KEEP_UNREAD not in words:
            view.mark_read()
        return Reply(render_status(now, counters=_COUNTERS in words), now)

    async def glance(words: Sequence[str]) -> Reply:
        if list(words) == ["read"]:
            view.mark_read()
        elif words:
            raise CommandError(f"glance takes no arguments but read, got {' '.join(words)!r}")
        now = view.glance()
        relay = f", {now.relay}" if now.relay else ""
        return Reply(
            f"{now.node_id} {now.realm}, {now.peers} peers{relay}, {now.errors} unread", now
        )

    table.define("status", status)
    table.define("glance", glance)


def render_status(status: NodeStatus, *, counters: bool = False) -> str:
    """The status for people, within 80 columns.

    Args:
        status: the node's.
        counters: whether what was counted is told, too.
    """
    facts = [
        ("app", status.app_name),
        ("node", status.node_id),
        ("key", status.fingerprint),
        ("realm", status.realm),
        ("up", f"{duration(status.uptime_seconds)} (process {status.pid})"),
        ("listening", f"{status.listening}{' with TLS' if status.tls else ''}"),
        ("advertised", ", ".join(name for name in status.advertised if name != status.listening)),
        ("health", status.health),
        ("state", status.state_dir or "temporary, gone when the node stops"),
        ("sessions", _sessions(status)),
    ]
    lines = [line for name, fact in facts if fact for line in section(name, [printable(fact)])]
    lines += section("relays", _wrapped(_relay_lines(status)))
    lines += section("bootstrap", _wrapped([_dial_line(dial) for dial in status.dialling]))
    lines += section("plugins", _wrapped([_plugin_line(plugin) for plugin in status.plugins]))
    lines += section("errors", _problem_lines(status))
    if counters:
        counts = [f"{name} {count}" for name, count in status.counters.items()]
        lines += section("counters", [printable(count) for count in counts])
    return "\n".join(lines)


def _wrapped(texts: Sequence[str]) -> list[str]:
    return [
        line
        for text in texts
        for line in textwrap.wrap(printable(text), _WIDTH, subsequent_indent="  ")
    ]


def _sessions(status: NodeStatus) -> str:
    if not status.peers:
        told = "none"
    else:
        ways = Counter(str(peer.direction) for peer in status.peers)
        encodings = Counter(peer.encoding for peer in status.peers)
        parts = [
            f"{count} {name}" for counts in (ways, encodings) for name, count in counts.items()
        ]
        told = f"{len(status.peers)} ({', '.join(parts)})"
    if status.relayed:
        told += f"; {status.relayed} more lately through relays"
    return f"{told}; peers lists them" if status.peers or status.relayed else told


def _relay_lines(status: NodeStatus) -> list[str]:
    lines = [f"{relay.name} {relay.detail}" for relay in status.relays]
    return [*lines, "this node is one"] if status.is_relay else lines


def _dial_line(dial: DialStatus) -> str:
    # The error begins with the address, which stands there already.
    error = dial.error.partition(f"{dial.address}: ")[2] or dial.error
    return f"{dial.address} {dial.state}" + (f": {error}" if error else "")


def _plugin_line(plugin: PluginLine) -> str:
    version = f" {plugin.version}" if plugin.version else ""
    line = f"{plugin.id}{version} {plugin.state} ({plugin.source})"
    return line + (f": {plugin.detail}" if plugin.detail else "")


def _problem_lines(status: NodeStatus) -> list[str]:
    if not status.problems:
        return []
    newest = list(status.problems)[-_SHOWN_PROBLEMS:]
    lines = [
        f"{duration(status.at - event.at)} ago, {event.level}: {describe(event)}"
        for event in reversed(newest)
    ]
    cut = [line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…" for line in lines]
    if len(status.problems) > len(newest) or status.unread > len(newest):
        cut.append("more: events --level warning")
    return cut
