"""Tests of WebSocket connections, over real sockets on the loopback."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from thenodes_core.errors import DialError, LinkClosed, ListenError
from thenodes_core.limits import Limits
from thenodes_core.transport.base import HUNG_UP, SUBPROTOCOLS, Link, Listener
from thenodes_core.transport.websocket import WebSocketLink, WebSocketTransport

BINARY, JSON = SUBPROTOCOLS
LIMITS = Limits(handshake_seconds=2.0, close_seconds=0.1)

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Server:
    """A listener, the links it accepted, and what it reported."""

    def __init__(self, listener: Listener, links: asyncio.Queue[Link]) -> None:
        self.listener = listener
        self.links = links
        self.reports: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.listener.port}"


class Servers:
    """Starts servers and closes them."""

    def __init__(self) -> None:
        self._made: list[Server] = []
        self._links: list[Link] = []
        self._dialled: list[WebSocketLink] = []
        self._over = asyncio.Event()

    async def __call__(self, *, limits: Limits = LIMITS, origins: Sequence[str] = ()) -> Server:
        links: asyncio.Queue[Link] = asyncio.Queue()
        reports: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

        async def accept(link: Link) -> None:
            self._links.append(link)
            links.put_nowait(link)
            await self._over.wait()

        def report(remote: str, problem: str) -> None:
            reports.put_nowait((remote, problem))

        transport = WebSocketTransport(limits, origins=origins)
        server = Server(await transport.listen("127.0.0.1", 0, accept, report), links)
        server.reports = reports
        self._made.append(server)
        return server

    async def pair(self, *, limits: Limits = LIMITS) -> tuple[WebSocketLink, Link]:
        """The dialling and the accepting end of a new link."""
        server = await self(limits=limits)
        near = await WebSocketTransport(limits).dial(server.url)
        self._dialled.append(near)
        return near, await server.links.get()

    async def close(self) -> None:
        for server in self._made:
            await server.listener.close()
        for link in [*self._links, *self._dialled]:
            link.abort()
        self._over.set()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            await asyncio.wait(left, timeout=2)


@pytest.fixture
async def start() -> AsyncIterator[Servers]:
    """Starts servers: `await start()`."""
    servers = Servers()
    yield servers
    await servers.close()


async def closed(link: Link) -> LinkClosed:
    while True:
        try:
            await link.receive()
        except LinkClosed as end:
            return end


def client(url: str, *offered: str, origin: str | None = None) -> connect:
    """A client that is not ours: a browser, or another language."""
    return connect(
        url,
        subprotocols=[Subprotocol(name) for name in offered] or None,
        origin=None if origin is None else Origin(origin),
        proxy=None,
        compression=None,
    )


async def say(server: Server, data: bytes) -> bytes:
    """Send bytes to the port as they are; returns the answer, once the server hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.listener.port)
    writer.write(data)
    writer.write_eof()
    try:
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        await hang_up(writer)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@asynccontextmanager
async def answering(answer: bytes | None) -> AsyncIterator[str]:
    """The address of a server that answers with these bytes, or with None says nothing."""
    done: list[asyncio.Task[None]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        done.append(task)
        await reader.readuntil(b"\r\n\r\n")
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
        await hang_up(writer)

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await asyncio.gather(*done)


# Links


async def test_messages_go_both_ways(start: Servers) -> None:
    near, far = await start.pair()

    await near.send(b"there")
    await far.send(b"and back")

    assert (await far.receive(), await near.receive()) == (b"there", b"and back")


async def test_two_nodes_agree_on_the_binary_encoding(start: Servers) -> None:
    near, far = await start.pair()

    assert (near.subprotocol, far.subprotocol) == (BINARY, BINARY)


async def test_both_ends_know_the_others_address(start: Servers) -> None:
    server = await start()
    near = await WebSocketTransport(LIMITS).dial(server.url)
    far = await server.links.get()

    assert near.remote == f"127.0.0.1:{server.listener.port}"
    assert far.remote.startswith("127.0.0.1:")
    near.abort()


async def test_closing_tells_the_other_end_code_and_reason(start: Servers) -> None:
    near, far = await start.pair()

    await asyncio.gather(near.close(4001, "realm"), closed(far))

    end = await closed(far)
    assert (end.code, end.reason, end.by_peer) == (4001, "realm", True)


async def test_the_closing_end_knows_that_it_was_itself(start: Servers) -> None:
    near, far = await start.pair()

    await asyncio.gather(near.close(4001, "realm"), closed(far))

    end = await closed(near)
    assert (end.code, end.by_peer) == (4001, False)


async def test_what_arrived_before_the_close_is_still_received(start: Servers) -> None:
    near, far = await start.pair()
    await near.send(b"last words")
    await near.close(4009, "restarting")

    assert await far.receive() == b"last words"
    assert (await closed(far)).code == 4009


async def test_an_aborted_link_is_lost_to_both_ends(start: Servers) -> None:
    near, far = await start.pair()

    near.abort()

    assert [(await closed(near)).code, (await closed(far)).code] == [1006, 1006]


async def test_sending_on_a_closed_link_fails(start: Servers) -> None:
    near, far = await start.pair()
    await near.close(1000, "normal")
    await closed(far)

    with pytest.raises(LinkClosed):
        await far.send(b"x")


async def test_closing_does_not_wait_for_a_peer_that_never_answers(start: Servers) -> None:
    server = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.listener.port)
    writer.write(UPGRADE)
    link = await server.links.get()

    await asyncio.wait_for(link.close(1000, "normal"), 5)

    assert (await reader.read()).endswith(b"normal")
    await hang_up(writer)


# Limits


async def test_a_message_of_exactly_the_limit_is_received(start: Servers) -> None:
    near, far = await start.pair()

    await near.send(bytes(LIMITS.handshake_bytes))

    assert len(await far.receive()) == LIMITS.handshake_bytes


async def test_a_message_over_the_limit_of_the_handshake_ends_the_link(start: Servers) -> None:
    near, far = await start.pair()

    await near.send(bytes(LIMITS.handshake_bytes + 1))

    end, other_end = await asyncio.gather(closed(far), closed(near))
    assert [(end.code, end.by_peer), (other_end.code, other_end.by_peer)] == [
        (1009, False),
        (1009, True),
    ]


async def test_a_limit_that_was_raised_lets_longer_messages_through(start: Servers) -> None:
    near, far = await start.pair()
    far.limit(LIMITS.message_bytes)

    await near.send(bytes(LIMITS.message_bytes))

    assert len(await far.receive()) == LIMITS.message_bytes


async def test_a_message_over_the_limit_that_was_raised_ends_the_link(start: Servers) -> None:
    near, far = await start.pair()
    far.limit(LIMITS.message_bytes)

    sending = asyncio.gather(
        near.send(bytes(LIMITS.message_bytes + 1)), closed(near), return_exceptions=True
    )

    assert (await closed(far)).code == 1009
    await sending


async def test_a_message_in_many_fragments_over_the_limit_ends_the_link(start: Servers) -> None:
    server = await start()
    async with client(server.url, BINARY) as connection:
        far = await server.links.get()
        reading = asyncio.ensure_future(closed(far))

        with contextlib.suppress(ConnectionClosed):
            await connection.send(bytes(1024) for _ in range(10_000))

        assert (await reading).code == 1009


# Subprotocols and origins


async def test_no_subprotocol_offered_means_json(start: Servers) -> None:
    server = await start()

    async with client(server.url) as connection:
        link = await server.links.get()

        assert link.subprotocol == JSON
        assert connection.subprotocol is None


async def test_a_server_without_a_subprotocol_speaks_json(start: Servers) -> None:
    async def handle(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with serve(handle, "127.0.0.1", 0, select_subprotocol=lambda *_: None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        link = await WebSocketTransport(LIMITS).dial(f"ws://127.0.0.1:{port}")

        assert link.subprotocol == JSON
        link.abort()


@pytest.mark.parametrize("offered", [(BINARY, JSON), (JSON, BINARY), ("other", BINARY)])
async def test_the_server_prefers_binary_in_whatever_order_it_is_offered(
    start: Servers, offered: tuple[str, ...]
) -> None:
    server = await start()

    async with client(server.url, *offered) as connection:
        assert connection.subprotocol == BINARY


async def test_json_alone_is_served_as_json(start: Servers) -> None:
    server = await start()

    async with client(server.url, "other", JSON) as connection:
        assert connection.subprotocol == JSON


async def test_an_unknown_subprotocol_alone_is_refused_and_reported(start: Servers) -> None:
    server = await start()

    with pytest.raises(InvalidStatus) as caught:
        await client(server.url, "other.v9")

    assert caught.value.response.status_code == 400
    _, problem = await server.reports.get()
    assert "other.v9" in problem
    assert server.links.empty()


async def test_json_is_sent_as_text(start: Servers) -> None:
    server = await start()

    async with client(server.url, JSON) as connection:
        await (await server.links.get()).send('"grüß"'.encode())

        assert await connection.recv() == '"grüß"'


async def test_binary_is_sent_as_bytes(start: Servers) -> None:
    server = await start()

    async with client(server.url, BINARY) as connection:
        await (await server.links.get()).send(b"frame")

        assert await connection.recv() == b"frame"


async def test_a_request_with_an_origin_is_refused_and_reported(start: Servers) -> None:
    server = await start()

    with pytest.raises(InvalidStatus) as caught:
        await client(server.url, JSON, origin="https://evil.example")

    assert caught.value.response.status_code == 403
    _, problem = await server.reports.get()
    assert "https://evil.example" in problem
    assert server.links.empty()


async def test_a_request_with_an_origin_that_is_admitted_is_served(start: Servers) -> None:
    server = await start(origins=["https://panel.example"])

    async with client(server.url, JSON, origin="https://panel.example"):
        assert (await server.links.get()).subprotocol == JSON


@pytest.mark.parametrize(
    "origin",
    [
        "https://panel.example.evil.example",
        "http://panel.example",
        "https://panel.example:8",
        "null",
    ],
)
async def test_an_origin_like_one_that_is_admitted_is_refused(start: Servers, origin: str) -> None:
    server = await start(origins=["https://panel.example"])

    with pytest.raises(InvalidStatus):
        await client(server.url, JSON, origin=origin)


async def test_a_node_without_an_origin_is_served_where_origins_are_admitted(
    start: Servers,
) -> None:
    server = await start(origins=["https://panel.example"])

    async with client(server.url, BINARY):
        assert (await server.links.get()).subprotocol == BINARY


async def test_compression_is_off_even_where_a_client_offers_it(start: Servers) -> None:
    server = await start()

    async with connect(server.url, proxy=None, compression="deflate") as connection:
        assert connection.response is not None
        assert "Sec-WebSocket-Extensions" not in connection.response.headers


# Listening


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\xff garbage\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /" + b"x" * 100_000,
        b"",
    ],
)
async def test_what_is_not_websocket_is_reported_and_the_server_lives_on(
    start: Servers, garbage: bytes
) -> None:
    server = await start()

    await say(server, garbage)

    remote, problem = await server.reports.get()
    assert remote.startswith("127.0.0.1:")
    assert problem
    link = await WebSocketTransport(LIMITS).dial(server.url)
    assert server.links.qsize() == 1
    link.abort()


async def test_a_client_that_says_nothing_is_given_up(start: Servers) -> None:
    server = await start(limits=Limits(handshake_seconds=0.05, close_seconds=0.05))
    reader, writer = await asyncio.open_connection("127.0.0.1", server.listener.port)

    assert await reader.read() == b""
    assert server.links.empty()
    await hang_up(writer)


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (b"\xff\xff\xff\xff garbage", 1002),
        (b"\x82\x01x", 1002),
        (b"\x82\xff" + b"\xff" * 8 + b"mask", 1009),
        (b"\x88\x82\x00\x00\x00\x00\x03\xe8", 1000),
    ],
)
async def test_a_peer_that_breaks_off_and_keeps_the_connection_open_is_cut(
    start: Servers, broken: bytes, code: int
) -> None:
    server = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.listener.port)
    writer.write(UPGRADE)
    await reader.readuntil(b"\r\n\r\n")
    link = await server.links.get()

    writer.write(broken)

    assert (await asyncio.wait_for(closed(link), 2)).code == code
    await hang_up(writer)


async def test_a_peer_that_breaks_off_harms_no_other(start: Servers) -> None:
    server = await start()
    near = await WebSocketTransport(LIMITS).dial(server.url)
    far = await server.links.get()

    await say(server, UPGRADE + b"\xff\xff\xff\xff garbage")

    await near.send(b"still here")
    assert await far.receive() == b"still here"
    near.abort()


async def test_a_taken_port_is_said_in_clear_words(start: Servers) -> None:
    server = await start()
    port = server.listener.port

    async def accept(link: Link) -> None: ...

    with pytest.raises(ListenError) as caught:
        await WebSocketTransport(LIMITS).listen("127.0.0.1", port, accept, lambda *_: None)

    assert str(caught.value) == (
        f"cannot listen on 127.0.0.1:{port}: "
        "the port is taken by another program; choose another with --port"
    )


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [
        ("192.0.2.1", 0, "not an address of this machine"),
        ("127.0.0.1", 65536, "not a port"),
        ("no-such-host.invalid", 0, "cannot listen on no-such-host.invalid:0"),
    ],
)
async def test_an_address_that_cannot_be_listened_on_is_said_in_clear_words(
    host: str, port: int, words: str
) -> None:
    async def accept(link: Link) -> None: ...

    with pytest.raises(ListenError, match=words):
        await WebSocketTransport(LIMITS).listen(host, port, accept, lambda *_: None)


async def test_a_listener_knows_the_port_it_was_given(start: Servers) -> None:
    server = await start()

    assert server.listener.host == "127.0.0.1"
    assert server.listener.port > 0


async def test_a_closed_listener_accepts_no_more_but_its_links_stay(start: Servers) -> None:
    server = await start()
    near = await WebSocketTransport(LIMITS).dial(server.url)
    far = await server.links.get()

    await server.listener.close()

    with pytest.raises(DialError, match="connection refused"):
        await WebSocketTransport(LIMITS).dial(server.url)
    await near.send(b"still here")
    assert await far.receive() == b"still here"
    near.abort()


# Dialling


async def test_a_port_where_nobody_listens_is_said_in_clear_words(start: Servers) -> None:
    server = await start()
    await server.listener.close()

    with pytest.raises(DialError, match=rf"^{server.url}: connection refused$"):
        await WebSocketTransport(LIMITS).dial(server.url)


@pytest.mark.parametrize(
    "address",
    [
        "ws://127.0.0.1:99999",
        "http://127.0.0.1:1",
        "ws://",
        "ws://[::1",
        "ws://no-such-host.invalid:1",
        "ws://" + "a" * 300 + ":1",
    ],
)
async def test_an_address_that_cannot_be_dialled_is_a_dial_error(address: str) -> None:
    with pytest.raises(DialError):
        await WebSocketTransport(LIMITS).dial(address)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n",
        b"\xff" * 1000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
    ],
)
async def test_a_server_that_is_not_a_node_is_a_dial_error(answer: bytes) -> None:
    async with answering(answer) as address:
        with pytest.raises(DialError, match=f"^{address}: ."):
            await WebSocketTransport(LIMITS).dial(address)


async def test_a_server_that_never_answers_is_a_dial_error() -> None:
    async with answering(None) as address:
        with pytest.raises(DialError, match="no answer in time"):
            await WebSocketTransport(Limits(handshake_seconds=0.05)).dial(address)


async def test_a_server_that_speaks_another_subprotocol_is_a_dial_error() -> None:
    async def handle(connection: ServerConnection) -> None: ...

    def select(connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol:
        return Subprotocol("other.v9")

    async with serve(handle, "127.0.0.1", 0, select_subprotocol=select) as server:
        port = next(iter(server.sockets)).getsockname()[1]

        with pytest.raises(DialError, match=r"other\.v9"):
            await WebSocketTransport(LIMITS).dial(f"ws://127.0.0.1:{port}")


async def test_a_proxy_of_the_environment_is_not_used(
    start: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "ws_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")

    near, _ = await start.pair()

    assert near.subprotocol == BINARY


# TLS


class Pki(NamedTuple):
    """A CA and a server certificate for 127.0.0.1, as files."""

    ca: Path
    server: Path


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *extensions: tuple[x509.ExtensionType, bool],
) -> bytes:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    certificate = builder.sign(issuer_key, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """A new CA, and a certificate that it issued for 127.0.0.1 alone."""
    folder = tmp_path_factory.mktemp("pki")
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    authority = _certificate(
        "test ca",
        ca_key,
        "test ca",
        ca_key,
        (x509.BasicConstraints(ca=True, path_length=None), True),
        (usage, True),
        (x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), False),
    )
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    server = _certificate(
        "node",
        key,
        "test ca",
        ca_key,
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.SubjectAlternativeName([address]), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False),
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "ca.pem").write_bytes(authority)
    (folder / "server.pem").write_bytes(private + server)
    return Pki(folder / "ca.pem", folder / "server.pem")


@pytest.fixture
async def secure_port(pki: Pki) -> AsyncIterator[int]:
    """The port of a TLS server on every loopback address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.server)

    async def handle(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    subprotocols = [Subprotocol(BINARY)]
    async with serve(handle, "127.0.0.1", 0, ssl=context, subprotocols=subprotocols) as server:
        yield next(iter(server.sockets)).getsockname()[1]


async def test_a_server_whose_certificate_is_trusted_is_dialled(
    pki: Pki, secure_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(pki.ca))

    link = await WebSocketTransport(LIMITS).dial(f"wss://127.0.0.1:{secure_port}")

    await link.send(b"secret")
    assert await link.receive() == b"secret"
    await link.close(1000, "normal")


async def test_a_server_whose_certificate_is_not_trusted_is_a_dial_error(secure_port: int) -> None:
    with pytest.raises(DialError, match="TLS certificate refused: unable to get local issuer"):
        await WebSocketTransport(LIMITS).dial(f"wss://127.0.0.1:{secure_port}")


async def test_a_certificate_for_another_host_is_a_dial_error(
    pki: Pki, secure_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(pki.ca))

    with pytest.raises(DialError, match="TLS certificate refused: Hostname mismatch"):
        await WebSocketTransport(LIMITS).dial(f"wss://localhost:{secure_port}")


async def test_a_plaintext_server_is_not_fallen_back_to(start: Servers) -> None:
    server = await start()

    with pytest.raises(DialError):
        await WebSocketTransport(LIMITS).dial(f"wss://127.0.0.1:{server.listener.port}")

    assert server.links.empty()


async def test_plaintext_to_a_tls_server_is_a_dial_error(secure_port: int) -> None:
    with pytest.raises(DialError):
        await WebSocketTransport(LIMITS).dial(f"ws://127.0.0.1:{secure_port}")


# What a peer may not do


async def test_a_redirect_is_not_followed(start: Servers) -> None:
    elsewhere = await start()
    location = f"Location: {elsewhere.url}/\r\n".encode()

    async with answering(
        b"HTTP/1.1 302 Found\r\n" + location + b"Content-Length: 0\r\n\r\n"
    ) as url:
        with pytest.raises(DialError, match=f"^{url}: .*302"):
            await WebSocketTransport(LIMITS).dial(url)

    assert elsewhere.links.empty()


@pytest.mark.parametrize(("subprotocol", "wrong"), [(BINARY, "text"), (JSON, b"binary")])
async def test_a_message_of_the_wrong_type_ends_the_link(
    start: Servers, subprotocol: str, wrong: str | bytes
) -> None:
    server = await start()

    async with client(server.url, subprotocol) as connection:
        link = await server.links.get()
        await connection.send(wrong)
        end = await asyncio.wait_for(closed(link), 5)

        with pytest.raises(ConnectionClosed) as caught:
            await connection.recv()

    assert (end.code, end.by_peer) == (4000, False)
    assert caught.value.rcvd is not None
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4000, "protocol")


@pytest.mark.parametrize("answers", [True, False], ids=["close frame", "silence"])
async def test_a_peer_that_keeps_the_connection_open_after_the_close_is_cut(
    start: Servers, answers: bool
) -> None:
    server = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.listener.port)
    writer.write(UPGRADE)
    await reader.readuntil(b"\r\n\r\n")
    link = await server.links.get()

    closing = asyncio.ensure_future(link.close(4009, "restarting"))
    await reader.readexactly(2 + 2 + len("restarting"))
    if answers:
        writer.write(b"\x88\x82\x00\x00\x00\x00\x0f\xa9")
    await asyncio.wait_for(closing, 2)

    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 2) == b""
    await asyncio.wait_for(closed(link), 2)
    await hang_up(writer)


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"], ids=["nothing", "half"])
async def test_closing_the_listener_cuts_who_has_not_finished_its_request(
    start: Servers, said: bytes
) -> None:
    server = await start(limits=Limits(handshake_seconds=60.0, close_seconds=0.1))
    reader, writer = await asyncio.open_connection("127.0.0.1", server.listener.port)
    writer.write(said)
    # A second connection, served whole, shows that the first has been accepted.
    near = await WebSocketTransport(LIMITS).dial(server.url)
    far = await server.links.get()

    await server.listener.close()

    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 2) == b""
    await near.send(b"still here")
    assert await far.receive() == b"still here"
    near.abort()
    await hang_up(writer)


async def test_a_check_that_the_port_is_open_is_told_from_what_went_wrong(start: Servers) -> None:
    server = await start()

    _, writer = await asyncio.open_connection("127.0.0.1", server.listener.port)
    await hang_up(writer)
    checked = (await server.reports.get())[1]
    await say(server, b"GET / HT")
    begun = (await server.reports.get())[1]

    assert checked == HUNG_UP
    assert begun.startswith("did not receive a valid HTTP request")


async def test_a_client_that_never_asks_is_reported(start: Servers) -> None:
    server = await start(limits=Limits(handshake_seconds=0.1))
    reader, writer = await asyncio.open_connection("127.0.0.1", server.listener.port)

    await reader.read()
    writer.close()

    assert (await server.reports.get())[1] == "no complete request in time"


async def test_a_link_takes_a_message_at_once_until_its_buffer_is_full(start: Servers) -> None:
    near, _ = await start.pair()
    taken = 0
    while near.send_now(bytes(60_000)):
        taken += 1
        assert taken < 2000

    assert taken > 0
    assert near.unsent_bytes > 0


async def test_a_message_that_is_taken_where_it_comes_in_is_not_returned(start: Servers) -> None:
    near, far = await start.pair()
    offered: list[bytes] = []

    def take(data: bytes) -> bool:
        offered.append(data)
        return data != b"three"

    receiving = asyncio.create_task(far.receive(take))
    await asyncio.sleep(0)
    for data in (b"one", b"two", b"three", b"four"):
        await near.send(data)

    assert await receiving == b"three"
    assert offered == [b"one", b"two", b"three"]
    assert await far.receive() == b"four"


async def test_a_message_in_fragments_or_of_the_wrong_type_is_not_taken(start: Servers) -> None:
    server = await start()

    def take(data: bytes) -> bool:
        raise AssertionError(data)

    async with client(server.url, BINARY) as connection:
        link = await server.links.get()
        receiving = asyncio.create_task(link.receive(take))
        await asyncio.sleep(0)
        await connection.send([b"in ", b"two"])
        assert await receiving == b"in two"

        receiving = asyncio.create_task(link.receive(take))
        await asyncio.sleep(0)
        await connection.send("text")
        with pytest.raises(LinkClosed, match="4000"):
            await receiving


async def test_a_link_counts_every_byte_that_comes(start: Servers) -> None:
    near, far = await start.pair()
    before = far.received_bytes

    assert near.send_now(b"12345")
    assert await far.receive() == b"12345"

    assert far.received_bytes >= before + 5


async def test_a_closed_link_takes_nothing(start: Servers) -> None:
    near, far = await start.pair()
    await far.close(4000, "protocol")
    with pytest.raises(LinkClosed):
        await near.receive()

    assert not near.send_now(b"late")


async def test_a_peer_that_pings_and_never_reads_the_answers_is_cut(start: Servers) -> None:
    server = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.listener.port, limit=1024)
    writer.write(UPGRADE)
    link = await server.links.get()
    ping = b"\x89\xfd\0\0\0\0" + b"x" * 125

    async def flood() -> None:
        while True:
            writer.write(ping * 500)
            await writer.drain()

    reader._transport.pause_reading()  # type: ignore[attr-defined]
    with pytest.raises(OSError, match=r"[Cc]onnection|[Bb]roken"):
        async with asyncio.timeout(30):
            await flood()
    with pytest.raises(LinkClosed):
        await link.receive()
    writer.close()


async def test_of_more_connections_than_may_be_opened_at_once_the_oldest_is_cut(
    start: Servers,
) -> None:
    server = await start(limits=Limits(max_handshakes=2))
    idle = [await asyncio.open_connection("127.0.0.1", server.listener.port) for _ in range(3)]
    oldest_writer = idle[0][1]

    remote, problem = await server.reports.get()

    assert problem == "2 newer ones are being opened"
    assert remote.endswith(f":{oldest_writer.get_extra_info('sockname')[1]}")
    with contextlib.suppress(ConnectionError):
        assert await idle[0][0].read() == b""
    assert not any(reader.at_eof() for reader, _ in idle[1:])
    for _, writer in idle:
        await hang_up(writer)


async def test_who_asks_at_once_gets_in_past_many_who_never_do(start: Servers) -> None:
    server = await start(limits=Limits(max_handshakes=2))
    idle = [await asyncio.open_connection("127.0.0.1", server.listener.port) for _ in range(20)]

    near = await WebSocketTransport(LIMITS).dial(server.url)
    far = await server.links.get()
    await near.send(b"hello")

    assert await far.receive() == b"hello"
    assert server.reports.qsize() >= 18
    near.abort()
    for _, writer in idle:
        await hang_up(writer)


async def test_connections_that_are_open_are_no_longer_counted_as_being_opened(
    start: Servers,
) -> None:
    server = await start(limits=Limits(max_handshakes=2))

    links = [await WebSocketTransport(LIMITS).dial(server.url) for _ in range(5)]
    for _ in links:
        await server.links.get()

    assert server.reports.empty()
    for link in links:
        await link.send(b"still here")
        link.abort()
