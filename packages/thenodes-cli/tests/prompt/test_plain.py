"""Lines of a pipe or of a terminal that can only print."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from thenodes_cli.prompt.plain import LineSplitter


def test_lines_end_where_they_end_whatever_pieces_they_come_in() -> None:
    splitter = LineSplitter()

    assert splitter.feed(b"pe") == []
    assert splitter.feed(b"ers\r\nstatus\n\nqu") == ["peers", "status", ""]
    assert splitter.end() == ["qu"]
    assert splitter.end() == []


@given(st.lists(st.binary(max_size=8), max_size=20))
def test_pieces_make_the_same_lines_as_the_whole(pieces: list[bytes]) -> None:
    whole, split = LineSplitter(), LineSplitter()

    together = whole.feed(b"".join(pieces)) + whole.end()
    apart = [line for piece in pieces for line in split.feed(piece)] + split.end()

    assert together == apart


def test_of_a_line_that_is_too_long_the_next_one_is_whole() -> None:
    splitter = LineSplitter(4)

    assert splitter.feed(b"1234\n12345\n") == ["1234", None]
    assert splitter.feed(b"123") == []
    assert splitter.feed(b"45678") == []
    assert splitter.feed(b"9\nabc\n") == [None, "abc"]


def test_a_line_that_is_too_long_and_never_ends_is_told_once_and_takes_no_room() -> None:
    splitter = LineSplitter(4)
    for _ in range(100):
        assert splitter.feed(b"x" * 10) == []

    assert splitter.end() == [None]


def test_what_is_no_utf8_is_replaced() -> None:
    assert LineSplitter().feed(b"a\xffb\n") == ["a\ufffdb"]
