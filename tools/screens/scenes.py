"""What the pictures show: who is there, and what an operator types."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import msgspec

from thenodes_core.control.client import ask

from .terminal import Terminal

__all__ = ["SCENES", "Scene", "Stage"]

_KVSTORE = Path(__file__).parents[2] / "examples" / "kvstore_plugin"
_THENODES = (sys.executable, "-m", "thenodes_cli")
_PATIENCE_SECONDS = 20.0
_AT_THE_PROMPT = r"thenodes> $"


class Stage:
    """Other nodes, which end with the context.

    Args:
        home: Where their state directories are.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        shutil.copytree(_KVSTORE, home / "kvstore_plugin", ignore=shutil.ignore_patterns("__*__"))
        self._running: list[subprocess.Popen[bytes]] = []
        self._over = threading.Event()
        self._busy: list[threading.Thread] = []

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._over.set()
        for thread in self._busy:
            thread.join(_PATIENCE_SECONDS)
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.wait(_PATIENCE_SECONDS)

    def node(self, name: str, *options: str) -> str:
        """Start a node of that id; the address where it listens."""
        state_dir = self.home / name
        config = self.home / f"{name}.toml"
        config.write_text(
            f'[node]\nid = "{name}"\nstate_dir = "{name}"\n\n'
            '[plugins]\npaths = ["kvstore_plugin"]\n'
        )
        self._running.append(
            subprocess.Popen(
                [*_THENODES, "run", "--config", str(config), "--port", "0", *options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
        end = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < end:
            asked = subprocess.run(
                [*_THENODES, "exec", "--state-dir", str(state_dir), "--json", "status"],
                capture_output=True,
                text=True,
                check=False,
            )
            if asked.returncode == 0:
                return _listening(asked.stdout)
            time.sleep(0.1)
        raise TimeoutError(f"{name} did not start")

    def busy(self, name: str) -> None:
        """Let that node put values into its store, some dozens a second."""
        thread = threading.Thread(target=self._puts, args=(self.home / name,), daemon=True)
        self._busy.append(thread)
        thread.start()

    def _puts(self, state_dir: Path) -> None:
        count = 0
        while not self._over.wait(0.02):
            count += 1
            asyncio.run(ask(state_dir, f"kvstore put reading-{count % 100} {count} degrees"))


def _listening(status: str) -> str:
    return str(msgspec.json.decode(status)["listening"]).rpartition("/")[2]


@dataclass(frozen=True)
class Scene:
    """One picture.

    Args:
        title: What it shows, in a few words.
        play: Does what is to be seen.
        columns: Of the terminal.
        lines: Of the terminal.
        end: What is typed when the picture is taken, where the program has more to end than itself.
    """

    title: str
    play: Callable[[Stage, Terminal], None]
    columns: int = 100
    lines: int = 24
    end: str = ""


def _at_home(stage: Stage, terminal: Terminal) -> None:
    """A node with two peers, at its prompt."""
    hub = stage.node("kitchen")
    other = stage.node("garden", "--bootstrap", hub)
    Path(stage.home / "study.toml").write_text(
        f'bootstrap_nodes = ["{hub}", "{other}"]\n\n'
        f'[node]\nid = "study"\nstate_dir = "study"\n\n[plugins]\npaths = ["kvstore_plugin"]\n'
    )
    terminal.run("thenodes run --config study.toml --port 0 --prompt", _AT_THE_PROMPT)
    terminal.wait("garden")
    terminal.rest(1.0)


def _first_run(stage: Stage, terminal: Terminal) -> None:
    terminal.run("thenodes run --prompt --port 0", _AT_THE_PROMPT)
    terminal.rest(1.0)


def _completion(stage: Stage, terminal: Terminal) -> None:
    _at_home(stage, terminal)
    terminal.type("pe", each_seconds=0.3)
    terminal.wait("peers +list")
    terminal.rest(0.5)


def _peers(stage: Stage, terminal: Terminal) -> None:
    _at_home(stage, terminal)
    terminal.type("\x0c")
    terminal.run("peers", r"garden[\s\S]*thenodes> ")
    terminal.rest(0.5)


def _top(stage: Stage, terminal: Terminal) -> None:
    _at_home(stage, terminal)
    stage.busy("garden")
    stage.busy("kitchen")
    terminal.type("\x0c")
    terminal.run("top", "garden")
    terminal.rest(6.0)


def _doctor(stage: Stage, terminal: Terminal) -> None:
    hub = stage.node("kitchen")
    Path(stage.home / "node.toml").write_text(
        f'bootstrap_nodes = ["{hub}", "127.0.0.1:9"]\n\n[node]\nid = "study"\n'
    )
    terminal.type("thenodes doctor --config node.toml\r")
    terminal.wait(r"\n\$ $", seconds=60)


def _demo(stage: Stage, terminal: Terminal) -> None:
    terminal.type("thenodes demo\r")
    terminal.wait("Press Enter", seconds=60)


SCENES = {
    "first-run": Scene("thenodes run --prompt, for the first time", _first_run, lines=16),
    "completion": Scene("completion at the prompt", _completion, lines=14),
    "peers": Scene("peers", _peers, columns=100, lines=14),
    "top": Scene("top", _top, columns=110, lines=18),
    "doctor": Scene("thenodes doctor", _doctor, columns=132, lines=30),
    "demo": Scene("thenodes demo", _demo, columns=116, lines=54, end="\r"),
}
