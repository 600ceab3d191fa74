"""End-to-end sealing of what goes through relays (design: relay.md, Sealing; RFC 9180).

HPKE wraps a session key for the recipient once an hour or 2**20 messages; each message is
AES-256-GCM under it, its nonce the counter. The sealed body is the msgpack array
`[1, hash, wrapped, epoch, counter, signature, card, ciphertext]`:

| field | what |
| --- | --- |
| hash | the first 8 bytes of SHA-256 of the recipient's sealing key |
| wrapped | HPKE's output: the encapsulated key and the sealed session key, 80 bytes |
| epoch | when the session key was made, Unix milliseconds |
| counter | which message under that key, from 0; the nonce, as 12 bytes big-endian |
| signature | the sender's, purpose `wrap`, of `[*context, wrapped]` |
| card | the sender's identity card |
| ciphertext | of one whole binary frame, with its tag |

`context` is `[sender, recipient, sealing key, realm, epoch]`, which is HPKE's `info` as
msgpack, too; `realm` is `[code, version]`. The associated data of a message is the msgpack
array `[realm, to, from, qos, sequence, message_id, created_at, expires_at]`.

What senders use:

```python
sealer = Sealer(node_id, realm, identity.sign, lambda: credentials.card)
body = sealer.seal(header, frame, card.sealing_key)  # header: ForwardHeader, body: its frame's
```
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable, Sequence
from typing import Annotated, Literal, Protocol, TypeAlias

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from thenodes_plugin_api import Realm
from thenodes_plugin_api.service import ForwardHeader

from ..errors import CredentialError
from ..signatures import Purpose, verify
from .refusal import DropReason, Refused

__all__ = ["Opener", "Sealer", "SenderCard", "SessionKey"]

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_KEY_BYTES = 32
_WRAPPED_BYTES = 80
_SIGNATURE_BYTES = 64
_HASH_BYTES = 8
_NONCE_BYTES = 12
_MOST_MESSAGES = 1 << 20
_HOUR_MS = 3_600_000
_LAST_MS = 253_402_300_799_000  # The end of the year 9999.
_MOST_KEYS = 4096

# As `Sealer` writes it: what changes lies at places that are known.
_MARKED = struct.Struct(">BI")
_UINT32, _BIN32 = 0xCE, 0xC6

_encode = msgspec.msgpack.encode


class _Sealed(msgspec.Struct, array_like=True):
    version: Literal[1]
    key_hash: Annotated[bytes, msgspec.Meta(min_length=_HASH_BYTES, max_length=_HASH_BYTES)]
    wrapped: Annotated[bytes, msgspec.Meta(min_length=_WRAPPED_BYTES, max_length=_WRAPPED_BYTES)]
    epoch: Annotated[int, msgspec.Meta(ge=0, le=_LAST_MS)]
    counter: Annotated[int, msgspec.Meta(ge=0, lt=_MOST_MESSAGES)]
    signature: Annotated[
        bytes, msgspec.Meta(min_length=_SIGNATURE_BYTES, max_length=_SIGNATURE_BYTES)
    ]
    card: bytes
    ciphertext: bytes


_decode = msgspec.msgpack.Decoder(_Sealed).decode

_RealmPair: TypeAlias = tuple[str, str]


class SenderCard(Protocol):
    """What a card says, as the opener needs it."""

    @property
    def node_id(self) -> str:
        """Whose it is."""
        ...

    @property
    def public_key(self) -> bytes:
        """That node's key."""
        ...

    @property
    def realm(self) -> Realm:
        """Its realm."""
        ...

    @property
    def not_after(self) -> int:
        """Until when it counts, Unix milliseconds."""
        ...


def key_hash(sealing_key: bytes) -> bytes:
    """By which a recipient finds the key that something is sealed for."""
    return hashlib.sha256(sealing_key).digest()[:_HASH_BYTES]


def _context(
    sender: str, recipient: str, sealing_key: bytes, realm: _RealmPair, epoch: int
) -> tuple[object, ...]:
    return sender, recipient, sealing_key, realm, epoch


def _associated_data(realm: _RealmPair, header: ForwardHeader) -> bytes:
    delivery = header.delivery
    if delivery is None:
        raise Refused(DropReason.BAD_FRAME, "a sealed frame without delivery data")
    return _encode(
        (
            realm,
            header.to,
            header.sender,
            header.qos,
            header.sequence,
            delivery.message_id,
            delivery.created_at,
            delivery.expires_at,
        )
    )


class _Outgoing:
    """A session key of this node's, with all of a sealed body that does not change."""

    def __init__(
        self,
        secret: bytes,
        epoch: int,
        sealing_key: bytes,
        card: bytes,
        before: bytes,
        after: bytes,
    ) -> None:
        self.encrypt = AESGCM(secret).encrypt
        self.epoch = epoch
        self.sealing_key = sealing_key
        self.card = card
        self.before = before
        self.after = after
        self.used = 0


class Sealer:
    """Seals what this node sends through relays.

    A session key serves one recipient for an hour, for 2**20 messages, and for as long as
    both cards stay the same. Of 4096 recipients the keys are kept, in memory alone.

    Args:
        node_id: this node's id.
        realm: its realm.
        sign: of its node key, as `Identity.sign`.
        card: returns its identity card as it is now.
        random_bytes: makes session keys.
        max_keys: how many session keys are kept.
        max_messages: how many one serves, at most 2**20.
    """

    def __init__(
        self,
        node_id: str,
        realm: Realm,
        sign: Callable[[Purpose, bytes], bytes],
        card: Callable[[], bytes],
        *,
        random_bytes: Callable[[int], bytes] = os.urandom,
        max_keys: int = _MOST_KEYS,
        max_messages: int = _MOST_MESSAGES,
    ) -> None:
        self._node_id = node_id
        self._realm = realm.code, realm.version
        self._sign = sign
        self._card = card
        self._random_bytes = random_bytes
        self._max_keys = max_keys
        self._max_messages = min(max_messages, _MOST_MESSAGES)
        self._keys: dict[str, _Outgoing] = {}

    def seal(self, header: ForwardHeader, frame: bytes, sealing_key: bytes) -> bytes:
        """Seal a frame.

        Args:
            header: of the RELAY_FWD frame that will carry it, `delivery` with message_id,
                created_at and expires_at included. What it says is sealed in: it has to
                reach the recipient as it is.
            frame: one whole binary frame, from its length field on.
            sealing_key: the recipient's, from its card, 32 bytes.

        Returns:
            The body of the RELAY_FWD frame, whose payload form is `SEALED`.

        Raises:
            ValueError: `header` is not of this node, or lacks its delivery data; or
                `sealing_key` is not a key.
        """
        delivery = header.delivery
        if delivery is None or delivery.created_at is None or delivery.expires_at is None:
            raise ValueError("a sealed frame needs message_id, created_at and expires_at")
        key = self._keys.get(header.to)
        if (
            key is None
            or key.used >= self._max_messages
            or not 0 <= delivery.created_at - key.epoch < _HOUR_MS
            or key.sealing_key != sealing_key
            or key.card is not self._card()
        ):
            key = self._make_key(header, sealing_key, delivery.created_at)
        counter = key.used
        key.used = counter + 1
        data = _associated_data(self._realm, header)
        sealed = key.encrypt(counter.to_bytes(_NONCE_BYTES, "big"), frame, data)
        return b"".join(
            (
                key.before,
                _MARKED.pack(_UINT32, counter),
                key.after,
                _MARKED.pack(_BIN32, len(sealed)),
                sealed,
            )
        )

    def _make_key(self, header: ForwardHeader, sealing_key: bytes, epoch: int) -> _Outgoing:
        if header.sender != self._node_id:
            raise ValueError(f"{self._node_id} seals what it sends itself, not of {header.sender}")
        card, secret = self._card(), self._random_bytes(_KEY_BYTES)
        context = _context(self._node_id, header.to, sealing_key, self._realm, epoch)
        public = X25519PublicKey.from_public_bytes(sealing_key)
        wrapped = _SUITE.encrypt(secret, public, _encode(context))
        signature = self._sign(Purpose.WRAP, _encode((*context, wrapped)))
        before = b"\x98" + b"".join(
            _encode(part) for part in (1, key_hash(sealing_key), wrapped, epoch)
        )
        after = _encode(signature) + _encode(card)
        self._keys.pop(header.to, None)
        self._keys[header.to] = key = _Outgoing(secret, epoch, sealing_key, card, before, after)
        if len(self._keys) > self._max_keys:
            del self._keys[next(iter(self._keys))]
        return key


class SessionKey:
    """A session key of a peer's, whose wrap was verified.

    Attributes:
        sender: the id that its card proves.
        card: what the card says.
        card_data: the card's bytes.
        not_after: until when the card counts, Unix milliseconds.
    """

    def __init__(self, secret: bytes, card: SenderCard, sealed: _Sealed) -> None:
        self.sender = card.node_id
        self.card = card
        self.card_data = sealed.card
        self.not_after = card.not_after
        self.decrypt = AESGCM(secret).decrypt
        parts = (1, sealed.key_hash, sealed.wrapped, sealed.epoch)
        self.before = b"\x98" + b"".join(_encode(part) for part in parts)
        self.after = _encode(sealed.signature) + _encode(sealed.card)
        self.counter_at = len(self.before)
        self.after_at = self.counter_at + _MARKED.size
        self.length_at = self.after_at + len(self.after)
        self.ciphertext_at = self.length_at + _MARKED.size
        self.wrap = _wrap_of(sealed)


def _wrap_of(sealed: _Sealed) -> tuple[object, ...]:
    """All that has to be the same for a session key to be the same."""
    return sealed.wrapped, sealed.key_hash, sealed.epoch, sealed.signature, sealed.card


class Opener:
    """Opens what was sealed for this node.

    Whether a sender is trusted, and a frame in time and new, is the caller's to judge.
    Session keys that were verified are kept, 4096 of them, in memory alone.

    Args:
        node_id: this node's id.
        realm: its realm.
        private_keys: returns its sealing keys, as `SealingKeys.private_keys`.
        read_card: opens a card that has to be valid at a time, Unix milliseconds; raises
            CredentialError.
        allows: asked whether one more session key may be verified, which is dear, of the
            sender that a frame names.
        max_keys: how many session keys are kept.
    """

    def __init__(
        self,
        node_id: str,
        realm: Realm,
        private_keys: Callable[[], Sequence[X25519PrivateKey]],
        read_card: Callable[[bytes, int], SenderCard],
        *,
        allows: Callable[[str], bool] = lambda sender: True,
        max_keys: int = _MOST_KEYS,
    ) -> None:
        self._node_id = node_id
        self._realm = realm.code, realm.version
        self._private_keys = private_keys
        self._read_card = read_card
        self._allows = allows
        self._max_keys = max_keys
        # By wrap; and of each sender the one that was used last, with which most frames open.
        self._keys: dict[tuple[object, ...], SessionKey] = {}
        self._latest: dict[str, SessionKey] = {}

    def open(self, header: ForwardHeader, data: bytes, body_at: int) -> tuple[SessionKey, bytes]:
        """Open a frame.

        Args:
            header: of the RELAY_FWD frame; its `delivery` with a created_at.
            data: the whole frame.
            body_at: where its body begins.

        Returns:
            The key, which says who sent it, and the frame that was sealed.

        Raises:
            Refused: it was not sealed so, by that sender, for this node.
        """
        key = self._latest.get(header.sender)
        if (
            key is None
            or len(data) < body_at + key.ciphertext_at
            or not data.startswith(key.before, body_at)
            or not data.startswith(key.after, body_at + key.after_at)
        ):
            return self._open(header, data[body_at:])
        kind, counter = _MARKED.unpack_from(data, body_at + key.counter_at)
        form, length = _MARKED.unpack_from(data, body_at + key.length_at)
        ciphertext = data[body_at + key.ciphertext_at :]
        if (kind, form, length) != (_UINT32, _BIN32, len(ciphertext)) or counter >= _MOST_MESSAGES:
            return self._open(header, data[body_at:])
        return key, self._decrypt(key, header, counter, ciphertext)

    def forget(self) -> None:
        """Forget every session key: each is verified anew when it is used again."""
        self._keys.clear()
        self._latest.clear()

    def _open(self, header: ForwardHeader, body: bytes) -> tuple[SessionKey, bytes]:
        try:
            sealed = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Refused(DropReason.BAD_FRAME, f"not a sealed body: {error}") from error
        wrap = _wrap_of(sealed)
        key = self._keys.get(wrap)
        if key is None:
            key = self._unwrap(header, sealed)
        elif key.sender != header.sender:
            raise _other_sender(header, key.sender)
        frame = self._decrypt(key, header, sealed.counter, sealed.ciphertext)
        self._remember(wrap, key)
        return key, frame

    def _unwrap(self, header: ForwardHeader, sealed: _Sealed) -> SessionKey:
        if not self._allows(header.sender):
            detail = f"{header.sender} comes with too many session keys"
            raise Refused(DropReason.TOO_MANY_KEYS, detail)
        private = self._find(sealed.key_hash)
        card = self._card_of(header, sealed.card)
        sealing_key = private.public_key().public_bytes_raw()
        context = _context(card.node_id, self._node_id, sealing_key, self._realm, sealed.epoch)
        signed = _encode((*context, sealed.wrapped))
        if not verify(card.public_key, Purpose.WRAP, signed, sealed.signature):
            detail = f"the session key is not signed by {card.node_id} for {self._node_id}"
            raise Refused(DropReason.BAD_WRAP, detail)
        try:
            secret = _SUITE.decrypt(sealed.wrapped, private, _encode(context))
            return SessionKey(secret, card, sealed)
        except (InvalidTag, ValueError) as error:
            detail = f"{card.node_id} wrapped no session key for this node"
            raise Refused(DropReason.BAD_WRAP, detail) from error

    def _find(self, wanted: bytes) -> X25519PrivateKey:
        for private in self._private_keys():
            if key_hash(private.public_key().public_bytes_raw()) == wanted:
                return private
        detail = f"sealed for the key {wanted.hex()}…, which is not, or no longer, this node's"
        raise Refused(DropReason.UNKNOWN_KEY, detail)

    def _card_of(self, header: ForwardHeader, data: bytes) -> SenderCard:
        delivery = header.delivery
        if delivery is None or delivery.created_at is None:
            raise Refused(DropReason.BAD_FRAME, "a sealed frame without delivery data")
        try:
            card = self._read_card(data, delivery.created_at)
        except CredentialError as error:
            raise Refused(DropReason.BAD_CARD, f"{error}") from error
        if card.node_id != header.sender:
            raise _other_sender(header, card.node_id)
        realm = card.realm.code, card.realm.version
        if realm != self._realm:
            detail = f"the card of {card.node_id} is of realm {'/'.join(realm)}"
            raise Refused(DropReason.OTHER_REALM, detail)
        return card

    def _decrypt(
        self, key: SessionKey, header: ForwardHeader, counter: int, ciphertext: bytes
    ) -> bytes:
        # The sender that the header names is `key.sender`: whoever has the key of a session
        # could seal in any other.
        data = _associated_data(self._realm, header)
        created_at = None if header.delivery is None else header.delivery.created_at
        if created_at is None or created_at > key.not_after:
            detail = f"the card of {key.sender} had expired when the message was made"
            raise Refused(DropReason.BAD_CARD, detail)
        try:
            return key.decrypt(counter.to_bytes(_NONCE_BYTES, "big"), ciphertext, data)
        except InvalidTag:
            detail = f"not as {key.sender} sealed it: the header, or the message, was changed"
            raise Refused(DropReason.TAMPERED, detail) from None

    def _remember(self, wrap: tuple[object, ...], key: SessionKey) -> None:
        # Only what opened a message gets here: nobody fills this with keys of others.
        self._keys.pop(wrap, None)
        self._keys[wrap] = self._latest[key.sender] = key
        if len(self._keys) > self._max_keys:
            oldest = self._keys.pop(next(iter(self._keys)))
            if self._latest.get(oldest.sender) is oldest:
                del self._latest[oldest.sender]


def _other_sender(header: ForwardHeader, proven: str) -> Refused:
    return Refused(DropReason.OTHER_SENDER, f"said to be of {header.sender}, sealed by {proven}")
