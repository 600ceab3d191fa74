"""`thenodes identity show` and `thenodes identity new`."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

import click
import msgspec
from msgspec import structs

from thenodes_core.errors import StateDirError
from thenodes_core.files import write_private
from thenodes_core.security.certificates import Certificate, make_certificate, read_certificates
from thenodes_core.security.identity import Identity, write_identity
from thenodes_core.security.key_files import public_key_pem
from thenodes_core.store.state_dir import StateDir

from ..certificate_file import (
    CertificateFile,
    certificate_rows,
    describe_certificate,
    render_rows,
    write_certificates,
)
from ..node_files import NodeFiles, read_node_files
from ..output import emit, warn
from .target import target_options

__all__ = ["command"]

_FILE_BYTES = 1024 * 1024


class _Shown(msgspec.Struct, frozen=True, kw_only=True):
    node_id: str
    fingerprint: str
    public_key: str
    realm: str
    key: str
    certificate: CertificateFile | None


@click.group(
    epilog="""\b
Examples:
  thenodes identity show
  thenodes identity show --state-dir data/first --json
  thenodes identity new --state-dir data/second"""
)
def command() -> None:
    """Show who a node is, or make it somebody else.

    A node is its key: the id derives from it unless one is configured, and peers
    trust it by its fingerprint, the SHA-256 of the public key.
    """


@command.command(
    epilog="""\b
Examples:
  thenodes identity show
  thenodes identity show --config node.toml --json"""
)
@target_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(config_file: Path | None, state_dir: Path | None, as_json: bool) -> None:
    """Show a node's id, fingerprint, public key and certificate.

    They are read from its files, whether it runs or not; nothing is made.
    """
    files = read_node_files(config_file, state_dir)
    identity = files.read_identity()
    shown = _shown(files, identity, _read_certificate(files, identity))
    emit(_text(shown), shown, as_json=as_json)


@command.command(
    epilog="""\b
Examples:
  thenodes identity new
  thenodes identity new --state-dir data/first --force"""
)
@target_options
@click.option("--force", is_flag=True, help="Make another key where there is one.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def new(config_file: Path | None, state_dir: Path | None, force: bool, as_json: bool) -> None:
    """Make a node's key and certificate.

    A node that has none makes them itself when it starts. With another key it is
    another node: its derived id changes, and under a configured id peers that know it
    refuse it until they `trust forget` that id. The old key is kept beside the new one.
    """
    files = read_node_files(config_file, state_dir)
    with StateDir(files.state_dir):
        chosen = files.chosen_id()
        old = [path for path in (files.key, files.certificate) if os.path.lexists(path)]
        if old and not force:
            raise StateDirError(
                f"{old[0]} exists. {_consequence(chosen)} If that is meant: "
                f"thenodes identity new {files.options} --force"
            )
        now = time.time()
        kept = [_keep_aside(path, now) for path in old]
        identity = Identity.generate()
        made = make_certificate(
            identity, node_id=chosen or identity.node_id, realm=files.realm, now=now
        )
        # The key first: with another key, a node makes a certificate of its own again.
        write_identity(files.key, identity)
        write_certificates(files.certificate, [made])
    shown = _shown(files, identity, made)
    text = [_text(shown)] + [f"the old one is kept as {path}" for path in kept]
    if kept:
        text.append(_consequence(chosen))
    data = structs.asdict(shown) | {"previous": [str(path) for path in kept]}
    emit("\n".join(text), data, as_json=as_json)


def _consequence(chosen: str | None) -> str:
    if chosen is None:
        return (
            "With another key the node has another id: to those who know or trust this one, "
            "it is a stranger."
        )
    return (
        f"With another key the node keeps its configured id, {chosen}, but peers that know the id "
        f"refuse it until they run: thenodes trust forget {chosen}"
    )


def _shown(files: NodeFiles, identity: Identity, certificate: Certificate | None) -> _Shown:
    return _Shown(
        node_id=files.chosen_id() or identity.node_id,
        fingerprint=identity.fingerprint,
        public_key=public_key_pem(identity.public_key),
        realm=str(files.realm),
        key=str(files.key),
        certificate=(
            None if certificate is None else describe_certificate(files.certificate, certificate)
        ),
    )


def _text(shown: _Shown) -> str:
    rows = [
        ("node id", shown.node_id),
        ("fingerprint", shown.fingerprint),
        ("realm", shown.realm),
        ("key", shown.key),
    ]
    if shown.certificate is None:
        rows.append(("certificate", "none yet: the node makes it when it starts"))
    else:
        rows += certificate_rows(shown.certificate)
    return f"{render_rows(rows)}\n{shown.public_key.rstrip()}"


def _read_certificate(files: NodeFiles, identity: Identity) -> Certificate | None:
    """The node's certificate; what is wrong with it is told, and the key shown all the same."""
    if not os.path.lexists(files.certificate):
        return None
    try:
        certificate = read_certificates(files.certificate)[0]
    except StateDirError as error:
        warn(str(error))
        return None
    if certificate.public_key != identity.public_key:
        warn(f"{files.certificate}: of another key, {certificate.fingerprint}")
    return certificate


def _keep_aside(path: Path, now: float) -> Path:
    """Copy a file beside itself, 0600, under a name that was free.

    A copy and not a move: wherever this is interrupted, the node has its key.
    """
    stem = f"{path.name}.{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}"
    names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
    aside = next(path.with_name(name) for name in names if not os.path.lexists(path.parent / name))
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_BYTES + 1)
        if len(content) > _FILE_BYTES:
            raise StateDirError(f"{path}: over {_FILE_BYTES} bytes, so no key; move it away")
        write_private(aside, content)
    except OSError as error:
        raise StateDirError(f"{path}: cannot be kept as {aside}: {error.strerror}") from error
    return aside
