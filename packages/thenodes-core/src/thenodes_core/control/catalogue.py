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
    "status": CommandText(
        "the node at a glance: addresses, sessions, relays, plugins, recent errors",
        "[--counters] [--keep-unread]",
        "status --counters",
        more="--counters adds what was counted since the start; --json has it always.\n"
        "--keep-unread is for programs that look at it while nobody may look at them.",
    ),
    "shutdown": CommandText(
        "stop the node, in order",
        more="At a prompt it asks first; from the command line it does not. At the node's own\n"
        "prompt, quit does the same.",
    ),
    "glance": CommandText(
        "what a toolbar shows; with read, the errors so far count as read",
        "[read]",
        "glance read",
        hidden=True,
    ),
    "peers": CommandText(
        "list who is connected, and who was lately reached or heard through a relay",
        "[--wide]",
        "peers --wide",
        more="PATH is direct, via a relay, or stored at one; IN and OUT are bytes of this\n"
        "session. NAME is the common name of the certificate, where that is not the id. Ids\n"
        "are cut to fit 80 columns, unless --wide is given; a unique beginning names a peer.",
    ),
    "peer info": CommandText("tell everything of one peer", "<peer>", "peer info k7qa"),
    "peer connect": CommandText(
        "dial an address now, and stay connected with it",
        "<address>",
        "peer connect 192.0.2.7:50000",
        more="It says who answered, or why nobody did; then it is not tried again. Connected is\n"
        "stayed until peer disconnect, or until the node ends. Instead of an address, a peer\n"
        "that was connected or is known may be named.",
    ),
    "peer disconnect": CommandText(
        "end the session with a peer, and do not dial it any more",
        "<peer>",
        "peer disconnect k7qa",
        more="It is dialled again after peer connect, a bootstrap peer also after a restart. A\n"
        "peer that dials is still admitted, a minute later at the soonest where it follows our\n"
        "word: trust revoke keeps it out.",
    ),
    "peer forget": CommandText(
        "forget a peer's addresses, and which key it was met with",
        "<peer or address>",
        "peer forget k7qa",
        more="As trust forget, it lets an id that somebody chose, and an address, come with\n"
        "another key. Whether the key itself is trusted stays: trust revoke. A session stays, too.",
    ),
    "known": CommandText(
        "list the known addresses, newest success first", aliases=("peers known",)
    ),
    "send": CommandText(
        "send a text to a peer, directly or through a relay",
        "<peer> <text>",
        "send k7qa hello there",
        more="It says how far the text came: sent, or stored at a relay until the peer is back. A\n"
        "node whose plugins take no texts shows it as the event text_received.",
    ),
    "ping": CommandText(
        "measure how long a peer takes to answer",
        "<peer> [COUNT]",
        "ping k7qa 10",
        more="COUNT is how often, once a second; 4 without it, at most 1000. The connection\n"
        "answers, not the peer's plugins. Of a node behind a relay, the relay is pinged.",
    ),
    "top": CommandText(
        "watch throughput, sessions and queues, once a second",
        "[--once]",
        "top --once",
        more="Bytes are of frames, without the WebSocket and TLS around them; QUEUE is what waits\n"
        "for the peer, RTT the newest round trip. --once shows one second and ends; --json\n"
        "writes an object a second. Ctrl-C ends it; at the command line, q does so, too.",
    ),
    "events": CommandText(
        "what happened lately, and with --follow what happens",
        "[COUNT] [--follow] [--level LEVEL] [--filter TEXT]",
        "events --follow --filter trust",
        more="COUNT is how many of the newest, 20 without it, at most 1000; LEVEL is debug,\n"
        "info, warning or error, and what is less is left out. TEXT is looked for in all\n"
        "that an event says but its level: type, action, plugin, node id, address, reason, key\n"
        "and the line that is shown; case does not count.",
    ),
    "log level": CommandText(
        "show what is shown of events and log records, or change it",
        "[level] [logger]",
        "log level debug thenodes.plugin",
        more="Of one logger, log records alone. The JSON log has every event all the same.",
    ),
    "config show": CommandText(
        "show the settings that apply, as TOML",
        aliases=("config",),
        more="What plugins preset is among them.",
    ),
    "config get": CommandText(
        "show one setting, or one table, that applies", "<key>", "config get realm.name"
    ),
    "config set": CommandText(
        "set a setting in the file the node was started with",
        "<key> <value>",
        "config set encryption.trust_policy.mode tofu",
        more="The file has to pass its checks, or it stays as it is. What can be is taken over at\n"
        "once, the rest when the node is started again. Lists are separated by commas.",
    ),
    "config unset": CommandText(
        "take a setting out of that file, so that its default applies",
        "<key>",
        "config unset realm.code",
    ),
    "doctor": CommandText(
        "look for what is wrong with the node, and tell what to do about it",
        more="It looks at settings, files, disk, clock, certificate and port, and shakes\n"
        "hands with each bootstrap address and relay that is not connected.",
    ),
    "plugins": CommandText(
        "list the plugins, and how they stand",
        aliases=("plugin list",),
        more="Id, version, ABI, state, codes of a rejected one, source.",
    ),
    "plugin info": CommandText(
        "tell everything of one plugin, of a rejected one every reason",
        "<id>",
        "plugin info relay",
    ),
    "plugin reload": CommandText(
        "load a plugin anew; what comes for it meanwhile is held", "<id>", "plugin reload kvstore"
    ),
    "plugin enable": CommandText(
        "start a plugin that was stopped", "<id>", "plugin enable kvstore"
    ),
    "plugin disable": CommandText(
        "stop a plugin, until it is enabled or the node ends", "<id>", "plugin disable kvstore"
    ),
    "trust observed list": CommandText(
        "list the keys that were met and are not trusted",
        aliases=("trust observed",),
        more="They are recorded in the modes observe and tofu, and with store_new_certs.",
    ),
    "trust trusted list": CommandText("list the keys that are trusted", aliases=("trust trusted",)),
    "trust rejected list": CommandText(
        "list the keys that are refused whatever else holds", aliases=("trust rejected",)
    ),
    "trust own list": CommandText(
        "show the node's own key and certificate, as others list it", aliases=("trust own",)
    ),
    "trust ids list": CommandText(
        "list the ids and addresses that were met with a key, and are bound to it",
        aliases=("trust ids",),
    ),
    "trust promote": CommandText(
        "trust a key that was observed, or take a rejection back",
        "<fingerprint>",
        "trust promote 3f9a21c4",
    ),
    "trust revoke": CommandText(
        "refuse a key from now on, whatever the policy says",
        "<fingerprint>",
        "trust revoke 3f9a21c4",
        more="Sessions with it end at once. trust promote takes it back.",
    ),
    "trust explain": CommandText(
        "tell step by step what the policy says of a key, and why; nothing comes of it",
        "<fingerprint>",
        "trust explain 3f9a21c4",
    ),
    "trust forget": CommandText(
        "let an id, or an address, come with another key than it was met with",
        "<id>",
        "trust forget kitchen",
    ),
    "trust reload": CommandText(
        "read the keys on disk again, and tell what is wrong with files",
        more="A running node notices changes by itself within seconds.",
    ),
}
"""By name. An example is given where a command takes words; else it is its name."""
