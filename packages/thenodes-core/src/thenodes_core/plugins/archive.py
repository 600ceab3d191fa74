"""Zip archives from anybody: what is in them, within limits, and nothing outside them."""

from __future__ import annotations

import io
import lzma
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Sequence

from ..errors import PluginLoadError
from .verdict import Fault

__all__ = ["ARCHIVE_BYTES", "Archive"]

ARCHIVE_BYTES = 64 * 1024 * 1024
"""The largest archive that is read."""

_MEMBERS = 10_000
_DIRECTORY_BYTES = 4 * 1024 * 1024
_MEMBER_BYTES = 64 * 1024 * 1024
_UNPACKED_BYTES = 256 * 1024 * 1024
_NAME_CHARACTERS = 255
# Of text, deflate makes a twentieth; a bomb is a thousand times what it was.
_RATIO = 100
_RATIO_APPLIES_FROM = 1024 * 1024

_END = b"PK\x05\x06"
_END_BYTES = 22
_FIRST = b"PK\x03\x04"
_ZIP64 = b"PK\x06\x07"
_ZIP64_BYTES = 20
_ENCRYPTED = 0x1

_WINDOWS_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
_FIX = "get the wheel from its source again, or build it with: thenodes plugin build"

# What zipfile and zlib raise for bytes that are no sound archive.
_BROKEN = (
    zipfile.BadZipFile,
    NotImplementedError,
    ValueError,
    EOFError,
    RuntimeError,
    OSError,
    OverflowError,
    LookupError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
)


class Archive:
    """An archive in memory. Its members are read one at a time, each within limits.

    Args:
        content: all of its bytes.

    Raises:
        PluginLoadError: TN-P002: no archive, or one of more members than a wheel has.
    """

    def __init__(self, content: bytes) -> None:
        _check_ends(content)
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(content))
            members = self._zip.infolist()
        except _BROKEN as error:
            raise _unsound("a zip archive", f"not readable as one: {error}") from error
        if len(members) > _MEMBERS:
            raise _unsound(f"at most {_MEMBERS} members", f"{len(members)}")
        self.faults = tuple(_faults(members))
        """What makes it unsafe to unpack; where there is any, `read` may fail."""
        self._files = {info.filename: info for info in members if not _is_folder(info)}

    @property
    def names(self) -> Sequence[str]:
        """The names of the files in it."""
        return tuple(self._files)

    def read(self, name: str) -> bytes:
        """The content of one file.

        Raises:
            PluginLoadError: TN-P002: damaged, or not of the size that it states.
        """
        info = self._files[name]
        if info.file_size > _MEMBER_BYTES:
            raise _unsound(f"members of at most {_MEMBER_BYTES} bytes", f"{name!r} is larger")
        try:
            with self._zip.open(info) as file:
                content = file.read(info.file_size + 1)
        except _BROKEN as error:
            raise _unsound("an undamaged archive", f"{name!r}: {error}") from error
        if len(content) != info.file_size:
            raise _unsound(f"{info.file_size} bytes in {name!r}", f"{len(content)}")
        return content


def _check_ends(content: bytes) -> None:
    """Refuse what zipfile would read, but no builder of wheels writes.

    What comes before or after the archive could be another one to another reader, and
    the size of the central directory bounds the work of reading it.
    """
    if len(content) > ARCHIVE_BYTES:
        raise _unsound(f"at most {ARCHIVE_BYTES} bytes", "a larger file")
    end = content[-_END_BYTES:]
    if content[:4] != _FIRST or end[:4] != _END or end[-2:] != b"\0\0":
        raise _unsound("a zip archive and nothing else", "something before, behind or instead")
    if content[-_END_BYTES - _ZIP64_BYTES :].startswith(_ZIP64):
        raise _unsound("an archive of less than 4 GiB", "a ZIP64 archive")
    size, offset = struct.unpack("<II", end[12:20])
    if size > _DIRECTORY_BYTES:
        raise _unsound(f"at most {_MEMBERS} members", f"a directory of {size} bytes")
    if size + offset + _END_BYTES != len(content):
        raise _unsound("a zip archive and nothing else", "sizes that do not add up")


def _faults(members: Sequence[zipfile.ZipInfo]) -> Iterator[Fault]:
    total = 0
    seen: dict[str, str] = {}
    for info in members:
        name = info.orig_filename
        total += info.file_size
        yield from _name_faults(name)
        yield from _member_faults(info)
        folded = _fold(name)
        if folded in seen:
            what = "twice" if seen[folded] == name else f"beside {seen[folded]!r}"
            yield _fault("names that differ, in case too", f"{name!r} {what}")
        seen[folded] = name
    for folded in seen:
        above = folded.split("/")[:-1]
        for count in range(1, len(above) + 1):
            if not seen.get("/".join(above[:count]), "/").endswith("/"):
                yield _fault("files and folders apart", f"{seen[folded]!r} below a file")
                break
    if total > _UNPACKED_BYTES:
        yield _fault(f"at most {_UNPACKED_BYTES} bytes unpacked", f"{total}")


def _is_folder(info: zipfile.ZipInfo) -> bool:
    # ZipInfo.is_dir raises for an empty name.
    return info.filename.endswith("/")


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold().rstrip("/")


def _name_faults(name: str) -> Iterator[Fault]:
    parts = name.removesuffix("/").split("/")
    if (
        not name.isprintable()
        or len(name) > _NAME_CHARACTERS
        or any(character in name for character in '\\:*?"<>|')
        or any(
            part in ("", ".", "..") or part[-1] in " ." or _WINDOWS_DEVICES.fullmatch(part)
            for part in parts
        )
    ):
        shown = repr(name[:_NAME_CHARACTERS])
        yield _fault("relative paths inside the wheel, valid on every system", shown)


def _member_faults(info: zipfile.ZipInfo) -> Iterator[Fault]:
    name, mode = info.filename, info.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR) or (
        stat.S_ISDIR(mode) and not _is_folder(info)
    ):
        yield _fault("files and folders only", f"{name!r} is a link or something else")
    if _is_folder(info) and info.file_size:
        yield _fault("folders without content", f"{name!r}")
    if info.flag_bits & _ENCRYPTED:
        yield _fault("files that are not encrypted", f"{name!r}")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        yield _fault("files stored or deflated", f"{name!r} by method {info.compress_type}")
    if info.file_size > _MEMBER_BYTES:
        yield _fault(f"files of at most {_MEMBER_BYTES} bytes", f"{name!r}: {info.file_size}")
    if info.file_size > _RATIO_APPLIES_FROM and info.file_size > _RATIO * info.compress_size:
        received = f"{name!r}: {info.compress_size} bytes become {info.file_size}"
        yield _fault(f"files that unpack to at most {_RATIO} times their size", received)


def _fault(expected: str, received: str) -> Fault:
    return Fault("TN-P002", expected, received, _FIX)


def _unsound(expected: str, received: str) -> PluginLoadError:
    return _fault(expected, received).error()
