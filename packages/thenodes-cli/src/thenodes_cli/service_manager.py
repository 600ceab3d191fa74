"""What a service manager such as systemd is told of the node: sd_notify(3).

It is one datagram of `NAME=value` lines to a Unix socket that the environment names. That is
all of the protocol, so no library is taken for it: the ones there are wrap the same dozen lines,
or need libsystemd.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import time
from collections.abc import Mapping, MutableMapping

__all__ = ["ServiceManager"]

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_STATUS_CHARACTERS = 500
# As many as systemd has: 64 bits.
_MICROSECONDS = re.compile(r"0*[1-9][0-9]{0,19}", re.ASCII)
_LEAST_WATCHDOG_SECONDS = 0.1

_log = logging.getLogger("thenodes.cli")


class ServiceManager:
    """Tells the service manager that started this process how it is; nobody where none did.

    Nothing of it ever fails or waits: where a message cannot be sent, the node goes on.

    Args:
        address: of the socket; None for nobody. One that begins with `@` is abstract.
        watchdog_seconds: how long it may hear nothing before it restarts the node; None
            where it does not watch.
    """

    def __init__(
        self, address: str | None = None, *, watchdog_seconds: float | None = None
    ) -> None:
        self._address = None if address is None else _abstract(address)
        self._status = ""
        self._complained = False
        self.watchdog_seconds = None if address is None else watchdog_seconds

    @classmethod
    def of(cls, environ: MutableMapping[str, str]) -> ServiceManager:
        """The one that the environment names; it is taken out, so that no child speaks for us."""
        found = {name: environ.pop(name, "") for name in _VARIABLES}
        address = found["NOTIFY_SOCKET"]
        if not address.startswith(("/", "@")) or len(address) < 2:
            return cls()
        return cls(address, watchdog_seconds=_watchdog_seconds(found))

    @property
    def is_there(self) -> bool:
        """Whether somebody is told."""
        return self._address is not None

    def ready(self, status: str) -> None:
        """The node listens, or has reloaded."""
        self._send("READY=1", self._said(status))

    def status(self, status: str) -> None:
        """How it is, in one line; the same again is not sent."""
        if status != self._status:
            self._send(self._said(status))

    def reloading(self) -> None:
        """It reads its settings again; `ready` follows."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str) -> None:
        """It will end."""
        self._send("STOPPING=1", self._said(status))

    def alive(self) -> None:
        """It is not held up."""
        self._send("WATCHDOG=1")

    def _said(self, status: str) -> str:
        self._status = status
        return f"STATUS={' '.join(status.split())[:_STATUS_CHARACTERS]}"

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        try:
            kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            with contextlib.closing(socket.socket(socket.AF_UNIX, kind)) as sender:
                sender.sendto("\n".join(lines).encode(errors="replace"), self._address)
        except OSError as error:
            if not self._complained:
                self._complained = True
                _log.warning("the service manager cannot be told anything: %s", error)


def _abstract(address: str) -> str:
    return f"\0{address[1:]}" if address.startswith("@") else address


def _watchdog_seconds(found: Mapping[str, str]) -> float | None:
    """The interval, where it is for this process."""
    text, process = found["WATCHDOG_USEC"], found["WATCHDOG_PID"]
    if not _MICROSECONDS.fullmatch(text) or (process and process != str(os.getpid())):
        return None
    # Of less than a moment the signs of life would be all that the node does.
    return max(int(text) / 1e6, _LEAST_WATCHDOG_SECONDS)
