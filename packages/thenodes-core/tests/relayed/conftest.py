"""Nodes that seal for one another, and one that opens what relays bring it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import structs

from thenodes_core import EncryptionTable, ManualClock, TrustPolicyTable
from thenodes_core.credentials import Credentials
from thenodes_core.events.counters import Counters
from thenodes_core.events.dispatcher import Dispatcher
from thenodes_core.limits import Limits
from thenodes_core.peers.admission import Admission
from thenodes_core.peers.trust_keeper import TrustKeeper
from thenodes_core.plugins.tracked import Tracked
from thenodes_core.protocol.card import Card, make_card, open_card
from thenodes_core.protocol.codec_bin import BinaryCodec
from thenodes_core.protocol.forward import pack_forward, read_run
from thenodes_core.relayed.inbound import RelayedInbound
from thenodes_core.relayed.new_keys import NewKeys
from thenodes_core.relayed.senders import Senders
from thenodes_core.security.identity import Identity
from thenodes_core.security.seal import Opener, Sealer
from thenodes_core.store.received import ReceivedIds
from thenodes_plugin_api import Message, PayloadForm, QoS, Realm, Settled, Text
from thenodes_plugin_api.service import DeliveryHeader, ForwardHeader, Frame

HOME = Realm("Home", "home", "1")
DAY_MS = 86_400_000
CODEC = BinaryCodec(Limits())


def header(
    sender: str, to: str, now_ms: int, *, number: int = 1, life_ms: int = 60_000, **changes: Any
) -> ForwardHeader:
    """A header with all that ours say; `number` makes the message_id."""
    delivery = DeliveryHeader(
        number.to_bytes(16, "big"),
        changes.pop("delivery_class", "fire_and_forget"),
        created_at=changes.pop("created_at", now_ms),
        expires_at=changes.pop("expires_at", now_ms + life_ms),
    )
    made = ForwardHeader(None, None, delivery, to, sender, number, str(QoS.HIGH_THROUGHPUT))
    return structs.replace(made, **changes)


def framed(header: ForwardHeader, form: int, body: bytes, *, redelivered: bool = False) -> Frame:
    """The frame as the relay's plugin gets it."""
    data = pack_forward(header, PayloadForm(form), body, Limits(), redelivered=redelivered)
    (frame,), _ = read_run(data, 0, Limits())
    return frame


class Party:
    """A node that sends."""

    def __init__(self, clock: ManualClock, node_id: str | None = None) -> None:
        self.identity = Identity.generate()
        self.node_id = node_id or self.identity.node_id
        self.realm = HOME
        self._clock = clock
        self._sealing_key = X25519PrivateKey.generate().public_key().public_bytes_raw()
        self.card = self.make_card()
        self.sealer = Sealer(self.node_id, HOME, self.identity.sign, lambda: self.card)

    def make_card(self, **changes: Any) -> bytes:
        now_ms = int(self._clock.time() * 1000)
        card = Card(
            node_id=self.node_id,
            public_key=self.identity.public_key,
            sealing_key=self._sealing_key,
            realm=self.realm,
            relays=(),
            issued_at=now_ms,
            not_after=now_ms + 30 * DAY_MS,
        )
        return make_card(structs.replace(card, **changes), self.identity.sign)

    @property
    def pem(self) -> bytes:
        key = self.identity.key.public_key()
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


class Plugins:
    """In the place of the host: keeps messages, and follows those that are tracked."""

    def __init__(self) -> None:
        self.had: list[Message] = []
        self.tracked: list[Tracked] = []

    def deliver(self, messages: Sequence[Message]) -> bool:
        self.had += messages
        return len(self.had) > 100

    def deliver_tracked(self, items: Sequence[Tracked]) -> bool:
        self.had += [item.message for item in items]
        self.tracked += items
        return False


class Receiver:
    """A node that relays bring frames."""

    def __init__(
        self,
        folder: Path,
        dispatcher: Dispatcher,
        counters: Counters,
        *,
        seal: str = "required",
        most_ids: int = 1_000_000,
    ) -> None:
        self.clock = ManualClock(1_800_000_000.0)
        self.counters = counters
        self.keeper = TrustKeeper(folder, EncryptionTable(), HOME, dispatcher.emit, self.clock)
        self.keeper.load()
        self.credentials = Credentials.load(folder, EncryptionTable(), None, HOME, (), self.clock)
        self.node_id = self.credentials.node_id
        self.admission = Admission(
            self.credentials,
            self.keeper.policy,
            self.keeper.store,
            self.keeper.known,
            HOME,
            (),
            dispatcher,
            counters,
            clock=self.clock,
        )
        self.plugins = Plugins()
        self.confirmed: list[Message] = []
        self.to_confirm: list[Message] = []
        self.settled: list[tuple[bytes, Settled]] = []
        self.received = ReceivedIds(
            folder / "received.sqlite3",
            lambda: self.now_ms,
            lambda problem: None,
            most_ids=most_ids,
        )
        self.relays = {"relay"}
        self.keys = NewKeys(self.clock, self.relays.__contains__)
        self.inbound = self._make_inbound(dispatcher, sealed_only=seal == "required")
        self.keeper.on_change(self._trust_changed)

    def _make_inbound(self, dispatcher: Dispatcher, *, sealed_only: bool) -> RelayedInbound:
        return RelayedInbound(
            self.node_id,
            Opener(
                self.node_id,
                HOME,
                lambda: self.credentials.sealing_keys,
                lambda card, now_ms: open_card(card, now_ms=now_ms),
                allows=self.keys.allows,
            ),
            self.keys,
            Senders(self.admission, self.node_id, sealed_only=sealed_only),
            self.received,
            CODEC,
            self.plugins,
            confirm=self.to_confirm.append,
            confirmed=self.confirmed.append,
            events=dispatcher,
            counters=self.counters,
            clock=self.clock,
        )

    def _trust_changed(self) -> None:
        self.admission.use(self.keeper.policy)
        self.inbound.trust_changed()

    @property
    def now_ms(self) -> int:
        return int(self.clock.time() * 1000)

    @property
    def sealing_key(self) -> bytes:
        return open_card(self.credentials.card, now_ms=self.now_ms).sealing_key

    def use(self, **changes: Any) -> None:
        """Take other settings of the trust policy."""
        self.keeper.use(EncryptionTable(trust_policy=TrustPolicyTable(**changes)))

    def seal(
        self,
        sender: Party,
        message: Message | bytes | None = None,
        *,
        sent: ForwardHeader | None = None,
        redelivered: bool = False,
        **changes: Any,
    ) -> Frame:
        """A frame that a party has sealed for this node; what it encloses may be any bytes."""
        sent = sent or header(sender.node_id, self.node_id, self.now_ms, **changes)
        if message is None:
            message = Message(Text("hello"))
        enclosed = message if isinstance(message, bytes) else CODEC.encode(message)
        body = sender.sealer.seal(sent, enclosed, self.sealing_key)
        return framed(sent, PayloadForm.SEALED, body, redelivered=redelivered)

    def unsealed(
        self,
        sender: str,
        message: Message | bytes | None = None,
        *,
        form: int = PayloadForm.FRAME,
        **changes: Any,
    ) -> Frame:
        """A frame that is not sealed."""
        message = Message(Text("hello")) if message is None else message
        enclosed = message if isinstance(message, bytes) else CODEC.encode(message)
        return framed(header(sender, self.node_id, self.now_ms, **changes), form, enclosed)

    def deliver(self, *frames: Frame, by: str = "relay") -> list[Message]:
        """Take frames of a relay; returns what plugins got of them."""
        before = len(self.plugins.had)
        self.inbound.deliver(by, frames, self._settle)
        return self.plugins.had[before:]

    def _settle(self, frame: Frame, settled: Settled) -> None:
        assert frame.header.qos in (QoS.RELIABLE, None)
        delivery = frame.header.delivery
        self.settled.append((b"" if delivery is None else delivery.message_id, settled))

    def dropped(self) -> dict[str, int]:
        """How many frames were dropped, by reason."""
        prefix = "relayed_dropped."
        return {
            name.removeprefix(prefix): count
            for name, count in self.counters.snapshot().items()
            if name.startswith(prefix)
        }


@pytest.fixture
async def bob(tmp_path: Path, dispatcher: Dispatcher, counters: Counters) -> Receiver:
    return Receiver(tmp_path, dispatcher, counters)


@pytest.fixture
async def open_bob(tmp_path: Path, dispatcher: Dispatcher, counters: Counters) -> Receiver:
    """One that takes what is not sealed, too."""
    return Receiver(tmp_path, dispatcher, counters, seal="off")


@pytest.fixture
def party(bob: Receiver) -> Callable[..., Party]:
    """Makes senders."""
    return lambda node_id=None: Party(bob.clock, node_id)


@pytest.fixture
def alice(party: Callable[..., Party]) -> Party:
    return party()


@pytest.fixture
def make_alice() -> Callable[[Receiver], Party]:
    """Makes a sender to a receiver that is not `bob`."""
    return lambda receiver: Party(receiver.clock)
