"""Nodes over TLS: as processes, with certificates of their own and of a CA."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import ssl
import time
from pathlib import Path

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame
from websockets.uri import parse_uri

from thenodes_core import Config, Node
from thenodes_core.clock import SystemClock
from thenodes_core.config import EncryptionTable, NodeTable
from thenodes_core.security.certificates import make_certificate, parse_certificate, pem
from thenodes_core.security.identity import Identity
from thenodes_plugin_api import Auth, Binding, Disconnect

from .conftest import StartNode
from .interceptor import DEFAULT_REALM, Authority, own_files, put_credentials
from .nodes import KVSTORE, RunningNode, fails, wait_until, with_config
from .stranger import BINARY, Stranger, body_of

PLUGIN = ("--plugin", str(KVSTORE))
TLS = "[discovery]\nenabled = false\n\n[encryption]\nenabled = true\n"
PLAIN = "[discovery]\nenabled = false\n"
NO_ANSWER = (
    "did not receive a valid HTTP response: connection closed while reading HTTP status line"
)
DAY = 86_400.0
HOUR = 3600.0


def trusting(authority: Authority, *, policy: str = "", extra: str = "") -> str:
    """A configuration with TLS that believes a CA."""
    return (
        f'{TLS}{extra}\n[encryption.paths]\nissuer_cert_dir = "{authority.folder}"\n'
        f"\n[encryption.trust_policy]\n{policy}\n"
    )


def client_context(**versions: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for name, version in versions.items():
        setattr(context, name, version)
    return context


def shown_certificate(port: int) -> str:
    return ssl.get_server_certificate(("127.0.0.1", port)).strip()


def goes_on(node: RunningNode) -> bool:
    """Whether a node took no harm."""
    return node.process.poll() is None and node.counter("internal_errors") == 0


def test_two_fresh_nodes_exchange_values_over_tls(start_node: StartNode, tmp_path: Path) -> None:
    config = with_config(tmp_path / "node.toml", TLS)
    first = start_node("first", *config, *PLUGIN)
    second = start_node("second", *config, *PLUGIN, "--bootstrap", f"127.0.0.1:{first.port}")
    wait_until(second.connected, "the nodes to connect")

    assert first.exec("kvstore", "put", "a", "1") == "stored a = 1, sent to 1 peer"
    wait_until(lambda: second.exec("kvstore", "get", "a") == "a = 1", "the value")

    (peer,) = second.ask("status")["peers"]
    assert (peer["verified"], peer["fingerprint"]) == ("session", first.fingerprint)
    assert first.ask("status")["tls"] is True
    own = (tmp_path / "first" / "identity.crt").read_text().strip()
    assert shown_certificate(first.port) == own
    assert " with TLS" in first.exec("status")


def test_listening_beyond_loopback_turns_tls_on_by_itself(
    start_node: StartNode, tmp_path: Path
) -> None:
    config = with_config(tmp_path / "node.toml", PLAIN)
    far = start_node("far", *config, "--host", "0.0.0.0")
    near = start_node("near", *config, "--bootstrap", f"wss://127.0.0.1:{far.port}")
    wait_until(near.connected, "the nodes to connect")

    assert (far.ask("status")["tls"], near.ask("status")["tls"]) == (True, False)
    assert near.connected() == [far.node_id]


def test_an_address_with_the_right_id_connects_and_with_a_wrong_one_does_not(
    start_node: StartNode, tmp_path: Path
) -> None:
    config = with_config(tmp_path / "node.toml", TLS)
    first = start_node("first", *config)
    address, wrong = f"wss://127.0.0.1:{first.port}", Identity.generate().node_id

    right = start_node("right", *config, "--bootstrap", f"{address}#{first.node_id}")
    mistaken = start_node("mistaken", *config, "--bootstrap", f"{address}#{wrong}")
    wait_until(right.connected, "the nodes to connect")
    wait_until(mistaken.dial_problem, "the refusal")

    assert right.connected() == [first.node_id]
    assert mistaken.dial_problem() == (
        f"{address}#{wrong}: identity (here): "
        f"the address is of {wrong}, but {first.node_id} answered"
    )
    assert first.connected() == [right.node_id]


@pytest.mark.parametrize(
    ("listening", "scheme", "why"),
    [
        (
            TLS,
            "ws",
            f"{NO_ANSWER}; perhaps only wss:// is taken there",
        ),
        (
            PLAIN,
            "wss",
            "the connection ended during the TLS handshake; perhaps only ws:// is taken there",
        ),
    ],
    ids=["plaintext to TLS", "TLS to plaintext"],
)
def test_a_dial_of_the_wrong_kind_is_told_in_the_status(
    start_node: StartNode, tmp_path: Path, listening: str, scheme: str, why: str
) -> None:
    listener = start_node("listener", *with_config(tmp_path / "listener.toml", listening))
    address = f"{scheme}://127.0.0.1:{listener.port}"
    dialer = start_node(
        "dialer", *with_config(tmp_path / "dialer.toml", PLAIN), "--bootstrap", address
    )
    wait_until(dialer.dial_problem, "the failure")

    assert dialer.dial_problem() == f"{address}: {why}"
    # Long lines go on below.
    assert f"{address} waiting: {why}" in " ".join(dialer.exec("status").split())
    listener.logged(action="connection_refused")
    assert goes_on(listener)
    assert goes_on(dialer)


def test_a_client_that_has_only_tls_1_2_is_refused(start_node: StartNode, tmp_path: Path) -> None:
    node = start_node("node", *with_config(tmp_path / "node.toml", TLS))
    old = client_context(maximum_version=ssl.TLSVersion.TLSv1_2)
    new = client_context(minimum_version=ssl.TLSVersion.TLSv1_3)

    with socket.create_connection(("127.0.0.1", node.port), timeout=5) as client:
        with pytest.raises(ssl.SSLError):
            old.wrap_socket(client)
    with (
        socket.create_connection(("127.0.0.1", node.port), timeout=5) as client,
        new.wrap_socket(client) as secured,
    ):
        assert secured.version() == "TLSv1.3"

    # What the second one left is told, too.
    refusals = [event["detail"] for event in node.logged(2, action="connection_refused")]
    assert sum("TLS failed: unsupported_protocol" in detail for detail in refusals) == 1
    assert goes_on(node)


def test_with_mtls_a_certificate_of_the_ca_is_admitted_and_any_other_is_not(
    start_node: StartNode, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "issuers")
    for name in ("listener", "member"):
        authority.node(tmp_path / name)
    config = with_config(tmp_path / "node.toml", trusting(authority, extra="mtls = true\n"))
    plain_config = with_config(tmp_path / "plain.toml", TLS)
    listener = start_node("listener", *config)
    address = f"wss://127.0.0.1:{listener.port}"

    member = start_node("member", *config, "--bootstrap", address)
    stranger = start_node("stranger", *plain_config, "--bootstrap", address)
    wait_until(member.connected, "the member")
    wait_until(stranger.dial_problem, "the refusal")

    assert listener.connected() == [member.node_id]
    assert stranger.dial_problem() == (
        f"{address}: {NO_ANSWER}; perhaps a certificate of a CA is asked for there (mtls)"
    )
    assert goes_on(listener)
    assert goes_on(stranger)


def test_mtls_without_a_ca_is_an_error_that_says_where_to_put_one(tmp_path: Path) -> None:
    config = with_config(tmp_path / "node.toml", f"{TLS}mtls = true\n")

    code, error = fails("run", *config, "--port", "0", "--state-dir", str(tmp_path / "node"))

    assert code == 2
    assert "encryption.mtls: needs the certificate of a CA" in error
    assert "issuer_cert_dir" in error


class HourGlass(SystemClock):
    """The system's clock, but that an hour passes when a test says so."""

    def __init__(self) -> None:
        self._passed = 0.0
        self._hours: asyncio.Queue[None] = asyncio.Queue()

    def time(self) -> float:
        """Unix seconds."""
        return super().time() + self._passed

    async def sleep(self, seconds: float) -> None:
        """Wait; for an hour, until the test lets one pass."""
        if seconds < HOUR:
            await super().sleep(seconds)
        else:
            await self._hours.get()

    def pass_hour(self) -> None:
        """Let an hour pass."""
        self._passed += HOUR
        self._hours.put_nowait(None)


class SlowClient:
    """A peer that pauses between TLS and what comes after it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        self._protocol = ClientProtocol(parse_uri("wss://127.0.0.1"), subprotocols=[BINARY])

    @classmethod
    async def open(cls, address: str) -> SlowClient:
        host, _, port = address.rpartition(":")
        return cls(*await asyncio.open_connection(host, int(port), ssl=client_context()))

    async def join(self) -> Auth | Disconnect:
        """Shake hands, bound to the certificate that this connection began with."""
        protocol = self._protocol
        protocol.send_request(protocol.connect())
        self._flush()
        stranger = Stranger()
        binding = Binding("tls", hashlib.sha256(self.certificate).digest())
        theirs, own = await self._receive(), stranger.hello(binding)
        protocol.send_binary(own)
        protocol.send_binary(stranger.proof(theirs, own, binding))
        self._flush()
        body = body_of(await self._receive())
        assert isinstance(body, (Auth, Disconnect))
        return body

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _receive(self) -> bytes:
        while True:
            frames = [e for e in self._protocol.events_received() if isinstance(e, Frame)]
            if frames:
                return bytes(frames[0].data)
            data = await self._reader.read(65536)
            assert data, "the node ended the connection"
            self._protocol.receive_data(data)

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            self._writer.write(data)


async def test_a_certificate_is_renewed_in_time_and_the_previous_counts_for_an_hour(
    tmp_path: Path,
) -> None:
    clock, identity = HourGlass(), Identity.generate()
    # It lives for 25 hours, of which in 40 minutes a third will remain.
    old = make_certificate(
        identity,
        node_id=identity.node_id,
        realm=DEFAULT_REALM,
        now=time.time() - 15 * HOUR,
        days=1,
    )
    put_credentials(tmp_path, identity, old)
    config = Config(
        port=0,
        node=NodeTable(state_dir=str(tmp_path)),
        encryption=EncryptionTable(enabled=True),
    )
    async with Node(config, clock=clock) as node, contextlib.AsyncExitStack() as stack:

        async def client() -> SlowClient:
            opened = await SlowClient.open(node.address)
            stack.push_async_callback(opened.close)
            return opened

        first, second, third = [await client() for _ in range(3)]
        assert {c.certificate for c in (first, second, third)} == {old.der}
        assert isinstance(await first.join(), Auth)

        clock.pass_hour()
        while node.certificate == pem(old.der):
            await asyncio.sleep(0.01)

        assert (tmp_path / "identity.crt").read_bytes() == node.certificate
        renewed = await client()
        assert pem(renewed.certificate) == node.certificate
        (own,) = node.trust.keys("own")
        assert own.not_after == parse_certificate(renewed.certificate).not_after
        assert isinstance(await renewed.join(), Auth)
        assert isinstance(await second.join(), Auth)

        clock.pass_hour()
        refused = await third.join()
        assert isinstance(refused, Disconnect)
        assert refused.detail == "expected a proof bound to tls as this side sees it, got tls"
        assert len(node.peers.all()) == 3


def test_a_certificate_of_a_ca_that_is_named_is_shown_and_believed(
    start_node: StartNode, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "issuers")
    identity = authority.node(tmp_path / "files")
    named = (
        f'own_certificate = "{tmp_path}/files/identity.crt"\n'
        f'own_private_key = "{tmp_path}/files/identity.pem"\n'
    )
    first = start_node(
        "first",
        *with_config(tmp_path / "first.toml", f"{TLS}\n[encryption.paths]\n{named}"),
    )
    judge = with_config(tmp_path / "judge.toml", trusting(authority, policy='mode = "ca"'))
    second = start_node("second", *judge, "--bootstrap", f"127.0.0.1:{first.port}")
    wait_until(second.connected, "the nodes to connect")

    assert first.node_id == identity.node_id
    shown = (tmp_path / "files" / "identity.crt").read_text().strip()
    assert shown_certificate(first.port) == shown
    assert not (tmp_path / "first" / "identity.pem").exists()
    (decision,) = second.logged(type="trust_decision")
    assert (decision["reason"], decision["chain_valid"]) == ("chain-valid", True)


@pytest.mark.parametrize(
    ("certificate", "private_key", "why"),
    [
        ("one/identity.crt", "other/identity.pem", "the certificate is of the key "),
        (
            "one/identity.pem",
            "one/identity.crt",
            "identity.crt: expected a private key, and it holds a certificate",
        ),
        ("one/identity.pem", "one/identity.pem", "begin with -----BEGIN CERTIFICATE-----"),
        ("one/missing.crt", "one/identity.pem", "one/missing.crt: cannot be read"),
    ],
    ids=["another key", "swapped files", "a key as certificate", "missing"],
)
def test_files_that_do_not_fit_each_other_are_an_error_that_names_them(
    tmp_path: Path, certificate: str, private_key: str, why: str
) -> None:
    for name in ("one", "other"):
        own_files(tmp_path / name)
    config = with_config(
        tmp_path / "node.toml",
        f'{TLS}\n[encryption.paths]\nown_certificate = "{tmp_path}/{certificate}"\n'
        f'own_private_key = "{tmp_path}/{private_key}"\n',
    )

    _, error = fails("run", *config, "--port", "0", "--state-dir", str(tmp_path / "node"))

    assert str(tmp_path) in error
    assert why in error


@pytest.mark.parametrize(
    ("policy", "days_ago", "reason", "problem"),
    [
        ("reject_expired = true", 10, "time-invalid", "expired on "),
        ("reject_before_valid = true", -10, "time-invalid", "valid from "),
        ('mode = "ca"', 10, "chain-invalid", ""),
    ],
    ids=["expired", "not yet valid", "expired in a chain"],
)
def test_a_certificate_that_is_not_valid_now_is_refused(
    start_node: StartNode, tmp_path: Path, policy: str, days_ago: float, reason: str, problem: str
) -> None:
    authority = Authority(tmp_path / "issuers")
    authority.node(tmp_path / "late", at=time.time() - days_ago * DAY, days=1)
    judge = start_node(
        "judge", *with_config(tmp_path / "judge.toml", trusting(authority, policy=policy))
    )
    address = f"wss://127.0.0.1:{judge.port}"

    late = start_node("late", *with_config(tmp_path / "late.toml", TLS), "--bootstrap", address)
    wait_until(late.dial_problem, "the refusal")

    assert late.dial_problem() == f"{address}: identity (peer): not trusted here: {reason}"
    assert judge.connected() == []
    (decision,) = judge.logged(type="trust_decision")
    assert decision["reason"] == reason
    assert (decision["time_reason"] or "").startswith(problem)
    assert judge.counter(f"trust_decisions.{reason}") == 1


def test_a_certificate_of_another_ca_is_refused(start_node: StartNode, tmp_path: Path) -> None:
    believed, other = Authority(tmp_path / "issuers"), Authority(tmp_path / "others")
    believed.node(tmp_path / "member")
    other.node(tmp_path / "stranger")
    policy = with_config(tmp_path / "judge.toml", trusting(believed, policy='mode = "ca"'))
    judge = start_node("judge", *policy)
    address = f"wss://127.0.0.1:{judge.port}"
    config = with_config(tmp_path / "node.toml", TLS)

    member = start_node("member", *config, "--bootstrap", address)
    stranger = start_node("stranger", *config, "--bootstrap", address)
    wait_until(member.connected, "the member")
    wait_until(stranger.dial_problem, "the refusal")

    assert stranger.dial_problem() == f"{address}: identity (peer): not trusted here: chain-invalid"
    assert judge.connected() == [member.node_id]
    (decision,) = judge.logged(type="trust_decision", decision="reject")
    assert (decision["chain_valid"], decision["chain_reason"]) == (False, "no known CA issued it")
