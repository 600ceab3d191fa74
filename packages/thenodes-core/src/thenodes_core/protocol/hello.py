"""What a node says of itself in HELLO, and what is checked of what a peer says of itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from thenodes_plugin_api import Hello, Realm

from ..errors import CredentialError
from ..node_id import derive_node_id
from ..signatures import Purpose, check_public_key
from .close import CloseCode, Ending

__all__ = ["CHECKS", "PROTOCOL", "VERSION", "LocalNode", "Signer"]

PROTOCOL = "TheNodes"
VERSION = "1"
_DERIVED_ID = re.compile(r"[a-z2-7]{32}")

Signer: TypeAlias = Callable[[Purpose, bytes], bytes]
"""Signs content with the node key, for one purpose."""


class LocalNode(msgspec.Struct, frozen=True, kw_only=True):
    """What this node says of itself, and whom it admits.

    Attributes:
        node_id: this node's id.
        realm: its realm.
        instance: 16 random bytes of this process.
        public_key: SubjectPublicKeyInfo, DER; None without a key.
        sign: signs with that key; None without one.
        certificate: over that key, DER.
        card: this node's identity card.
        node_type: its type in the realm.
        capabilities: what it advertises.
        listen_addr: where it can be dialled, or None.
        allowed_node_types: admitted types, or None for all.
        require_identity: whether peers need a key.
    """

    node_id: str
    realm: Realm
    instance: bytes
    public_key: bytes | None = None
    sign: Signer | None = None
    certificate: bytes | None = None
    card: bytes | None = None
    node_type: str | None = None
    capabilities: tuple[str, ...] = ()
    listen_addr: str | None = None
    allowed_node_types: frozenset[str] | None = None
    require_identity: bool = True

    def hello(self, nonce: bytes) -> Hello:
        """This node's HELLO for one session, but for what binds it to the connection."""
        return Hello(
            node_id=self.node_id,
            listen_addr=self.listen_addr,
            protocol=PROTOCOL,
            version=VERSION,
            node_type=self.node_type,
            capabilities=self.capabilities or None,
            realm=self.realm,
            public_key=self.public_key,
            certificate=self.certificate,
            nonce=nonce,
            instance=self.instance,
            card=self.card,
        )


def _check_version(local: LocalNode, hello: Hello) -> Ending | None:
    protocol, version = hello.protocol or PROTOCOL, hello.version or VERSION
    if (protocol, version) == (PROTOCOL, VERSION):
        return None
    return Ending.here(
        CloseCode.VERSION, f"expected {PROTOCOL} {VERSION}, got {protocol[:64]} {version[:64]}"
    )


def _check_realm(local: LocalNode, hello: Hello) -> Ending | None:
    theirs = hello.realm
    if theirs and (theirs.code, theirs.version) == (local.realm.code, local.realm.version):
        return None
    got = "none" if theirs is None else f"{theirs.code[:128]}/{theirs.version[:64]}"
    return Ending.here(CloseCode.REALM, f"expected realm {local.realm}, got {got}")


def _check_self(local: LocalNode, hello: Hello) -> Ending | None:
    if hello.node_id != local.node_id:
        return None
    return Ending.here(CloseCode.SELF, f"{hello.node_id} is this node's own id")


def _check_node_type(local: LocalNode, hello: Hello) -> Ending | None:
    allowed = local.allowed_node_types
    if allowed is None or hello.node_type in allowed:
        return None
    got = "none" if hello.node_type is None else hello.node_type[:64]
    return Ending.here(
        CloseCode.NODE_TYPE, f"node type {got} is not admitted: {', '.join(sorted(allowed))}"
    )


def _check_key(local: LocalNode, hello: Hello) -> Ending | None:
    if local.require_identity and local.sign is None:
        detail = "this node has no key of its own, and so no peer can prove one to it"
        return Ending.here(CloseCode.IDENTITY, detail)
    if hello.public_key is None:
        if not local.require_identity:
            return None
        detail = f"{hello.node_id} shows no key, and this node admits only peers that prove one"
        return Ending.here(CloseCode.IDENTITY, detail)
    try:
        check_public_key(hello.public_key)
    except CredentialError as error:
        return Ending.here(CloseCode.IDENTITY, f"the key of {hello.node_id} is not usable: {error}")
    return None


def _check_id_belongs_to_key(local: LocalNode, hello: Hello) -> Ending | None:
    if not _DERIVED_ID.fullmatch(hello.node_id):
        return None
    if hello.public_key is not None and derive_node_id(hello.public_key) == hello.node_id:
        return None
    return Ending.here(
        CloseCode.IDENTITY, f"{hello.node_id} does not derive from the key presented"
    )


# In this order (design: wire.md, Handshake); then what the judge knows of id and key, the
# proof, what the judge reads of certificate and card, its trust policy, and at last the
# manager's check for duplicates.
CHECKS: tuple[Callable[[LocalNode, Hello], Ending | None], ...] = (
    _check_version,
    _check_realm,
    _check_self,
    _check_node_type,
    _check_key,
    _check_id_belongs_to_key,
)
