"""Who ends TLS between two nodes, as attackers and proxies do; and certificates for it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

from thenodes_core.security.certificates import Certificate, make_certificate, pem
from thenodes_core.security.identity import Identity, write_identity
from thenodes_plugin_api import Realm

__all__ = ["DEFAULT_REALM", "Authority", "Interceptor", "Side", "own_files", "put_credentials"]

DEFAULT_REALM = Realm("default", "default", "1.0")
_BINARY = Subprotocol("thenodes.v1.bin")
_JSON = Subprotocol("thenodes.v1.json")

Side = str
"""Who sent a message: `dialer` or `acceptor`."""


def put_credentials(folder: Path, identity: Identity, certificate: Certificate | None) -> None:
    """Give a node that was not started yet a key and a certificate."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_identity(folder / "identity.pem", identity)
    if certificate is not None:
        (folder / "identity.crt").write_bytes(pem(certificate.der))


def own_files(folder: Path) -> tuple[Path, Path]:
    """Certificate and key of somebody whom no CA knows, as files."""
    identity = Identity.generate()
    certificate = make_certificate(
        identity, node_id=identity.node_id, realm=DEFAULT_REALM, now=time.time()
    )
    put_credentials(folder, identity, certificate)
    return folder / "identity.crt", folder / "identity.pem"


class Authority:
    """A private CA.

    Args:
        folder: where its certificate is put, for `issuer_cert_dir`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.identity = Identity.generate()
        self.certificate = make_certificate(
            self.identity, node_id=folder.name, realm=DEFAULT_REALM, now=time.time(), ca=True
        )
        folder.mkdir(parents=True)
        (folder / "ca.pem").write_bytes(pem(self.certificate.der))

    def issue(self, identity: Identity, *, at: float | None = None, days: int = 365) -> Certificate:
        """A node's certificate, valid from an hour before `at` on."""
        return make_certificate(
            identity,
            node_id=identity.node_id,
            realm=DEFAULT_REALM,
            now=time.time() if at is None else at,
            days=days,
            issuer=(self.identity, self.certificate),
        )

    def node(self, state_dir: Path, *, at: float | None = None, days: int = 365) -> Identity:
        """Give a node that was not started yet a key, and a certificate of this CA."""
        identity = Identity.generate()
        put_credentials(state_dir, identity, self.issue(identity, at=at, days=days))
        return identity

    def for_host(self, folder: Path, name: str = "localhost") -> tuple[Path, Path]:
        """Certificate and key of a web server, as files."""
        identity = Identity.generate()
        now = datetime.datetime.now(datetime.UTC)
        issuer = x509.load_der_x509_certificate(self.certificate.der)
        names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer.subject)
            .public_key(identity.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()),  # type: ignore[arg-type]  # P-256
                critical=False,
            )
            .sign(self.identity.key, hashes.SHA256())
        )
        folder.mkdir(parents=True, exist_ok=True)
        write_identity(folder / "host.pem", identity)
        (folder / "host.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
        return folder / "host.crt", folder / "host.pem"


class Interceptor:
    """Ends TLS, and hands WebSocket messages on both ways; in a thread of its own.

    Args:
        upstream: the node that it dials for each connection, `ws://…` or `wss://…`.
        files: its own certificate and key, as PEM files.
        port: where it listens on loopback; 0 takes a free one.
        change: what it makes of a message on its way.
    """

    def __init__(
        self,
        upstream: str,
        files: tuple[Path, Path],
        *,
        port: int = 0,
        change: Callable[[Side, bytes], bytes] = lambda side, data: data,
    ) -> None:
        self.port = port
        self.handed_on: list[tuple[Side, bytes]] = []
        self._upstream = upstream
        self._change = change
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*files)
        self._ready = threading.Event()
        self._stop: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10), "the interceptor does not start"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()
        self._thread.join(10)
        assert not self._thread.is_alive()

    @property
    def handed_on_to_both(self) -> bool:
        """Whether messages of both sides came through."""
        return {side for side, _ in self.handed_on} == {"acceptor", "dialer"}

    async def _run(self) -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        self._stop = lambda: loop.call_soon_threadsafe(stopped.set)
        async with serve(
            self._hand_on,
            "127.0.0.1",
            self.port,
            ssl=self._context,
            subprotocols=[_BINARY, _JSON],
            compression=None,
            close_timeout=1,
        ) as server:
            self.port = server.sockets[0].getsockname()[1]
            self._ready.set()
            await stopped.wait()

    async def _hand_on(self, dialer: ServerConnection) -> None:
        options = {"ssl": _takes_anything()} if self._upstream.startswith("wss") else {}
        offered = [dialer.subprotocol] if dialer.subprotocol else None
        with contextlib.suppress(OSError, InvalidHandshake):
            async with connect(
                self._upstream,
                subprotocols=offered,
                compression=None,
                proxy=None,
                close_timeout=1,
                **options,  # type: ignore[arg-type]
            ) as acceptor:
                await asyncio.gather(
                    self._pump("acceptor", acceptor, dialer),
                    self._pump("dialer", dialer, acceptor),
                )

    async def _pump(
        self,
        side: Side,
        source: ClientConnection | ServerConnection,
        target: ClientConnection | ServerConnection,
    ) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                data = await source.recv(decode=False)
                self.handed_on.append((side, data))
                await target.send(self._change(side, data), text=source.subprotocol == _JSON)
        with contextlib.suppress(ConnectionClosed):
            await target.close(_sendable(source.close_code), source.close_reason or "")


def _takes_anything() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _sendable(code: int | None) -> int:
    return 1001 if code is None or code in (1005, 1006, 1015) else code
