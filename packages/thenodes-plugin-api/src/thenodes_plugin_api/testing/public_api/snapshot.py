"""The snapshot, and what the numbers of the ABI and the changelog have to say of changes."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from ... import PLUGIN_ABI_REVISION, PLUGIN_ABI_VERSION
from .changes import Change, Level, changes
from .describe import Api

__all__ = ["Snapshot", "problems", "take"]


class Snapshot(msgspec.Struct, frozen=True):
    """The API at one time.

    Attributes:
        generation: of the ABI.
        revision: of the ABI.
        released: what the newest release had; changes are measured against that. Empty
            before the first release, when nobody's plugin can break.
        names: what there is.
    """

    generation: int
    revision: int
    names: Api
    released: Api = {}
    released_abi: tuple[int, int] = (0, 0)

    @classmethod
    def read(cls, text: bytes) -> Snapshot:
        """Read a snapshot."""
        return msgspec.json.decode(text, type=cls)

    def write(self) -> bytes:
        """Return the file's content."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def take(names: Api, before: Snapshot | None, *, release: bool = False) -> Snapshot:
    """Take a snapshot of the API as it is.

    Args:
        names: from `describe`.
        before: the snapshot until now.
        release: note that this is what is released now.
    """
    abi = (PLUGIN_ABI_VERSION, PLUGIN_ABI_REVISION)
    if release:
        return Snapshot(*abi, names, names, abi)
    released = ({}, (0, 0)) if before is None else (before.released, before.released_abi)
    return Snapshot(*abi, names, *released)


def problems(snapshot: Snapshot, names: Api, changelog: str, *, abi: tuple[int, int]) -> list[str]:
    """Say what keeps the snapshot, the code, the numbers and the changelog from agreeing.

    Args:
        snapshot: what is checked in.
        names: what the code has.
        changelog: text of CHANGELOG.md.
        abi: generation and revision of the code.
    """
    found = []
    new = changes(snapshot.names, names)
    if new:
        found.append(_unrecorded(new))
    if abi != (snapshot.generation, snapshot.revision):
        found.append(
            f"the snapshot is of ABI {snapshot.generation}.{snapshot.revision}, "
            f"the code of {abi[0]}.{abi[1]}: take a new one"
        )
    since = changes(snapshot.released, names) if snapshot.released else []
    level = max((change.level for change in since), default=Level.PATCH)
    if not _is_enough(snapshot.released_abi, abi, level):
        shown = "\n".join(f"    {change}" for change in since if change.level is level)
        number = "PLUGIN_ABI_VERSION" if level is Level.GENERATION else "PLUGIN_ABI_REVISION"
        found.append(
            f"since ABI {snapshot.released_abi[0]}.{snapshot.released_abi[1]} was released, there "
            f"are changes that raise the {level.name.lower()}:\n{shown}\n"
            f"  raise {number} in abi.py and the version in _version.py"
        )
    return found + list(_unsaid({change.name for change in [*new, *since]}, changelog, abi))


def _unrecorded(new: list[Change]) -> str:
    lines = "\n".join(f"    {change}" for change in new)
    return (
        f"the public API has changed:\n{lines}\n"
        "  a generation raises PLUGIN_ABI_VERSION and the major version, a revision "
        "PLUGIN_ABI_REVISION and the minor;\n  then say so in CHANGELOG.md and run: make api"
    )


def _is_enough(released: tuple[int, int], abi: tuple[int, int], level: Level) -> bool:
    if level is Level.GENERATION:
        return abi[0] > released[0]
    return abi > released if level is Level.REVISION else abi >= released


def _unsaid(names: set[str], changelog: str, abi: tuple[int, int]) -> Iterator[str]:
    section = re.search(rf"^## {abi[0]}\.{abi[1]}\..*?(?=^## |\Z)", changelog, re.M | re.S)
    text = "" if section is None else section[0]
    if f"generation {abi[0]}, revision {abi[1]}" not in text:
        yield (
            f"CHANGELOG.md has no section {abi[0]}.{abi[1]}.x that says "
            f"'generation {abi[0]}, revision {abi[1]}'"
        )
    for name in sorted(names):
        if not re.search(rf"\b{re.escape(name)}\b", text):
            yield f"CHANGELOG.md, section {abi[0]}.{abi[1]}.x, does not mention {name}"
