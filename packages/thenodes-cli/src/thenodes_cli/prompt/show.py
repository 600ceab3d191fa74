"""Shows an answer, without holding up the node where a terminal takes its time."""

from __future__ import annotations

import asyncio

from thenodes_core.control.commands import Reply

from ..output import emit, emit_next

__all__ = ["show"]


async def show(reply: Reply) -> None:
    """Print an answer: its text, or its data where that was asked for."""
    await asyncio.to_thread(_print, reply)


def _print(reply: Reply) -> None:
    if reply.more:
        emit_next(reply.text, reply.data, as_json=reply.as_json, replaces=reply.replaces)
    else:
        emit(reply.text, reply.data, as_json=reply.as_json)
