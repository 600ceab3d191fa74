"""`python -m fuzz [--seconds N]`: every target in turn, from the test vectors on."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from .seeds import envelopes, frames, words

ROOT = Path(__file__).parent.parent
TARGETS: dict[str, Callable[[], Iterable[bytes]]] = {"frames": frames, "envelope": envelopes}
INPUT_BYTES = 4096
SLOW_SECONDS = 10
LAST_LINES = 40


def main() -> int:
    """Run all; 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="of each target; default 60")
    seconds = parser.parse_args().seconds
    found = [name for name in TARGETS if not holds(name, seconds)]
    say(f"found something: {', '.join(found)}" if found else "nothing found")
    return 1 if found else 0


def holds(name: str, seconds: int) -> bool:
    """Run one target; where it found something, say where the input lies, and False."""
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(TARGETS[name]()):
        (corpus / f"seed-{number}").write_bytes(seed[:INPUT_BYTES])
    (folder / "words").write_text("".join(f'"\\"{word}\\""\n' for word in words()))
    say(f"{name}: {seconds} s")
    with (folder / "log").open("wb") as log:
        command = [
            *(sys.executable, "-m", f"{__package__}.{name}", str(corpus)),
            f"-max_total_time={seconds}",
            f"-max_len={INPUT_BYTES}",
            f"-timeout={SLOW_SECONDS}",
            f"-dict={folder}/words",
            f"-artifact_prefix={folder}/found-",
            "-print_final_stats=1",
        ]
        ended = subprocess.run(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, check=False)
    lines = (folder / "log").read_text(errors="replace").splitlines()
    if ended.returncode == 0:
        say(*(f"{name}: {line}" for line in lines if "number_of_executed_units" in line))
        shutil.rmtree(folder)
        return True
    say(*lines[-LAST_LINES:], f"{name}: ended with {ended.returncode}; all of it is in {folder}")
    for path in sorted(folder.glob("found-*")):
        say(f"{name}: found {path}", f"again: {sys.executable} -m {__package__}.{name} {path}")
    return False


def say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
