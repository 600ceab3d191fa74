"""Checks of what a node keeps on disk: its directory, key, certificate and addresses."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Sequence
from pathlib import Path

from ..config import Config, expand, is_loopback, uses_tls
from ..errors import CredentialError, StateDirError
from ..security.certificates import CERTIFICATE_FILE, Certificate, read_certificates
from ..security.identity import IDENTITY_FILE, Identity, load_identity
from ..security.tls import NodeTls
from ..store.peers_file import PEERS_FILE, PeersFile
from .finding import Finding, ok, problem, warning

__all__ = [
    "certificate_path",
    "check_certificate",
    "check_handshake",
    "check_identity",
    "check_known_addresses",
    "check_state_dir",
    "key_path",
]

_DAY = 86_400
_SOON_DAYS = 7
_DERIVED_ID = re.compile(r"[a-z2-7]{32}")
_ROUNDS = 8


def key_path(config: Config, state_dir: Path) -> Path:
    """Where the node key is."""
    named = config.encryption.paths.own_private_key
    return expand(named) if named else state_dir / IDENTITY_FILE


def certificate_path(config: Config, state_dir: Path) -> Path:
    """Where the node's certificate is."""
    named = config.encryption.paths.own_certificate
    return expand(named) if named else state_dir / CERTIFICATE_FILE


def check_state_dir(path: Path, holder: str) -> Sequence[Finding]:
    """Whether a node can keep its state there.

    Args:
        path: the directory.
        holder: who has it locked, for people; empty where nobody has.
    """
    at = str(path)
    if not path.exists():
        parent = next(one for one in path.absolute().parents if one.exists())
        if os.access(parent, os.W_OK | os.X_OK):
            return [ok("state", "not there yet; made at the first start", subject=at)]
        fix = f"make it for the node's user, or give that user {parent}"
        return [problem("state", "not there, and cannot be made", fix, subject=at)]
    if not path.is_dir():
        fix = "set node.state_dir to a directory"
        return [problem("state", "not a directory", fix, subject=at)]
    if not os.access(path, os.W_OK | os.X_OK):
        fix = f"give it to the user who runs the node: chown USER {path}"
        return [problem("state", "this user cannot write there", fix, subject=at)]
    mode = path.stat().st_mode
    if mode & 0o022:
        text = f"others can write there (mode {mode & 0o777:04o}), and replace the node's key"
        return [problem("state", text, f"if nobody did: chmod go-w {path}", subject=at)]
    return [ok("state", f"writable, {holder or 'no node holds it'}", subject=at)]


def check_identity(
    config: Config, state_dir: Path, node_id: str | None
) -> tuple[Identity | None, Sequence[Finding]]:
    """The node key, and whether it can be used and fits the id; None where there is none.

    Args:
        config: the node's.
        state_dir: where it is unless it is named.
        node_id: the id that the operator chose.
    """
    path = key_path(config, state_dir)
    named = config.encryption.paths.own_private_key is not None
    if not named and not os.path.lexists(path):
        return None, [ok("identity", "no key yet; made at the first start", subject=str(path))]
    try:
        identity = load_identity(path)
    except StateDirError as error:
        return None, [problem("identity", str(error), "until then the node does not start")]
    if node_id and _DERIVED_ID.fullmatch(node_id) and node_id != identity.node_id:
        text = (
            f"node.id {node_id} is the id of another key than {path}, which is {identity.node_id}"
        )
        fix = "leave node.id out, choose a name, or bring the key that belongs to it"
        return identity, [problem("identity", text, fix)]
    own = node_id or identity.node_id
    return identity, [ok("identity", f"{own}, key {identity.fingerprint[:16]}… in {path}")]


def check_certificate(
    config: Config, state_dir: Path, identity: Identity, now: float
) -> tuple[Certificate | None, Sequence[Finding]]:
    """The node's certificate, and whether it can be used; None where there is none."""
    path = certificate_path(config, state_dir)
    at, named = str(path), config.encryption.paths.own_certificate is not None
    if not named and not os.path.lexists(path):
        return None, [ok("tls", "no certificate yet; made at the start", subject=at)]
    try:
        certificate = read_certificates(path)[0]
    except StateDirError as error:
        return None, [problem("tls", str(error), "restore it, or let thenodes cert new make one")]
    fix = "renew it with your CA" if named else "start the node, which renews it"
    if certificate.public_key != identity.public_key:
        text = f"of the key {certificate.fingerprint[:16]}…, not of the node's"
        return None, [problem("tls", text, "name the key that belongs to it", subject=at)]
    outcome = problem if named else warning
    if now > certificate.not_after:
        days = (now - certificate.not_after) / _DAY
        return certificate, [outcome("tls", f"expired {days:.0f} days ago", fix, subject=at)]
    if now < certificate.not_before:
        days = (certificate.not_before - now) / _DAY
        text = f"not valid for another {days:.1f} days"
        return certificate, [problem("tls", text, "look at the clock", subject=at)]
    left = (certificate.not_after - now) / _DAY
    if named and left < _SOON_DAYS:
        text = f"valid for {left:.1f} more days"
        return certificate, [warning("tls", text, fix, subject=at)]
    names = ", ".join(certificate.names) or "no name"
    return certificate, [ok("tls", f"valid for {left:.0f} days, for {names}", subject=at)]


def check_handshake(config: Config, state_dir: Path, *, tls: NodeTls | None = None) -> Finding:
    """Let the node's own TLS shake hands with itself, in memory."""
    if not uses_tls(config):
        beyond = "" if is_loopback(config.host) else ", though others can reach it"
        return ok("tls", f"off for {config.host}{beyond}")
    try:
        tls = tls or NodeTls(certificate_path(config, state_dir), key_path(config, state_dir), [])
        version = _shake_hands(tls)
    except (CredentialError, ssl.SSLError) as error:
        return problem("tls", f"no handshake with itself: {error}", "look at certificate and key")
    return ok("tls", f"a handshake with itself works ({version})")


def _shake_hands(tls: NodeTls) -> str:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = tls.unverified.wrap_bio(to_client, to_server)
    server = tls.server.wrap_bio(to_server, to_client, server_side=True)
    done: set[ssl.SSLObject] = set()
    for _ in range(_ROUNDS):
        for side in (client, server):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                continue
        if len(done) == 2:
            return server.version() or "TLS"
    raise ssl.SSLError("it does not end")


def check_known_addresses(config: Config, state_dir: Path, now: float) -> Sequence[Finding]:
    """Whether the file of known addresses can be read."""
    table = config.network.persistence
    if not table.enabled:
        return []
    path = expand(table.path) if table.path else state_dir / PEERS_FILE
    file = PeersFile(path, ttl_seconds=table.ttl_secs, max_entries=table.max_entries)
    try:
        records, wrong = file.read(now)
    except StateDirError as error:
        return [problem("store", str(error), "look at owner and mode")]
    if wrong:
        return [warning("store", wrong, "the node sets it aside at its start, and begins anew")]
    return [ok("store", f"{len(records)} known addresses", subject=str(path))]
