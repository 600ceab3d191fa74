"""`thenodes cert new` and `thenodes cert fingerprint`."""

from __future__ import annotations

from pathlib import Path

import click

from thenodes_core.security.key_files import KeyBlock, read_key_file

from ..certificate_file import certificate_rows, render_rows
from ..certificate_request import Request, issue, usage_lines
from ..node_files import read_node_files
from ..output import emit
from .target import target_options

__all__ = ["command"]

_MOST_DAYS = 36_500
_FILE = click.Path(path_type=Path)


@click.group(
    epilog="""\b
Examples:
  thenodes cert new --cn "Kitchen" --days 90 --force
  thenodes cert new --ca --out-cert ca.crt --out-key ca.pem
  thenodes cert fingerprint peer.crt"""
)
def command() -> None:
    """Make certificates, and tell the fingerprints of certificates and keys.

    A node makes its own certificate; these are for other names and terms, and for a
    CA of your own.
    """


@command.command(
    epilog="""\b
Examples:
  thenodes cert new --cn Kitchen --days 90 --force
  thenodes cert new --realm Home --out-cert node.crt --out-key node.pem
A CA of your own, and a certificate by it for the node:
  thenodes cert new --ca --out-cert ca.crt --out-key ca.pem
  thenodes cert new --issuer-cert ca.crt --issuer-key ca.pem --force"""
)
@target_options
@click.option("--realm", metavar="NAME", help="The realm it names.  [default: the node's]")
@click.option(
    "--cn", metavar="NAME", help="The common name in its subject.  [default: the node's id]"
)
@click.option(
    "--days",
    type=click.IntRange(1, _MOST_DAYS),
    default=365,
    show_default=True,
    help="How long it is valid; not longer than its issuer's.",
)
@click.option(
    "--out-cert", type=_FILE, help="Where to write it.  [default: the node's, or beside --out-key]"
)
@click.option(
    "--out-key",
    type=_FILE,
    help="The key to certify, made where the file is missing.  [default: the node's]",
)
@click.option("--ca", is_flag=True, help="Make a CA's, which signs others and serves no TLS.")
@click.option("--issuer-cert", type=_FILE, help="Let this CA issue it instead of its own key.")
@click.option("--issuer-key", type=_FILE, help="That CA's private key.")
@click.option(
    "--copy-to-trusted",
    is_flag=True,
    help="Put it among the node's trusted keys too; a CA's among the CAs that it believes.",
)
@click.option("--force", is_flag=True, help="Replace a certificate that is there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def new(
    config_file: Path | None,
    state_dir: Path | None,
    realm: str | None,
    cn: str | None,
    days: int,
    out_cert: Path | None,
    out_key: Path | None,
    ca: bool,
    issuer_cert: Path | None,
    issuer_key: Path | None,
    copy_to_trusted: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Make a certificate, self-signed or by a CA of your own.

    Without --out-key it is for the node's key, which is made where there is none, and
    replaces the node's certificate. A CA has a key of its own: without --out-key it is
    ca.pem in the state directory. Keys are written 0600 and never replaced.
    """
    if (issuer_cert is None) != (issuer_key is None):
        raise click.UsageError("--issuer-cert and --issuer-key belong together: give both")
    if cn is not None and not cn.strip():
        raise click.UsageError("--cn: expected a name, got an empty one")
    request = Request(
        files=read_node_files(config_file, state_dir),
        realm=read_node_files(config_file, state_dir, realm=realm).realm,
        common_name=cn,
        days=days,
        certificate=out_cert,
        key=out_key,
        ca=ca,
        issuer=None if issuer_cert is None or issuer_key is None else (issuer_cert, issuer_key),
        trust=copy_to_trusted,
        replace=force,
    )
    issued = issue(request)
    rows = [
        ("fingerprint", issued.fingerprint),
        *certificate_rows(issued.certificate),
        ("key", issued.key + (", made now" if issued.key_made else "")),
    ]
    if issued.trusted is not None:
        rows.append(("trusted", issued.trusted))
    emit("\n".join([render_rows(rows), *usage_lines(request)]), issued, as_json=as_json)


@command.command(
    epilog="\b\nExamples:\n  thenodes cert fingerprint\n  thenodes cert fingerprint peer.crt --json"
)
@target_options
@click.argument("path", required=False, type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def fingerprint(
    config_file: Path | None, state_dir: Path | None, path: Path | None, as_json: bool
) -> None:
    """Tell the fingerprint of every certificate and key in a PEM file.

    It is the SHA-256 of the public key: that of a certificate is that of its key.
    Without a file, the node's own.
    """
    if path is None:
        identity = read_node_files(config_file, state_dir).read_identity()
        blocks = [KeyBlock(kind="private key", fingerprint=identity.fingerprint)]
    else:
        blocks = read_key_file(path)
    emit("\n".join(block.fingerprint for block in blocks), blocks, as_json=as_json)
