"""Take the snapshot of the public API: `make api`."""

from __future__ import annotations

import sys
from pathlib import Path

import thenodes_plugin_api
from thenodes_plugin_api import PLUGIN_ABI_REVISION, PLUGIN_ABI_VERSION

from .describe import describe
from .snapshot import Snapshot, problems, take

_USAGE = "usage: python -m thenodes_plugin_api.testing.public_api [--release] api.json CHANGELOG.md"


def main(arguments: list[str]) -> int:
    """Write the snapshot, unless numbers or changelog do not say what has changed."""
    release = "--release" in arguments
    files = [Path(word) for word in arguments if word != "--release"]
    if len(files) != 2:
        sys.stderr.write(f"{_USAGE}\n")
        return 2
    path, changelog = files
    before = Snapshot.read(path.read_bytes()) if path.exists() else None
    names = describe(thenodes_plugin_api)
    snapshot = take(names, before, release=release)
    abi = PLUGIN_ABI_VERSION, PLUGIN_ABI_REVISION
    if before is not None:
        # The changes since the last snapshot have to be told, those since the release counted.
        measured = Snapshot(*abi, before.names, before.released, before.released_abi)
        told = problems(measured, names, changelog.read_text(encoding="utf-8"), abi=abi)
        open_ones = [problem for problem in told if not problem.startswith("the public API has")]
        if open_ones:
            sys.stderr.write("".join(f"{problem}\n" for problem in open_ones))
            return 1
    path.write_bytes(snapshot.write())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
