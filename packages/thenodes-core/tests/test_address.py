"""Tests of parsing addresses."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thenodes_core.address import Scope, host_port, parse_address, scope


@pytest.mark.parametrize(
    ("text", "url", "host", "port"),
    [
        ("node.example:50000", "ws://node.example:50000", "node.example", 50000),
        ("127.0.0.1:1", "ws://127.0.0.1:1", "127.0.0.1", 1),
        ("[::1]:65535", "ws://[::1]:65535", "::1", 65535),
        ("ws://node.example:8080", "ws://node.example:8080", "node.example", 8080),
        ("ws://node.example", "ws://node.example", "node.example", 80),
        ("wss://node.example", "wss://node.example", "node.example", 443),
        ("wss://node.example/a/path", "wss://node.example/a/path", "node.example", 443),
    ],
)
def test_an_address_is_taken_apart(text: str, url: str, host: str, port: int) -> None:
    address = parse_address(text)

    assert (address.url, address.host, address.port) == (url, host, port)


def test_host_and_port_take_the_scheme_that_is_given() -> None:
    assert parse_address("node.example:1", scheme="wss").url == "wss://node.example:1"


def test_a_scheme_in_the_address_stands_against_the_one_given() -> None:
    assert parse_address("ws://node.example:1", scheme="wss").url == "ws://node.example:1"


def test_an_address_prints_as_it_was_written() -> None:
    assert str(parse_address("Node.Example:7")) == "Node.Example:7"


@pytest.mark.parametrize("text", ["[::1]:80", "node.example:80", "127.0.0.1:80"])
def test_host_and_port_are_put_together_so_that_they_parse_again(text: str) -> None:
    address = parse_address(text)

    assert host_port(address.host, address.port) == text


def test_an_address_without_a_port_is_told_what_one_looks_like() -> None:
    with pytest.raises(ValueError, match="expected host:port, such as node:50000"):
        parse_address("node")


def test_another_scheme_is_refused_by_its_name() -> None:
    with pytest.raises(ValueError, match="got http://"):
        parse_address("http://node.example:80")


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":80",
        "ws://",
        "ws://:80",
        "node:0",
        "node:65536",
        "node:-1",
        "node:eighty",
        "node:８０",
        "[::1:80",
        "user@node:80",
        "ws://user:secret@node:80",
        "ws://@node:80",
        "no de:80",
        "node:80\n",
        "node\t:80",
        "\x1b[31mnode:80",
        "node\u202e:80",
    ],
)
def test_what_is_not_an_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|port|scheme|expected"):
        parse_address(text)


@pytest.mark.parametrize("bare", ["node.example:1", "ws://node.example:1", "wss://[::1]:1/a?b=c"])
def test_an_address_may_say_who_has_to_answer_there(bare: str) -> None:
    address = parse_address(f"{bare}#a-node.id_1")

    assert address.node_id == "a-node.id_1"
    assert (address.text, str(address)) == (f"{bare}#a-node.id_1",) * 2
    assert (address.url, address.port) == (parse_address(bare).url, 1)


def test_an_address_without_a_node_id_may_be_of_anybody() -> None:
    assert parse_address("node.example:1").node_id is None


@pytest.mark.parametrize("node_id", ["", "a b", "a/b", "a#b", "#a", "a%41", "ü", "x" * 129])
def test_an_address_whose_node_id_is_none_is_refused_rather_than_dialled_without_it(
    node_id: str,
) -> None:
    with pytest.raises(ValueError, match=r"node id after #|not an address"):
        parse_address(f"wss://node.example:1#{node_id}")


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        address = parse_address(text)
        assert address.host
        assert 0 < address.port < 65536
        assert address.url.isprintable()


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", Scope.MACHINE),
        ("::1", Scope.MACHINE),
        ("0.0.0.0", Scope.MACHINE),
        ("::", Scope.MACHINE),
        ("localhost", Scope.MACHINE),
        ("::ffff:127.0.0.1", Scope.MACHINE),
        ("10.1.2.3", Scope.PRIVATE),
        ("192.168.0.1", Scope.PRIVATE),
        ("169.254.169.254", Scope.PRIVATE),
        ("fe80::1%eth0", Scope.PRIVATE),
        ("::ffff:10.0.0.1", Scope.PRIVATE),
        ("8.8.8.8", Scope.GLOBAL),
        ("example.org", Scope.GLOBAL),
    ],
)
def test_a_host_is_known_by_how_near_one_must_be_to_reach_it(host: str, expected: Scope) -> None:
    assert scope(host) is expected
