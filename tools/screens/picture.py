"""A screen as an SVG that needs no font but the reader's own, and no script."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from itertools import groupby

import pyte
from pyte.screens import Char

__all__ = ["picture"]

_WIDE, _HIGH, _MARGIN, _BAR = 8.4, 18, 14, 30
_FONT = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"
_INK, _PAPER = "#d8dee9", "#1e222a"
_COLOURS = {
    "black": "#3b4252", "red": "#e06c75", "green": "#98c379", "brown": "#e5c07b",
    "blue": "#61afef", "magenta": "#c678dd", "cyan": "#56b6c2", "white": "#d8dee9",
    "brightblack": "#7f8796", "brightred": "#ff7b86", "brightgreen": "#b5e890",
    "brightbrown": "#ffd68a", "brightyellow": "#ffd68a", "brightblue": "#82c4ff",
    "brightmagenta": "#e29bf5", "brightcyan": "#7fdbe6", "brightwhite": "#ffffff",
}  # fmt: skip


def picture(screen: pyte.Screen, title: str) -> str:
    """The screen as far as it is written on.

    Args:
        screen: What a terminal shows.
        title: What stands in the frame, and is read to who cannot see it.
    """
    lines = _written(screen)
    width = 2 * _MARGIN + screen.columns * _WIDE
    height = _BAR + 2 * _MARGIN + len(lines) * _HIGH
    rows = (part for at, line in enumerate(lines) for part in _row(line, at))
    frame = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" role="img" font-family="{_FONT}" font-size="14">'
    )
    heading = (
        f'<text x="{width / 2:g}" y="{_BAR / 2 + 8:g}" fill="#7f8796" font-size="12" '
        f'text-anchor="middle">{escape(title)}</text>'
    )
    paper = f'<rect width="{width:g}" height="{height:g}" rx="8" fill="{_PAPER}"/>'
    dots = [
        f'<circle cx="{20 + 18 * at}" cy="{_BAR / 2 + 3:g}" r="5" fill="#4c566a"/>'
        for at in range(3)
    ]
    name = f"<title>{escape(title)}</title>"
    return "\n".join([frame, name, paper, *dots, heading, *rows, "</svg>\n"])


def _written(screen: pyte.Screen) -> list[list[Char]]:
    lines = [[screen.buffer[y][x] for x in range(screen.columns)] for y in range(screen.lines)]
    while lines and all(char.data == " " and not _marked(char) for char in lines[-1]):
        lines.pop()
    return lines


def _marked(char: Char) -> bool:
    return bool(char.reverse or char.bg != "default")


def _row(line: list[Char], at: int) -> Iterator[str]:
    top = _BAR + _MARGIN + at * _HIGH
    x = 0
    for _, same in groupby(line, key=lambda char: char._replace(data="")):
        chars = list(same)
        text, start, x = "".join(char.data for char in chars), x, x + len(chars)
        left, wide = _MARGIN + start * _WIDE, len(chars) * _WIDE
        ink, paper = _ink_and_paper(chars[0])
        if paper != _PAPER:
            yield (
                f'<rect x="{left:.1f}" y="{top}" width="{wide:.1f}" height="{_HIGH}" '
                f'fill="{paper}"/>'
            )
        if text.strip():
            weight = ' font-weight="bold"' if chars[0].bold else ""
            line_below = ' text-decoration="underline"' if chars[0].underscore else ""
            yield (
                f'<text x="{left:.1f}" y="{top + 13}" fill="{ink}" textLength="{wide:.1f}" '
                f'lengthAdjust="spacingAndGlyphs" xml:space="preserve"{weight}{line_below}>'
                f"{escape(text)}</text>"
            )


def _ink_and_paper(char: Char) -> tuple[str, str]:
    ink, paper = _colour(char.fg, _INK), _colour(char.bg, _PAPER)
    return (paper, ink) if char.reverse else (ink, paper)


def _colour(name: str, default: str) -> str:
    if name == "default":
        return default
    return _COLOURS.get(name) or f"#{name}"
