"""The gates: whether plugins may be loaded, decided before any of their code runs.

The host, `thenodes plugin check` and `thenodes plugin add` all ask here, so that they
say the same. Design: plugins.md, Gates.
"""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from thenodes_plugin_api import Manifest

from ..errors import PluginLoadError
from .abi import abi_faults
from .cache import unpack
from .names import Names
from .policy import GatePolicy
from .requirements import Requirements
from .signing import check_signature
from .source import Candidate, Content, Kind, Source
from .tree import read_installed, read_tree
from .verdict import Fault, Verdict
from .wheel import read_wheel

__all__ = ["Scan", "scan"]

_FAULTS_OF_A_CODE = 10


class Scan(msgspec.Struct, frozen=True):
    """What the gates said.

    Attributes:
        accepted: what may be loaded, in the order of the ids.
        verdicts: on every candidate, the accepted ones first, in that order.
    """

    accepted: Sequence[Source]
    verdicts: Sequence[Verdict]


class _Case:
    """A candidate before the gates."""

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self.content = _read(candidate)
        self.faults = list(self.content.faults)

    @property
    def manifest(self) -> Manifest | None:
        return self.content.manifest

    @property
    def plugin_id(self) -> str:
        return self.manifest.plugin.id if self.manifest else ""

    def release(self) -> None:
        """Let go of a wheel's bytes."""
        self.content = msgspec.structs.replace(self.content, wheel=None)


def scan(candidates: Sequence[Candidate], policy: GatePolicy) -> Scan:
    """Judge plugins; every fault of every one is found, and none of their code runs.

    Where two cannot both be loaded, the first in the order of ids is accepted, and of
    two with one id, the one that was named first. Accepted wheels are unpacked where the
    policy has a cache.
    """
    cases = sorted(_without_idle_defaults(candidates), key=lambda case: case.plugin_id)
    requirements = Requirements()
    for case in cases:
        if case.manifest is not None:
            requirements.add(case.plugin_id, case.content.metadata)
    for case in cases:
        case.faults += _own_faults(case, policy)
        case.faults += requirements.faults(case.content)
    names = Names(policy.reserved, policy.taken)
    accepted = [source for case in cases if (source := _accept(case, names, policy)) is not None]
    # Only now, when it is known what the sound ones took.
    rejected = [case for case in cases if case.faults]
    for case in rejected:
        if not any(fault.code == "TN-P030" for fault in case.faults):
            case.faults += names.faults(case.content)
    passed = [case for case in cases if not case.faults]
    return Scan(accepted, [_verdict(case) for case in [*passed, *rejected]])


def _without_idle_defaults(candidates: Sequence[Candidate]) -> list[_Case]:
    cases = [_Case(candidate) for candidate in candidates]
    named = {case.plugin_id for case in cases if not case.candidate.is_default}
    return [
        case
        for case in cases
        if not (case.candidate.is_default and case.plugin_id and case.plugin_id in named)
    ]


def _accept(case: _Case, names: Names, policy: GatePolicy) -> Source | None:
    content, candidate = case.content, case.candidate
    if not case.faults:
        case.faults += names.faults(content)
    package = content.package
    if not case.faults and content.wheel is not None and policy.cache is not None:
        try:
            package = unpack(content.wheel, policy.cache) / package.name
        except PluginLoadError as error:
            case.faults.append(Fault.of(error))
    case.release()
    if case.faults or content.manifest is None:
        return None
    names.take(content)
    return Source(candidate.origin, package, content.manifest, candidate, content.sha256)


def _verdict(case: _Case) -> Verdict:
    candidate, manifest = case.candidate, case.manifest
    is_named_alone = candidate.directory is None and candidate.kind is not Kind.INSTALLED
    return Verdict(
        origin=candidate.origin,
        id=manifest.plugin.id if manifest else None,
        version=manifest.plugin.version if manifest else None,
        file=str(candidate.path),
        sha256=case.content.sha256,
        faults=_in_order(case.faults),
        warnings=tuple(_open_to_others(candidate.path)) if is_named_alone else (),
    )


def _in_order(faults: Sequence[Fault]) -> tuple[Fault, ...]:
    """Each once, by code; of one code not more than a person reads, for a file can have any."""
    in_order: list[Fault] = []
    by_code = sorted(dict.fromkeys(faults), key=lambda fault: fault.code)
    for code, group in itertools.groupby(by_code, key=lambda fault: fault.code):
        alike = list(group)
        in_order += alike[:_FAULTS_OF_A_CODE]
        if more := alike[_FAULTS_OF_A_CODE:]:
            told = f"{len(more)} more faults of this kind"
            in_order.append(Fault(code, more[0].expected, told, more[0].fix))
    return tuple(in_order)


def _read(candidate: Candidate) -> Content:
    if candidate.fault is not None:
        return Content(package=candidate.path, faults=(candidate.fault,))
    if candidate.kind is Kind.WHEEL:
        return read_wheel(candidate)
    return read_installed(candidate) if candidate.kind is Kind.INSTALLED else read_tree(candidate)


def _own_faults(case: _Case, policy: GatePolicy) -> Iterator[Fault]:
    candidate, content = case.candidate, case.content
    for problem in _open_to_others(candidate.directory, candidate.path, content.package):
        if candidate.directory is not None:
            path = problem.partition(":")[0]
            yield Fault("TN-P001", "what only its owner can write", problem, f"chmod go-w {path}")
    if content.wheel is not None:
        yield from check_signature(content.wheel, content.signature, policy)
    elif policy.verify_signatures and candidate.kind is not Kind.WHEEL:
        received = f"{candidate.origin}: no wheel, so nothing that could be signed"
        fix = "build and sign it: thenodes plugin build, thenodes plugin sign"
        yield Fault("TN-P004", "a wheel with a signature", received, fix)
    manifest = case.manifest
    if manifest is not None:
        yield from _allow_faults(manifest, policy)
        yield from _lock_faults(manifest, case, policy)
        plugin = manifest.plugin
        yield from abi_faults(plugin.id, plugin.abi, plugin.abi_revision)
        yield from _block_faults(manifest, policy)


def _open_to_others(*paths: Path | None) -> Iterator[str]:
    """Which of these others can write, each with its mode; nothing where modes say nothing."""
    if os.name != "posix":
        return
    for path in dict.fromkeys(path for path in paths if path is not None):
        try:
            found = path.stat()
        except OSError:
            continue
        if stat.S_IMODE(found.st_mode) & 0o022:
            yield f"{path}: others can write it (mode {stat.S_IMODE(found.st_mode):04o})"
        elif found.st_uid not in (0, os.geteuid()):
            yield f"{path}: it belongs to another user (uid {found.st_uid})"


def _allow_faults(manifest: Manifest, policy: GatePolicy) -> Iterator[Fault]:
    plugin_id = manifest.plugin.id
    if policy.allowed is not None and plugin_id not in policy.allowed:
        expected = f"one of [plugins] allowed: {', '.join(sorted(policy.allowed)) or 'none'}"
        yield Fault("TN-P001", expected, f"the id {plugin_id!r}", f'add "{plugin_id}" to it')


def _lock_faults(manifest: Manifest, case: _Case, policy: GatePolicy) -> Iterator[Fault]:
    locked = policy.lock.get(manifest.plugin.id)
    if locked is not None and locked.sha256 != case.content.sha256:
        sha256 = case.content.sha256
        received = f"sha256 {sha256}" if sha256 else f"{case.candidate.origin}, which is no wheel"
        expected = f"sha256 {locked.sha256} of {locked.file}, as in plugins.lock"
        fix = f"get that file, or agree to this one: thenodes plugin add {case.candidate.path}"
        yield Fault("TN-P003", expected, received, fix)


def _block_faults(manifest: Manifest, policy: GatePolicy) -> Iterator[Fault]:
    plugin = manifest.plugin
    for block in policy.blocked:
        if block.id == plugin.id and _covers(block.versions, plugin.version):
            versions = f" {block.versions}" if block.versions else ""
            why = f": {block.reason}" if block.reason else ""
            received = f"{plugin.id} {plugin.version}{why}"
            expected = f"anything but {plugin.id}{versions}, which is blocked"
            fix = "get another version, or take it from [plugins] blocked"
            yield Fault("TN-P050", expected, received, fix)


def _covers(versions: str, version: str) -> bool:
    """Whether a block holds; what cannot be compared is blocked."""
    try:
        return SpecifierSet(versions).contains(version, prereleases=True)
    except (InvalidSpecifier, ValueError):
        return True
