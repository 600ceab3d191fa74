"""What is said of the node's own commands, once: for its help, and for the command line's."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

__all__ = ["CATALOGUE", "CommandText"]


class CommandText(msgspec.Struct, frozen=True):
    """What is said of a command.

    Attributes:
        help: one line, without a full stop.
        usage: the words after the name, such as `"<peer> <text>"`.
        example: one as it is typed at the prompt.
        aliases: other names.
        more: what the line does not say, for its own help.
        hidden: it is for programs, and in no list.
    """

    help: str
    usage: str = ""
    example: str = ""
    aliases: tuple[str, ...] = ()
    more: str = ""
    hidden: bool = False


CATALOGUE: Mapping[str, CommandText] = {
    "help": CommandText("list the commands, or those that begin so", "[word]", "help trust"),
    "version": CommandText("version, node id and realm", aliases=("about",)),
    "status": CommandText("the node, its peers, plugins and counters"),
    "peers": CommandText("list the connected peers"),
    "known": CommandText(
        "list the known addresses, newest success first", aliases=("peers known",)
    ),
    "plugins": CommandText("list the plugins", aliases=("plugin list",)),
    "plugin info": CommandText("tell everything of a plugin", "<id>", "plugin info relay"),
    "plugin reload": CommandText(
        "load a plugin anew; no message is lost", "<id>", "plugin reload kvstore"
    ),
    "plugin enable": CommandText(
        "start a plugin that was stopped", "<id>", "plugin enable kvstore"
    ),
    "plugin disable": CommandText(
        "stop a plugin until it is enabled", "<id>", "plugin disable kvstore"
    ),
    "trust observed list": CommandText("list keys that were met and are not trusted"),
    "trust trusted list": CommandText("list keys that are trusted"),
    "trust rejected list": CommandText("list keys that are refused whatever else holds"),
    "trust own list": CommandText("list this node's own key and certificate"),
    "trust ids list": CommandText("list ids and addresses with the key they were met with"),
    "trust promote": CommandText("trust a key", "<fingerprint>", "trust promote 3f9a21c4"),
    "trust revoke": CommandText("refuse a key for good", "<fingerprint>", "trust revoke 3f9a21c4"),
    "trust explain": CommandText(
        "tell step by step what the policy says", "<fingerprint>", "trust explain 3f9a21c4"
    ),
    "trust forget": CommandText(
        "let an id, or an address, come with another key", "<id>", "trust forget kitchen"
    ),
    "trust reload": CommandText("read the keys on disk again"),
}
"""By name. An example is given where a command takes words; else it is its name."""
