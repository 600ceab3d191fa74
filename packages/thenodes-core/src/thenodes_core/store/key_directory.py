"""A directory of keys and certificates, as PEM files, each key known by its fingerprint.

Reading it never raises: what cannot be used is told and left out.
"""

from __future__ import annotations

import base64
import errno
import os
import re
import stat
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.utils import CryptographyDeprecationWarning

from ..errors import StateDirError
from ..files import write_private
from ..node_id import fingerprint as fingerprint_of
from ..text import printable

__all__ = ["MOST_KEYS", "KeyDirectory", "only_key"]

MOST_KEYS = 4096
"""Files, and keys, that count in one directory."""

_LISTED = 65_536  # Names that are looked at, those included that do not count.
_FILE_BYTES = 64 * 1024
_SUFFIXES = (".pem", ".crt", ".cer")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_BEGIN, _END, _DASHES = b"-----BEGIN ", b"-----END ", b"-----"

_Stamp = tuple[int, int, int]  # Inode, size and time of change of a file.


class _File(NamedTuple):
    stamp: _Stamp
    keys: tuple[str, ...]
    problem: str


class _Block(NamedTuple):
    start: int
    end: int
    fingerprint: str | None


class KeyDirectory:
    """The files of one directory as they were read, and the keys in them.

    Args:
        name: what people call it.
        path: where; it need not exist.
        names_count: whether a file that is named after a fingerprint, and holds no
            usable key, counts by its name.

    Attributes:
        keys: every key, by fingerprint, with a file that holds it.
    """

    def __init__(self, name: str, path: Path, *, names_count: bool = False) -> None:
        self.name = name
        self.path = path
        self._names_count = names_count
        self._files: dict[str, _File] = {}
        self._keys: dict[str, Path] = {}
        self.keys: Mapping[str, Path] = MappingProxyType(self._keys)

    @property
    def is_full(self) -> bool:
        """Whether one more file, or key, would not count."""
        return len(self._files) >= MOST_KEYS or len(self._keys) >= MOST_KEYS

    def load(self) -> list[str]:
        """Read the files that are new or changed; return what is wrong, for people.

        Where the directory cannot be listed at all, what was read before goes on counting.
        """
        stamps, problems = self._list()
        if stamps is None:
            return problems
        known, self._files = self._files, {}
        self._keys.clear()
        dropped = 0
        for name, stamp in stamps.items():
            file = known.get(name)
            if file is None or file.stamp != stamp or file.problem:
                file = self._read(name, stamp)
            self._files[name] = file
            if file.problem:
                problems.append(f"{printable(str(self.path / name))}: {file.problem}")
            for key in file.keys:
                if len(self._keys) < MOST_KEYS:
                    self._keys.setdefault(key, self.path / name)
                else:
                    dropped += key not in self._keys
        if dropped:
            problems.append(f"{self.path}: {dropped} keys beyond {MOST_KEYS} do not count")
        return problems

    def changed(self) -> bool:
        """Whether files appeared, vanished or changed since `load`, but for what was written here.

        Costs one listing and the status of every file.
        """
        stamps, _ = self._list()
        return stamps is not None and stamps != {
            name: file.stamp for name, file in self._files.items()
        }

    def add(self, key: str, pem: bytes) -> Path:
        """Write a file of one key.

        Raises:
            StateDirError: it cannot be written.
        """
        try:
            _make_directory(self.path)
            path = self._free_name(key)
            write_private(path, pem.strip() + b"\n")
            self._sync()
            self._files[path.name] = _File(_stamp(path.stat()), (key,), "")
        except (OSError, ValueError) as error:
            raise StateDirError(
                f"{self.path}: the key {key} cannot be written: {_reason(error)}"
            ) from error
        self._keys[key] = path
        return path

    def block(self, key: str) -> bytes | None:
        """The PEM block of a key.

        Raises:
            OSError: its file cannot be read.
        """
        content = _read(self._keys[key])
        for block in _blocks(content):
            if block.fingerprint == key:
                return content[block.start : block.end]
        return None

    def remove(self, key: str) -> None:
        """Take a key out of every file; files that hold others keep those.

        Raises:
            OSError: a file cannot be read or written.
        """
        for name in [name for name, file in self._files.items() if key in file.keys]:
            path = self.path / name
            rest = _without(path, key) if len(self._files[name].keys) > 1 else None
            if rest is None:
                path.unlink(missing_ok=True)
                del self._files[name]
            else:
                write_private(path, rest)
                self._files[name] = self._read(name, _stamp(path.stat()))
            self._sync()
        self._keys.pop(key, None)

    def _free_name(self, key: str) -> Path:
        # Another key may be in a file of this one's name; it is not to be lost.
        path = self.path / f"{key}.pem"
        for number in range(2, 100):
            if not os.path.lexists(path):
                break
            path = self.path / f"{key}-{number}.pem"
        return path

    def _sync(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _list(self) -> tuple[dict[str, _Stamp] | None, list[str]]:
        """The files that count, in the order of their names, and what is wrong.

        None where the directory cannot be listed; a missing one is empty.
        """
        try:
            mode = self.path.stat().st_mode
            with os.scandir(self.path) as listing:
                entries = {entry.name: entry for entry in islice(listing, _LISTED)}
        except FileNotFoundError:
            return {}, []
        except (OSError, ValueError) as error:
            return None, [f"{printable(str(self.path))}: cannot be read: {_reason(error)}"]
        problems = []
        if mode & 0o022:
            problems.append(
                f"{self.path}: others can write to this directory (mode {mode & 0o777:04o}), "
                f"and so decide whom this node trusts. If nobody did: chmod go-w {self.path}"
            )
        names = sorted(name for name in entries if name.lower().endswith(_SUFFIXES))
        if len(names) > MOST_KEYS or len(entries) == _LISTED:
            problems.append(f"{self.path}: of more than {MOST_KEYS} files the rest does not count")
        return {name: _entry_stamp(entries[name]) for name in names[:MOST_KEYS]}, problems

    def _read(self, name: str, stamp: _Stamp) -> _File:
        keys: tuple[str, ...] = ()
        try:
            blocks = _blocks(_read(self.path / name))
        except OSError as error:
            problem = f"left out: {error.strerror}"
        else:
            keys = tuple(dict.fromkeys(block.fingerprint for block in blocks if block.fingerprint))
            bad = sum(not block.fingerprint for block in blocks)
            problem = (
                f"{bad} of {len(blocks)} certificates or keys in it are damaged" if bad else ""
            )
            if not blocks:
                problem = "left out: expected a certificate or public key as PEM text"
        if not keys and self._names_count and _FINGERPRINT.fullmatch(Path(name).stem.lower()):
            keys = (Path(name).stem.lower(),)
        return _File(stamp, keys, problem)


def only_key(pem: bytes) -> str | None:
    """The fingerprint of the one certificate or public key of a PEM text; None for any other."""
    if len(pem) > _FILE_BYTES:
        return None
    blocks = _blocks(pem)
    return blocks[0].fingerprint if len(blocks) == 1 else None


def _read(path: Path) -> bytes:
    """Read a regular file of at most 64 KiB.

    Raises:
        OSError: it is none, or cannot be read.
    """
    with open(path, "rb", opener=_open) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        content = file.read(_FILE_BYTES + 1)
    if len(content) > _FILE_BYTES:
        raise OSError(errno.EFBIG, f"over {_FILE_BYTES} bytes")
    return content


def _open(path: str, flags: int) -> int:
    # Without O_NONBLOCK a named pipe would be waited for.
    return os.open(path, flags | os.O_NONBLOCK)


def _blocks(content: bytes) -> list[_Block]:
    """The certificates and public keys in a PEM text; a fingerprint is None where one is bad."""
    blocks = []
    at = 0
    while (
        (start := content.find(_BEGIN, at)) >= 0
        and (end := content.find(_END, start)) >= 0
        and (close := content.find(_DASHES, end + len(_END))) >= 0
    ):
        at = close + len(_DASHES)
        label = content[end + len(_END) : close]
        head = _BEGIN + label + _DASHES
        if label in (b"CERTIFICATE", b"PUBLIC KEY"):
            body = content[start + len(head) : end] if content.startswith(head, start) else b""
            blocks.append(_Block(start, at, _block_fingerprint(label, body)))
    return blocks


def _block_fingerprint(label: bytes, body: bytes) -> str | None:
    try:
        der = base64.b64decode(b"".join(body.split()), validate=True)
        if label == b"CERTIFICATE":
            key = x509.load_der_x509_certificate(der).public_key()
        else:
            key = serialization.load_der_public_key(der)  # type: ignore[assignment]  # DH, too
        encoded = key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion, CryptographyDeprecationWarning):
        # The last where a program makes warnings errors.
        return None
    return fingerprint_of(encoded)


def _without(path: Path, key: str) -> bytes:
    content = _read(path)
    for block in reversed(_blocks(content)):
        if block.fingerprint == key:
            content = content[: block.start] + content[block.end :]
    return content


def _entry_stamp(entry: os.DirEntry[str]) -> _Stamp:
    try:
        return _stamp(entry.stat())
    except OSError:
        # A link that leads nowhere; reading it tells why.
        return (0, -1, 0)


def _stamp(status: os.stat_result) -> _Stamp:
    return (status.st_ino, status.st_size, status.st_ctime_ns)


def _make_directory(path: Path) -> None:
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)


def _reason(error: OSError | ValueError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
