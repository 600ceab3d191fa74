"""Pages over HTTP, for machines that ask how a node is.

By the pattern that websockets documents for health checks: `process_request` answers, and
no request becomes a WebSocket connection.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, TypeAlias

import msgspec
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from ..errors import ListenError
from .base import Listener
from .problems import listen_problem

__all__ = ["Answer", "Page", "PageLimits", "serve_pages"]

_TEXT = "text/plain; charset=utf-8"
_METHOD_BYTES = 16
_LINGER_SECONDS = 1.0

_silent = logging.Logger("thenodes.pages", level=logging.CRITICAL + 1)


class Page(msgspec.Struct, frozen=True):
    """What is answered.

    Attributes:
        text: the body.
        status: of HTTP.
        content_type: with the character set.
    """

    text: str
    status: int = 200
    content_type: str = _TEXT


Answer: TypeAlias = Callable[[str], Awaitable[Page]]
"""Makes the page of a path, which comes from whoever asks, without its query."""


class PageLimits(msgspec.Struct, frozen=True):
    """What those who ask may use up.

    Attributes:
        connections: at once; beyond that the oldest is cut: a slow one, most likely.
        request_bytes: of a request line and its headers.
        seconds: from the connection to its end, whatever the other side does.
    """

    connections: int = 32
    request_bytes: int = 16 * 1024
    seconds: float = 5.0


async def serve_pages(
    host: str,
    port: int,
    answer: Answer,
    *,
    refuse_names: bool = True,
    limits: PageLimits | None = None,
) -> Listener:
    """Answer GET requests until the listener is closed; one request a connection.

    Args:
        host: address to listen on.
        port: TCP port; 0 takes a free one.
        answer: makes the pages.
        refuse_names: answer only requests whose host is an address or `localhost`: else a
            web page could let its own name point to loopback and read the answers.
        limits: bounds.

    Raises:
        ListenError: the address is taken, not this machine's, or not permitted.
    """
    visits = _Visits(limits or PageLimits())

    def create(*args: Any, **kwargs: Any) -> ServerConnection:
        return _Visit(visits, *args, **kwargs)

    async def respond(connection: ServerConnection, request: Request) -> Response:
        hosts = request.headers.get_all("Host")
        if refuse_names and not all(map(_is_address, hosts)):
            page = Page("expected an address or localhost as the host\n", 421)
        else:
            page = await answer(request.path.partition("?")[0])
        response = connection.respond(HTTPStatus(page.status), page.text)
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = page.content_type
        response.headers["Cache-Control"] = "no-store"
        return response

    try:
        server = await serve(
            _nobody,
            host,
            port,
            process_request=respond,
            create_connection=create,  # type: ignore[arg-type]  # documented as a factory
            compression=None,
            open_timeout=visits.limits.seconds,
            close_timeout=_LINGER_SECONDS,
            server_header=None,
            logger=_silent,
        )
    except OSError as error:
        raise ListenError(listen_problem(host, port, error, option="--health-port")) from error
    except UnicodeError as error:
        raise ListenError(f"cannot listen on {host}:{port}: not the name of a host") from error
    return _PageListener(server, visits)


async def _nobody(connection: ServerConnection) -> None:
    """Every request is answered before it could become a connection."""


class _PageListener:
    def __init__(self, server: Server, visits: _Visits) -> None:
        self._server = server
        self._visits = visits
        self.host, self.port = server.sockets[0].getsockname()[:2]

    async def close(self) -> None:
        self._server.close(close_connections=False)
        # The library closes in a task of its own: one turn of the loop lets it.
        await asyncio.sleep(0)
        self._visits.abort()


class _Visits:
    """The connections that there are, in the order of their arrival."""

    def __init__(self, limits: PageLimits) -> None:
        self.limits = limits
        self._open: dict[_Visit, None] = {}

    def add(self, visit: _Visit) -> None:
        self._open[visit] = None
        if len(self._open) > self.limits.connections:
            next(iter(self._open)).cut()

    def discard(self, visit: _Visit) -> None:
        self._open.pop(visit, None)

    def abort(self) -> None:
        for visit in list(self._open):
            visit.cut()


class _Visit(ServerConnection):
    """One request: what is no GET, too long or too slow ends here.

    The library closes without a word where the method is another one, has no time limit
    for reading an answer, and takes up to 128 headers of 8 KiB.
    """

    def __init__(self, visits: _Visits, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._visits = visits
        self._received = 0
        self._refused = False
        # What came, until it is known to begin with a method that is answered.
        self._begun: bytes | None = b""
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._visits.add(self)
        self._deadline = self.loop.call_later(self._visits.limits.seconds, self.cut)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._received += len(data)
        if self._received > self._visits.limits.request_bytes:
            most = self._visits.limits.request_bytes
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"at most {most} bytes")
        elif self._begun is None:
            super().data_received(data)
        else:
            self._begun += data
            self._judge(self._begun)

    def _judge(self, begun: bytes) -> None:
        method, space, _ = begun.partition(b" ")
        is_method = method.isalpha() and method.isupper() and len(method) <= _METHOD_BYTES
        if begun and not is_method:
            self._refuse(HTTPStatus.BAD_REQUEST, "not a request of HTTP")
        elif space and method != b"GET":
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, "only GET is answered", "Allow: GET\r\n")
        elif space:
            self._begun = None
            super().data_received(begun)

    def _refuse(self, status: HTTPStatus, why: str, header: str = "") -> None:
        self._refused = True
        body = f"{why}\n"
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\n{header}Connection: close\r\n"
        head += f"Content-Length: {len(body)}\r\nContent-Type: {_TEXT}\r\n\r\n"
        self.transport.write((head + body).encode())
        # Not closed yet: what the other side still sends would make its system discard this.
        self.transport.write_eof()
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(_LINGER_SECONDS, self.cut)

    def eof_received(self) -> bool | None:  # type: ignore[override]  # as asyncio has it
        if self.request is not None:
            # Whoever has asked may have no more to say, such as `nc -N`: the answer is due yet.
            return True
        return None if self._refused else super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._visits.discard(self)
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def cut(self) -> None:
        self._visits.discard(self)
        self.transport.abort()


def _is_address(host: str) -> bool:
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    if name.lower() == "localhost":
        return True
    try:
        ipaddress.ip_address(name.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True
