"""What operators do about trust: promote, revoke, forget, explain, and reload."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from thenodes_plugin_api import Direction, Event, Level, PromotionEvent, Realm, SystemEvent

from ..clock import Clock
from ..config import EncryptionTable, expand
from ..errors import ConfigError, CredentialError, StateDirError, TrustError
from ..security.certificates import Certificate, parse_pem, read_certificates
from ..security.decision import Decision, Subject
from ..security.trust import TrustPolicy
from ..store.key_entry import KeyEntry
from ..store.known_ids import KNOWN_IDS_FILE, KnownIds
from ..store.trust_store import (
    ISSUERS_DIR,
    OBSERVED_DIR,
    REJECTED_DIR,
    TRUSTED_DIR,
    Moved,
    TrustStore,
)

__all__ = ["TrustKeeper", "operator"]

_LOOK_SECONDS = 2.0
_CERTIFICATE_SUFFIXES = frozenset({".pem", ".crt", ".cer"})
_AUTHORITY_FILES = 256


class TrustKeeper:
    """A node's trust, on disk and in memory: of a running node or of one that is stopped.

    Args:
        state_dir: where what is not named in `table` is kept.
        table: the settings.
        realm: the node's realm.
        emit: told of what is done, for the audit, and of what is wrong.
        clock: dates it.
    """

    def __init__(
        self,
        state_dir: Path,
        table: EncryptionTable,
        realm: Realm,
        emit: Callable[[Event], None],
        clock: Clock,
    ) -> None:
        paths, observed = table.paths, table.trust_policy.paths.observed_dir
        self.store = TrustStore(
            _place(paths.trusted_cert_dir, state_dir / TRUSTED_DIR),
            _place(observed, state_dir / OBSERVED_DIR),
            _place(paths.rejected_dir, state_dir / REJECTED_DIR),
        )
        self.known = KnownIds(state_dir / KNOWN_IDS_FILE, realm.code)
        self.authorities: tuple[Certificate, ...] = ()
        self.own: tuple[Certificate, Path] | None = None
        self._issuers = _place(paths.issuer_cert_dir, state_dir / ISSUERS_DIR)
        self._table = table
        self._realm = realm
        self._emit = emit
        self._clock = clock
        self._told_of_changes: list[Callable[[], None]] = []
        self._unsaved_told = False

    @property
    def policy(self) -> TrustPolicy:
        """The policy, as the settings and the keys on disk make it now."""
        table = self._table
        return TrustPolicy(
            table.trust_policy,
            self.store,
            self.authorities,
            accept_self_signed=table.accept_self_signed,
            dialled=self.known.fingerprint_at,
        )

    def is_trusted(self, fingerprint: str) -> bool:
        """Whether the operator trusted or pinned that key, and did not reject it."""
        pins = self._table.trust_policy.pin_fingerprints
        known = self.store.is_trusted(fingerprint) or fingerprint in pins
        return known and not self.store.is_rejected(fingerprint)

    def standing(self, fingerprint: str | None) -> str:
        """How a key stands: `rejected`, `pinned`, `trusted`, `observed`, `unknown`, `no key`."""
        if fingerprint is None:
            return "no key"
        stands = {
            "rejected": self.store.is_rejected(fingerprint),
            "pinned": fingerprint in self._table.trust_policy.pin_fingerprints,
            "trusted": self.store.is_trusted(fingerprint),
            "observed": fingerprint in self.store.observed,
        }
        return next((word for word, is_so in stands.items() if is_so), "unknown")

    def on_change(self, told: Callable[[], None]) -> None:
        """Call `told` whenever somebody may be admitted, or refused, who was not before."""
        self._told_of_changes.append(told)

    def load(self) -> None:
        """Read everything; what is wrong with single files is told.

        Raises:
            ConfigError: the policy cannot work: it asks for CAs, and there is none.
        """
        problems = self.store.load()
        if problem := self.known.load():
            problems.append(problem)
        self._tell_problems([*problems, *self._read_authorities()])
        self._check_authorities(self._table)

    def use(self, table: EncryptionTable) -> None:
        """Take another policy while a node runs, and read the keys on disk again.

        Raises:
            ConfigError: the policy cannot work; then nothing changes.
        """
        problems = self._read_authorities()
        self._check_authorities(table)
        self._table = table
        self._tell_problems([*problems, *self.store.load()])
        self._changed()

    def reload(self) -> list[str]:
        """Read the keys on disk again, and those of CAs; returns what is wrong with files."""
        problems = [*self.store.load(), *self._read_authorities()]
        self._tell_problems(problems)
        self._changed()
        return problems

    def _read_authorities(self) -> Sequence[str]:
        self.authorities, problems = _read_authorities(self._issuers)
        return problems

    def _check_authorities(self, table: EncryptionTable) -> None:
        key = _needs_authorities(table)
        if key and not self.authorities:
            raise ConfigError(
                f"{key}: needs the certificate of a CA, and there is none in {self._issuers}; "
                "put it there as a .pem file, or name another encryption.paths.issuer_cert_dir"
            )

    def _tell_problems(self, problems: Sequence[str]) -> None:
        for problem in problems:
            self._tell("trust_file_unusable", problem)

    async def watch(self) -> None:
        """Take up what others do to the files, and write what was learned, for ever."""
        while True:
            await self._clock.sleep(_LOOK_SECONDS)
            self.save()
            if self.store.changed():
                self.reload()

    def save(self) -> None:
        """Write which keys were met, where that changed."""
        try:
            self.known.save()
        except StateDirError as error:
            if not self._unsaved_told:
                self._tell("known_ids_not_written", str(error), Level.ERROR)
            self._unsaved_told = True
        else:
            self._unsaved_told = False

    def promote(self, prefix: str) -> Moved:
        """Trust a key that was observed, or take a rejection back.

        Raises:
            TrustError: no key, or several, begin so; or it cannot be written.
        """
        return self._moved(self.store.promote(prefix))

    def revoke(self, prefix: str) -> Moved:
        """Reject a key whatever the policy says.

        Raises:
            TrustError: no key, or several, begin so; or it cannot be written.
        """
        return self._moved(self.store.revoke(prefix))

    def _moved(self, moved: Moved) -> Moved:
        if moved.changed:
            event = PromotionEvent(
                fingerprint=moved.fingerprint,
                from_store=moved.from_store,
                to_store=moved.to_store,
                operator=operator(),
                success=True,
                at=self._clock.time(),
            )
            self._emit(event)
            self._changed()
        return moved

    def forget(self, name: str) -> None:
        """Forget which key an id, or an address, was met with.

        Raises:
            TrustError: it is not known, or cannot be written.
        """
        if not self.known.forget(name):
            raise TrustError(f"{name} is not known here by a key; trust ids lists what is")
        try:
            self.known.save()
        except StateDirError as error:
            raise TrustError(str(error)) from error
        self._tell("key_forgotten", f"{operator()} let the key of {name} be forgotten", Level.INFO)
        self._changed()

    def explain(self, prefix: str) -> tuple[str, Decision]:
        """Judge a key that is known, without consequences; returns it and the decision.

        Raises:
            TrustError: no key, or several, begin so; or its file cannot be read.
        """
        key = self.store.find(prefix)
        names = self._names_of(key)
        certificate = self._certificate(key)
        public_key = self._public_key(key) if certificate is None else certificate.public_key
        subject = Subject(
            node_id=names[0] if names else "",
            public_key=public_key,
            certificate=certificate,
            role=Direction.INBOUND,
            address=None,
            dialled=None,
            realm=self._realm,
        )
        return key, self.policy.judge(subject, self._clock.time())

    def keys(self, store: str) -> Sequence[KeyEntry]:
        """The keys of a store, by fingerprint: `trusted`, `observed`, `rejected` or `own`."""
        if store == "own":
            return [] if self.own is None else [self._entry("own", *self.own)]
        paths = self._paths(store)
        return [
            self._entry(store, self._certificate(key), paths[key], key)
            for key in self.fingerprints(store)
        ]

    def fingerprints(self, store: str) -> Sequence[str]:
        """Those of `trusted`, `observed` or `rejected`, in order; no file is read."""
        return sorted(self._paths(store))

    def _paths(self, store: str) -> Mapping[str, Path]:
        stores = {
            "trusted": self.store.trusted,
            "observed": self.store.observed,
            "rejected": self.store.rejected,
        }
        return stores[store]

    def ids(self) -> Mapping[str, str]:
        """Ids and addresses, each with the fingerprint of the key it was met with."""
        return self.known.entries()

    def _entry(
        self, store: str, certificate: Certificate | None, path: Path, key: str = ""
    ) -> KeyEntry:
        key = key or ("" if certificate is None else certificate.fingerprint)
        return KeyEntry(
            fingerprint=key,
            store=store,
            path=str(path),
            names=self._names_of(key),
            subject=None if certificate is None else certificate.subject,
            not_after=None if certificate is None else certificate.not_after,
        )

    def _certificate(self, key: str) -> Certificate | None:
        """The certificate of a key of the store, None where there is only the key."""
        block = self.store.block(key)
        if block is None:
            return None
        try:
            return next(iter(parse_pem(block)), None)
        except CredentialError:
            return None

    def _public_key(self, key: str) -> bytes:
        block = self.store.block(key)
        try:
            if block is None:
                raise ValueError("no key in its file")
            return serialization.load_pem_public_key(block).public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        except (ValueError, UnsupportedAlgorithm) as error:
            raise TrustError(f"{key}: its file cannot be read: {error}") from error

    def _names_of(self, key: str) -> tuple[str, ...]:
        return tuple(name for name, known in self.known.entries().items() if known == key)

    def _changed(self) -> None:
        for told in self._told_of_changes:
            told()

    def _tell(self, action: str, detail: str, level: Level = Level.WARNING) -> None:
        at = self._clock.time()
        self._emit(SystemEvent(action=action, detail=detail, level=level, at=at))


def _needs_authorities(table: EncryptionTable) -> str | None:
    policy = table.trust_policy
    if policy.mode == "ca":
        return 'encryption.trust_policy.mode = "ca"'
    if policy.enforce_ca_chain and not policy.accept_self_signed:
        return "encryption.trust_policy.enforce_ca_chain"
    return "encryption.mtls" if table.mtls else None


def _place(named: str | None, default: Path) -> Path:
    return expand(named) if named else default


def operator() -> str:
    """Who does it: the user that this process runs as."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _read_authorities(folder: Path) -> tuple[tuple[Certificate, ...], Sequence[str]]:
    """The CA certificates of a folder, and what is wrong with its files."""
    found: list[Certificate] = []
    problems: list[str] = []
    try:
        paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in _CERTIFICATE_SUFFIXES)
    except FileNotFoundError:
        return (), ()
    except OSError as error:
        return (), [f"{folder}: {error.strerror}"]
    if len(paths) > _AUTHORITY_FILES:
        problems.append(f"{folder}: only the first {_AUTHORITY_FILES} of its files are read")
    for path in paths[:_AUTHORITY_FILES]:
        try:
            certificates = read_certificates(path)
        except (StateDirError, CredentialError) as error:
            problems.append(str(error))
            continue
        found += [certificate for certificate in certificates if certificate.is_ca]
        if not any(certificate.is_ca for certificate in certificates):
            problems.append(f"{path}: no certificate of a CA")
    return tuple(found), problems
