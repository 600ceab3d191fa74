"""What `check_plugin` finds, each fault by a plugin that has it."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from thenodes_plugin_api.testing import NonConformance, check_plugin

WritePlugin = Callable[..., Path]

MANIFEST = """
manifest = 1
[plugin]
id = "made"
version = "0.1.0"
entry = "{package}:register_plugin"
abi = 1
[prompt]
prefix = "made"
commands = [{{ name = "status" }}]
[messages]
handles = ["made.*", "single"]
"""

CODE = """
from thenodes_plugin_api import *

class Made(Plugin):
    abi = 1
    prompt_prefix = "made"
{body}

{before}
def register_plugin(api):
    api.register_plugin({made})
"""

SOUND = """
async def on_message(self, message, ctx):
    if isinstance(message.body, Extension) and message.payload is not None:
        message.payload.as_json(dict)
        if message.body.request_id:
            await ctx.reply(message, message.payload)
async def on_prompt(self, line, ctx):
    await ctx.broadcast(Extension("made.hello"), Payload.json({}))
    return "usage: status"
"""

_numbers = itertools.count()


@pytest.fixture
def write() -> Iterator[WritePlugin]:
    """Writes a plugin's package into a folder and returns that."""
    packages: list[str] = []

    def write(folder: Path, body: str = "", *, before: str = "", made: str = "Made()") -> Path:
        package = f"thenodes_checked_{next(_numbers)}"
        packages.append(package)
        (folder / package).mkdir()
        (folder / package / "thenodes-plugin.toml").write_text(MANIFEST.format(package=package))
        lines = "".join(f"    {line}\n" for line in body.splitlines())
        code = CODE.format(body=lines, before=before, made=made)
        (folder / package / "__init__.py").write_text(code)
        return folder

    yield write
    for package in packages:
        sys.modules.pop(package, None)


async def test_a_sound_plugin_passes(write: WritePlugin, tmp_path: Path) -> None:
    await check_plugin(write(tmp_path, SOUND))


async def test_a_plugin_that_does_nothing_passes(write: WritePlugin, tmp_path: Path) -> None:
    await check_plugin(write(tmp_path))


@pytest.mark.parametrize(
    ("hook", "expected"),
    [
        (
            "async def on_message(self, message, ctx): message.payload.as_text()",
            "on_message raised AttributeError.* for TEXT with no payload",
        ),
        (
            (
                "async def on_message(self, message, ctx):\n"
                "    if message.body == Extension('made.check'):\n"
                "        if message.payload == Payload.text(''): raise SystemExit(1)"
            ),
            "on_message raised SystemExit: 1 for made.check with an empty text",
        ),
        (
            (
                "async def on_message(self, message, ctx):\n"
                "    if message.payload and message.payload.form is PayloadForm.JSON:\n"
                "        try: message.payload.as_json(dict)['n']\n"
                "        except PayloadError: pass"
            ),
            "on_message raised KeyError: 'n' for TEXT with the JSON {}",
        ),
        ("async def on_start(self, ctx): raise ValueError('no')", "on_start raised ValueError: no"),
        ("async def on_stop(self, ctx): raise ValueError('no')", "on_stop raised.* at the stop"),
        ("async def on_stop(self, ctx): await ctx.clock.sleep(1.0)", "on_stop does not return"),
        ("async def on_start(self, ctx): await ctx.clock.sleep(1.0)", "on_start waits for"),
        ("async def on_peer(self, event, ctx): event.peer.capabilities[0]", "on_peer raised Index"),
        ("async def on_prompt(self, line, ctx): return 1 / 0", "on_prompt raised.* 'status'"),
        ("async def on_prompt(self, line, ctx): return 7", "on_prompt raised TypeError"),
        (
            "async def on_prompt(self, line, ctx):\n    _, word = line.split()",
            "on_prompt raised ValueError.* for the line",
        ),
        (
            "async def on_prompt(self, line, ctx): await ctx.clock.sleep(60.0)",
            "on_prompt did not answer 'status' within 30 s",
        ),
        (
            (
                "async def on_start(self, ctx): ctx.spawn(self.work())\n"
                "async def work(self): raise LookupError('lost')"
            ),
            "background work raised LookupError: lost at the start",
        ),
        (
            (
                "async def on_start(self, ctx): ctx.every(30.0, self.work)\n"
                "async def work(self): raise LookupError('lost')"
            ),
            "repeated work raised LookupError: lost",
        ),
        (
            "async def on_message(self, message, ctx): await ctx.broadcast(Heartbeat())",
            "sends HEARTBEAT, which belongs to the node",
        ),
        (
            "def early_config_defaults(self): return ConfigDefaults(capabilities=('x',))",
            r"capabilities \['x'\] are not in the manifest",
        ),
        ("def early_config_defaults(self): return 1 / 0", "early_config_defaults raised ZeroDiv"),
        ("async def on_start(self): pass", "expected async def on_start"),
    ],
    ids=lambda text: text[:50],
)
async def test_a_fault_is_found(
    write: WritePlugin, tmp_path: Path, hook: str, expected: str
) -> None:
    with pytest.raises(NonConformance, match=expected):
        await check_plugin(write(tmp_path, hook))


async def test_a_plugin_that_holds_the_event_loop_is_found(
    write: WritePlugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = itertools.chain([0.0] * 100, itertools.repeat(3.0))
    monkeypatch.setattr(time, "perf_counter", lambda: next(readings))

    with pytest.raises(NonConformance, match=r"held the event loop for 3\.0 s"):
        await check_plugin(write(tmp_path))


async def test_an_object_that_is_registered_again_is_found(
    write: WritePlugin, tmp_path: Path
) -> None:
    project = write(tmp_path, before="ONLY = Made()", made="ONLY")

    with pytest.raises(NonConformance, match="two nodes in one process would share it"):
        await check_plugin(project)


async def test_all_faults_are_told_each_once(write: WritePlugin, tmp_path: Path) -> None:
    project = write(
        tmp_path,
        "async def on_message(self, message, ctx): raise ValueError('one')\n"
        "async def on_stop(self, ctx): raise ValueError('two')",
    )

    with pytest.raises(NonConformance) as caught:
        await check_plugin(project)

    assert [fault.partition(": ")[2] for fault in caught.value.faults] == [
        "one for TEXT with no payload",
        "two at the stop",
    ]
    assert str(caught.value).startswith("plugin made does not conform:\n  * on_message raised")


async def test_a_project_without_a_manifest_does_not_conform(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()

    with pytest.raises(NonConformance, match=r"no thenodes-plugin\.toml"):
        await check_plugin(tmp_path)


async def test_a_table_can_be_given(write: WritePlugin, tmp_path: Path) -> None:
    project = write(tmp_path, "async def on_start(self, ctx): ctx.config['needed']")

    await check_plugin(project, config={"needed": 1})

    with pytest.raises(NonConformance, match="on_start raised KeyError: 'needed'"):
        await check_plugin(project)
