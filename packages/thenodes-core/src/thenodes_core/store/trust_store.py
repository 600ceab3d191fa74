"""The trust store: which keys are trusted, were observed, or are rejected.

Three directories, named as in the reference. A key counts by its fingerprint
(SHA-256 of its SubjectPublicKeyInfo), whatever the file is called that holds
it; what this module writes is `<fingerprint>.pem` with that key alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ..errors import CredentialError, StateDirError, TrustError
from .key_directory import MOST_KEYS, KeyDirectory, only_key

__all__ = ["ISSUERS_DIR", "OBSERVED_DIR", "REJECTED_DIR", "TRUSTED_DIR", "Moved", "TrustStore"]

TRUSTED_DIR = Path("pki/trusted/certs")
OBSERVED_DIR = Path("pki/observed/certs")
REJECTED_DIR = Path("pki/rejected")
ISSUERS_DIR = Path("pki/issuers/certs")

_PROBLEMS = 20
_CANDIDATES = 8
_SHOWN = 80
_PREFIX = re.compile(r"[0-9a-f]{4,64}")
_WHOLE = re.compile(r"[0-9a-f]{64}")


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a key.

    Attributes:
        fingerprint: of the key, whole.
        from_store: where it was: `"observed"`, `"trusted"`, `"rejected"` or `"unknown"`.
        to_store: where it is now.
        path: the file that holds it.
        changed: False where everything was so already.
    """

    fingerprint: str
    from_store: str
    to_store: str
    path: Path
    changed: bool


class TrustStore:
    """The keys of three directories, read by `load`, and kept in step with what is written.

    A directory counts for 4096 files of 64 KiB and 4096 keys. Directories are made,
    0700, when something is first written into them.

    Args:
        trusted: keys that the operator trusts.
        observed: keys that were met and are not trusted.
        rejected: keys that are refused whatever else holds. Here a file that is named
            after a fingerprint and holds no usable key counts by its name.
    """

    def __init__(self, trusted: Path, observed: Path, rejected: Path) -> None:
        self._trusted = KeyDirectory("trusted", trusted)
        self._observed = KeyDirectory("observed", observed)
        self._rejected = KeyDirectory("rejected", rejected, names_count=True)
        self._directories = (self._trusted, self._observed, self._rejected)
        self._taken_up = False

    @property
    def trusted(self) -> Mapping[str, Path]:
        """Trusted keys by fingerprint, each with a file that holds it."""
        return self._trusted.keys

    @property
    def observed(self) -> Mapping[str, Path]:
        """Observed keys, as `trusted`."""
        return self._observed.keys

    @property
    def rejected(self) -> Mapping[str, Path]:
        """Rejected keys, as `trusted`."""
        return self._rejected.keys

    def load(self) -> list[str]:
        """Read what changed since the last reading; return what is wrong, for people.

        A file that cannot be used is told and left out. Nothing raises.
        """
        self._taken_up = False
        problems = [problem for directory in self._directories for problem in directory.load()]
        if len(problems) > _PROBLEMS:
            problems[_PROBLEMS:] = [f"{len(problems) - _PROBLEMS} more problems of trusted keys"]
        return problems

    def changed(self) -> bool:
        """Whether a file appeared, vanished or changed since `load` and what this object wrote."""
        return self._taken_up or any(directory.changed() for directory in self._directories)

    def is_trusted(self, fingerprint: str) -> bool:
        """Whether the operator trusts the key. A rejected one may be trusted too: ask for both."""
        return fingerprint in self._trusted.keys

    def is_observed(self, fingerprint: str) -> bool:
        """Whether the key was recorded, and neither promoted nor revoked since."""
        return fingerprint in self._observed.keys

    def is_rejected(self, fingerprint: str) -> bool:
        """Whether the operator revoked the key."""
        return fingerprint in self._rejected.keys

    def observe(self, fingerprint: str, pem: bytes) -> Path | None:
        """Record a key that was met; None where it is known already, or the directory is full.

        Args:
            fingerprint: of the key.
            pem: its certificate, or the key itself, as PEM.

        Raises:
            CredentialError: `pem` is not of that key, or of more keys than that.
            StateDirError: it cannot be written.
        """
        if (
            any(fingerprint in directory.keys for directory in self._directories)
            or self._observed.is_full
        ):
            return None
        if only_key(pem) != fingerprint:
            raise CredentialError(f"expected a PEM block of the key {fingerprint} and no other")
        return self._observed.add(fingerprint, pem)

    def find(self, prefix: str) -> str:
        """Return the one fingerprint that begins so.

        Args:
            prefix: at least four hexadecimal digits, of any case, colons between them or not.

        Raises:
            TrustError: no known key, or several; those are listed.
        """
        wanted = prefix.strip().replace(":", "").lower()
        if not _PREFIX.fullmatch(wanted):
            raise TrustError(
                f"{prefix[:_SHOWN]!r}: expected 4 to 64 hexadecimal digits, "
                "the beginning of a fingerprint"
            )
        known = {key for directory in self._directories for key in directory.keys}
        found = sorted(key for key in known if key.startswith(wanted))
        if not found:
            raise TrustError(
                f"{wanted}: no trusted, observed or rejected key has a fingerprint that begins so"
            )
        if len(found) > 1:
            listed = ", ".join(found[:_CANDIDATES])
            more = f" and {len(found) - _CANDIDATES} more" if len(found) > _CANDIDATES else ""
            raise TrustError(f"{wanted}: {len(found)} keys begin so: {listed}{more}; give more")
        return found[0]

    def block(self, fingerprint: str) -> bytes | None:
        """The PEM block that holds a key; None where no file does any more."""
        for directory in self._directories:
            if fingerprint in directory.keys:
                try:
                    return directory.block(fingerprint)
                except OSError:
                    continue
        return None

    def promote(self, prefix: str) -> Moved:
        """Trust a key: take it out of observed/ and rejected/. Again, it changes nothing.

        The key is in trusted/ before it is out of the others, so that an interruption
        loses nothing; until it is out of rejected/, it is refused.

        Raises:
            TrustError: no such key, several, or the files cannot be written.
        """
        return self._move(prefix, self._trusted, (self._observed, self._rejected))

    def revoke(self, prefix: str) -> Moved:
        """Reject a key: take it out of trusted/ and observed/. Again, it changes nothing.

        A key that is in no store is rejected by its whole fingerprint.

        Raises:
            TrustError: no such key, several, or the files cannot be written.
        """
        whole = prefix.strip().replace(":", "").lower()
        known = any(whole in directory.keys for directory in self._directories)
        if _WHOLE.fullmatch(whole) and not known:
            return self._reject_by_name(whole)
        return self._move(prefix, self._rejected, (self._trusted, self._observed))

    def _reject_by_name(self, key: str) -> Moved:
        try:
            path = self._rejected.add(
                key, b"revoked by its fingerprint; the key was never recorded"
            )
        except StateDirError as error:
            raise TrustError(str(error)) from error
        return Moved(
            fingerprint=key, from_store="unknown", to_store="rejected", path=path, changed=True
        )

    def _move(self, prefix: str, target: KeyDirectory, others: tuple[KeyDirectory, ...]) -> Moved:
        # Who watches with `changed` has yet to learn what others did meanwhile.
        taken_up = self.changed()
        self.load()
        self._taken_up = taken_up
        key = self.find(prefix)
        was_in = [directory for directory in others if key in directory.keys]
        came_from = _first_of(was_in, self._rejected, self._trusted, self._observed) or target
        changed = key not in target.keys
        if changed:
            if target.is_full:
                raise TrustError(
                    f"{target.path}: full ({MOST_KEYS}); remove what is not needed any more"
                )
            path = self._write(target, key, was_in)
        else:
            path = target.keys[key]
        for directory in was_in:
            changed = True
            try:
                directory.remove(key)
            except OSError as error:
                raise TrustError(
                    f"{key} is {target.name} now, but cannot be taken out of "
                    f"{directory.path}: {error.strerror}"
                ) from error
        return Moved(
            fingerprint=key,
            from_store=came_from.name,
            to_store=target.name,
            path=path,
            changed=changed,
        )

    def _write(self, target: KeyDirectory, key: str, sources: list[KeyDirectory]) -> Path:
        for directory in sources:
            try:
                block = directory.block(key)
            except OSError as error:
                raise TrustError(f"{directory.keys[key]}: {error.strerror}") from error
            if block:
                try:
                    return target.add(key, block)
                except StateDirError as error:
                    raise TrustError(str(error)) from error
        raise TrustError(
            f"{sources[0].keys[key]} has the name of the key {key}, but does not hold it; "
            "put its certificate there"
        )


def _first_of(directories: list[KeyDirectory], *order: KeyDirectory) -> KeyDirectory | None:
    return next((directory for directory in order if directory in directories), None)
