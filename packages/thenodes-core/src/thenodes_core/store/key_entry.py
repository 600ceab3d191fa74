"""A key, as operators see it in a list."""

from __future__ import annotations

import msgspec

__all__ = ["KeyEntry"]


class KeyEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A key of a trust store, or the node's own.

    Attributes:
        fingerprint: SHA-256 of the public key, in hex.
        store: `own`, `trusted`, `observed` or `rejected`.
        path: the file that holds it.
        names: ids and addresses that were met with it.
        subject: of its certificate, None where there is only the key.
        not_after: when that certificate ends, Unix seconds.
    """

    fingerprint: str
    store: str
    path: str
    names: tuple[str, ...] = ()
    subject: str | None = None
    not_after: float | None = None
