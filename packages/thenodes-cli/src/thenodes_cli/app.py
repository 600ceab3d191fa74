"""The command tree. A command's module is imported only when that command is used."""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Sequence

import click
from click.shell_completion import CompletionItem

from thenodes_core.control.catalogue import CATALOGUE
from thenodes_core.text import printable

from ._version import __version__
from .nearest import NearestGroup

__all__ = ["app"]

# name: (module below .commands, one line for the overview)
_COMMANDS = {
    "run": ("run", "Run a node."),
    "attach": ("attach", "Open a prompt on a node that runs."),
    "exec": ("exec", "Run a line of the prompt on a running node; a plugin's too."),
    "relay": ("relay", "Look into a relay, and see which relays a node uses."),
    "identity": ("identity", "Show who a node is, or give it another key."),
    "cert": ("cert", "Make certificates, and tell fingerprints."),
    "trust": ("trust", "See, promote and revoke the keys of peers."),
    "config": ("config", "Make, check, change or show a configuration file."),
    "plugin": ("plugin", "Check, build, add and manage plugins."),
    "new-plugin": ("new_plugin", "Make the project of a new plugin."),
    "update-plugin": ("update_plugin", "Bring a plugin project what is new in its template."),
    "demo": ("demo", "See a relay and three nodes at work, on this machine."),
    "version": ("version", "Show the versions of the installed packages."),
}

# Those of a running node that do something of their own where none runs, or on a terminal:
# (module, attribute).
_ALSO_STOPPED = {
    "peers": ("peers", "command"),
    "known": ("peers", "known"),
    "doctor": ("doctor", "command"),
    "top": ("top", "command"),
    "plugins": ("plugins", "command"),
}

_OF_THE_PROMPT = frozenset({"help", "version"})
_SHOWN = 200


def _asked() -> dict[str, str]:
    """The commands of a running node: the first word of each, and one line."""
    rows: dict[str, str] = {}
    for name, text in CATALOGUE.items():
        first, _, rest = name.partition(" ")
        if text.hidden or first in _COMMANDS or first in _OF_THE_PROMPT:
            continue
        if rest:
            rows[first] = f"{rows[first]}, {rest}" if first in rows else rest
        else:
            rows[first] = f"{text.help[:1].upper()}{text.help[1:]}."
    return rows


class _App(NearestGroup):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_COMMANDS, *_asked()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _COMMANDS:
            return _imported(_COMMANDS[cmd_name][0], "command")
        if cmd_name in _ALSO_STOPPED:
            return _imported(*_ALSO_STOPPED[cmd_name])
        if cmd_name not in _asked():
            return None
        # Imported here: the overview does not need it.
        from .commands.one_shot import one_shot

        return one_shot(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] == "help":
            # `thenodes help peers` is `thenodes peers --help`.
            args = [*args[1:], "--help"]
            if len(args) == 1:
                click.echo(ctx.get_help())
                ctx.exit()
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        # Click's own would import every command for its line.
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        rows = {name: text for name, (_, text) in _COMMANDS.items()} | _asked()
        return [
            CompletionItem(name, help=text)
            for name, text in rows.items()
            if name.startswith(incomplete)
        ]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])
        with formatter.section("Commands for a running node, as at its prompt"):
            formatter.write_dl(list(_asked().items()))

    def unknown(self, ctx: click.Context, args: list[str]) -> str:
        said = super().unknown(ctx, args)
        if "did you mean" in said:
            return said
        line = printable(shlex.join(_options_first(args)), most=_SHOWN)
        return f"no command {args[0]!r}; where it is a plugin's: thenodes exec {line}"


def _options_first(args: Sequence[str]) -> Sequence[str]:
    """The words as `exec` takes them: what names the node before the line."""
    options: list[str] = []
    line: list[str] = []
    rest = iter(args)
    for word in rest:
        if word in ("--state-dir", "--config"):
            options += [word, next(rest, "")]
        else:
            (options if word.startswith(("--state-dir=", "--config=")) else line).append(word)
    return [*options, *line]


def _imported(module: str, attribute: str) -> click.Command:
    command: click.Command = getattr(
        importlib.import_module(f".commands.{module}", __package__), attribute
    )
    return command


@click.group(
    cls=_App,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Each command has its own --help, with examples.",
)
@click.version_option(__version__, message="thenodes %(version)s")
def app() -> None:
    """Peer-to-peer nodes: start one, connect it, load plugins into it."""
