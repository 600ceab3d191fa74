"""Tests of WebSocket connections over TLS, with certificates as nodes have them."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import hashlib
import ssl
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from thenodes_core.errors import DialError, LinkClosed
from thenodes_core.limits import Limits
from thenodes_core.security.certificates import (
    Certificate,
    make_certificate,
    parse_certificate,
    pem,
)
from thenodes_core.security.identity import Identity, write_identity
from thenodes_core.security.tls import NodeTls
from thenodes_core.transport.base import HUNG_UP, Link, Listener
from thenodes_core.transport.websocket import ClientTls, WebSocketLink, WebSocketTransport
from thenodes_plugin_api import Realm

LIMITS = Limits(handshake_seconds=5.0, close_seconds=0.1)
HOME = Realm("Home", "home", "1")
NOW = time.time()  # OpenSSL judges by the clock of the machine.
KEY, CLIENT_KEY, CA_KEY, OTHER_CA_KEY = (Identity.generate() for _ in range(4))
OWN = make_certificate(KEY, node_id="server", realm=HOME, now=NOW)
CLIENTS = make_certificate(CLIENT_KEY, node_id="client", realm=HOME, now=NOW)
CA = make_certificate(CA_KEY, node_id="ca", realm=HOME, now=NOW, ca=True)
OTHER_CA = make_certificate(OTHER_CA_KEY, node_id="other", realm=HOME, now=NOW, ca=True)
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
MASKED_HELLO = b"\x81\x85\0\0\0\0hello"  # A text message of a client, its mask all zero.

MakeTls = Callable[..., NodeTls]


def certificate_of_ca(name: str, *, days: int = 1) -> Certificate:
    """A certificate over `KEY` that the CA gave for a host."""
    now = datetime.datetime.now(datetime.UTC)
    issuer = x509.load_der_x509_certificate(CA.der)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer.subject)
        .public_key(KEY.key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=10))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()),  # type: ignore[arg-type]
            critical=False,
        )
        .sign(CA_KEY.key, hashes.SHA256())
    )
    return parse_certificate(made.public_bytes(serialization.Encoding.DER))


def digest(certificate: Certificate) -> bytes:
    return hashlib.sha256(certificate.der).digest()


@pytest.fixture
def make_tls(tmp_path: Path) -> MakeTls:
    """Makes contexts: `make_tls(key, certificate, [authority, …])`; none are shared."""
    folders = iter(range(100))

    def make(
        identity: Identity = KEY,
        certificate: Certificate = OWN,
        authorities: tuple[Certificate, ...] = (),
        *,
        client_certificates: bool = False,
    ) -> NodeTls:
        folder = tmp_path / str(next(folders))
        folder.mkdir()
        (folder / "identity.crt").write_bytes(pem(certificate.der))
        write_identity(folder / "identity.pem", identity)
        return NodeTls(
            folder / "identity.crt",
            folder / "identity.pem",
            [pem(authority.der).decode() for authority in authorities],
            client_certificates=client_certificates,
        )

    return make


class Server:
    """A listener, the links it accepted, and what it reported."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.links: asyncio.Queue[Link] = asyncio.Queue()
        self.reports: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.writers: list[asyncio.StreamWriter] = []

    def url(self, host: str = "127.0.0.1") -> str:
        return f"wss://{host}:{self.listener.port}"

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection on which TLS has not begun."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.listener.port)
        self.writers.append(writer)
        return reader, writer


class Servers:
    """Starts servers, dials, and closes all of it."""

    def __init__(self) -> None:
        self._made: list[Server] = []
        self._links: list[Link] = []
        self._over = asyncio.Event()

    async def __call__(self, tls: NodeTls | None, *, limits: Limits = LIMITS) -> Server:
        async def accept(link: Link) -> None:
            self._links.append(link)
            server.links.put_nowait(link)
            await self._over.wait()

        def report(remote: str, problem: str) -> None:
            server.reports.put_nowait((remote, problem))

        transport = WebSocketTransport(limits, server_tls=None if tls is None else tls.server)
        server = Server(await transport.listen("127.0.0.1", 0, accept, report))
        self._made.append(server)
        return server

    async def dial(self, url: str, tls: ClientTls | None, limits: Limits = LIMITS) -> WebSocketLink:
        link = await WebSocketTransport(limits, client_tls=tls).dial(url)
        self._links.append(link)
        return link

    async def close(self) -> None:
        for server in self._made:
            await server.listener.close()
            for writer in server.writers:
                await hang_up(writer)
        for link in self._links:
            link.abort()
        self._over.set()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            await asyncio.wait(left, timeout=2)


@pytest.fixture
async def start() -> AsyncIterator[Servers]:
    """Starts servers: `await start(tls)`; dials: `await start.dial(url, tls)`."""
    servers = Servers()
    yield servers
    await servers.close()


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def cut(reader: asyncio.StreamReader) -> bool:
    """Wait until the server ends a connection."""
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(reader.read(), 5)
    return True


# Two nodes


async def test_a_link_over_tls_knows_the_certificate_of_the_server(
    start: Servers, make_tls: MakeTls
) -> None:
    server = await start(make_tls())

    near = await start.dial(server.url(), make_tls(CLIENT_KEY, CLIENTS))
    far = await server.links.get()

    assert (near.encrypted, far.encrypted) == (True, True)
    assert (near.certificate_digest, far.certificate_digest) == (digest(OWN), None)
    assert (near.verified_host, far.verified_host) == (None, None)


async def test_the_scheme_may_be_written_in_capitals(start: Servers, make_tls: MakeTls) -> None:
    server = await start(make_tls())

    near = await start.dial(server.url().upper(), make_tls(CLIENT_KEY, CLIENTS))

    assert near.certificate_digest == digest(OWN)


async def test_a_link_without_tls_says_so(start: Servers, make_tls: MakeTls) -> None:
    server = await start(None)
    url = server.url().replace("wss:", "ws:")

    near = await start.dial(url, make_tls(CLIENT_KEY, CLIENTS))
    far = await server.links.get()

    for link in (near, far):
        assert (link.encrypted, link.certificate_digest, link.verified_host) == (False, None, None)


async def test_messages_pass_both_ways_over_tls(start: Servers, make_tls: MakeTls) -> None:
    server = await start(make_tls())
    near = await start.dial(server.url(), make_tls(CLIENT_KEY, CLIENTS))
    far = await server.links.get()
    for link in (near, far):
        link.limit(1_000_000)

    await asyncio.gather(near.send(bytes(500_000)), far.send(b"\1" * 500_000))

    assert await far.receive() == bytes(500_000)
    assert await near.receive() == b"\1" * 500_000


async def test_a_link_over_tls_is_closed_in_order(start: Servers, make_tls: MakeTls) -> None:
    server = await start(make_tls())
    near = await start.dial(server.url(), make_tls(CLIENT_KEY, CLIENTS))
    far = await server.links.get()

    await near.send(b"last words")
    await near.close(4009, "restarting")

    assert await far.receive() == b"last words"
    with pytest.raises(LinkClosed) as caught:
        await far.receive()
    assert (caught.value.code, caught.value.by_peer) == (4009, True)


# Whom a CA vouches for


async def test_a_host_that_a_ca_vouches_for_is_verified(start: Servers, make_tls: MakeTls) -> None:
    certificate = certificate_of_ca("localhost")
    server = await start(make_tls(KEY, certificate))

    near = await start.dial(server.url("localhost"), make_tls(CLIENT_KEY, CLIENTS, (CA,)))

    assert (near.verified_host, near.certificate_digest) == ("localhost", digest(certificate))


@pytest.mark.parametrize(
    ("certificate", "authority"),
    [
        (OWN, CA),
        (certificate_of_ca("localhost"), OTHER_CA),
        (certificate_of_ca("node.example.org"), CA),
        (certificate_of_ca("localhost", days=-1), CA),
    ],
    ids=["self-signed", "of another CA", "for another host", "expired"],
)
async def test_a_host_that_no_ca_vouches_for_is_taken_unverified(
    start: Servers, make_tls: MakeTls, certificate: Certificate, authority: Certificate
) -> None:
    server = await start(make_tls(KEY, certificate))

    near = await start.dial(server.url("localhost"), make_tls(CLIENT_KEY, CLIENTS, (authority,)))
    far = await server.links.get()
    await near.send(b"hello")

    assert await far.receive() == b"hello"
    assert (near.verified_host, near.certificate_digest) == (None, digest(certificate))


async def test_an_ip_address_is_verified_by_nobody(start: Servers, make_tls: MakeTls) -> None:
    server = await start(make_tls(KEY, certificate_of_ca("localhost")))

    near = await start.dial(server.url("127.0.0.1"), make_tls(CLIENT_KEY, CLIENTS, (CA,)))

    assert near.verified_host is None


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_without_contexts_of_the_node_a_certificate_of_its_own_is_refused(
    start: Servers, make_tls: MakeTls, host: str
) -> None:
    server = await start(make_tls())

    with pytest.raises(DialError, match="TLS certificate refused"):
        await start.dial(server.url(host), None)


async def test_other_failures_of_tls_are_not_tried_again_unverified(make_tls: MakeTls) -> None:
    connections = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await hang_up(writer)

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        transport = WebSocketTransport(LIMITS, client_tls=make_tls(CLIENT_KEY, CLIENTS))

        with pytest.raises(DialError, match="TLS failed"):
            await transport.dial(f"wss://localhost:{port}")

    assert connections == 1


# Which TLS


async def test_tls_before_1_3_is_refused_and_reported(start: Servers, make_tls: MakeTls) -> None:
    server = await start(make_tls())
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_2

    with pytest.raises(ConnectionError):
        await asyncio.open_connection("127.0.0.1", server.listener.port, ssl=old)

    assert "TLS failed: unsupported_protocol" in (await server.reports.get())[1]
    assert server.links.empty()


async def test_a_check_that_the_port_is_open_is_told_from_tls_that_failed(
    start: Servers, make_tls: MakeTls
) -> None:
    server = await start(make_tls())

    _, writer = await asyncio.open_connection("127.0.0.1", server.listener.port)
    await hang_up(writer)

    assert (await server.reports.get())[1] == HUNG_UP


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_server_of_tls_before_1_3_is_not_dialled(
    start: Servers, make_tls: MakeTls, host: str
) -> None:
    tls = make_tls(KEY, certificate_of_ca("localhost"))
    tls.server.minimum_version = ssl.TLSVersion.TLSv1_2
    tls.server.maximum_version = ssl.TLSVersion.TLSv1_2
    server = await start(tls)

    with pytest.raises(DialError, match="the connection ended during the TLS handshake"):
        await start.dial(server.url(host), make_tls(CLIENT_KEY, CLIENTS, (CA,)))


async def test_a_plaintext_client_at_a_tls_port_is_reported_and_cut(
    start: Servers, make_tls: MakeTls
) -> None:
    server = await start(make_tls())
    reader, writer = await server.connect()

    writer.write(UPGRADE)

    assert await cut(reader)
    remote, problem = await server.reports.get()
    assert problem == "TLS failed: http_request"
    assert remote == f"127.0.0.1:{writer.get_extra_info('sockname')[1]}"


async def test_a_plaintext_node_is_not_dialled_with_tls(start: Servers, make_tls: MakeTls) -> None:
    server = await start(make_tls())

    with pytest.raises(DialError):
        await start.dial(server.url().replace("wss:", "ws:"), make_tls(CLIENT_KEY, CLIENTS))


async def test_a_renewed_certificate_is_shown_to_new_connections_only(
    start: Servers, make_tls: MakeTls, tmp_path: Path
) -> None:
    tls = make_tls()
    server = await start(tls)
    client = make_tls(CLIENT_KEY, CLIENTS)
    before = await start.dial(server.url(), client)
    far = await server.links.get()
    renewed = make_certificate(KEY, node_id="server", realm=HOME, now=NOW)
    (tmp_path / "0" / "identity.crt").write_bytes(pem(renewed.der))

    tls.reload()
    after = await start.dial(server.url(), client)
    await before.send(b"still here")

    assert await far.receive() == b"still here"
    assert before.certificate_digest == digest(OWN)
    assert after.certificate_digest == digest(renewed) != digest(OWN)


async def test_with_mtls_the_certificate_of_a_client_is_known(
    start: Servers, make_tls: MakeTls
) -> None:
    server = await start(make_tls(KEY, OWN, (CA,), client_certificates=True))
    clients = make_certificate(
        CLIENT_KEY, node_id="client", realm=HOME, now=NOW, issuer=(CA_KEY, CA)
    )

    await start.dial(server.url(), make_tls(CLIENT_KEY, clients))

    assert (await server.links.get()).certificate_digest == digest(clients)


async def test_with_mtls_a_client_without_a_certificate_of_a_ca_is_refused(
    start: Servers, make_tls: MakeTls
) -> None:
    server = await start(make_tls(KEY, OWN, (CA,), client_certificates=True))

    with pytest.raises(DialError):
        await start.dial(server.url(), make_tls(CLIENT_KEY, CLIENTS))

    assert "certificate" in (await server.reports.get())[1]
    assert server.links.empty()


# What comes right behind the TLS handshake


class RawTls:
    """A client that decides which bytes go into one write."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._reader = reader
        self._writer = writer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing)

    def flush(self) -> None:
        self._writer.write(self._outgoing.read())

    async def shake_hands(self) -> None:
        """All but sending the last flight."""
        while True:
            try:
                self._tls.do_handshake()
                return
            except ssl.SSLWantReadError:
                self.flush()
                self._incoming.write(await self._reader.read(65_536))

    def write(self, data: bytes) -> None:
        self._tls.write(data)

    async def read(self) -> bytes:
        while True:
            try:
                return self._tls.read(65_536)
            except ssl.SSLWantReadError:
                self._incoming.write(await self._reader.read(65_536))


@pytest.mark.parametrize("rest", [b"", MASKED_HELLO], ids=["request", "request and message"])
async def test_data_right_behind_the_tls_handshake_is_not_lost(
    start: Servers, make_tls: MakeTls, rest: bytes
) -> None:
    server = await start(make_tls())
    reader, writer = await server.connect()
    client = RawTls(reader, writer)
    await client.shake_hands()

    client.write(UPGRADE + rest)
    client.flush()

    assert (await client.read()).startswith(b"HTTP/1.1 101")
    link = await server.links.get()
    if rest:
        assert await link.receive() == b"hello"


async def test_a_client_that_leaves_right_behind_the_tls_handshake_is_gone(
    start: Servers, make_tls: MakeTls
) -> None:
    limits = Limits(max_handshakes=1, handshake_seconds=5.0, close_seconds=0.1)
    server = await start(make_tls(), limits=limits)
    for _ in range(3):
        reader, writer = await server.connect()
        client = RawTls(reader, writer)
        await client.shake_hands()
        client.flush()
        writer.transport.abort()

    near = await start.dial(server.url(), make_tls(CLIENT_KEY, CLIENTS))
    far = await server.links.get()
    await near.send(b"hello")

    assert await far.receive() == b"hello"


# Connections that never become one


async def test_of_more_connections_than_may_begin_tls_at_once_the_oldest_is_cut(
    start: Servers, make_tls: MakeTls
) -> None:
    limits = Limits(max_handshakes=2, handshake_seconds=60.0, close_seconds=0.1)
    server = await start(make_tls(), limits=limits)
    idle = [await server.connect() for _ in range(3)]

    remote, problem = await server.reports.get()

    assert problem == "2 newer ones are being opened"
    assert remote == f"127.0.0.1:{idle[0][1].get_extra_info('sockname')[1]}"
    assert await cut(idle[0][0])
    assert not any(reader.at_eof() for reader, _ in idle[1:])


async def test_an_honest_client_gets_in_past_many_that_never_finish_tls(
    start: Servers, make_tls: MakeTls
) -> None:
    limits = Limits(max_handshakes=3, handshake_seconds=60.0, close_seconds=0.1)
    server = await start(make_tls(), limits=limits)
    idle = [await server.connect() for _ in range(30)]
    for _, writer in idle[::2]:
        writer.write(b"\x16\x03\x01\x02\x00")  # The beginning of a handshake.

    near = await start.dial(server.url(), make_tls(CLIENT_KEY, CLIENTS))
    far = await server.links.get()
    await near.send(b"hello")

    assert await far.receive() == b"hello"
    for reader, _ in idle[:27]:
        assert await cut(reader)
    assert server.reports.qsize() >= 27


async def test_a_client_that_finishes_tls_and_asks_nothing_is_one_of_them(
    start: Servers, make_tls: MakeTls
) -> None:
    limits = Limits(max_handshakes=1, handshake_seconds=60.0, close_seconds=0.1)
    server = await start(make_tls(), limits=limits)
    reader, writer = await server.connect()
    client = RawTls(reader, writer)
    await client.shake_hands()
    client.flush()

    await start.dial(server.url(), make_tls(CLIENT_KEY, CLIENTS))
    await server.links.get()

    assert await cut(reader)
    assert (await server.reports.get())[1] == "1 newer ones are being opened"


async def test_a_client_whose_tls_failed_is_no_longer_one_of_them(
    start: Servers, make_tls: MakeTls
) -> None:
    limits = Limits(max_handshakes=2, handshake_seconds=60.0, close_seconds=0.1)
    server = await start(make_tls(), limits=limits)
    reader, writer = await server.connect()
    writer.write(UPGRADE)
    assert await cut(reader)
    await server.reports.get()

    await server.connect()
    await start.dial(server.url(), make_tls(CLIENT_KEY, CLIENTS))
    await server.links.get()

    assert server.reports.empty()


async def test_links_over_tls_that_are_open_are_not_cut_for_those_being_opened(
    start: Servers, make_tls: MakeTls
) -> None:
    limits = Limits(max_handshakes=1, handshake_seconds=60.0, close_seconds=0.1)
    server = await start(make_tls(), limits=limits)
    client = make_tls(CLIENT_KEY, CLIENTS)
    pairs = [(await start.dial(server.url(), client), await server.links.get()) for _ in range(3)]
    for _ in range(3):
        await server.connect()
    await server.reports.get()

    for near, far in pairs:
        await near.send(b"still here")
        assert await far.receive() == b"still here"


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00"], ids=["nothing", "half"])
async def test_a_client_that_never_finishes_tls_is_cut_and_reported(
    start: Servers, make_tls: MakeTls, said: bytes
) -> None:
    limits = Limits(handshake_seconds=0.1, close_seconds=0.1)
    server = await start(make_tls(), limits=limits)
    reader, writer = await server.connect()
    writer.write(said)

    assert await cut(reader)
    remote, problem = await server.reports.get()
    assert remote == f"127.0.0.1:{writer.get_extra_info('sockname')[1]}"
    assert "taking longer than 0.1 seconds" in problem


async def test_closing_the_listener_cuts_who_has_not_finished_tls(
    start: Servers, make_tls: MakeTls
) -> None:
    limits = Limits(handshake_seconds=60.0, close_seconds=0.1)
    server = await start(make_tls(), limits=limits)
    reader, _ = await server.connect()
    # A second connection, served whole, shows that the first has been accepted.
    near = await start.dial(server.url(), make_tls(CLIENT_KEY, CLIENTS))
    far = await server.links.get()

    await server.listener.close()

    assert await cut(reader)
    await near.send(b"still here")
    assert await far.receive() == b"still here"
