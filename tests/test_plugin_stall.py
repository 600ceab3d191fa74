"""A node in a process of its own, whose plugin holds the event loop."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from .nodes import THENODES, with_config

PLUGIN = """import time
from thenodes_plugin_api import Plugin

class Holder(Plugin):
    abi = 1

    async def on_start(self, ctx):
        ctx.spawn(self.hold())

    async def hold(self):
        crunch()

def crunch():
    while True:
        time.sleep(0.01)

def register_plugin(api):
    api.register_plugin(Holder())
"""
MANIFEST = """manifest = 1
[plugin]
id = "holder"
version = "0.1.0"
entry = "thenodes_holder:register_plugin"
abi = 1
"""


def run_holder(tmp_path: Path, stall: str) -> subprocess.Popen[str]:
    package = tmp_path / "holder" / "src" / "thenodes_holder"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(PLUGIN)
    (package / "thenodes-plugin.toml").write_text(MANIFEST)
    config = with_config(tmp_path / "node.toml", f'port = 0\n[plugins]\nstall = "{stall}"\n')
    words = (
        "run",
        "--log-format",
        "text",
        *config,
        "--state-dir",
        str(tmp_path / "s"),
        "--plugin",
        str(package),
    )
    return subprocess.Popen([*THENODES, *words], stderr=subprocess.PIPE, text=True)


def test_a_node_that_is_told_to_ends_with_70_and_says_who_held_it(tmp_path: Path) -> None:
    process = run_holder(tmp_path, "exit")

    _, told = process.communicate(timeout=30)

    assert process.returncode == 70
    assert "plugin holder: background work holds the event loop" in told
    assert "__init__.py" in told
    assert "crunch" in told
    assert "the node ends with 70, since plugins.stall is exit" in told


def test_otherwise_the_plugin_is_named_soon_and_the_process_goes_on(
    tmp_path: Path,
) -> None:
    process = run_holder(tmp_path, "report")
    assert process.stderr is not None

    try:
        for line in process.stderr:
            if "Loaded plugin" in line:
                loaded = time.monotonic()
            if "plugin holder: background work holds the event loop" in line:
                break
        named = time.monotonic()
        alive = process.poll() is None
    finally:
        process.kill()
        process.communicate()

    assert alive
    # Two seconds, and what lies between loading a plugin and starting it.
    assert named - loaded < 5.0
