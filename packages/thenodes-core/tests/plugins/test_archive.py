"""Archives of strangers: what is refused, and that nothing but a refusal comes of them."""

from __future__ import annotations

import io
import stat
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from thenodes_core.errors import PluginLoadError
from thenodes_core.plugins import archive as limits
from thenodes_core.plugins.archive import Archive
from thenodes_core.plugins.wheel import parse_wheel

NAME = Path("thenodes_my-0.1.0-py3-none-any.whl")


def zipped(
    *members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED
) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", method) as archive:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in members:
            info = zipfile.ZipInfo(name) if isinstance(name, str) else name
            archive.writestr(info, content, method)
    return file.getvalue()


def told(content: bytes) -> str:
    """What is wrong with an archive, whether it can be opened or not."""
    try:
        archive = Archive(content)
    except PluginLoadError as error:
        return str(error)
    return "; ".join(map(str, archive.faults))


def special(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


def test_files_are_read_by_name() -> None:
    archive = Archive(zipped(("a/b.txt", b"text"), ("a/", b"")))

    assert told(zipped(("a/b.txt", b"text"))) == ""
    assert archive.names == ("a/b.txt",)
    assert archive.read("a/b.txt") == b"text"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (zipped(("a", b"1"), ("a", b"2")), "'a' twice"),
        (zipped(("ä", b"1"), ("a\u0308", b"2")), "beside"),
        (zipped(("ﬁ", b"1"), ("FI", b"2")), "beside"),
        (zipped((special("a", stat.S_IFLNK | 0o777), b"/etc/passwd")), "a link"),
        (zipped((special("a", stat.S_IFIFO | 0o600), b"")), "a link or something else"),
        (zipped(("a", b"x"), method=zipfile.ZIP_BZIP2), "stored or deflated"),
        (zipped(("a", b"x"), method=zipfile.ZIP_LZMA), "stored or deflated"),
        (zipped(("a", bytes(2 * 1024 * 1024))), "unpack to at most 100 times"),
        (zipped(("a/", b"content")), "folders without content"),
        (zipped(("x" * 300, b"")), "relative paths"),
        (zipped(("a//b", b"")), "relative paths"),
        (zipped(("./b", b"")), "relative paths"),
        (zipped(("a/b. ", b"")), "relative paths"),
        (b"", "a zip archive and nothing else"),
        (zipped(), "a zip archive and nothing else"),
        (b"PK\x03\x04" + bytes(100), "a zip archive and nothing else"),
    ],
)
def test_what_is_not_safe_to_unpack_is_told(content: bytes, problem: str) -> None:
    assert problem in told(content)
    assert told(content).startswith("TN-P002")


def test_an_encrypted_file_is_told() -> None:
    content = bytearray(zipped(("a", b"x")))
    at = content.index(b"PK\x01\x02")
    content[at + 8] |= 1

    assert "not encrypted" in told(bytes(content))


def test_a_name_that_ends_in_secret_is_told() -> None:
    content = zipped(("a.pyXevil.txt", b"x")).replace(b"a.pyXevil", b"a.py\0evil")

    assert "relative paths" in told(content)


def test_as_many_members_as_a_wheel_may_have_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MEMBERS", 3)

    assert told(zipped(*((str(n), b"") for n in range(3)))) == ""
    assert "at most 3 members" in told(zipped(*((str(n), b"") for n in range(4))))


def test_all_members_together_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_UNPACKED_BYTES", 10)

    assert told(zipped(("a", bytes(5)), ("b", bytes(5)))) == ""
    assert "at most 10 bytes unpacked" in told(zipped(("a", bytes(5)), ("b", bytes(6))))


def test_a_long_list_of_members_is_refused_before_it_is_read() -> None:
    content = bytearray(zipped(("a", b"x")))
    content[-10:-6] = struct.pack("<I", 5 * 1024 * 1024)

    assert "a directory of 5242880 bytes" in told(bytes(content))


def test_a_size_that_is_not_the_files_is_told() -> None:
    content = bytearray(zipped(("a", b"x" * 50), method=zipfile.ZIP_STORED))
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", 40)

    with pytest.raises(PluginLoadError, match="TN-P002"):
        Archive(bytes(content)).read("a")


def read_all(content: bytes) -> None:
    """Everything that is done with the bytes of a wheel before it is accepted."""
    try:
        parse_wheel(content, NAME)
        archive = Archive(content)
        for name in archive.names:
            archive.read(name)
    except PluginLoadError:
        pass


names = st.text(max_size=20) | st.sampled_from(
    ["a/__init__.py", "a/thenodes-plugin.toml", "x-1.dist-info/METADATA", "x-1.dist-info/RECORD"]
)
members = st.dictionaries(names, st.binary(max_size=200), max_size=6)

SOUND = zipped(
    ("a/__init__.py", b"pass\n"),
    ("a/thenodes-plugin.toml", b'manifest = 1\n[plugin]\nid = "my"\n'),
    ("thenodes_my-0.1.0.dist-info/METADATA", b"Name: thenodes_my\nVersion: 0.1.0\n\n"),
    ("thenodes_my-0.1.0.dist-info/entry_points.txt", b"[thenodes.plugins]\nmy = a:b\n"),
    ("thenodes_my-0.1.0.dist-info/RECORD", b"a/__init__.py,sha256=x,5\n"),
)


@given(st.binary(max_size=300))
@example(b"PK\x05\x06" + bytes(18))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    read_all(content)


@given(members)
def test_archives_of_any_files_are_read_or_refused(files: Mapping[str, bytes]) -> None:
    try:
        content = zipped(*files.items())
    except (ValueError, UnicodeError):
        return  # no archive can have that name
    read_all(content)


@given(st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 255)), max_size=8))
def test_a_wheel_with_any_bytes_changed_is_read_or_refused(changes: list[tuple[int, int]]) -> None:
    content = bytearray(SOUND)
    for at, value in changes:
        content[at] = value

    read_all(bytes(content))


@given(
    st.sampled_from(["METADATA", "RECORD", "entry_points.txt", "WHEEL"]), st.binary(max_size=400)
)
def test_any_content_of_what_describes_a_wheel_is_read_or_refused(name: str, text: bytes) -> None:
    files = {
        "a/__init__.py": b"",
        "a/thenodes-plugin.toml": b'manifest = 1\n[plugin]\nid = "my"\n',
        "thenodes_my-0.1.0.dist-info/METADATA": b"Name: thenodes_my\nVersion: 0.1.0\n\n",
        "thenodes_my-0.1.0.dist-info/RECORD": b"",
        f"thenodes_my-0.1.0.dist-info/{name}": text,
    }

    read_all(zipped(*files.items()))
