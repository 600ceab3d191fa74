"""`thenodes doctor` of a node that answers otherwise than this version does."""

from __future__ import annotations

import asyncio
from pathlib import Path

from thenodes_cli.commands.doctor import _findings
from thenodes_core.control.questions import CONTROL_SOCKET
from thenodes_core.doctor import Outcome

SAID = (
    b'{"ok": true, "text": "a", "data": {"check": "disk", "outcome": "ok", "text": "much"}, '
    b'"more": true}\n'
    b'{"ok": true, "text": "b", "data": {"check": "disk", "result": 1}, "more": true}\n'
)


async def test_a_node_of_another_version_is_told_after_what_it_said(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(SAID)
        writer.close()

    async with await asyncio.start_unix_server(serve, str(tmp_path / CONTROL_SOCKET)):
        disk, node = [one async for one in _findings(None, tmp_path)]

    assert (disk.check, disk.outcome) == ("disk", Outcome.OK)
    assert (node.check, node.outcome) == ("node", Outcome.PROBLEM)
    assert node.text.startswith("no node of this version")
