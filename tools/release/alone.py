"""Installs a package by itself, from the wheel of its sdist, with the oldest siblings it takes."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from .workspace import Package, ReleaseError

__all__ = ["build", "lowest", "siblings_of", "try_alone"]

_NODE = """
import asyncio
from thenodes_core import Config, Node

async def main():
    async with Node(Config(port=0)) as node:
        assert node.address

asyncio.run(main())
"""

_TRIALS: Mapping[str, Sequence[Sequence[str]]] = {
    "thenodes-core": [["python", "-W", "error", "-c", _NODE]],
    "thenodes-cli": [["thenodes", "version"], ["thenodes", "new-plugin", "my", "--defaults"]],
}
"""What is run of a package, beside importing it."""


def lowest(versions: SpecifierSet) -> Version:
    """The oldest version that a range takes.

    Raises:
        ReleaseError: it has no lower end.
    """
    ends = [Version(part.version) for part in versions if part.operator in (">=", "==", "~=")]
    if not ends:
        raise ReleaseError(f"{str(versions)!r} has no lower end; expected one such as >=0.1,<0.2")
    return max(ends)


def siblings_of(packages: Mapping[str, Package], package: Package) -> Mapping[str, Version]:
    """Every sibling that a package brings, its own siblings' too, in the oldest version taken.

    Raises:
        ReleaseError: a range has no lower end, or takes no such version.
    """
    wanted: dict[str, list[SpecifierSet]] = {}
    waiting = [package]
    while waiting:
        for name, versions in waiting.pop().siblings.items():
            wanted.setdefault(name, []).append(versions)
            waiting.append(packages[name])
    found = {name: max(map(lowest, ranges)) for name, ranges in wanted.items()}
    for name, version in found.items():
        if any(not versions.contains(version, prereleases=True) for versions in wanted[name]):
            ranges = " and ".join(str(versions) for versions in wanted[name])
            raise ReleaseError(f"{package.name}: no version of {name} is within {ranges}")
    return found


def build(folder: Path, into: Path) -> Path:
    """Build an sdist of a package, and of that its wheel; returns the wheel.

    Raises:
        ReleaseError: that failed.
    """
    into.mkdir(parents=True, exist_ok=True)
    before = set(into.glob("*.whl"))
    _run([sys.executable, "-m", "build", "--quiet", "--outdir", str(into), str(folder)])
    made = set(into.glob("*.whl")) - before
    if len(made) != 1:
        raise ReleaseError(f"{into}: expected one new wheel of {folder}, got {len(made)}")
    return made.pop()


def try_alone(root: Path, packages: Mapping[str, Package], package: Package, work: Path) -> str:
    """Install a package into an environment of its own, and run it; returns what was tried.

    Raises:
        ReleaseError: it cannot be built, installed or run.
    """
    needed = siblings_of(packages, package)
    wheels = work / "wheels"
    files = {name: _wheel(root, packages[name], needed[name], wheels) for name in needed}
    files[package.name] = _wheel(root, package, package.version, wheels)
    environment = work / f"alone-{package.name}"
    shutil.rmtree(environment, ignore_errors=True)
    venv.create(environment, with_pip=True)
    programs = environment / "bin"
    pip = [str(programs / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, *map(str, files.values())])
    _run([str(programs / "pip"), "check"])
    _run([str(programs / "python"), "-W", "error", "-c", f"import {package.module}"], cwd=work)
    for program, *words in _TRIALS.get(package.name, ()):
        _run([str(programs / program), *words], cwd=work)
    shown = ", ".join(f"{name} {needed[name]}" for name in needed) or "no siblings"
    return f"{package.name} {package.version} with {shown}"


def _wheel(root: Path, package: Package, version: Version, wheels: Path) -> Path:
    """The wheel of that version: of this tree, or of the tree that its tag names."""
    made = wheels / f"{package.name}-{version}"
    found = sorted(made.glob("*.whl"))
    if found:
        return found[0]
    if version == package.version:
        return build(package.folder, made)
    tree = wheels / f"tree-{package.name}-{version}"
    _run(
        [
            "git",
            "-C",
            str(root),
            "worktree",
            "add",
            "--detach",
            str(tree),
            _tag(root, package, version),
        ]
    )
    try:
        return build(tree / "packages" / package.name, made)
    finally:
        _run(["git", "-C", str(root), "worktree", "remove", "--force", str(tree)])


def _tag(root: Path, package: Package, version: Version) -> str:
    """The tag of that version, which may be written as 1.0 where it is 1.0.0."""
    prefix = f"{package.name}-v"
    tags = _run(["git", "-C", str(root), "tag", "--list", f"{prefix}*"]).split()
    for tag in tags:
        if Version(tag.removeprefix(prefix)) == version:
            return tag
    raise ReleaseError(
        f"{package.name} is at {package.version}, and of {version}, the oldest that is taken, "
        "there is no tag: fetch the tags, or raise the lower end of the range"
    )


def _run(words: Sequence[str], *, cwd: Path | None = None) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        told = "\n".join((done.stdout + done.stderr).strip().splitlines()[-20:])
        raise ReleaseError(f"{' '.join(words[:6])} failed with {done.returncode}:\n{told}")
    return done.stdout
