"""Does what a page of the tutorial says, as a reader would: types, waits, looks.

What a page needs for that stands in comments, which no reader sees:

* `<!-- in NAME -->` before a block of a console: the terminal where it is typed.
* `<!-- file NAME/PATH -->` before any block: it is written to that file, in the folder of NAME.
* `<!-- NAME/PATH, below: TEXT -->`: the block is put below the line with that text.
* `<!-- not run: WHY -->`: the block is for the reader alone.

In a console, `$ ` and `thenodes> ` or `thenodes/my> ` begin what is typed; what follows has to
come, in that order, where `…` stands for anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pexpect

__all__ = ["Block", "Reader", "blocks"]

_BLOCK = re.compile(r"^(?:<!-- ([^\n]*) -->\n+)?```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_TYPED = re.compile(r"^(\$|thenodes\S*>|Stop this node\? \[y/N\])(?: (.*))?$")
_SECONDS = 30


@dataclass(frozen=True)
class Block:
    """A block of a page, and what is to be done with it."""

    page: str
    line: int
    language: str
    asked: str
    text: str

    @property
    def place(self) -> str:
        """Where it stands, for people."""
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page."""
    text = page.read_text()
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start(3))
        yield Block(page.name, line, found[2], found[1] or "", found[3])


@dataclass
class Reader:
    """Somebody with a few terminals.

    Args:
        folders: Where each terminal is.
        environment: Of all of them, and of some.
        said_as: What has to be typed here for what the page says, looked up when it is needed.
    """

    folders: Mapping[str, Path]
    environment: Callable[[str], dict[str, str]]
    said_as: Mapping[str, Callable[[], str]]
    _terminals: dict[str, pexpect.spawn] = field(default_factory=dict)

    def does(self, block: Block) -> None:
        """Type it, or write it.

        Raises:
            AssertionError: It is not as the page says.
        """
        word, _, rest = block.asked.partition(" ")
        if word == "in":
            self._types(block, rest)
        elif word == "file":
            self._file(rest).write_text(self._here(block.text))
        elif ", below: " in block.asked:
            path, _, line = block.asked.partition(", below: ")
            file = self._file(path)
            before, found, after = file.read_text().partition(f"{line}\n")
            assert found, f"{block.place}: {file.name} has no line {line!r}"
            file.write_text(before + found + block.text + after)
        else:
            assert word == "not", f"{block.place}: nothing says where this is to be done"

    def leaves(self) -> None:
        """Close the terminals, and end what runs there."""
        for terminal in self._terminals.values():
            terminal.close(force=True)

    def _types(self, block: Block, name: str) -> None:
        terminal = self._terminals.get(name) or self._open(name)
        expected: list[str] = []
        for line in [*block.text.splitlines(), "$"]:
            typed = _TYPED.match(line)
            if typed is None:
                expected.append(line)
                continue
            self._sees(terminal, expected, block)
            expected = []
            if typed[2]:
                self._sees(terminal, [typed[1]], block)
                terminal.sendline(self._here(typed[2]))
                terminal.expect("\r\n")  # what is typed is no answer

    def _sees(self, terminal: pexpect.spawn, lines: list[str], block: Block) -> None:
        for line in lines:
            if not line:
                continue
            pattern = r"[^\r\n]*?".join(map(re.escape, self._here(line).split("…")))
            try:
                terminal.expect(pattern)
            except (pexpect.TIMEOUT, pexpect.EOF):
                raise AssertionError(
                    f"{block.place}: {line!r} did not come, but\n{terminal.before}"
                ) from None

    def _open(self, name: str) -> pexpect.spawn:
        terminal = pexpect.spawn(
            "bash",
            ["--norc", "--noprofile"],
            cwd=str(self.folders[name]),
            env=self.environment(name) | {"PS1": "$ ", "TERM": "dumb", "LANG": "C.UTF-8"},
            dimensions=(50, 250),
            encoding="utf-8",
            timeout=_SECONDS,
        )
        self._terminals[name] = terminal
        return terminal

    def _file(self, path: str) -> Path:
        name, _, rest = path.partition("/")
        return self.folders[name] / rest

    def _here(self, text: str) -> str:
        for said, here in self.said_as.items():
            if said in text:
                text = text.replace(said, here())
        return text
