"""Signatures of wheels: a file beside the wheel, by a key that the operator named."""

from __future__ import annotations

import msgspec

from .. import signatures
from ..errors import CredentialError
from ..node_id import fingerprint
from ..signatures import PrivateKey, Purpose
from .policy import GatePolicy
from .verdict import Fault

__all__ = ["SIGNATURE_BYTES", "SIGNATURE_SUFFIX", "check_signature", "sign_wheel", "signer_of"]

SIGNATURE_SUFFIX = ".tnsig"
"""Appended to the wheel's file name."""

SIGNATURE_BYTES = 4096
"""The largest signature file that is read."""


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    public_key: bytes
    signature: bytes


def sign_wheel(key: PrivateKey, public_key: bytes, wheel: bytes) -> bytes:
    """Return the content of a wheel's signature file.

    Args:
        key: the signer's.
        public_key: the signer's, SubjectPublicKeyInfo, DER.
        wheel: the wheel's content.
    """
    signature = signatures.sign(key, Purpose.PLUGIN, wheel)
    return msgspec.json.encode(_File(public_key=public_key, signature=signature)) + b"\n"


def signer_of(wheel: bytes, signature: bytes) -> str:
    """Return the fingerprint of the key that signed a wheel.

    Args:
        wheel: the wheel's content.
        signature: the signature file's.

    Raises:
        CredentialError: it is no signature of this wheel.
    """
    try:
        file = msgspec.json.decode(signature, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CredentialError(f"not a signature file: {error}") from error
    if not signatures.verify(file.public_key, Purpose.PLUGIN, wheel, file.signature):
        raise CredentialError("the signature is not of this wheel")
    return fingerprint(file.public_key)


def check_signature(wheel: bytes, signature: bytes | None, policy: GatePolicy) -> list[Fault]:
    """TN-P004: what speaks against a wheel's signature.

    One that is invalid always does. None, or an unknown signer's, does where signatures
    are required; an unknown signer's also where any signers are named.

    Args:
        wheel: the wheel's content.
        signature: the signature file's, None where there is none.
        policy: who may sign, and whether somebody has to.
    """
    expected = "a signature by a key in [plugins] signers"
    if signature is None:
        if not policy.verify_signatures:
            return []
        fix = "get the signature file, or sign the wheel: thenodes plugin sign"
        return [Fault("TN-P004", expected, "no signature file beside the wheel", fix)]
    try:
        signer = signer_of(wheel, signature)
    except CredentialError as error:
        fix = "get wheel and signature from their source again; no setting lets this pass"
        return [Fault("TN-P004", "a valid signature", str(error), fix)]
    if signer in policy.signers or not (policy.verify_signatures or policy.signers):
        return []
    fix = f'if you trust that key with code, add "{signer}" to [plugins] signers'
    return [Fault("TN-P004", expected, f"a signature by the key {signer}", fix)]
