"""What a service manager is told, through the socket that it gives."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from thenodes_cli.service_manager import ServiceManager


class Listener:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(address)

    def told(self) -> list[list[str]]:
        """Every message so far, in lines."""
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return messages


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    one = Listener(str(tmp_path / "notify"))
    yield one
    one.socket.close()


def manager(tmp_path: Path, **more: str) -> ServiceManager:
    return ServiceManager.of({"NOTIFY_SOCKET": str(tmp_path / "notify"), **more})


def test_each_state_is_one_message(tmp_path: Path, listener: Listener) -> None:
    told = manager(tmp_path)

    told.ready("1 peer")
    told.status("2 peers")
    told.alive()
    told.stopping("stopping")

    assert listener.told() == [
        ["READY=1", "STATUS=1 peer"],
        ["STATUS=2 peers"],
        ["WATCHDOG=1"],
        ["STOPPING=1", "STATUS=stopping"],
    ]


def test_a_reload_says_when_it_began(tmp_path: Path, listener: Listener) -> None:
    manager(tmp_path).reloading()

    ((state, moment),) = listener.told()
    assert state == "RELOADING=1"
    assert moment.startswith("MONOTONIC_USEC=")
    assert int(moment.partition("=")[2]) > 0


def test_the_same_status_is_said_once(tmp_path: Path, listener: Listener) -> None:
    told = manager(tmp_path)

    told.ready("1 peer")
    told.status("1 peer")

    assert listener.told() == [["READY=1", "STATUS=1 peer"]]


def test_a_status_stays_one_line_of_bounded_length(tmp_path: Path, listener: Listener) -> None:
    manager(tmp_path).status("a\nREADY=1 " + "x" * 2000)

    ((line,),) = listener.told()
    assert line.startswith("STATUS=a READY=1 x")
    assert len(line) < 600


def test_an_abstract_socket_is_told_as_well() -> None:
    name = f"thenodes-test-{os.getpid()}"
    listening = Listener(f"\0{name}")

    ServiceManager.of({"NOTIFY_SOCKET": f"@{name}"}).alive()

    assert listening.told() == [["WATCHDOG=1"]]
    listening.socket.close()


@pytest.mark.parametrize("address", ["", "relative", "/", "@", "vsock:2:1"])
def test_without_a_socket_that_is_one_nobody_is_told(address: str) -> None:
    told = ServiceManager.of({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"})

    told.ready("1 peer")

    assert not told.is_there
    assert told.watchdog_seconds is None


def test_a_socket_where_nobody_listens_is_told_of_once_and_harms_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told = manager(tmp_path)

    told.ready("1 peer")
    told.alive()

    assert len(caplog.records) == 1
    assert "the service manager cannot be told anything" in caplog.text


def test_one_that_reads_nothing_holds_up_nobody(tmp_path: Path, listener: Listener) -> None:
    told = manager(tmp_path)

    for _ in range(5000):
        told.alive()

    assert listener.told()


@pytest.mark.parametrize(
    ("usec", "process", "seconds"),
    [
        ("30000000", "", 30.0),
        ("30000000", str(os.getpid()), 30.0),
        ("30000000", "1", None),
        ("0", "", None),
        ("soon", "", None),
        ("-1", "", None),
        ("\u0663", "", None),
        ("1", "", 0.1),
        ("1" * 400, "", None),
        ("1" * 5000, "", None),
        ("", "", None),
    ],
)
def test_a_watchdog_counts_where_it_is_for_this_process(
    tmp_path: Path, usec: str, process: str, seconds: float | None
) -> None:
    told = manager(tmp_path, WATCHDOG_USEC=usec, WATCHDOG_PID=process)

    assert told.watchdog_seconds == seconds


def test_children_of_the_node_do_not_find_the_socket(tmp_path: Path) -> None:
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1", "HOME": "/"}

    ServiceManager.of(environ)

    assert environ == {"HOME": "/"}
