"""The commands that look at plugins and change them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from thenodes_core.control.commands import CommandTable
from thenodes_core.control.plugins import add_plugin_commands
from thenodes_core.control.status import PluginLine
from thenodes_core.errors import CommandError, CommandFailed

GOOD = PluginLine("my", "1.2", "running", "/p/my", "2 faults", 1, 0, (), 2, "my")
BAD = PluginLine("other\x1b[31m", "", "rejected", "/p/o", "TN-P010: no", codes=("TN-P010",))


class View:
    """Two plugins; remembers what was asked of it."""

    def __init__(self, *lines: PluginLine) -> None:
        self.lines = lines
        self.done: list[str] = []

    def plugins(self) -> Sequence[PluginLine]:
        return self.lines

    async def reload_plugin(self, plugin_id: str) -> str:
        self.done.append(f"reload {plugin_id}")
        return f"plugin {plugin_id} runs anew"

    async def enable_plugin(self, plugin_id: str) -> str:
        raise CommandFailed("it runs already")

    async def disable_plugin(self, plugin_id: str) -> str:
        self.done.append(f"disable {plugin_id}")
        return "done"


def make(*lines: PluginLine) -> tuple[CommandTable, View]:
    table, view = CommandTable(), View(*lines)
    add_plugin_commands(table, view)
    return table, view


async def test_the_list_shows_id_version_abi_state_code_and_source() -> None:
    table, _ = make(GOOD, BAD)

    reply = await table.run("plugins")

    first, second = reply.text.splitlines()
    assert first.split() == ["my", "1.2", "ABI", "1.0", "running", "/p/my"]
    assert second.split() == ["other\\x1b[31m", "ABI", "none", "rejected", "TN-P010", "/p/o"]
    assert reply.data == (GOOD, BAD)


async def test_without_plugins_the_list_says_so() -> None:
    table, _ = make()

    assert (await table.run("plugins")).text == "no plugins"


async def test_info_tells_everything_of_one() -> None:
    table, _ = make(GOOD, BAD)

    reply = await table.run("plugin info my")

    assert [line.split(maxsplit=1) for line in reply.text.splitlines()] == [
        ["plugin", "my 1.2"],
        ["state", "running"],
        ["ABI", "1.0"],
        ["source", "/p/my"],
        ["prefix", "my"],
        ["faults", "2"],
        ["detail", "2 faults"],
    ]
    assert reply.data == GOOD


async def test_of_an_unknown_plugin_info_tells_which_there_are() -> None:
    table, _ = make(GOOD)

    with pytest.raises(CommandFailed, match="no plugin 'none'; there are: my"):
        await table.run("plugin info none")


async def test_a_change_is_made_and_the_plugin_told_as_it_stands_then() -> None:
    table, view = make(GOOD)

    reload, disable = await table.run("plugin reload my"), await table.run("plugin disable my")

    assert view.done == ["reload my", "disable my"]
    assert (reload.text, reload.data, disable.data) == ("plugin my runs anew", GOOD, GOOD)


async def test_a_change_that_fails_is_an_error() -> None:
    table, _ = make(GOOD)

    with pytest.raises(CommandFailed, match="it runs already"):
        await table.run("plugin enable my")


@pytest.mark.parametrize("line", ["plugin reload", "plugin info my other", "plugins my"])
async def test_wrong_arguments_are_refused(line: str) -> None:
    table, view = make(GOOD)

    with pytest.raises(CommandError, match="got"):
        await table.run(line)
    assert view.done == []


async def test_ids_are_offered_for_completion() -> None:
    table, _ = make(GOOD, GOOD)

    offered = {c.name: list(c.complete()) for c in table.commands if c.complete is not None}

    assert offered == {f"plugin {name}": ["my"] for name in ("disable", "enable", "info", "reload")}
