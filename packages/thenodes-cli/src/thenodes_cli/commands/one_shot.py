"""The commands of a running node, each as one of `thenodes`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from thenodes_core.control.catalogue import CATALOGUE, CommandText

from ..asking import ask_and_show
from ..nearest import NearestGroup
from .target import resolve_state_dir
from .words import epilog, words_command

__all__ = ["one_shot"]


def one_shot(first: str) -> click.Command:
    """The command whose name begins with this word; of several with it, a group."""
    texts = {name: text for name, text in CATALOGUE.items() if not text.hidden}
    if first in texts:
        return words_command(first, texts[first], _ask)
    return _group(first, texts)


def _group(path: str, texts: Mapping[str, CommandText]) -> click.Group:
    below = {name: text for name, text in texts.items() if name.startswith(f"{path} ")}
    words = list(dict.fromkeys(name[len(path) + 1 :].partition(" ")[0] for name in below))
    shown = " and ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)
    group = NearestGroup(
        path.rpartition(" ")[2],
        help=f"Ask a running node: {shown}.",
        epilog=epilog(*(text.example or name for name, text in below.items())),
    )
    for word in words:
        name = f"{path} {word}"
        known = name in below
        group.add_command(words_command(name, below[name], _ask) if known else _group(name, below))
    return group


def _ask(config_file: Path | None, state_dir: Path | None, line: str, as_json: bool) -> None:
    ask_and_show(resolve_state_dir(config_file, state_dir), line, as_json=as_json)
