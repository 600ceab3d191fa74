"""What proves this node to others: its key, certificate, card and TLS contexts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from thenodes_plugin_api import Realm

from .clock import Clock
from .config import EncryptionTable, expand
from .errors import ConfigError, CredentialError, StateDirError
from .protocol.card import CARD_DAYS, Card, make_card
from .security.certificates import (
    Certificate,
    load_or_renew_certificate,
    pem,
    read_certificates,
)
from .security.identity import IDENTITY_FILE, Identity, load_or_create_identity
from .security.sealing import SealingKeys
from .security.tls import NodeTls

__all__ = ["CERTIFICATE_FILE", "Credentials"]

CERTIFICATE_FILE = "identity.crt"

_DAY_SECONDS = 86_400
_DERIVED_ID = re.compile(r"[a-z2-7]{32}")
# How long a certificate that was replaced still counts: its connections go on.
_PREVIOUS_SECONDS = 3600.0


class Credentials:
    """This node's identity, and what it shows of it; see `load`.

    Args:
        state_dir: where what is not named in `table` is kept.
        table: files that are named.
        identity: the node key.
        node_id: this node's id.
        realm: its realm.
        authorities: certificates of the CAs that are believed.
        clock: dates everything.

    Raises:
        StateDirError: a file cannot be read, written or used.
    """

    def __init__(
        self,
        state_dir: Path,
        table: EncryptionTable,
        identity: Identity,
        node_id: str,
        realm: Realm,
        authorities: Sequence[Certificate],
        clock: Clock,
    ) -> None:
        named = table.paths.own_certificate
        key = table.paths.own_private_key
        self.identity = identity
        self.node_id = node_id
        self.realm = realm
        self._clock = clock
        self._is_named = named is not None
        self._path = expand(named) if named else state_dir / CERTIFICATE_FILE
        self._sealing = SealingKeys.load(state_dir, clock.time())
        self.certificate = self._read_certificate()
        self._previous: tuple[bytes, float] | None = None
        self._relays: tuple[str, ...] = ()
        self.card = self._make_card()
        key_path = expand(key) if key else state_dir / IDENTITY_FILE
        try:
            self.tls = NodeTls(
                self._path,
                key_path,
                [pem(authority.der).decode() for authority in authorities],
                client_certificates=table.mtls,
            )
        except CredentialError as error:
            raise StateDirError(str(error)) from error

    @classmethod
    def load(
        cls,
        state_dir: Path,
        table: EncryptionTable,
        node_id: str | None,
        realm: Realm,
        authorities: Sequence[Certificate],
        clock: Clock,
    ) -> Credentials:
        """Read the node's key and what belongs to it; what is missing is made.

        Args:
            state_dir: where what is not named in `table` is kept.
            table: files that are named.
            node_id: the id that the operator chose; derived from the key where None.
            realm: the node's realm.
            authorities: certificates of the CAs that are believed.
            clock: dates everything.

        Raises:
            StateDirError: a file cannot be read, written or used.
            ConfigError: the chosen id can only be that of another key.
        """
        key = table.paths.own_private_key
        identity = load_or_create_identity(state_dir, expand(key) if key else None)
        own_id = node_id or identity.node_id
        if _DERIVED_ID.fullmatch(own_id) and own_id != identity.node_id:
            raise ConfigError(
                f"node.id: {own_id} looks like the id of a key, and is not that of this node's "
                f"({identity.node_id}): no peer would admit it. Leave node.id out, or choose a name"
            )
        return cls(state_dir, table, identity, own_id, realm, authorities, clock)

    @property
    def certificate_path(self) -> Path:
        """The file of the certificate."""
        return self._path

    @property
    def problem(self) -> str:
        """What was wrong with the files, for people; empty where nothing was."""
        return self._sealing.problem

    @property
    def sealing_keys(self) -> Sequence[X25519PrivateKey]:
        """The keys that messages through relays may be sealed for, the current one first."""
        return self._sealing.private_keys

    @property
    def certificate_digests(self) -> frozenset[bytes]:
        """SHA-256 of the certificate, and for an hour of the one that it replaced."""
        digests = {_digest(self.certificate)}
        if self._previous is not None and self._clock.time() < self._previous[1]:
            digests.add(self._previous[0])
        return frozenset(digests)

    def renew(self) -> bool:
        """Renew what is due, and take a certificate that was put in the place of the old.

        Returns:
            Whether this node's HELLO has something else to show.

        Raises:
            StateDirError: a file cannot be read, written or used; what was goes on.
        """
        now = self._clock.time()
        certificate = self._read_certificate()
        changed = certificate.der != self.certificate.der
        if changed:
            try:
                self.tls.reload()
            except CredentialError as error:
                raise StateDirError(str(error)) from error
            self._previous = _digest(self.certificate), now + _PREVIOUS_SECONDS
            self.certificate = certificate
        if self._sealing.renew_if_due(now) or now - self._carded_at >= _DAY_SECONDS:
            self.card = self._make_card()
            changed = True
        return changed

    def put_relays(self, relays: Sequence[str]) -> bool:
        """Name these in the card, as the relays that this node can be reached through.

        Args:
            relays: their node ids, at most 8, the best first.

        Returns:
            Whether the card is another; the same relays change nothing.

        Raises:
            CredentialError: no reader would take such a card; the old one stays.
            StateDirError: its date cannot be written; the old one stays.
        """
        if tuple(relays) == self._relays:
            return False
        before, self._relays = self._relays, tuple(relays)
        try:
            self.card = self._make_card()
        except (CredentialError, StateDirError):
            self._relays = before
            raise
        return True

    def _read_certificate(self) -> Certificate:
        if not self._is_named:
            certificate, _ = load_or_renew_certificate(
                self._path,
                self.identity,
                node_id=self.node_id,
                realm=self.realm,
                now=self._clock.time(),
            )
            return certificate
        certificate = read_certificates(self._path)[0]
        if certificate.public_key != self.identity.public_key:
            raise StateDirError(
                f"{self._path}: the certificate is of the key {certificate.fingerprint}, but the "
                f"node's key is {self.identity.fingerprint}. Name the key that belongs to it in "
                "encryption.paths.own_private_key"
            )
        return certificate

    def _make_card(self) -> bytes:
        now = self._clock.time()
        issued_at = self._sealing.next_issued_at(int(now * 1000))
        card = Card(
            self.node_id,
            self.identity.public_key,
            self._sealing.public_key,
            self.realm,
            self._relays,
            issued_at,
            issued_at + CARD_DAYS * _DAY_SECONDS * 1000,
        )
        made = make_card(card, self.identity.sign)
        self._carded_at = now
        return made


def _digest(certificate: Certificate) -> bytes:
    return hashlib.sha256(certificate.der).digest()
