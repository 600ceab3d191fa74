"""The commands of a running node, each as one of `thenodes`, made from the node's own catalogue."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from thenodes_core.control.catalogue import CATALOGUE, CommandText

from ..asking import ask_and_show
from ..nearest import NearestGroup
from .target import resolve_state_dir, target_options

__all__ = [
    "WordsCommand",
    "epilog",
    "json_option",
    "line_of",
    "long_help",
    "one_shot",
    "short_help",
]

_OPTIONS = ("--json", "--help", "-h", "--")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def one_shot(first: str) -> click.Command:
    """The command whose name begins with this word; of several with it, a group."""
    texts = {name: text for name, text in CATALOGUE.items() if not text.hidden}
    if first in texts:
        return _leaf(first, texts[first])
    below = {name: text for name, text in texts.items() if name.startswith(f"{first} ")}
    return _group(first, below)


def _group(path: str, texts: Mapping[str, CommandText]) -> click.Group:
    words = list(dict.fromkeys(name[len(path) + 1 :].partition(" ")[0] for name in texts))
    shown = " and ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)
    examples = [f"thenodes {text.example or name}" for name, text in texts.items()]
    group = NearestGroup(
        path.rpartition(" ")[2],
        help=f"Ask a running node: {shown}.",
        epilog=_examples(examples),
    )
    for word in words:
        name = f"{path} {word}"
        below = {other: text for other, text in texts.items() if other.startswith(f"{name} ")}
        group.add_command(_leaf(name, texts[name]) if name in texts else _group(name, below))
    return group


def _leaf(name: str, text: CommandText) -> click.Command:
    @target_options
    @json_option
    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    def run(
        config_file: Path | None, state_dir: Path | None, as_json: bool, words: Sequence[str]
    ) -> None:
        directory = resolve_state_dir(config_file, state_dir)
        ask_and_show(directory, line_of(name, words), as_json=as_json)

    decorate = click.command(
        name.rpartition(" ")[2],
        cls=WordsCommand,
        context_settings={"ignore_unknown_options": True},
        help=long_help(text),
        short_help=short_help(text),
        epilog=epilog(name, text),
    )
    made: click.Command = decorate(run)
    if isinstance(made, WordsCommand):
        made.words_usage = text.usage
    return made


class WordsCommand(click.Command):
    """A command that hands its words to the node, and shows in its usage what they are."""

    words_usage = ""

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """The options, and the words as the node names them."""
        return [piece for piece in (self.options_metavar, self.words_usage) if piece]


def line_of(name: str, words: Sequence[str]) -> str:
    """The line that gives a command just these words."""
    first = next((at for at, word in enumerate(words) if word in _OPTIONS), len(words))
    literal = ["--", *words[first:]] if words[first:] else []
    return f"{name} {shlex.join([*words[:first], *literal])}".rstrip()


def short_help(text: CommandText) -> str:
    """Its line, as a sentence."""
    return f"{text.help[:1].upper()}{text.help[1:]}."


def long_help(text: CommandText) -> str:
    """Its line, and what there is to say beside."""
    return f"{short_help(text)}\n\n{text.more}".rstrip()


def epilog(name: str, text: CommandText) -> str:
    """Its example, alone and with what every such command takes."""
    example = f"thenodes {text.example or name}"
    return _examples([example, f"{example} --state-dir data/first --json"])


def _examples(lines: Sequence[str]) -> str:
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])
