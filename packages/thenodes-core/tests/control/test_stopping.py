"""The command `shutdown`."""

from __future__ import annotations

import pytest

from thenodes_core import Config, Node
from thenodes_core.control.commands import CommandTable
from thenodes_core.control.stopping import add_shutdown_command
from thenodes_core.errors import CommandError


async def test_shutdown_answers_and_has_the_node_stopped() -> None:
    async with Node(Config(port=0)) as node:
        reply = await node.commands.run("shutdown")

        assert (reply.text, node.stop_requested) == ("the node stops", True)


async def test_shutdown_with_words_stops_nothing() -> None:
    stopped: list[bool] = []
    table = CommandTable()
    add_shutdown_command(table, lambda: stopped.append(True))

    with pytest.raises(CommandError, match="takes no arguments, got 'now'"):
        await table.run("shutdown now")

    assert stopped == []
