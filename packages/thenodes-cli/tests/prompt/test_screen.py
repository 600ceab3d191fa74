"""A terminal that is written to in a thread."""

from __future__ import annotations

import os
import pty
import threading
from collections.abc import Iterator
from typing import TextIO, cast

import click
import pytest

from thenodes_cli.prompt.screen import Screen


@pytest.fixture
def terminal() -> Iterator[tuple[int, TextIO]]:
    """What is shown can be read from the one end, and is written to the other."""
    shown, number = pty.openpty()
    with open(number, "w", encoding="utf-8") as stream:
        yield shown, stream
    os.close(shown)


def read(shown: int, count: int) -> str:
    text = ""
    while len(text) < count:
        text += os.read(shown, 65536).decode().replace("\r", "")
    return text


def test_what_is_written_is_shown_in_order(terminal: tuple[int, TextIO]) -> None:
    shown, stream = terminal
    screen = Screen(stream)

    for number in range(100):
        screen.write(f"{number}\n")
    screen.close()

    assert read(shown, 290).split() == [str(number) for number in range(100)]


def test_a_terminal_that_takes_nothing_holds_up_nobody_and_is_told_when_it_does(
    terminal: tuple[int, TextIO],
) -> None:
    shown, stream = terminal
    restored = threading.Event()
    screen = Screen(stream, restored.set, most=100_000)

    for _ in range(1000):
        screen.write("x" * 1000)
    assert not restored.is_set()
    reading = threading.Thread(target=read, args=(shown, 100_000), daemon=True)
    reading.start()

    assert restored.wait(10)
    reading.join(10)
    screen.write("whole again")
    assert read(shown, 11) == "whole again"
    screen.close()


def test_another_thread_waits_until_there_is_room(terminal: tuple[int, TextIO]) -> None:
    shown, stream = terminal
    screen = Screen(stream, most=10_000)

    def write() -> None:
        for _ in range(100):
            screen.write("y" * 1000)

    writing = threading.Thread(target=write, daemon=True)
    writing.start()

    assert read(shown, 100_000) == "y" * 100_000
    writing.join(10)
    screen.close()


def test_the_end_lets_go_of_who_waits(terminal: tuple[int, TextIO]) -> None:
    _, stream = terminal
    screen = Screen(stream, most=1000)
    writing = threading.Thread(
        target=lambda: [screen.write("z" * 1000) for _ in range(100)], daemon=True
    )
    writing.start()

    screen.close()

    writing.join(10)
    assert not writing.is_alive()


def test_it_is_a_stream_of_text_for_whoever_tries(terminal: tuple[int, TextIO]) -> None:
    shown, stream = terminal
    screen = cast("TextIO", Screen(stream))

    click.echo("bytes are refused, text is shown", file=screen)

    assert read(shown, 33) == "bytes are refused, text is shown\n"
