"""What a binding costs the relay in memory."""

from __future__ import annotations

from ..connections import resident_kib
from .processes import Process

__all__ = ["measure"]


def measure(count: int) -> dict[str, float]:
    """KiB of the relay for each session, mailbox and route, of so many nodes."""
    with Process("relay") as far:
        port = far.said["port"]
        with Process("light-receiver", port=port, messages=1) as receiver:
            before = resident_kib(far.pid)
            to = receiver.said["node_id"]
            with Process("crowd", port=port, count=count, routes_to=to) as crowd:
                sessions = resident_kib(far.pid)
                crowd.tell("mailboxes")
                crowd.result()
                mailboxes = resident_kib(far.pid)
                crowd.tell("routes")
                crowd.result()
                routes = resident_kib(far.pid)
    return {
        "session": (sessions - before) / count,
        "mailbox": (mailboxes - sessions) / count,
        "route": (routes - mailboxes) / count,
    }
