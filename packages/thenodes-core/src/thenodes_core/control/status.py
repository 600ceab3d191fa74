"""What a node tells of itself, as data and as text."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import msgspec

from thenodes_plugin_api import PeerInfo, PeerRecord

from ..text import printable

__all__ = [
    "DialStatus",
    "NodeStatus",
    "PluginLine",
    "render_known",
    "render_peers",
    "render_status",
]


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
        tls: whether connections to it are encrypted.
        health: where it tells machines how it is; None where it does not.
        peers: who is connected.
        dialling: addresses that it stays connected with.
        plugins: loaded and rejected.
        counters: counts since the start.
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


def render_status(status: NodeStatus) -> str:
    """The status for people."""
    lines = [
        f"node       {status.node_id}",
        f"key        {status.fingerprint}",
        f"realm      {status.realm}",
        f"listening  {status.listening}{' with TLS' if status.tls else ''}",
        f"up         {_duration(status.uptime_seconds)} (process {status.pid})",
        f"state      {status.state_dir or 'temporary, gone when the node stops'}",
    ]
    if status.health:
        lines.insert(4, f"health     {status.health}")
    if status.app_name:
        lines.insert(0, f"app        {status.app_name}")
    lines += _section("peers", [_peer_line(peer) for peer in status.peers])
    lines += _section("bootstrap", [_dial_line(dial) for dial in status.dialling])
    lines += _section("plugins", [_plugin_line(plugin) for plugin in status.plugins])
    lines += _section("counters", [f"{name} {count}" for name, count in status.counters.items()])
    return "\n".join(lines)


def render_peers(peers: Sequence[PeerInfo]) -> str:
    """The connected peers for people."""
    if not peers:
        return "no peers connected"
    return "\n".join(_peer_line(peer) for peer in peers)


def render_known(records: Sequence[PeerRecord]) -> str:
    """The known addresses for people."""
    if not records:
        return "no addresses known"
    width = max(len(record.addr) for record in records)
    return "\n".join(_known_line(record, width) for record in records)


def _known_line(record: PeerRecord, width: int) -> str:
    last = "never answered"
    if record.last_success_epoch is not None:
        moment = time.localtime(record.last_success_epoch)
        last = f"answered {time.strftime('%Y-%m-%d %H:%M:%S', moment)}"
    line = f"{record.addr:<{width}}  {record.source.value:<9}  {last}"
    if record.failures:
        line += f", {record.failures} {'failure' if record.failures == 1 else 'failures'} since"
    return printable(line + (f"  {record.node_id}" if record.node_id else ""))


def _section(title: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return [f"{title:<10} none"]
    first, *rest = lines
    return [f"{title:<10} {first}", *(" " * 11 + line for line in rest)]


def _peer_line(peer: PeerInfo) -> str:
    since = time.strftime("%H:%M:%S", time.localtime(peer.connected_at))
    kind = f" {peer.node_type}" if peer.node_type else ""
    line = f"{peer.node_id}{kind} {peer.direction} {peer.address} {peer.encoding} since {since}"
    if peer.capabilities:
        line += f" [{', '.join(peer.capabilities)}]"
    return printable(line)


def _dial_line(dial: DialStatus) -> str:
    return printable(f"{dial.address} {dial.state}" + (f": {dial.error}" if dial.error else ""))


def _plugin_line(plugin: PluginLine) -> str:
    version = f" {plugin.version}" if plugin.version else ""
    line = f"{plugin.id}{version} {plugin.state} ({plugin.source})"
    return printable(line + (f": {plugin.detail}" if plugin.detail else ""))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    shown = [f"{number} {unit}" for number, unit in parts if number]
    return " ".join(shown[:2]) or "0 s"
