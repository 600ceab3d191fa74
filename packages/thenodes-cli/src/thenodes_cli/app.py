"""The command tree. A command's module is imported only when that command is used."""

from __future__ import annotations

import importlib

import click

from ._version import __version__

__all__ = ["app"]

# name: (module below .commands, one line for the overview)
_COMMANDS = {
    "run": ("run", "Run a node."),
    "status": ("status", "Show a running node."),
    "exec": ("exec", "Run a prompt command on a running node."),
    "peers": ("peers", "List a node's peers, or the addresses that it knows."),
    "relay": ("relay", "Look into a relay, and see which relays a node uses."),
    "identity": ("identity", "Show who a node is, or give it another key."),
    "cert": ("cert", "Make certificates, and tell fingerprints."),
    "trust": ("trust", "See, promote and revoke the keys of peers."),
    "config": ("config", "Check a configuration file, or show what applies."),
    "plugin": ("plugin", "Check, build, add and manage plugins."),
    "new-plugin": ("new_plugin", "Make the project of a new plugin."),
    "update-plugin": ("update_plugin", "Bring a plugin project what is new in its template."),
    "version": ("version", "Show the versions of the installed packages."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f".commands.{_COMMANDS[cmd_name][0]}", __package__)
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Each command has its own --help, with examples.",
)
@click.version_option(__version__, message="thenodes %(version)s")
def app() -> None:
    """Peer-to-peer nodes: start one, connect it, load plugins into it."""
