"""Wheels: read from memory and held against what they say about themselves."""

from __future__ import annotations

import base64
import binascii
import configparser
import csv
import email.parser
import hashlib
import io
import posixpath
from collections.abc import Iterator
from pathlib import Path

import msgspec
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from thenodes_plugin_api import MANIFEST_NAME, Manifest

from ..errors import PluginLoadError
from .archive import ARCHIVE_BYTES, Archive
from .signing import SIGNATURE_BYTES, SIGNATURE_SUFFIX
from .source import Candidate, Content, Metadata
from .tree import manifest_faults, manifest_of
from .verdict import Fault

__all__ = ["parse_wheel", "read_wheel"]

_MODULE_ENDINGS = ("py", "pyc", "so", "pyd")
_SHOWN = 200
_TEXT_BYTES = 1024 * 1024
_OURS = frozenset({"thenodes_plugin_api", "thenodes_core", "thenodes_relay", "thenodes_cli"})
_HASHES = frozenset({"sha256", "sha384", "sha512"})
_UNLISTED = ("RECORD.jws", "RECORD.p7s")
_AGAIN = "get the wheel from its source again"
_BUILD = "build the wheel with: thenodes plugin build"


class _Name(msgspec.Struct, frozen=True):
    """What a wheel's file name says."""

    project: str
    version: Version
    tags: frozenset[str]


def read_wheel(candidate: Candidate) -> Content:
    """Read a wheel and the signature beside it; each once, so that what is judged is loaded."""
    path = candidate.path
    try:
        content = _read(path, ARCHIVE_BYTES)
        beside = path.with_name(path.name + SIGNATURE_SUFFIX)
        signature = _read(beside, SIGNATURE_BYTES) if beside.is_file() else None
    except OSError as error:
        text = f"{candidate.origin}: {error.strerror or error}"
        fault = Fault("TN-P002", "a file that can be read", text, "check its mode")
        return Content(package=path, faults=(fault,))
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        parsed = parse_wheel(content, path)
    except PluginLoadError as error:
        parsed = Content(package=path, faults=(Fault.of(error),))
    return msgspec.structs.replace(parsed, wheel=content, sha256=sha256, signature=signature)


def _read(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        # One byte more, by which the limit is seen to be crossed.
        return file.read(limit + 1)


def parse_wheel(content: bytes, path: Path) -> Content:
    """What a wheel says, and where it contradicts itself.

    Args:
        content: its bytes.
        path: its file, whose name is part of what it says.

    Raises:
        PluginLoadError: TN-P002: not even its list of members can be used.
    """
    archive = Archive(content)
    if archive.faults:
        return Content(package=path, faults=archive.faults)
    return _Reader(archive, path).read()


class _Reader:
    """Reads one wheel, and keeps what is wrong with it."""

    def __init__(self, archive: Archive, path: Path) -> None:
        self._archive = archive
        self._path = path
        self._faults: list[Fault] = []

    def read(self) -> Content:
        name = self._file_name()
        info = self._info_folder()
        metadata = self._metadata(info) if info else None
        if info:
            self._faults += self._record_faults(f"{info}/RECORD")
        if name and metadata and info:
            self._compare_names(name, metadata, info)
        manifest, package = self._manifest(metadata)
        modules = self._modules()
        self._check_modules(modules, package)
        inside = {part for file in self._archive.names for part in file.split("/")[:-1]}
        return Content(
            package=self._path / (package or ""),
            manifest=manifest,
            metadata=metadata,
            modules=modules,
            bundled=tuple(sorted(inside & _OURS)),
            tags=name.tags if name else frozenset(),
            faults=tuple(self._faults),
        )

    def _file_name(self) -> _Name | None:
        try:
            project, version, _, tags = parse_wheel_filename(self._path.name)
        except ValueError as error:
            self._add("TN-P002", "name-version-tags.whl", f"{self._path.name!r}: {error}", _AGAIN)
            return None
        return _Name(project, version, frozenset(str(tag) for tag in tags))

    def _info_folder(self) -> str | None:
        tops = {name.partition("/")[0] for name in self._archive.names if "/" in name}
        found = sorted(top for top in tops if top.endswith(".dist-info"))
        if len(found) != 1:
            self._add("TN-P002", "one .dist-info folder", ", ".join(found) or "none", _BUILD)
            return None
        return found[0]

    def _metadata(self, info: str) -> Metadata | None:
        text = self._text(f"{info}/METADATA")
        if text is None:
            return None
        headers = email.parser.HeaderParser().parsestr(text)
        name, version = headers["Name"], headers["Version"]
        if not name or not version:
            self._add("TN-P002", "Name and Version in METADATA", "one is absent", _BUILD)
            return None
        return Metadata(
            file=f"{info}/METADATA",
            name=str(name),
            version=str(version),
            requires_python=headers["Requires-Python"],
            requires=tuple(str(line) for line in headers.get_all("Requires-Dist", [])),
            entry_points=self._entry_points(f"{info}/entry_points.txt"),
        )

    def _entry_points(self, file: str) -> dict[str, str] | None:
        if file not in self._archive.names or (text := self._text(file)) is None:
            return None
        parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        try:
            parser.read_string(text)
        except configparser.Error as error:
            self._add("TN-P010", "entry points", f"{file}: {error.message}", _BUILD)
            return None
        group = "thenodes.plugins"
        return dict(parser[group]) if parser.has_section(group) else None

    def _record_faults(self, record: str) -> Iterator[Fault]:
        """TN-P003: where the files are not those that RECORD lists."""
        text = self._text(record)
        if text is None:
            return
        try:
            rows = [row for row in csv.reader(io.StringIO(text)) if row]
        except csv.Error as error:
            yield Fault("TN-P003", "a RECORD", f"{record}: {error}", _BUILD)
            return
        unseen = set(self._archive.names)
        for name, digest, *_ in (row for row in rows if len(row) > 1):
            if name not in unseen:
                yield Fault("TN-P003", f"{name!r}, as in RECORD", "no such file", _AGAIN)
                continue
            unseen.discard(name)
            if name != record and (problem := self._differs(name, digest)):
                yield Fault("TN-P003", "the hashes in RECORD", f"{name!r}: {problem}", _AGAIN)
        folder = posixpath.dirname(record)
        for name in sorted(unseen - {record, *(f"{folder}/{other}" for other in _UNLISTED)}):
            yield Fault("TN-P003", "the files in RECORD", f"{name!r} is not in it", _AGAIN)

    def _differs(self, name: str, digest: str) -> str | None:
        method, _, expected = digest.partition("=")
        if method not in _HASHES:
            return f"no hash by one of {', '.join(sorted(_HASHES))}"
        try:
            content = self._archive.read(name)
            wanted = base64.urlsafe_b64decode(expected + "=" * (-len(expected) % 4))
        except PluginLoadError as error:
            return error.received
        except (ValueError, binascii.Error):
            return "a hash that cannot be read"
        return None if hashlib.new(method, content).digest() == wanted else "another content"

    def _compare_names(self, name: _Name, metadata: Metadata, info: str) -> None:
        try:
            version = Version(metadata.version or "")
        except ValueError:
            shown = repr((metadata.version or "")[:_SHOWN])
            self._add("TN-P002", "a version", f"{shown} in {metadata.file}", _BUILD)
            return
        told = f"{metadata.name} {metadata.version}"
        folder = info.removesuffix(".dist-info")
        project, _, folder_version = folder.rpartition("-")
        if canonicalize_name(metadata.name) != name.project or version != name.version:
            self._add(
                "TN-P002",
                f"the file name of {told}, as METADATA says",
                f"{self._path.name!r}",
                "give the file its own name back",
            )
        if canonicalize_name(project) != name.project or not _is_version(folder_version, version):
            self._add("TN-P002", f"the .dist-info of {told}", f"{info!r}", _BUILD)

    def _manifest(self, metadata: Metadata | None) -> tuple[Manifest | None, str | None]:
        found = [name for name in self._archive.names if posixpath.basename(name) == MANIFEST_NAME]
        if len(found) != 1:
            received = f"more than one: {', '.join(found)}" if found else "none in the wheel"
            fix = "build one plugin a wheel" if found else "put it into the import package"
            self._add("TN-P010", f"one {MANIFEST_NAME}", received, fix)
            return None, None
        file = found[0]
        package = posixpath.dirname(file)
        if not package or "/" in package:
            self._add("TN-P010", f"package/{MANIFEST_NAME}", repr(file), "put it there")
            return None, None
        try:
            manifest = manifest_of(self._archive.read(file), file)
        except PluginLoadError as error:
            self._faults.append(Fault.of(error))
            return None, package
        self._faults += manifest_faults(manifest, metadata, package, file)
        return manifest, package

    def _modules(self) -> tuple[str, ...]:
        """What could be imported: packages by their folder, modules by their file."""
        found = set()
        for name in self._archive.names:
            top, _, below = name.partition("/")
            stem, _, ending = top.partition(".")
            if below and top.isidentifier():
                found.add(top)
            elif not below and ending.endswith(_MODULE_ENDINGS):
                found.add(stem)
        return tuple(sorted(found))

    def _check_modules(self, modules: tuple[str, ...], package: str | None) -> None:
        tops = {name.partition("/")[0] for name in self._archive.names if "/" in name}
        others = [name for name in modules if name != package]
        others += sorted(top for top in tops if top.endswith(".data"))
        if package and others:
            received = f"{', '.join(others)} beside it"
            fix = "move what the plugin needs into its package; leave tests and scripts out"
            self._add("TN-P010", f"one import package, {package!r}", received, fix)

    def _text(self, name: str) -> str | None:
        if name not in self._archive.names:
            self._add("TN-P002", name, "no such file in the wheel", _BUILD)
            return None
        try:
            content = self._archive.read(name)
            if len(content) > _TEXT_BYTES:
                self._add("TN-P002", f"at most {_TEXT_BYTES} bytes", f"{name}: more", _BUILD)
                return None
            return content.decode()
        except PluginLoadError as error:
            self._faults.append(Fault.of(error))
        except UnicodeDecodeError:
            self._add("TN-P002", "UTF-8", f"{name}: something else", _BUILD)
        return None

    def _add(self, code: str, expected: str, received: str, fix: str) -> None:
        self._faults.append(Fault(code, expected, received, fix))


def _is_version(text: str, version: Version) -> bool:
    try:
        return Version(text) == version
    except ValueError:
        return False
