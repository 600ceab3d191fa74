"""The commands about peers: who is there, how they are reached, and what an operator does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from thenodes_plugin_api import Direction, PeerRecord, Verified

from ..errors import CommandError, CommandFailed
from ..text import printable
from .commands import CommandTable, Reply
from .naming import find_peer, shortest
from .table import clock, columns, duration, milliseconds, size

__all__ = [
    "Connected",
    "Disconnected",
    "Forgotten",
    "PeerRow",
    "PeerView",
    "add_peer_commands",
    "render_peers",
]

_COLUMNS = 80
_HEAD = ("PEER", "NAME", "PATH", "RTT", "SINCE", "IN", "OUT", "TRUST", "ADDRESS")
_NUMBERS = (3, 5, 6)
_NAME_CHARACTERS = 12
_CONNECTED = {"connected": "connected with", "duplicate": "connected already with"}


class PeerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A peer: connected, or lately reached or heard through a relay.

    Attributes:
        node_id: its id.
        name: the common name of its certificate, where that is not its id.
        path: `direct`, `relay`, or `stored`: what was sent last waits at the relay.
        trust: how its key stands: `rejected`, `pinned`, `trusted`, `observed`, `unknown`,
            or `no key`.
        since: when it was admitted, of one behind a relay when it was heard or sent to
            last; Unix seconds.
        relay: node id of the relay.
        address: the other end of the connection.
        listen_addr: where it says it listens.
        direction: who dialled.
        encoding: `binary` or `json`.
        node_type: its type in the realm.
        capabilities: what it advertises.
        verified: how its id was proven.
        fingerprint: SHA-256 of its key, in hex.
        rtt_seconds: the newest round trip.
        received_bytes: of this session.
        sent_bytes: of this session.
        queued_bytes: what waits to be sent.
        known_addresses: addresses at which it answered.
    """

    node_id: str
    name: str = ""
    path: str
    trust: str
    since: float
    relay: str | None = None
    address: str | None = None
    listen_addr: str | None = None
    direction: Direction | None = None
    encoding: str | None = None
    node_type: str | None = None
    capabilities: tuple[str, ...] = ()
    verified: Verified = Verified.NONE
    fingerprint: str | None = None
    rtt_seconds: float | None = None
    received_bytes: int | None = None
    sent_bytes: int | None = None
    queued_bytes: int | None = None
    known_addresses: tuple[str, ...] = ()


class Connected(msgspec.Struct, frozen=True):
    """What came of dialling an address: `state` is one of `peers.dialer.Attempt`."""

    address: str
    state: str
    node_id: str | None
    error: str


class Disconnected(msgspec.Struct, frozen=True):
    """A session that an operator ended, and the addresses that are dialled no more.

    Attributes:
        node_id: the peer.
        addresses: that led to it.
        was_connected: whether there was a session.
        is_back: whether the peer has made another one meanwhile.
    """

    node_id: str
    addresses: Sequence[str]
    was_connected: bool
    is_back: bool = False


class Forgotten(msgspec.Struct, frozen=True):
    """What was known of a peer or an address, and no longer is."""

    addresses: Sequence[str]
    bound: Sequence[str]
    path: bool
    is_connected: bool


class PeerView(Protocol):
    """What these commands look at and act on."""

    @property
    def now(self) -> float:
        """Unix seconds."""
        ...

    def rows(self) -> Sequence[PeerRow]:
        """The connected peers, then those behind relays."""
        ...

    def known_peers(self) -> Sequence[PeerRecord]:
        """The addresses that it knows."""
        ...

    def peer_ids(self) -> Sequence[str]:
        """Every peer that may be named: connected, behind a relay, dialled or known."""
        ...

    def addresses_of(self, node_id: str) -> Sequence[str]:
        """Where a peer may be dialled, the best first."""
        ...

    async def connect(self, address: str) -> Connected:
        """Dial an address now, and stay connected.

        Raises:
            ValueError: it is none.
        """
        ...

    async def disconnect(self, node_id: str) -> Disconnected:
        """End the session with a peer, and dial it no more."""
        ...

    def forget(self, name: str) -> Forgotten:
        """Forget what is known of a peer's id, or of an address."""
        ...


def add_peer_commands(table: CommandTable, view: PeerView) -> None:
    """Add `peers` and `peer …`."""

    async def peers(words: Sequence[str]) -> Reply:
        if list(words) not in ([], ["--wide"]):
            raise CommandError(f"peers takes no arguments but --wide, got {' '.join(words)!r}")
        rows = view.rows()
        return Reply(render_peers(rows, view.now, is_wide=bool(words)), rows)

    async def info(words: Sequence[str]) -> Reply:
        node_id = find_peer(_only("info", "<peer>", words), view.peer_ids())
        row = next((row for row in view.rows() if row.node_id == node_id), None)
        if row is None:
            return _absent(node_id, view)
        return Reply("\n".join(_described(row, view.now)), row)

    async def connect(words: Sequence[str]) -> Reply:
        return await _connect(view, _only("connect", "<address>", words))

    async def disconnect(words: Sequence[str]) -> Reply:
        node_id = find_peer(_only("disconnect", "<peer>", words), view.peer_ids())
        return _disconnected(await view.disconnect(node_id))

    async def forget(words: Sequence[str]) -> Reply:
        name = _only("forget", "<peer or address>", words)
        if not _is_address(name):
            name = find_peer(name, view.peer_ids())
        return _forgotten(name, view.forget(name))

    def ids() -> Sequence[tuple[str, str]]:
        rows = {row.node_id: row for row in view.rows()}
        return [(node_id, _hint(rows.get(node_id))) for node_id in view.peer_ids()]

    def known() -> Sequence[tuple[str, str]]:
        return [(record.addr, record.node_id or "") for record in view.known_peers()]

    table.define("peers", peers)
    table.define("peer info", info, complete=ids)
    table.define("peer connect", connect, complete=known)
    table.define("peer disconnect", disconnect, complete=ids)
    table.define("peer forget", forget, complete=lambda: [*ids(), *known()])


def render_peers(rows: Sequence[PeerRow], now: float, *, is_wide: bool = False) -> str:
    """Peers for people, within 80 columns where ids that are cut make that possible.

    Args:
        rows: the peers.
        now: Unix seconds.
        is_wide: whether ids are told whole whatever the width.
    """
    if not rows:
        return "no peers connected"
    lines = _lines(rows, now, None)
    if not is_wide and max(map(len, lines)) > _COLUMNS:
        names = [name for row in rows for name in (row.node_id, row.relay) if name]
        lines = _lines(rows, now, shortest(names))
    return "\n".join(lines)


def _lines(rows: Sequence[PeerRow], now: float, most: int | None) -> list[str]:
    cells = [
        (
            _cut(row.node_id, most),
            _cut(row.name, _NAME_CHARACTERS),
            _path(row, most),
            milliseconds(row.rtt_seconds),
            clock(row.since, now),
            size(row.received_bytes),
            size(row.sent_bytes),
            row.trust,
            row.address or "-",
        )
        for row in rows
    ]
    shown = [at for at in range(len(_HEAD)) if any(row[at] not in ("", "-") for row in cells)]
    return columns(
        [[row[at] for at in shown] for row in cells],
        head=[_HEAD[at] for at in shown],
        right=[shown.index(at) for at in _NUMBERS if at in shown],
    )


def _cut(text: str, most: int | None) -> str:
    return text if most is None or len(text) <= most + 1 else f"{text[:most]}…"


def _path(row: PeerRow, most: int | None = None) -> str:
    if row.relay is None:
        return row.path
    return f"{'stored at' if row.path == 'stored' else 'via'} {_cut(row.relay, most)}"


def _hint(row: PeerRow | None) -> str:
    return "not connected" if row is None else " ".join(filter(None, (row.name, _path(row, 8))))


def _described(row: PeerRow, now: float) -> list[str]:
    since = f"{clock(row.since, now)}, {duration(now - row.since)} ago"
    facts = [
        ("peer", row.node_id),
        ("name", row.name),
        ("type", row.node_type or ""),
        ("path", _path(row)),
        ("address", f"{row.address} ({row.direction})" if row.address else ""),
        ("listens", row.listen_addr or ""),
        ("known at", ", ".join(row.known_addresses)),
        ("since" if row.relay is None else "last", since),
        ("encoding", row.encoding or ""),
        ("round trip", "" if row.relay else milliseconds(row.rtt_seconds)),
        ("received", "" if row.relay else size(row.received_bytes)),
        ("sent", "" if row.relay else f"{size(row.sent_bytes)}, {size(row.queued_bytes)} wait"),
        ("trust", row.trust),
        ("proof", row.verified.name.lower()),
        ("key", row.fingerprint or ""),
        ("advertises", ", ".join(row.capabilities)),
    ]
    return [printable(f"{name:<11}{value}") for name, value in facts if value]


def _absent(node_id: str, view: PeerView) -> Reply:
    addresses = view.addresses_of(node_id)
    where = f"; known at {', '.join(addresses)}" if addresses else ""
    text = printable(f"{node_id} is not connected{where}")
    return Reply(text, {"node_id": node_id, "path": None, "known_addresses": addresses})


async def _connect(view: PeerView, name: str) -> Reply:
    if _is_address(name):
        return await _dial(view, name)
    try:
        node_id = find_peer(name, view.peer_ids())
    except CommandFailed as error:
        raise CommandFailed(f"{error}; an address is HOST:PORT") from error
    addresses = view.addresses_of(node_id)
    if not addresses:
        raise CommandFailed(f"no address of {node_id} is known; name one: peer connect HOST:PORT")
    *others, last = addresses
    for address in others:
        try:
            return await _dial(view, address)
        except CommandFailed:
            continue
    return await _dial(view, last)


async def _dial(view: PeerView, address: str) -> Reply:
    try:
        came = await view.connect(address)
    except ValueError as error:
        raise CommandError(f"peer connect: {error}") from error
    how = _CONNECTED.get(came.state)
    if how is None:
        what = came.error or came.state
        raise CommandFailed(printable(f"not connected with {address}: {what}"))
    return Reply(printable(f"{how} {came.node_id} at {came.address}"), came)


def _disconnected(ended: Disconnected) -> Reply:
    said = "disconnected" if ended.was_connected else "was not connected"
    dialled = "it is not dialled any more"
    if ended.addresses:
        dialled += f" at {', '.join(ended.addresses)}"
    text = f"{ended.node_id} {said}; {dialled}, until peer connect"
    if ended.is_back:
        text += "; it has dialled and is back (trust revoke keeps its key out)"
    return Reply(printable(text), ended)


def _forgotten(name: str, forgotten: Forgotten) -> Reply:
    parts = []
    if forgotten.addresses:
        parts.append(f"its addresses {', '.join(forgotten.addresses)}")
    if forgotten.bound:
        parts.append(f"the key of {', '.join(forgotten.bound)}")
    if forgotten.path:
        parts.append("its way through a relay")
    if not parts:
        raise CommandFailed(f"nothing is known of {printable(name, most=128)}")
    text = f"forgot of {name}: {'; '.join(parts)}"
    if forgotten.is_connected:
        text += "\nit is still connected; peer disconnect ends that"
    return Reply("\n".join(printable(line) for line in text.splitlines()), forgotten)


def _is_address(name: str) -> bool:
    # No id has a colon or a slash in it.
    return ":" in name or "/" in name


def _only(name: str, usage: str, words: Sequence[str]) -> str:
    if len(words) != 1:
        got = " ".join(words) or "nothing"
        raise CommandError(f"peer {name} {usage}: expected one word, got {got!r}")
    return words[0]
