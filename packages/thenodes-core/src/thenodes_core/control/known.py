"""The command `known`: the addresses that a node knows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from thenodes_plugin_api import PeerRecord

from ..errors import CommandError
from ..text import printable
from .commands import CommandTable, Reply

__all__ = ["add_known_command", "render_known"]


def add_known_command(table: CommandTable, known_peers: Callable[[], Sequence[PeerRecord]]) -> None:
    """Add `known`."""

    async def known(words: Sequence[str]) -> Reply:
        if words:
            raise CommandError(f"known takes no arguments, got {' '.join(words)!r}")
        records = known_peers()
        return Reply(render_known(records), records)

    table.define("known", known)


def render_known(records: Sequence[PeerRecord]) -> str:
    """The known addresses for people."""
    if not records:
        return "no addresses known"
    width = max(len(record.addr) for record in records)
    return "\n".join(_known_line(record, width) for record in records)


def _known_line(record: PeerRecord, width: int) -> str:
    last = "never answered"
    if record.last_success_epoch is not None:
        moment = time.localtime(record.last_success_epoch)
        last = f"answered {time.strftime('%Y-%m-%d %H:%M:%S', moment)}"
    line = f"{record.addr:<{width}}  {record.source.value:<9}  {last}"
    if record.failures:
        line += f", {record.failures} {'failure' if record.failures == 1 else 'failures'} since"
    return printable(line + (f"  {record.node_id}" if record.node_id else ""))
