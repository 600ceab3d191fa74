"""Ports, with real sockets."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator

import pytest

from thenodes_core.doctor.finding import Outcome
from thenodes_core.doctor.port import check_free, check_listening, check_public


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_port_that_somebody_has_is_a_problem_and_names_the_process(taken: int) -> None:
    (found,) = check_free("127.0.0.1", taken)

    assert found.outcome is Outcome.PROBLEM
    if os.path.exists("/proc/net/tcp"):
        assert f"taken by process {os.getpid()}" in found.text


def test_a_free_port_and_port_zero_are_fine(taken: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]

    assert check_free("127.0.0.1", free)[0].outcome is Outcome.OK
    assert check_free("127.0.0.1", 0)[0].outcome is Outcome.OK


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere two may not be bound at once")
def test_a_node_that_starts_while_its_port_is_tried_gets_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[int] = []
    real = socket.socket

    class Tried(real):  # type: ignore[misc, valid-type]
        def close(self) -> None:
            if not started:
                with real(socket.AF_INET, socket.SOCK_STREAM) as node:
                    node.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    node.bind(self.getsockname())
                    node.listen(1)
                    started.append(node.getsockname()[1])
            super().close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    monkeypatch.setattr(socket, "socket", Tried)

    (found,) = check_free("127.0.0.1", free)

    assert found.outcome is Outcome.OK
    assert started == [free]


def test_an_address_of_another_machine_is_a_problem() -> None:
    (found,) = check_free("192.0.2.1", 50000)

    assert found.outcome is Outcome.PROBLEM
    assert "not an address of this machine" in found.text


@pytest.mark.parametrize("host", ["a..b", "x" * 64])
def test_what_cannot_be_the_name_of_a_host_is_a_problem(host: str) -> None:
    (found,) = check_free(host, 50000)

    assert found.outcome is Outcome.PROBLEM
    assert "unknown host" in found.text


async def test_a_port_that_takes_connections_is_fine_and_a_closed_one_is_not(taken: int) -> None:
    (fine,) = await check_listening(f"127.0.0.1:{taken}")
    (anywhere,) = await check_listening(f"0.0.0.0:{taken}")
    (closed,) = await check_listening("127.0.0.1:1")

    assert fine.outcome is Outcome.OK
    assert "only a peer can tell" in anywhere.text
    assert closed.outcome is Outcome.PROBLEM


def test_a_public_name_has_to_lead_here() -> None:
    assert check_public("a.example", "self").outcome is Outcome.OK
    assert check_public("a.example", "unknown host").outcome is Outcome.WARNING
