"""Whether a node can listen where it is to, or can be reached where it does."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..address import host_port
from .finding import Finding, ok, problem, warning

__all__ = ["check_free", "check_listening", "check_public", "holder_of"]

_CONNECT_SECONDS = 3.0
_PROC = Path("/proc")
_LISTENS = "0A"
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def check_free(host: str, port: int) -> Sequence[Finding]:
    """Whether a node that does not run could listen there. For a thread: names are looked up."""
    at = host_port(host, port)
    if port == 0:
        return [ok("port", "a free one is taken at the start", subject=at)]
    try:
        infos = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG
        )
    except socket.gaierror as error:
        return [_unknown(at, str(error.strerror))]
    except UnicodeError:
        # What IDNA cannot encode: an empty label, or one that is too long.
        return [_unknown(at, "not the name of a host")]
    for family, kind, number, _, address in infos:
        try:
            _bind(family, kind, number, address)
        except OSError as error:
            return [_taken(at, port, error)]
    return [ok("port", "free", subject=at)]


def _bind(family: int, kind: int, number: int, address: tuple[object, ...]) -> None:
    with socket.socket(family, kind, number) as one:
        # As asyncio listens: what merely lingers is no hindrance.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Not to listen: a node that starts now could not, and a peer would be taken and cut.
        one.bind(address)


def _unknown(at: str, why: str) -> Finding:
    fix = "set host to an address of this machine"
    return problem("port", f"unknown host: {why}", fix, subject=at)


def _taken(at: str, port: int, error: OSError) -> Finding:
    if error.errno == errno.EADDRINUSE:
        who = holder_of(port) or "another process"
        fix = "stop that, or choose another with --port or the setting port"
        return problem("port", f"taken by {who}", fix, subject=at)
    if error.errno == errno.EACCES:
        fix = "choose one above 1023, or give the node CAP_NET_BIND_SERVICE"
        return problem("port", "not permitted to this user", fix, subject=at)
    if error.errno == errno.EADDRNOTAVAIL:
        fix = "set host to an address of this machine, or 0.0.0.0 for all"
        return problem("port", "not an address of this machine", fix, subject=at)
    return problem("port", str(error.strerror), "choose another address", subject=at)


async def check_listening(listening: str) -> Sequence[Finding]:
    """Whether the port of a node that runs takes connections, where its peers are told it does."""
    host, _, port = listening.rpartition(":")
    host = host.strip("[]")
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(_ANY.get(host, host), int(port))
    except (OSError, TimeoutError) as error:
        why = "no answer in time" if isinstance(error, TimeoutError) else str(error.strerror)
        fix = "look whether a firewall of this machine is in the way"
        return [problem("port", f"takes no connection: {why}", fix, subject=listening)]
    took = loop.time() - started
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    if host in _ANY:
        text = "takes connections on this machine; from beyond, only a peer can tell"
    else:
        text = "takes connections at the address that peers are told"
    return [ok("port", text, subject=listening, seconds=took)]


def check_public(host: str, found: str) -> Finding:
    """What came of asking a name under which a proxy is to lead here."""
    if found == "self":
        return ok("port", "leads to this node", subject=host)
    fix = "look at the proxy, and at the DNS entry of that name"
    return warning("port", f"does not lead to this node: {found}", fix, subject=host)


def holder_of(port: int) -> str:
    """Which process listens on a port, as far as this user may see; empty where it may not."""
    inodes = set(_listening(port))
    if not inodes:
        return ""
    with contextlib.suppress(OSError):
        for process in _PROC.iterdir():
            if process.name.isdecimal() and not inodes.isdisjoint(_sockets(process)):
                return f"process {process.name} ({_command(process)})"
    return ""


def _listening(port: int) -> Iterator[str]:
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            for line in (_PROC / "net" / name).read_text().splitlines()[1:]:
                fields = line.split()
                local, state, inode = fields[1], fields[3], fields[9]
                if state == _LISTENS and int(local.rpartition(":")[2], 16) == port:
                    yield inode


def _sockets(process: Path) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                target = os.readlink(descriptor)
                if target.startswith("socket:["):
                    yield target[8:-1]


def _command(process: Path) -> str:
    try:
        return (process / "comm").read_text(errors="replace").strip()
    except OSError:
        return "?"
