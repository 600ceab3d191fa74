"""Commands that hand their words to a node: what is said of them is the node's own catalogue."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from thenodes_core.control.catalogue import CommandText
from thenodes_plugin_api import TheNodesError

from .target import resolve_state_dir, target_options

__all__ = ["Ask", "WordsCommand", "epilog", "json_option", "line_of", "sentence", "words_command"]

Ask = Callable[[Path | None, Path | None, str, bool], None]
"""Runs a line on the node that `--config` or `--state-dir` names, and prints what comes of it; as
JSON or not."""

_OPTION = re.compile(r"--[a-z][a-z-]*")
_OPTIONS = ("--json", "--help", "-h", "--")
# What a shell takes as it stands: bash puts what it is offered into the line unquoted.
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./\[\]-]*")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class WordsCommand(click.Command):
    """A command that takes any words, and shows in its usage what the node takes."""

    words_usage = ""

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """The options, and the words as the node names them."""
        return [piece for piece in (self.options_metavar, self.words_usage) if piece]

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """What may be typed next in a shell: the node's options beside those of this command."""
        own = [CompletionItem(o) for o in _OPTION.findall(self.words_usage) if o != "--json"]
        fitting = [item for item in own if incomplete and item.value.startswith(incomplete)]
        return fitting + super().shell_complete(ctx, incomplete)


def words_command(name: str, text: CommandText, ask: Ask, *, more: str = "") -> click.Command:
    """A command that runs the node's command of that name.

    Args:
        name: the node's, or one of its other names.
        text: what is said of it.
        ask: runs the line.
        more: what is said of it at the command line alone.
    """

    @target_options
    @json_option
    @click.argument("words", nargs=-1, type=click.UNPROCESSED, shell_complete=partial(_offer, name))
    def run(
        config_file: Path | None, state_dir: Path | None, as_json: bool, words: Sequence[str]
    ) -> None:
        missing = _required(text.usage)[len(words) :]
        if missing:
            raise click.UsageError(f"missing {' '.join(missing)}", click.get_current_context())
        ask(config_file, state_dir, line_of(name, words), as_json)

    made = click.command(
        name.rpartition(" ")[2],
        cls=WordsCommand,
        context_settings={"ignore_unknown_options": True},
        help="\n\n".join(part for part in (sentence(text.help), text.more, more) if part),
        short_help=sentence(text.help),
        epilog=epilog(text.example or name),
    )(run)
    made.words_usage = text.usage
    return made


def _offer(
    name: str, ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """What the node would offer at its prompt; nothing where it cannot be asked.

    But no word that a shell would make something else of: an address that a peer told may
    read `$(reboot):1`.
    """
    # Imported here: only a shell that completes needs it.
    from ..asking import offered

    typed = f"{line_of(name, ctx.params.get('words') or ())} "
    try:
        with ctx.scope(cleanup=False):
            given = (ctx.params.get(option) for option in ("config_file", "state_dir"))
            directory = resolve_state_dir(*given)
        found = offered(directory, typed + incomplete)
    except TheNodesError:
        return []
    words = [(line[len(typed) :], told) for line, told in found]
    return [CompletionItem(word, help=told) for word, told in words if _PLAIN.fullmatch(word)]


def line_of(name: str, words: Sequence[str]) -> str:
    """The line that gives a command just these words."""
    first = next((at for at, word in enumerate(words) if word in _OPTIONS), len(words))
    literal = ["--", *words[first:]] if words[first:] else []
    return f"{name} {shlex.join([*words[:first], *literal])}".rstrip()


def _required(usage: str) -> Sequence[str]:
    """The words without which the node would refuse the others: those in no brackets."""
    return re.findall(r"<[^>]+>", re.sub(r"\[[^\]]*\]", "", usage))


def sentence(help_line: str) -> str:
    """The line that is said of a command, as a sentence."""
    return f"{help_line[:1].upper()}{help_line[1:]}."


def epilog(*examples: str) -> str:
    """Examples, as they are typed at the prompt; the first also with what every command takes."""
    lines = [*examples, f"{examples[0]} --state-dir data/first --json"]
    return "\n".join(["\b", "Examples:", *(f"  thenodes {line}" for line in lines)])
