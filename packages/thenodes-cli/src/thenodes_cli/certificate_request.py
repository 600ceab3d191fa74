"""Makes a certificate as `thenodes cert new` asks for it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
import tomlkit

from thenodes_core.config import expand
from thenodes_core.errors import CredentialError, StateDirError
from thenodes_core.peers.trust_keeper import operator
from thenodes_core.security.certificates import (
    Certificate,
    make_certificate,
    pem,
    read_certificates,
)
from thenodes_core.security.identity import Identity, load_identity, write_identity
from thenodes_core.store.key_directory import KeyDirectory
from thenodes_core.store.state_dir import StateDir
from thenodes_core.store.trust_store import ISSUERS_DIR, TRUSTED_DIR
from thenodes_plugin_api import PromotionEvent, Realm

from .audit import record
from .certificate_file import CertificateFile, day, describe_certificate, write_certificates
from .node_files import NodeFiles
from .output import warn

__all__ = ["Issued", "Request", "issue", "usage_lines"]

_CA_KEY = "ca.pem"
_FILE_BYTES = 1024 * 1024
_COMMON_NAME_CHARACTERS = 64


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for.

    Attributes:
        files: the node whose files apply where none are named.
        realm: the realm that the certificate names.
        common_name: in the subject; the node id, or a CA's realm, where None.
        days: how long it is valid.
        certificate: where to write it.
        key: the key to certify, made where missing.
        ca: whether it is a CA's.
        issuer: certificate and key of the CA that issues it; self-signed where None.
        trust: put it among the trusted keys too.
        replace: whether a certificate may be replaced.
    """

    files: NodeFiles
    realm: Realm
    common_name: str | None
    days: int
    certificate: Path | None
    key: Path | None
    ca: bool
    issuer: tuple[Path, Path] | None
    trust: bool
    replace: bool

    @property
    def key_path(self) -> Path:
        """The key to certify: a CA's own, never the node's, unless one is named."""
        if self.key is not None:
            return self.key
        return self.files.state_dir / _CA_KEY if self.ca else self.files.key

    @property
    def certificate_path(self) -> Path:
        """Where the certificate is written: the node's only where the key is the node's."""
        if self.certificate is not None:
            return self.certificate
        if self.key is None and not self.ca:
            return self.files.certificate
        return self.key_path.parent / f"{self.key_path.stem}.crt"


class Issued(msgspec.Struct, frozen=True, kw_only=True):
    """What was made.

    Attributes:
        fingerprint: of the key.
        node_id: whom the certificate is for.
        realm: that it names.
        is_ca: whether it is a CA's.
        certificate: where it is, and what it says.
        key: the file of its key.
        key_made: whether that was made now.
        trusted: the file that makes it trusted, None where that was not asked for.
    """

    fingerprint: str
    node_id: str
    realm: str
    is_ca: bool
    certificate: CertificateFile
    key: str
    key_made: bool
    trusted: str | None


def issue(request: Request) -> Issued:
    """Make the certificate, and the key where it is missing; everything is checked first.

    Raises:
        StateDirError: a file is in the way, or cannot be read or written.
        CredentialError: the issuer cannot issue it, or no certificate can say that.
    """
    key_path, path = request.key_path, request.certificate_path
    _check_place(request, path)
    identity, is_new = _key(request)
    now = time.time()
    issuer, chain = _issuer(request.issuer, now)
    node_id = _node_id(request, identity)
    made = make_certificate(
        identity,
        node_id=node_id,
        realm=request.realm,
        now=now,
        days=request.days,
        common_name=_common_name(request),
        ca=request.ca,
        issuer=issuer,
    )
    with _holding(request, is_new=is_new):
        if is_new:
            write_identity(key_path, identity)
        write_certificates(path, [made, *chain])
    trusted = _trust(request, made) if request.trust else None
    is_own = path == request.files.certificate
    if is_own and made.self_signed and request.realm.code != request.files.realm.code:
        warn(
            f"it names the realm {request.realm.code}, but the node's is "
            f"{request.files.realm.code}: the node makes its own again; set realm.name"
        )
    return Issued(
        fingerprint=made.fingerprint,
        node_id=node_id,
        realm=str(request.realm),
        is_ca=made.is_ca,
        certificate=describe_certificate(path, made),
        key=str(key_path),
        key_made=is_new,
        trusted=None if trusted is None else str(trusted),
    )


def usage_lines(request: Request) -> list[str]:
    """How the certificate comes into use."""
    path, key_path = request.certificate_path, request.key_path
    if request.ca:
        return [
            f"to issue with it: thenodes cert new --issuer-cert {path} --issuer-key {key_path}",
            f"to believe it, a node needs it in {ISSUERS_DIR} of its state directory, and",
            *_toml({"encryption.trust_policy": {"mode": "ca"}}),
        ]
    if path == request.files.certificate and key_path == request.files.key:
        return ["the node uses it from its next start on; one that runs takes it within the hour"]
    names = {"own_certificate": str(path.absolute()), "own_private_key": str(key_path.absolute())}
    return ["for a node to use it:", *_toml({"encryption.paths": names})]


def _toml(tables: dict[str, dict[str, str]]) -> list[str]:
    lines = []
    for name, table in tables.items():
        lines.append(f"  [{name}]")
        lines += [f"  {key} = {tomlkit.item(value).as_string()}" for key, value in table.items()]
    return lines


def _check_place(request: Request, path: Path) -> None:
    if path.absolute() == request.key_path.absolute():
        raise StateDirError(f"{path}: it is the file of the key; name another --out-cert")
    if request.ca and path.absolute() == request.files.certificate.absolute():
        raise StateDirError(
            f"{path}: the node serves TLS with this file, for which a CA's certificate is no good; "
            "name another --out-cert"
        )
    for folder in (request.key_path.parent, path.parent):
        if folder != request.files.state_dir and not folder.is_dir():
            raise StateDirError(f"{folder}: no such folder; make it first")
    if os.path.lexists(path):
        _check_replaceable(path, wanted=request.replace)


def _check_replaceable(path: Path, *, wanted: bool) -> None:
    if not wanted:
        raise StateDirError(f"{path} exists; --force replaces it, --out-cert names another file")
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_BYTES)
    except OSError as error:
        raise StateDirError(f"{path}: cannot be replaced: {error.strerror}") from error
    if b"PRIVATE KEY-----" in content:
        raise StateDirError(f"{path}: holds a private key, which is never replaced")


def _key(request: Request) -> tuple[Identity, bool]:
    """The key to certify, and whether it is new and still to be written."""
    path = request.key_path
    own = request.key is None and not request.ca
    is_named = request.files.config.encryption.paths.own_private_key is not None
    if os.path.lexists(path) or (own and is_named):
        return load_identity(path), False
    return Identity.generate(), True


def _node_id(request: Request, identity: Identity) -> str:
    chosen = None
    if not request.ca:
        own = request.key_path == request.files.key
        chosen = request.files.chosen_id() if own else request.files.config.node.id
    return chosen or identity.node_id


def _common_name(request: Request) -> str | None:
    name = request.common_name
    if name is not None and len(name) > _COMMON_NAME_CHARACTERS:
        warn(f"--cn: only the first {_COMMON_NAME_CHARACTERS} characters of {name} are kept")
    return f"{request.realm.name} CA" if name is None and request.ca else name


def _issuer(
    files: tuple[Path, Path] | None, now: float
) -> tuple[tuple[Identity, Certificate] | None, Sequence[Certificate]]:
    """The CA's key and certificate, and what leads from that to a CA that signed itself."""
    if files is None:
        return None, ()
    certificates = read_certificates(files[0])
    issuer = certificates[0]
    if issuer.not_after <= now:
        raise CredentialError(f"{files[0]}: this CA's certificate ended on {day(issuer.not_after)}")
    chain = [certificate for certificate in certificates if not certificate.self_signed]
    return (load_identity(files[1]), issuer), chain


def _holding(request: Request, *, is_new: bool) -> AbstractContextManager[object]:
    """The state directory, locked where no node may start meanwhile, and made where missing."""
    directory = request.files.state_dir
    paths = (request.key_path, request.certificate_path)
    if not any(path.parent == directory for path in paths):
        return contextlib.nullcontext()
    if (is_new and request.key_path == request.files.key) or not directory.exists():
        return StateDir(directory)
    return contextlib.nullcontext()


def _trust(request: Request, certificate: Certificate) -> Path:
    """Put a certificate among the trusted keys, or a CA's among those that are believed."""
    files, paths = request.files, request.files.config.encryption.paths
    if request.ca:
        store, named, default = "issuers", paths.issuer_cert_dir, ISSUERS_DIR
    else:
        store, named, default = "trusted", paths.trusted_cert_dir, TRUSTED_DIR
    directory = KeyDirectory(store, expand(named) if named else files.state_dir / default)
    for problem in directory.load():
        warn(problem)
    key = certificate.fingerprint
    # Another certificate of a CA may end later than one that is there.
    if not request.ca and key in directory.keys:
        return directory.keys[key]
    path = directory.add(key, pem(certificate.der))
    event = PromotionEvent(
        fingerprint=key, from_store="own", to_store=store, operator=operator(), success=True
    )
    record(files, [event])
    return path
