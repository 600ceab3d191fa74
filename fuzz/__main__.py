"""`python -m fuzz [--seconds N]`: every target in turn, from the test vectors on."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from thenodes_plugin_api import KINDS

ROOT = Path(__file__).parent.parent
VECTORS = ROOT / "tests" / "vectors"
INPUT_BYTES = 4096
SLOW_SECONDS = 10


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="of each target; default 60")
    seconds = parser.parse_args().seconds
    found = [name for name, seeds in targets().items() if not holds(name, seeds, seconds)]
    if not found:
        say("nothing found")
    return 1 if found else 0


def targets() -> dict[str, list[bytes]]:
    """Every target with its seeds."""
    return {"frames": list(frames()), "envelope": list(envelopes())}


def frames() -> Iterator[bytes]:
    for vector in load("messages"):
        frame = bytes.fromhex(vector["binary"])
        yield frame
        yield frame[4:]
    for vector in load("invalid")["binary"]:
        yield bytes.fromhex(vector["hex"])


def envelopes() -> Iterator[bytes]:
    for vector in [*load("messages"), *load("reference"), *load("invalid")["json"]]:
        yield vector["json"].encode()


def words() -> set[str]:
    """What an envelope is made of, for libFuzzer's dictionary."""
    names = {field.encode_name for kind in KINDS for field in msgspec.structs.fields(kind)}
    tokens = {kind.token for kind in KINDS}
    types = {"Text", "Json", "Binary", "Sealed", "Frame"}
    return names | tokens | types | {"from", "to", "msg_type", "payload", "type", "value", "realm"}


def holds(name: str, seeds: list[bytes], seconds: int) -> bool:
    """Run one target; False where it found something, whose input is then kept."""
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed[:INPUT_BYTES])
    dictionary = folder / "words"
    dictionary.write_text("".join(f'"\\"{word}\\""\n' for word in sorted(words())))
    say(f"{name}: {len(seeds)} seeds, {seconds} s")
    log = folder / "log"
    with log.open("wb") as output:
        ended = subprocess.run(
            [
                *(sys.executable, "-m", f"fuzz.{name}", str(corpus)),
                f"-max_total_time={seconds}",
                f"-max_len={INPUT_BYTES}",
                f"-timeout={SLOW_SECONDS}",
                f"-dict={dictionary}",
                f"-artifact_prefix={folder}/",
                "-print_final_stats=1",
            ],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    return report(name, folder, ended.returncode)


def report(name: str, folder: Path, code: int) -> bool:
    lines = (folder / "log").read_text(errors="replace").splitlines()
    say("\n".join(line for line in lines if line.startswith("stat::number_of_executed_units")))
    if code == 0:
        shutil.rmtree(folder)
        return True
    say("\n".join(lines[-40:]))
    for path in sorted(folder.glob("[cltos]*-*")):
        say(f"{name}: found {path}; again with: python -m fuzz.{name} {path}")
    say(f"{name}: exit code {code}, everything is in {folder}")
    return False


def load(name: str) -> list[dict[str, str]]:
    return json.loads((VECTORS / f"{name}.json").read_text())


def say(text: str) -> None:
    if text:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
