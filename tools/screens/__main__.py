"""Takes the pictures: `python -m tools.screens FOLDER [NAME]…`, all where none is named."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from .picture import picture
from .scenes import SCENES, Stage
from .terminal import NotShown, Terminal


def main() -> int:
    """Take what is asked for; the exit code."""
    parser = argparse.ArgumentParser(description="Takes pictures of the prompt for the docs.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SCENES))
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(SCENES):
        parser.error(f"no picture {', '.join(sorted(unknown))}; there are {', '.join(SCENES)}")
    asked.folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in asked.names or SCENES:
        try:
            _take(name, asked.folder / f"{name}.svg")
        except NotShown as error:
            print(f"{name}: {error}", file=sys.stderr)  # noqa: T201
            failed += 1
    return 1 if failed else 0


def _take(name: str, file: Path) -> None:
    scene = SCENES[name]
    with tempfile.TemporaryDirectory(prefix="thenodes-") as folder:
        home = Path(folder)
        with (
            Stage(home) as stage,
            Terminal(home, _environment(home), scene.columns, scene.lines) as terminal,
        ):
            terminal.type("clear\r")
            terminal.rest(0.3)
            scene.play(stage, terminal)
            file.write_text(picture(terminal.screen, scene.title))
            if scene.end:
                terminal.run(scene.end.rstrip("\r"), r"\n\$ $")


def _environment(home: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(home), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


if __name__ == "__main__":
    sys.exit(main())
