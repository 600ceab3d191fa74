"""What is said of the relay's commands, once: at the prompt, and at the command line."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

__all__ = ["TEXTS", "Text"]


class Text(msgspec.Struct, frozen=True):
    """What is said of a command; see `ServiceCommand`."""

    help: str
    usage: str = ""
    example: str = ""
    more: str = ""


TEXTS: Mapping[str, Text] = {
    "relay": Text("what relay status shows"),
    "relay status": Text(
        "show a relay, and the relays that a node uses",
        more="How much is queued and stored, by target and class, what was dropped and why, how "
        "large the store is, and what it keeps when power or machine fail.",
    ),
    "relay bindings": Text("list the mailboxes and routes that a relay grants"),
    "relay queue": Text(
        "list what waits at a relay, by target and class", "[TARGET]", "relay queue kitchen"
    ),
    "relay drain": Text(
        "take nothing new, and tell every node so; before a relay is stopped",
        more="What is stored is still handed on to nodes that are connected, and waits on disk "
        "for the others. A restart ends it.",
    ),
}
