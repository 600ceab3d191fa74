"""What the certificates of this network look like: those made here, and those believed."""

from __future__ import annotations

import base64
import hashlib
import re

from cryptography import x509
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from thenodes_plugin_api import Realm

from .identity import Identity

__all__ = ["ca_policy", "dns_name", "extensions", "leaf_policy", "subject_name"]

_COMMON_NAME_CHARACTERS = 64  # X.520; cryptography writes no longer one.
_REALM_CHARACTERS = 128  # The wire's bound for a realm's code.
_LABEL = r"[A-Za-z0-9_-]{1,63}"
_LABELS = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_DNS_CHARACTERS = 253
_KEY_USES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
_SESSION_USES = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


def dns_name(node_id: str, realm: Realm) -> str:
    """The DNS name in a node's certificate: `<node id>.<realm code>.thenodes`.

    Every node id is accepted in a certificate, but not every one is a DNS name: labels
    have 1 to 63 characters, the whole 253. An id or a code that does not fit is written
    as `id-` or `realm-` and 32 characters that derive from it, so that other software
    can read the certificate. `_` is kept; so is a `.`, which makes two labels.
    """
    code = _as_labels(realm.code, "realm-")
    name = f"{_as_labels(node_id, 'id-')}.{code}.thenodes"
    if len(name) > _DNS_CHARACTERS:
        name = f"{_stand_in(node_id, 'id-')}.{code}.thenodes"
    if len(name) > _DNS_CHARACTERS:
        name = f"{_stand_in(node_id, 'id-')}.{_stand_in(realm.code, 'realm-')}.thenodes"
    return name


def subject_name(common_name: str, realm: Realm) -> x509.Name:
    """The subject `CN=<common name>,O=<realm code>`; the common name is cut to 64 characters.

    The code is not cut at the 64 that X.520 gives an organization: readers do not mind,
    and the realm of a subject is compared with it.

    Raises:
        ValueError: one of them is empty.
    """
    return x509.Name(
        [
            # RFC 4514 writes them from the last to the first.
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, realm.code[:_REALM_CHARACTERS]),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name[:_COMMON_NAME_CHARACTERS]),
        ]
    )


def extensions(
    identity: Identity, signer: Identity, name: str, *, ca: bool
) -> list[tuple[x509.ExtensionType, bool]]:
    """The extensions of a certificate made here, and which are critical.

    Args:
        identity: the key that is certified.
        signer: the key that signs.
        name: the DNS name, as `dns_name`.
        ca: whether the key may sign certificates; then it is for nothing else.
    """
    uses = dict.fromkeys(_KEY_USES, False)
    uses |= {"key_cert_sign": True, "crl_sign": True} if ca else {"digital_signature": True}
    made: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=ca, path_length=None), True),
        (x509.KeyUsage(**uses), True),
        (x509.SubjectAlternativeName([x509.DNSName(name)]), False),
        (x509.SubjectKeyIdentifier.from_public_key(identity.key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), False),
    ]
    if not ca:
        made.append((x509.ExtendedKeyUsage([*_SESSION_USES]), False))
    return made


def ca_policy() -> verification.ExtensionPolicy:
    """What a CA's certificate has to carry: as in the Web PKI, but keyUsage may be absent.

    The openssl command writes none by default.
    """
    agnostic = verification.Criticality.AGNOSTIC
    return (
        verification.ExtensionPolicy.webpki_defaults_ca()
        .may_be_present(x509.KeyUsage, agnostic, _check_ca_use)
        .may_be_present(x509.ExtendedKeyUsage, agnostic, _check_session_use)
    )


def leaf_policy() -> verification.ExtensionPolicy:
    """What a node's certificate has to carry: as in the Web PKI, with two exceptions.

    authorityKeyIdentifier may be absent, as the openssl command writes none by default,
    and one for servers or for clients alone will do: a node is both.
    """
    agnostic = verification.Criticality.AGNOSTIC
    return (
        verification.ExtensionPolicy.webpki_defaults_ee()
        .may_be_present(x509.AuthorityKeyIdentifier, agnostic, None)
        .may_be_present(x509.ExtendedKeyUsage, agnostic, _check_session_use)
    )


def _check_ca_use(
    policy: verification.Policy, certificate: x509.Certificate, use: x509.KeyUsage | None
) -> None:
    if use is not None and not use.key_cert_sign:
        raise ValueError("a CA's keyUsage does not let it sign certificates")


def _check_session_use(
    policy: verification.Policy, certificate: x509.Certificate, use: x509.ExtendedKeyUsage | None
) -> None:
    allowed = (*_SESSION_USES, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    if use is not None and not any(one in allowed for one in use):
        raise ValueError("an extendedKeyUsage is for neither servers nor clients")


def _as_labels(text: str, prefix: str) -> str:
    return text if _LABELS.fullmatch(text) else _stand_in(text, prefix)


def _stand_in(text: str, prefix: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return prefix + base64.b32encode(digest[:20]).decode().lower()
