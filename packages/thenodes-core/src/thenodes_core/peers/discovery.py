"""Learning addresses from peers, and dialling what was learned."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from weakref import WeakKeyDictionary

from thenodes_plugin_api import (
    Direction,
    Hello,
    Message,
    PeerInfo,
    PeerList,
    PeerRecord,
    PeerRequest,
    PeerSource,
)

from ..address import Address, Scope, host_port, listening_at, parse_address, scope
from ..clock import Clock
from ..config import DiscoveryTable
from ..errors import DialError
from ..events.counters import Counters
from ..protocol.close import CloseCode, Ending
from ..protocol.handshake import Role
from ..rate import TokenBucket
from ..session.session import Session
from ..transport.base import Link, Transport
from .manager import PeerManager
from .store import KnownPeers

__all__ = ["Discovery"]

# Learned addresses: how many are dialled, and how soon again after a failure.
_DIALS_PER_MINUTE = 4
_LOOK_SECONDS = 5.0
_RETRY_SECONDS = 60.0
_RETRY_AT_MOST_SECONDS = 3600.0
_FAILURES_OF_A_STRANGER = 3

# Requests of one peer that are answered.
_ANSWER_EVERY_SECONDS = 10.0
_ANSWERS_AT_ONCE = 3

_PEERS_ASKED = 3
_FIRST_WAIT_SECONDS = 10.0
_OWN_ADDRESSES = 256
_ADDRESS_CHARACTERS = 255


class Discovery:
    """Asks peers for addresses, answers them, and dials what was learned.

    Shared are only addresses that this node reached itself. An address that a
    peer names is dialled, at most four of all a minute, before it is believed; the
    peer's own is taken from its connection, with the port that it says it listens on.
    An address that can be reached only from nearer by than the peer is neither told to
    it nor taken from it: nobody on the internet makes this node dial its own network.

    Args:
        table: the settings.
        manager: the live sessions.
        known: the addresses.
        transport: dials.
        fixed: addresses that are kept connected otherwise.
        spawn: runs a dial, and the session that comes of it, in the background.
        counters: counts what is learned and dialled.
        clock: times it.
        rng: chooses.
        scheme: of addresses that are `host:port`.
        is_held_off: whether an operator wants that peer not to be dialled.
    """

    def __init__(
        self,
        table: DiscoveryTable,
        manager: PeerManager,
        known: KnownPeers,
        transport: Transport,
        fixed: Iterable[str],
        spawn: Callable[[Callable[[], Awaitable[object]], str], object],
        counters: Counters,
        *,
        clock: Clock,
        rng: random.Random,
        scheme: str = "ws",
        is_held_off: Callable[[str], bool] = lambda node_id: False,
    ) -> None:
        self._scheme = scheme
        self._is_held_off = is_held_off
        self._table = table
        self._manager = manager
        self._known = known
        self._transport = transport
        self._fixed = frozenset(fixed)
        self._spawn = spawn
        self._counters = counters
        self._clock = clock
        self._random = rng
        self._dials = TokenBucket(_DIALS_PER_MINUTE / 60, _DIALS_PER_MINUTE, clock.monotonic())
        self._answers: WeakKeyDictionary[Session, TokenBucket] = WeakKeyDictionary()
        self._asked: dict[str, int] = {}
        self._not_before: dict[str, float] = {}
        self._own: set[str] = set()
        self._dialling: set[str] = set()
        manager.handle(PeerRequest, self._answer)
        manager.handle(PeerList, self._learn)
        manager.on_joined(self._joined)

    def use(self, table: DiscoveryTable, fixed: Iterable[str]) -> None:
        """Ask as this says from now on, and leave these addresses to others."""
        self._table = table
        self._fixed = frozenset(fixed)

    async def run(self) -> None:
        """Ask and dial, for ever."""
        interval = float(self._table.request_interval_secs)
        # A young network has more to tell soon: the requests begin close to each other.
        wait = min(_FIRST_WAIT_SECONDS, interval)
        ask_at = self._clock.monotonic() + wait
        while True:
            for record in self._due():
                self._spawn(partial(self._dial, record), f"dial {record.addr}")
            await self._clock.sleep(_LOOK_SECONDS)
            if self._clock.monotonic() >= ask_at:
                wait = min(2 * wait, float(self._table.request_interval_secs))
                ask_at = self._clock.monotonic() + wait
                self._ask_some()

    def _ask_some(self) -> None:
        peers = list(self._manager.all())
        for peer in self._random.sample(peers, min(_PEERS_ASKED, len(peers))):
            self._ask(peer.node_id)

    def _ask(self, node_id: str) -> None:
        want = self._table.request_want
        if want and self._manager.control_to(node_id, PeerRequest(want)):
            self._asked[node_id] = want

    def _joined(self, peer: PeerInfo) -> None:
        # Whoever left without an answer is forgotten here, so that this stays small.
        self._asked = {id_: w for id_, w in self._asked.items() if self._manager.get(id_)}
        addr = _listening_at(peer)
        if addr is not None and self._is_new(addr):
            self._known.add(addr, PeerSource.HANDSHAKE)
        self._ask(peer.node_id)

    def _answer(self, session: Session, message: Message) -> None:
        now = self._clock.monotonic()
        rate = self._answers.get(session)
        if rate is None:
            rate = TokenBucket(1 / _ANSWER_EVERY_SECONDS, _ANSWERS_AT_ONCE, now)
            self._answers[session] = rate
        if not isinstance(message.body, PeerRequest) or not rate.take(now):
            self._counters.add("messages_dropped", reason="rate_limited")
            return
        near = _nearness(session.remote)
        addresses = [
            record.addr
            for record in self._known.records
            if record.last_success_epoch is not None
            and not record.failures
            and record.node_id != session.node_id
            and _may_travel(record.addr, near)
        ]
        most = min(message.body.want, len(addresses), PeerList.most)
        chosen = self._random.sample(addresses, most)
        session.control(PeerList(tuple(chosen)))

    def _learn(self, session: Session, message: Message) -> None:
        want = self._asked.pop(session.node_id, 0)
        if not isinstance(message.body, PeerList) or not want:
            self._counters.add("messages_dropped", reason="unasked")
            return
        near = _nearness(session.remote)
        for addr in message.body.peers[:want]:
            if _may_travel(addr, near) and self._is_new(addr):
                self._known.add(addr, PeerSource.GOSSIP)
                self._counters.add("addresses_learned")

    def _is_new(self, addr: str) -> bool:
        return self._known.get(addr) is None and addr not in self._own and addr not in self._fixed

    def _due(self) -> Iterator[PeerRecord]:
        """The addresses to dial now; those that answered before come first."""
        now = self._clock.monotonic()
        records = self._known.records
        self._not_before = {r.addr: t for r in records if (t := self._not_before.get(r.addr))}
        for record in records:
            if (
                record.addr in self._fixed
                or record.addr in self._dialling
                or self._not_before.get(record.addr, 0.0) > now
                or not self._is_wanted(record)
            ):
                continue
            if not self._dials.take(now):
                return
            self._dialling.add(record.addr)
            yield record

    def _is_wanted(self, record: PeerRecord) -> bool:
        peer = record.node_id
        if peer is not None and (self._manager.get(peer) or self._is_held_off(peer)):
            return False
        # One that a connected peer says is its own is tried once, to know whether it can be told.
        unproven = record.source is PeerSource.HANDSHAKE and record.last_success_epoch is None
        return unproven or len(self._manager.all()) < self._table.request_want

    async def _dial(self, record: PeerRecord) -> None:
        addr = record.addr
        address = parse_address(addr, scheme=self._scheme)
        self._counters.add("learned_dials")
        try:
            link = await self._transport.dial(address.url)
        except DialError:
            self._failed(record)
        else:
            served = await self._manager.serve(
                link,
                Role.DIALER,
                self._success(address),
                self._screen(address, link),
                expected_id=address.node_id,
            )
            self._note(record, served.ending, established=served.peer is not None)
        finally:
            self._dialling.discard(addr)

    def _success(self, address: Address) -> Callable[[PeerInfo], None]:
        def established(peer: PeerInfo) -> None:
            self._known.mark_success(
                address.text, node_id=peer.node_id, capabilities=peer.capabilities
            )

        return established

    def _screen(self, address: Address, link: Link) -> Callable[[Hello], Ending | None]:
        def screen(hello: Hello) -> Ending | None:
            if self._is_held_off(hello.node_id):
                return Ending.here(CloseCode.NORMAL, "an operator disconnected this node")
            if not self._manager.is_connected(hello.node_id, hello.instance):
                return None
            # Anybody can repeat a HELLO. Whoever ended TLS with the peer's certificate is
            # that peer; without TLS, somebody answers there, and it is not said who.
            shown = link.certificate_digest
            if shown is None:
                self._known.mark_success(address.text)
            elif shown == self._manager.certificate_digest(hello.node_id):
                self._known.mark_success(
                    address.text, node_id=hello.node_id, capabilities=hello.capabilities
                )
            return Ending.here(CloseCode.NORMAL, "connected already")

        return screen

    def _note(self, record: PeerRecord, ending: Ending, *, established: bool) -> None:
        if established or (ending.code == CloseCode.NORMAL and not ending.by_peer):
            self._wait(record.addr, _RETRY_SECONDS)
        elif ending.code == CloseCode.SELF:
            if len(self._own) < _OWN_ADDRESSES:
                self._own.add(record.addr)
            self._known.forget(record.addr)
        else:
            self._failed(record, at_least=ending.retry_after or 0.0)

    def _failed(self, record: PeerRecord, *, at_least: float = 0.0) -> None:
        self._counters.add("learned_dial_failures")
        self._known.mark_failure(record.addr)
        failures = record.failures + 1
        if record.last_success_epoch is None and failures >= _FAILURES_OF_A_STRANGER:
            if record.source in (PeerSource.GOSSIP, PeerSource.HANDSHAKE):
                self._known.forget(record.addr)
        self._wait(record.addr, max(at_least, _RETRY_SECONDS * 2.0 ** min(failures - 1, 10)))

    def _wait(self, addr: str, seconds: float) -> None:
        seconds = min(seconds, _RETRY_AT_MOST_SECONDS)
        self._not_before[addr] = self._clock.monotonic() + seconds


def _nearness(remote: str) -> Scope:
    host = remote.rpartition(":")[0].strip("[]")
    return scope(host)


def _may_travel(addr: str, near: Scope) -> bool:
    """Whether an address may be told to, or taken from, a peer that is that near."""
    if len(addr) > _ADDRESS_CHARACTERS:
        return False
    try:
        address = parse_address(addr)
    except ValueError:
        return False
    bare = host_port(address.host, address.port)
    if addr.removeprefix("ws://").removeprefix("wss://").removesuffix("/").lower() != bare:
        return False
    return scope(address.host) <= near


def _listening_at(peer: PeerInfo) -> str | None:
    if peer.direction is Direction.OUTBOUND:
        return None
    return listening_at(peer.address, peer.listen_addr)
