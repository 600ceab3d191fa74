"""What people read of a connection that did not come about."""

from __future__ import annotations

import socket

import pytest

from thenodes_core.errors import DialError
from thenodes_core.limits import Limits
from thenodes_core.transport.problems import dial_problem
from thenodes_core.transport.websocket import WebSocketTransport

_TEMPORARY = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


def test_a_name_that_stands_for_no_host_is_told_in_words() -> None:
    error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    assert dial_problem(error) == "unknown host"


def test_a_name_that_cannot_be_looked_up_now_is_not_called_unknown() -> None:
    assert dial_problem(_TEMPORARY) == (
        "the host's name could not be looked up: temporary failure in name resolution"
    )


async def test_a_dial_to_an_unknown_host_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    with pytest.raises(DialError, match=r"^ws://relay\.invalid:50000: unknown host$"):
        await WebSocketTransport(Limits()).dial("ws://relay.invalid:50000")
