"""A node's peers as its operators see them, and what they do about them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

from thenodes_plugin_api import (
    DeliveryOptions,
    DeliveryOutcome,
    DeliveryStatus,
    NoRoute,
    NotConnected,
    PeerInfo,
    PeerRecord,
    QoS,
    Reason,
    Text,
)

from .clock import Clock, timeout
from .control.peers import Connected, Disconnected, Forgotten, PeerRow
from .network import PeerNetwork
from .node_id import fingerprint
from .peers.numbers import SessionNumbers
from .peers.store import KnownPeers
from .protocol.close import CloseCode, Ending
from .relayed.outbound import Outbound
from .relayed.paths import Path, Paths

__all__ = ["Neighbours"]

_CONNECT_SECONDS = 10.0
_SEND_SECONDS = 2.0
_GONE_SECONDS = 3.0
_AGAIN_SECONDS = 60.0
_ENDED = Ending.here(CloseCode.NORMAL, "an operator ended the session", retry_after=_AGAIN_SECONDS)
_RELIABLE = DeliveryOptions(qos=QoS.RELIABLE, confirm=True)


class Neighbours:
    """Whom a node is connected with, whom it reaches through relays, and whom it knows.

    Args:
        network: its peers.
        known: the addresses that it knows.
        outbound: its way through relays.
        paths: who was lately reached that way.
        clock: times it.
    """

    def __init__(
        self,
        network: PeerNetwork,
        known: KnownPeers,
        outbound: Outbound,
        paths: Paths,
        clock: Clock,
    ) -> None:
        self._network = network
        self._peers = network.peers
        self._known = known
        self._outbound = outbound
        self._paths = paths
        self._clock = clock

    @property
    def now(self) -> float:
        """Unix seconds."""
        return self._clock.time()

    def rows(self) -> Sequence[PeerRow]:
        """The connected peers by id, then those behind relays, the latest first."""
        numbers = {one.node_id: one for one in self._peers.numbers()}
        addresses = self._addresses()
        direct = [self._direct(peer, numbers, addresses) for peer in self._peers.all()]
        paths = [path for path in self._paths.all() if self._peers.get(path.node_id) is None]
        return [*direct, *(self._relayed(path, addresses) for path in paths)]

    def known_peers(self) -> Sequence[PeerRecord]:
        """The addresses that it knows, newest success first."""
        return self._known.records

    def peer_ids(self) -> Sequence[str]:
        """Every peer that may be named: connected, behind a relay, dialled, known or bound."""
        found = [peer.node_id for peer in self._peers.all()]
        found += [path.node_id for path in self._paths.all()]
        found += [dial.node_id for dial in self._network.dialling if dial.node_id]
        found += [record.node_id for record in self._known.records if record.node_id]
        found += [name for name in self._network.trust.ids() if ":" not in name]
        return list(dict.fromkeys(found))

    def is_connected(self, node_id: str) -> bool:
        """Whether there is a session with that peer."""
        return self._peers.get(node_id) is not None

    def addresses_of(self, node_id: str) -> Sequence[str]:
        """Where a peer may be dialled, those of the operator first."""
        dialled = self._network.dials.addresses_of(node_id)
        return list(dict.fromkeys([*dialled, *self._addresses().get(node_id, ())]))

    async def connect(self, address: str) -> Connected:
        """Dial an address now, and stay connected with it where that works.

        Raises:
            ValueError: it is none.
        """
        came = await self._network.dials.connect(address, seconds=_CONNECT_SECONDS)
        return Connected(address, came.state, came.node_id, came.error)

    async def disconnect(self, node_id: str) -> Disconnected:
        """End the session with a peer, and dial it no more."""
        before = self._peers.get(node_id)
        addresses = self._network.dials.release(node_id)
        self._peers.end(node_id, _ENDED)
        if before is not None:
            # One that dials at that moment takes the place of its older session: never gone.
            with contextlib.suppress(TimeoutError):
                async with timeout(self._clock, _GONE_SECONDS):
                    await self._peers.wait_gone(node_id)
        # The same session may take its time to close.
        is_back = self._peers.get(node_id) not in (None, before)
        return Disconnected(node_id, addresses, before is not None, is_back)

    def forget(self, name: str) -> Forgotten:
        """Forget what is known of a peer's id, or of an address.

        Raises:
            TrustError: what was forgotten of its key cannot be written.
        """
        records = self._known.records
        addresses = [record.addr for record in records if name in (record.addr, record.node_id)]
        bound = [known for known in self._network.trust.ids() if known in (name, *addresses)]
        for address in addresses:
            self._known.forget(address)
        for known in bound:
            self._network.trust.forget(known)
        has_path = self._paths.forget(name)
        return Forgotten(addresses, bound, has_path, self.is_connected(name))

    async def send_text(self, node_id: str, text: str) -> DeliveryOutcome:
        """Send a text over the session with a node; else through a relay, for it to be kept.

        Through a relay it is waited for a moment whether the node says that it had it. A
        relay that keeps nothing is given it all the same.

        Raises:
            SendError: it did not leave this node.
        """
        body = Text(text)
        try:
            await self._peers.send(node_id, body, timeout_seconds=_SEND_SECONDS)
            return DeliveryOutcome(DeliveryStatus.SENT)
        except NotConnected:
            # The way through relays is tried outside, or this would read as its cause.
            pass
        try:
            outcome = await self._relay(node_id, body, _RELIABLE)
            if outcome.reason is not Reason.POLICY_DENIED:
                return outcome
        except NoRoute as error:
            if error.reason is not Reason.POLICY_DENIED:
                raise
        return await self._relay(node_id, body, DeliveryOptions())

    async def _relay(self, to: str, body: Text, options: DeliveryOptions) -> DeliveryOutcome:
        return await self._outbound.send(to, body, options=options, timeout_seconds=_SEND_SECONDS)

    def _direct(
        self,
        peer: PeerInfo,
        numbers: dict[str, SessionNumbers],
        addresses: dict[str, tuple[str, ...]],
    ) -> PeerRow:
        own = numbers.get(peer.node_id)
        return PeerRow(
            node_id=peer.node_id,
            name=self._name(peer.node_id, self._peers.public_key(peer.node_id)),
            path="direct",
            trust=self._network.trust.standing(peer.fingerprint),
            since=peer.connected_at,
            address=peer.address,
            listen_addr=peer.listen_addr,
            direction=peer.direction,
            encoding=peer.encoding,
            node_type=peer.node_type,
            capabilities=peer.capabilities,
            verified=peer.verified,
            fingerprint=peer.fingerprint,
            rtt_seconds=None if own is None else own.rtt_seconds,
            received_bytes=None if own is None else own.received_bytes,
            sent_bytes=None if own is None else own.sent_bytes,
            queued_bytes=None if own is None else own.queued_bytes,
            known_addresses=addresses.get(peer.node_id, ()),
        )

    def _relayed(self, path: Path, addresses: dict[str, tuple[str, ...]]) -> PeerRow:
        card = self._network.admission.cards.get(path.node_id)
        key = None if card is None else card.public_key
        digest = None if key is None else fingerprint(key)
        return PeerRow(
            node_id=path.node_id,
            name=self._name(path.node_id, key),
            path="stored" if path.is_stored else "relay",
            trust=self._network.trust.standing(digest),
            since=path.used_at,
            relay=path.relay,
            fingerprint=digest,
            known_addresses=addresses.get(path.node_id, ()),
        )

    def _name(self, node_id: str, public_key: bytes | None) -> str:
        if public_key is None:
            return ""
        certificate = self._network.admission.shown_certificate(public_key)
        name = None if certificate is None else certificate.common_name
        return "" if name is None or name == node_id else name

    def _addresses(self) -> dict[str, tuple[str, ...]]:
        """The addresses at which each peer answered, the newest success first."""
        return _grouped(record for record in self._known.records if record.node_id)


def _grouped(records: Iterable[PeerRecord]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for record in records:
        name = record.node_id or ""
        found[name] = (*found.get(name, ()), record.addr)
    return found
