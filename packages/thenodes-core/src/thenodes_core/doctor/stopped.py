"""A node that does not run, as far as its settings and files tell of it; nothing is written."""

from __future__ import annotations

import contextlib
import fcntl
import os
import ssl
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from ..clock import Clock
from ..config import Config, uses_tls
from ..control.status import PluginLine
from ..errors import ConfigError, CredentialError, StateDirError
from ..peers.trust_keeper import TrustKeeper
from ..protocol.handshake import LocalNode
from ..protocol.realm import make_realm
from ..security.certificates import Certificate, pem, read_certificates
from ..security.identity import Identity, load_identity
from ..security.tls import NodeTls
from ..security.trust import TrustPolicy
from ..store.state_dir import LOCK_FILE, StateDir
from ..transport.base import Transport
from ..transport.websocket import ClientTls, WebSocketTransport
from .examination import Patient
from .files import certificate_path, key_path
from .finding import Finding, problem
from .probe import Prober

__all__ = ["stopped_patient"]

_T = TypeVar("_T")


def stopped_patient(
    config: Config,
    state_dir: Path,
    plugins: Callable[[], Sequence[PluginLine]],
    clock: Clock,
    *,
    transport: Transport | None = None,
    found: Sequence[Finding] = (),
) -> Patient:
    """A node that does not run, or that does not answer.

    Where a process holds the directory, or there is no key yet, addresses are only asked
    who they are: a session would take the place of the node's, or be a stranger's.

    Args:
        config: its settings.
        state_dir: its state directory.
        plugins: what it would load.
        clock: tells the time.
        transport: dials; WebSocket where None.
        found: what was found before.
    """
    problems = list(found)
    holder = _holder(state_dir)
    identity = _quietly(lambda: load_identity(key_path(config, state_dir)))
    certificates = _quietly(lambda: read_certificates(certificate_path(config, state_dir)))
    certificate = certificates[0] if certificates else None
    node_id = config.node.id
    try:
        node_id = node_id or StateDir(state_dir).read_node_id(config.node.id_file)
    except StateDirError as error:
        problems.append(problem("identity", str(error), "until then the node does not start"))
    policy, authorities = _policy(config, state_dir, clock, problems)
    dials = transport or WebSocketTransport(
        config.limits, client_tls=_client_tls(config, state_dir, authorities)
    )
    prober = Prober(
        _local(config, node_id, identity or Identity.generate(), certificate),
        dials,
        config.limits,
        clock,
        policy,
        scheme="wss" if uses_tls(config) else "ws",
        only_look=identity is None or bool(holder),
    )
    return Patient(
        config=config,
        state_dir=state_dir,
        node_id=node_id,
        prober=prober,
        clock=clock,
        plugins=plugins,
        holder=holder,
        found=problems,
    )


class _Anonymous:
    """TLS for dialling without a certificate of one's own."""

    @cached_property
    def unverified(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context

    @cached_property
    def verified(self) -> ssl.SSLContext:
        return ssl.create_default_context()


def _client_tls(config: Config, state_dir: Path, authorities: Sequence[Certificate]) -> ClientTls:
    try:
        return NodeTls(
            certificate_path(config, state_dir),
            key_path(config, state_dir),
            [pem(one.der).decode() for one in authorities],
        )
    except CredentialError:
        return _Anonymous()


def _local(
    config: Config, node_id: str | None, identity: Identity, certificate: Certificate | None
) -> LocalNode:
    allowed, realm = config.realm_access.allowed_node_types, config.realm
    fits = certificate is not None and certificate.public_key == identity.public_key
    return LocalNode(
        node_id=node_id or identity.node_id,
        realm=make_realm(realm.name, realm.version, realm.code),
        instance=os.urandom(16),
        public_key=identity.public_key,
        sign=identity.sign,
        certificate=certificate.der if certificate is not None and fits else None,
        node_type=config.node.node_type,
        allowed_node_types=None if allowed is None else frozenset(allowed),
        require_identity=config.encryption.trust_policy.require_identity,
    )


def _policy(
    config: Config, state_dir: Path, clock: Clock, problems: list[Finding]
) -> tuple[TrustPolicy | None, Sequence[Certificate]]:
    realm = make_realm(config.realm.name, config.realm.version, config.realm.code)
    keeper = TrustKeeper(state_dir, config.encryption, realm, lambda _: None, clock)
    try:
        keeper.load()
    except (ConfigError, StateDirError) as error:
        problems.append(problem("trust", str(error), "until then the node does not start"))
        return None, ()
    return keeper.policy, keeper.authorities


def _holder(state_dir: Path) -> str:
    """Who holds the directory, for people; empty where nobody does."""
    try:
        lock = os.open(state_dir / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    pid = ""
    try:
        pid = os.pread(lock, 32, 0).decode(errors="replace").strip()
        if not pid:
            # One that ended in order. To try its lock could get in the way of one that starts.
            return ""
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return f"held by process {pid}" if pid.isdecimal() else "held by another process"
    finally:
        os.close(lock)
    return ""


def _quietly(read: Callable[[], _T]) -> _T | None:
    """None where it cannot be read, which the checks of files tell."""
    with contextlib.suppress(StateDirError):
        return read()
    return None
