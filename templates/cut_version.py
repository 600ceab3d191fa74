"""Cuts a version of the plugin template: a commit and a tag in the bundle of its history.

    python templates/cut_version.py 1.1.0

The same folder, bundle and version give the same commits: author and date are fixed, and no
setting of the person's git is read. `thenodes update-plugin` updates from the bundle.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent / "nep-plugin"
BUNDLE = Path(__file__).parent / "nep-plugin.bundle"

_WHO = {"NAME": "TheNodes", "EMAIL": "noreply@thenodes.invalid", "DATE": "2026-01-01T00:00:00Z"}


def cut(version: str, folder: Path = FOLDER, bundle: Path = BUNDLE) -> str:
    """Add the folder to the bundle as a version; returns its tag.

    Args:
        version: such as `"1.1.0"`, newer than those in the bundle.
        folder: the template.
        bundle: the history; made where it is missing.

    Raises:
        ValueError: not a version, not newer, or nothing has changed.
    """
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise ValueError(f"{version!r} is not a version; expected one such as 1.1.0")
    with tempfile.TemporaryDirectory() as temporary:
        history = Path(temporary) / "history.git"
        _git(history.parent, "init", "--quiet", "--bare", "--initial-branch=main", str(history))
        if bundle.exists():
            _git(history, "fetch", "--quiet", str(bundle.absolute()), "refs/*:refs/*")
            _check_newer(version, _git(history, "tag").split())
        _commit(history, folder, version)
        _git(
            history, "bundle", "create", "--quiet", str(bundle.absolute()), "HEAD", "main", "--tags"
        )
    return f"v{version}"


def _check_newer(version: str, tags: list[str]) -> None:
    newest = max(_numbers(tag.removeprefix("v")) for tag in tags)
    if _numbers(version) <= newest:
        shown = ".".join(map(str, newest))
        raise ValueError(f"{version} is not newer than {shown}, which is in the bundle")


def _commit(history: Path, folder: Path, version: str) -> None:
    # --force: a template holds a .gitignore, which is for what is made of it.
    _git(history, f"--work-tree={folder.absolute()}", "add", "--all", "--force", ".")
    message = f"Template {version}"
    parents = _git(history, "rev-parse", "--verify", "--quiet", "main", check=False).split()
    tree = _git(history, "write-tree").strip()
    if parents and tree == _git(history, "rev-parse", "main^{tree}").strip():
        raise ValueError(f"nothing has changed since the version before {version}")
    options = [option for parent in parents for option in ("-p", parent)]
    commit = _git(history, "commit-tree", tree, *options, "-m", message).strip()
    _git(history, "update-ref", "refs/heads/main", commit)
    _git(history, "tag", "--annotate", "--message", message, f"v{version}", commit)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _git(where: Path, *words: str, check: bool = True) -> str:
    environment = {name: value for name, value in os.environ.items() if name[:4] != "GIT_"}
    for role in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{role}_{key}": value for key, value in _WHO.items()}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    settings = ("core.autocrlf=false", "core.fileMode=false", "pack.threads=1")
    options = [option for setting in settings for option in ("-c", setting)]
    git_dir = [f"--git-dir={where}"] if where.suffix == ".git" else []
    done = subprocess.run(
        ["git", *options, *git_dir, *words],
        cwd=where,
        env=environment,
        check=check,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    return done.stdout


def main() -> None:
    """Cut the version that is named, or say why not."""
    if len(sys.argv) != 2:
        sys.exit("usage: python templates/cut_version.py VERSION")
    try:
        sys.stdout.write(f"{cut(sys.argv[1])} is in {BUNDLE.name}\n")
    except ValueError as error:
        sys.exit(f"error: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: git failed: {error.stderr.strip()}")


if __name__ == "__main__":
    main()
