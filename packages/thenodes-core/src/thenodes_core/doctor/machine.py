"""Checks of the machine and the process: versions, open files, room on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .finding import Finding, ok, problem, warning

__all__ = ["check_descriptors", "check_disk", "check_versions"]

_OTHER_DESCRIPTORS = 100
_LOW_BYTES = 1024**3
_FULL_BYTES = 64 * 1024**2
_MIB = 1024**2


def check_versions(
    python: tuple[int, int, int], oldest: tuple[int, int], versions: Mapping[str, str | None]
) -> Sequence[Finding]:
    """Python, and the libraries that the node stands on; None is one that is not installed."""
    running = ".".join(map(str, python))
    found = []
    if python[:2] < oldest:
        wanted = ".".join(map(str, oldest))
        found.append(
            problem("versions", f"Python {running}", f"install Python {wanted} or a newer one")
        )
    missing = [name for name, version in versions.items() if version is None]
    if missing:
        names = ", ".join(missing)
        found.append(problem("versions", f"{names} not installed", f"pip install {names}"))
    there = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    return found or [ok("versions", f"Python {running}, {there}")]


def check_descriptors(limit: int, max_sessions: int) -> Sequence[Finding]:
    """Whether so many peers can be connected as the settings say."""
    text = f"{limit} open files allowed, limits.max_sessions is {max_sessions}"
    if limit < max_sessions + _OTHER_DESCRIPTORS:
        fix = "raise that (ulimit -n, LimitNOFILE=), or lower limits.max_sessions"
        return [warning("descriptors", text, fix)]
    return [ok("descriptors", text)]


def check_disk(free_bytes: int, where: str) -> Sequence[Finding]:
    """Whether the node can go on writing."""
    text = f"{free_bytes // _MIB} MiB free"
    fix = "make room, or move node.state_dir to another disk"
    if free_bytes < _FULL_BYTES:
        return [problem("disk", text, fix, subject=where)]
    if free_bytes < _LOW_BYTES:
        return [warning("disk", text, fix, subject=where)]
    return [ok("disk", text, subject=where)]
