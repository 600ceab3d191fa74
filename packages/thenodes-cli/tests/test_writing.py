"""Everything is written, to pipes that block and to those that do not."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from thenodes_cli.console import Console
from thenodes_cli.writing import write_all
from thenodes_plugin_api import Level

Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    yield reading, writing
    os.close(reading)


def read_to_the_end(number: int) -> bytes:
    pieces = []
    while piece := os.read(number, 65536):
        pieces.append(piece)
    return b"".join(pieces)


def test_a_pipe_that_is_full_for_a_while_gets_everything(pipe: Pipe) -> None:
    reading, writing = pipe
    data = os.urandom(1_000_000)

    def write() -> None:
        write_all(writing, data)
        os.close(writing)

    thread = threading.Thread(target=write)
    thread.start()

    assert read_to_the_end(reading) == data
    thread.join()


def test_a_pipe_that_nobody_reads_any_more_says_so() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    os.close(reading)

    with pytest.raises(BrokenPipeError):
        write_all(writing, b"x")
    os.close(writing)


def test_a_console_whose_pipe_was_full_once_goes_on(pipe: Pipe) -> None:
    reading, writing = pipe
    write_all(writing, b"." * 1024)
    while True:
        try:
            os.write(writing, b"." * 1024)
        except BlockingIOError:
            break
    with open(writing, "w") as stream:
        console = Console(stream)
        console.write("amid a full pipe", Level.INFO)
        text = b""
        while b"amid a full pipe" not in text:
            text += os.read(reading, 65536)
        console.write("afterwards", Level.INFO)
        console.close()

    assert read_to_the_end(reading).endswith(b"afterwards\n")
