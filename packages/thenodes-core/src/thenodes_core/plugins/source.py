"""Plugins before and after the gates, and what is read of them; nothing of theirs is run."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from pathlib import Path

import msgspec

from thenodes_plugin_api import Manifest

from .verdict import Fault

__all__ = ["Candidate", "Content", "Kind", "Metadata", "Source"]


class Kind(enum.StrEnum):
    """In which form a plugin comes."""

    WHEEL = "wheel"
    TREE = "tree"
    INSTALLED = "installed"
    UNKNOWN = "unknown"


class Candidate(msgspec.Struct, frozen=True):
    """Something that may be a plugin.

    Attributes:
        origin: what the operator called it.
        path: the wheel, or the folder.
        kind: its form.
        directory: the plugins directory that it was found in; None where the operator
            named it alone.
        entry_point: name of the entry point of one that is installed.
        fault: why nothing of it can be read.
        is_default: whether it gives way to any other of its id.
    """

    origin: str
    path: Path
    kind: Kind
    directory: Path | None = None
    entry_point: str | None = None
    fault: Fault | None = None
    is_default: bool = False


class Metadata(msgspec.Struct, frozen=True):
    """What a distribution says about itself.

    Attributes:
        file: where it says so.
        name: of the distribution.
        version: None where it is not written down but computed.
        requires_python: version specifiers, or None.
        requires: its requirements; None where they are computed.
        entry_points: those in the group `thenodes.plugins`, by name; None where the
            group is absent.
    """

    file: str
    name: str
    version: str | None
    requires_python: str | None
    requires: tuple[str, ...] | None
    entry_points: Mapping[str, str] | None


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What was read of a candidate.

    Attributes:
        package: the folder of its import package; of a wheel, as if that were a folder.
        manifest: None where there is none that can be used.
        metadata: of its distribution, where there is one.
        modules: top-level modules that it brings.
        bundled: packages of TheNodes' own inside it.
        tags: platforms that a wheel is for; empty for all.
        wheel: a wheel's bytes.
        sha256: of them, hex.
        signature: content of the signature file.
        faults: what was found on the way.
    """

    package: Path
    manifest: Manifest | None = None
    metadata: Metadata | None = None
    modules: tuple[str, ...] = ()
    bundled: tuple[str, ...] = ()
    tags: frozenset[str] = frozenset()
    wheel: bytes | None = None
    sha256: str | None = None
    signature: bytes | None = None
    faults: tuple[Fault, ...] = ()


class Source(msgspec.Struct, frozen=True):
    """A plugin that passed the gates.

    Attributes:
        origin: what the operator called it.
        package: the folder of its import package. A wheel's is in the cache, or, where
            the policy has no cache, nowhere.
        manifest: what it says about itself.
        candidate: what it was before.
        sha256: of a wheel, hex.
    """

    origin: str
    package: Path
    manifest: Manifest
    candidate: Candidate
    sha256: str | None = None
