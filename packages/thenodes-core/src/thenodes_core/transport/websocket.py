"""WebSocket connections; besides `pages`, the only module that imports websockets."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
import os
import ssl
from collections.abc import Sequence
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidURI,
    NegotiationError,
)
from websockets.frames import DATA_OPCODES, Frame, Opcode
from websockets.protocol import Event, Side, State
from websockets.typing import Subprotocol

from ..address import host_port
from ..errors import DialError, LinkClosed, ListenError
from ..limits import Limits
from .base import HUNG_UP, SUBPROTOCOLS, Accept, Answered, Listener, Report, Taken
from .problems import dial_hint, dial_problem, listen_problem

__all__ = ["ClientTls", "WebSocketLink", "WebSocketTransport"]

_OFFERED = [Subprotocol(name) for name in SUBPROTOCOLS]
_JSON = _OFFERED[1]

# A message begins to be sent only where less than `write_limit` waits, so that only
# answers to pings can bring a write buffer to this.
_WRITE_BUFFER_BYTES = 2 * 1024 * 1024

_PING_BYTES = 4
_MASK_BYTES = 4

# The library reports on a logger of its own; what operators need to know becomes
# an event, so its records would only say it twice.
_silent = logging.Logger("thenodes.websockets", level=logging.CRITICAL + 1)


class ClientTls(Protocol):
    """What `wss://` is dialled with."""

    @property
    def unverified(self) -> ssl.SSLContext:
        """Takes any certificate: the peer proves later that it is its own."""
        ...

    @property
    def verified(self) -> ssl.SSLContext:
        """Takes only a certificate that a CA gave for the host that is dialled."""
        ...


class WebSocketLink:
    """A link over one WebSocket connection."""

    def __init__(
        self, connection: _Watched, *, close_seconds: float, verified_host: str | None = None
    ) -> None:
        self._connection = connection
        self._close_seconds = close_seconds
        self.verified_host = verified_host
        # Kept: a closed connection no longer knows it.
        self.remote = _format(connection.remote_address)
        self._text = connection.subprotocol != _OFFERED[0]
        connection.taken_opcode = Opcode.TEXT if self._text else Opcode.BINARY

    @property
    def subprotocol(self) -> str:
        """The encoding that both sides agreed on; none offered counts as JSON."""
        return self._connection.subprotocol or _JSON

    @property
    def encrypted(self) -> bool:
        """Whether it is TLS."""
        return self._connection.transport.get_extra_info("ssl_object") is not None

    @property
    def certificate_digest(self) -> bytes | None:
        """SHA-256 of the certificate that the other end showed."""
        tls = self._connection.transport.get_extra_info("ssl_object")
        certificate = None if tls is None else tls.getpeercert(binary_form=True)
        return None if certificate is None else hashlib.sha256(certificate).digest()

    @property
    def received_bytes(self) -> int:
        """How many bytes ever came."""
        return self._connection.received_bytes

    @property
    def unsent_bytes(self) -> int:
        """How many bytes wait in the socket's write buffer."""
        return self._connection.transport.get_write_buffer_size()

    def limit(self, message_bytes: int) -> None:
        """Refuse longer messages from now on."""
        self._connection.protocol.max_message_size = message_bytes

    async def receive(self, taken: Taken | None = None) -> bytes:
        """Return the next message, unless `taken` takes it where it comes in."""
        connection = self._connection
        connection.taken = taken
        try:
            data = await connection.recv()
            if isinstance(data, str) is self._text:
                return data.encode() if isinstance(data, str) else data
            await connection.close(4000, "protocol")
        except ConnectionClosed as error:
            raise _closed(error) from error
        finally:
            connection.taken = None
        expected = "text" if self._text else "binary"
        raise LinkClosed(4000, f"{self.subprotocol} expects {expected} messages", by_peer=False)

    def send_now(self, *messages: bytes) -> bool:
        """Send messages if the socket's buffer has room: `send` without its waiting."""
        connection = self._connection
        if connection.paused or connection.protocol.state is not State.OPEN:
            return False
        protocol = connection.protocol
        send = protocol.send_text if self._text else protocol.send_binary
        for data in messages:
            send(data)
        if len(messages) == 1:
            connection.send_data()
        else:
            # In one piece: with TLS, each piece is a record, and a call to the system.
            connection.transport.writelines(protocol.data_to_send())
        return True

    def ping(self, answered: Answered) -> bool:
        """Send a ping frame, which the other end's library answers."""
        connection = self._connection
        if connection.protocol.state is not State.OPEN or self.unsent_bytes:
            return False
        connection.ping_now(answered)
        return True

    async def send(self, data: bytes) -> None:
        """Send one message, as text in JSON and as bytes otherwise."""
        if self.send_now(data):
            return
        try:
            await self._connection.send(data, text=self._text)
        except ConnectionClosed as error:
            raise _closed(error) from error

    async def close(self, code: int, reason: str) -> None:
        """Send a close frame and wait a little for the peer's; then cut."""
        try:
            async with asyncio.timeout(self._close_seconds):
                await self._connection.close(code, reason)
        except TimeoutError:
            self.abort()

    def abort(self) -> None:
        """Cut the connection."""
        self._connection.transport.abort()


class WebSocketTransport:
    """Listens on and dials WebSocket addresses.

    Args:
        limits: message size before the handshake is complete, and time to open and close.
        origins: values of the Origin header that are admitted. A request with
            any other is refused, so that a web page cannot reach a node.
        offered: subprotocols to offer when dialling, the preferred one first.
        server_tls: what connections are accepted with; without it they are not encrypted.
        client_tls: what `wss://` is dialled with; without it, the server's certificate
            has to be of one of the system's CAs.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        origins: Sequence[str] = (),
        offered: Sequence[str] = SUBPROTOCOLS,
        server_tls: ssl.SSLContext | None = None,
        client_tls: ClientTls | None = None,
    ) -> None:
        self._limits = limits
        self._server_tls = server_tls
        self._client_tls = client_tls
        self._offered = [Subprotocol(name) for name in offered]
        self._origins: list[Any] = [None, *origins]
        self._options: dict[str, Any] = {
            "compression": None,
            "ping_interval": None,
            "max_size": limits.handshake_bytes,
            "open_timeout": limits.handshake_seconds,
            "close_timeout": limits.close_seconds,
            "write_limit": 64 * 1024,
            "logger": _silent,
        }

    async def listen(self, host: str, port: int, accept: Accept, report: Report) -> Listener:
        """Accept WebSocket connections.

        Raises:
            ListenError: the address is taken, not this machine's, or not permitted.
        """

        async def handle(connection: ServerConnection) -> None:
            await accept(self._link(connection))

        opening = _Opening(self._limits, self._server_tls, report)

        def create(*args: Any, **kwargs: Any) -> ServerConnection:
            return _Accepted(opening, *args, **kwargs)

        try:
            server = await serve(
                handle,
                host,
                port,
                subprotocols=_OFFERED,
                select_subprotocol=_select,
                origins=self._origins,
                server_header=None,
                create_connection=create,  # type: ignore[arg-type]  # documented as a factory
                **self._options,
            )
        except OSError as error:
            raise ListenError(listen_problem(host, port, error)) from error
        except OverflowError as error:
            raise ListenError(f"cannot listen on {host}:{port}: not a port") from error
        except UnicodeError as error:
            raise ListenError(f"cannot listen on {host}:{port}: not the name of a host") from error
        return _WebSocketListener(server, opening)

    async def dial(self, address: str) -> WebSocketLink:
        """Connect to `ws://…` or `wss://…`.

        A host that is a name is asked for a certificate of a CA first. Where it has
        none, and `client_tls` allows, it is dialled again and taken with any.

        Raises:
            DialError: refused, unreachable, not a node, or too slow.
        """
        scheme = address.partition(":")[0].lower()
        try:
            tls, host = self._client_tls, urlsplit(address).hostname or ""
            if scheme != "wss":
                return self._link(await self._connect(address))
            if tls is not None and _is_ip(host):
                return self._link(await self._connect(address, ssl=tls.unverified))
            try:
                verified = {} if tls is None else {"ssl": tls.verified}
                connection = await self._connect(address, **verified)
                # As certificates have it.
                return self._link(connection, verified_host=host.encode("idna").decode())
            except ssl.SSLCertVerificationError:
                if tls is None:
                    raise
            return self._link(await self._connect(address, ssl=tls.unverified))
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI, EOFError) as error:
            why = dial_problem(error) + dial_hint(scheme, error)
            raise DialError(f"{address}: {why}") from error
        except ValueError as error:
            raise DialError(f"{address}: not an address that can be dialled: {error}") from error

    async def _connect(self, address: str, **tls: Any) -> ClientConnection:
        return await _Connect(
            address,
            subprotocols=self._offered,
            proxy=None,
            user_agent_header=None,
            create_connection=_Dialled,
            **tls,
            **self._options,
        )

    def _link(self, connection: Connection, *, verified_host: str | None = None) -> WebSocketLink:
        # Both factories above make connections that are watched.
        return WebSocketLink(
            cast("_Watched", connection),
            close_seconds=self._limits.close_seconds,
            verified_host=verified_host,
        )


class _WebSocketListener:
    def __init__(self, server: Server, opening: _Opening) -> None:
        self._server = server
        self._opening = opening
        self.host, self.port = server.sockets[0].getsockname()[:2]

    async def close(self) -> None:
        self._server.close(close_connections=False)
        # The library closes in a task of its own: one turn of the loop lets it.
        await asyncio.sleep(0)
        self._opening.abort()


class _Watched(Connection):
    """Counts what comes, hands it on at once, and ends connections that the library would keep.

    The library wakes a task for each message, which takes a turn of the event loop; a
    message that comes while `taken` is set and that it takes needs none. The library
    sets a deadline for a peer that does not end the connection after a close frame, and
    holds to it only where something is sent; and it answers pings whether or not the
    peer reads the answers.
    """

    received_bytes = 0
    taken: Taken | None = None
    taken_opcode = Opcode.BINARY
    _cut: asyncio.TimerHandle | None = None
    _pinged: bytes | None = None
    _answered: Answered | None = None

    def ping_now(self, answered: Answered) -> None:
        self._pinged, self._answered = os.urandom(_PING_BYTES), answered
        self.protocol.send_ping(self._pinged)
        self.send_data()

    def data_received(self, data: bytes) -> None:
        self.received_bytes += len(data)
        super().data_received(data)
        if self.close_deadline is not None and self._cut is None:
            self._cut = self.loop.call_at(self.close_deadline, self.transport.abort)
        if self.paused and self.transport.get_write_buffer_size() > _WRITE_BUFFER_BYTES:
            self.transport.abort()

    def process_event(self, event: Event) -> None:
        if self.taken is not None and isinstance(event, Frame) and event.opcode in DATA_OPCODES:
            whole = event.fin and event.opcode is self.taken_opcode
            if whole and self.taken(bytes(event.data)):
                return
            self.taken = None
        elif self._pinged is not None and isinstance(event, Frame):
            self._take_pong(event, self._pinged)
        super().process_event(event)

    def _take_pong(self, event: Frame, pinged: bytes) -> None:
        if event.opcode is Opcode.PONG and event.data == pinged:
            masked = self.protocol.side is Side.SERVER
            self.received_bytes -= 2 + len(pinged) + (_MASK_BYTES if masked else 0)
            answered, self._answered, self._pinged = self._answered, None, None
            if answered is not None:
                answered()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._cut is not None:
            self._cut.cancel()
        super().connection_lost(exc)


class _Connect(connect):
    """Follows no redirects: an address leads to itself, and to no other service."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class _Dialled(_Watched, ClientConnection):
    pass


class _Opening:
    """The connections of a listener that are not WebSocket connections yet.

    Beyond `limits.max_handshakes` of them the oldest is cut: one that is slow, most
    likely, while a quick one gets through.
    """

    def __init__(self, limits: Limits, tls: ssl.SSLContext | None, report: Report) -> None:
        self.limits = limits
        self.tls = tls
        self.report = report
        # In the order of their arrival; with the socket's own transport, below TLS.
        self._transports: dict[_Accepted, asyncio.Transport] = {}

    def add(self, connection: _Accepted, transport: asyncio.Transport) -> None:
        self._transports[connection] = transport
        if len(self._transports) > self.limits.max_handshakes:
            oldest = next(iter(self._transports))
            most = self.limits.max_handshakes
            self.report(_peer(self.discard(oldest)), f"{most} newer ones are being opened")

    def discard(self, connection: _Accepted) -> asyncio.Transport | None:
        return self._transports.pop(connection, None)

    def abort(self) -> None:
        for connection in list(self._transports):
            _peer(self.discard(connection))


def _peer(transport: asyncio.Transport | None) -> str:
    """Cut a connection; returns who it was with."""
    if transport is None:
        return "unknown"
    remote = _format(transport.get_extra_info("peername"))
    transport.abort()
    return remote


class _Accepted(_Watched, ServerConnection):
    """Ends TLS, and tells of connections that do not become a link.

    TLS is begun here and not by the server, which would not know of a connection
    before its TLS handshake is done.
    """

    def __init__(self, opening: _Opening, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._opening = opening
        self._securing: asyncio.Task[None] | None = None
        # What TLS brings before the connection is made, as asyncio may.
        self._early: list[bytes] | None = None
        self._has_heard = False
        self._lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        raw = cast("asyncio.Transport", transport)
        self._opening.add(self, raw)
        if self._opening.tls is None:
            super().connection_made(raw)
        else:
            self._early = []
            self._securing = self.loop.create_task(self._secure(raw, self._opening.tls))

    async def _secure(self, raw: asyncio.Transport, context: ssl.SSLContext) -> None:
        limits = self._opening.limits
        try:
            transport = await self.loop.start_tls(
                raw,
                self,
                context,
                server_side=True,
                ssl_handshake_timeout=limits.handshake_seconds,
                ssl_shutdown_timeout=limits.close_seconds,
            )
        except OSError as error:
            self._opening.discard(self)
            raw.abort()
            # How asyncio tells that there was an end instead of a handshake.
            has_ended = isinstance(error, ConnectionResetError) and not error.args
            problem = HUNG_UP if has_ended else dial_problem(error)
            self._opening.report(_format(raw.get_extra_info("peername")), problem)
            return
        early, self._early = self._early or [], None
        if transport is None or self._lost:
            self._opening.discard(self)
            return
        super().connection_made(transport)
        for data in early:
            self.data_received(data)

    def data_received(self, data: bytes) -> None:
        self._has_heard = True
        if self._early is None:
            super().data_received(data)
        else:
            self._early.append(data)

    def eof_received(self) -> None:
        if self._early is None:
            super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._early is None:
            super().connection_lost(exc)
        self._lost = True

    async def handshake(self, *args: Any, **kwargs: Any) -> None:
        report = self._opening.report
        try:
            await super().handshake(*args, **kwargs)
        except asyncio.CancelledError:
            # How the library's time limit arrives.
            report(_format(self.remote_address), "no complete request in time")
            raise
        except Exception as error:
            # Re-raised: the library ends the connection.
            report(_format(self.remote_address), dial_problem(error))
            raise
        finally:
            self._opening.discard(self)
        failure = self.protocol.handshake_exc
        if failure is not None:
            problem = dial_problem(failure) if self._has_heard else HUNG_UP
            report(_format(self.remote_address), problem)


def _select(connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    if not offered:
        return None
    for name in _OFFERED:
        if name in offered:
            return name
    raise NegotiationError(f"subprotocol {offered[0]!r} is not served: {', '.join(_OFFERED)}")


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _closed(error: ConnectionClosed) -> LinkClosed:
    received, sent = error.rcvd, error.sent
    if received is not None and (sent is None or error.rcvd_then_sent):
        return LinkClosed(received.code, received.reason)
    if sent is not None:
        return LinkClosed(sent.code, sent.reason, by_peer=False)
    return LinkClosed()


def _format(address: Any) -> str:
    if not isinstance(address, tuple) or len(address) < 2:
        return "unknown"
    return host_port(str(address[0]), address[1])
