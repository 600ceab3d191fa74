"""What a plugin may send: kinds and sizes, as docs/reference/wire.md has them."""

from __future__ import annotations

import msgspec
from msgspec import structs

from ..errors import KindNotAllowed, PayloadError, PayloadTooLarge
from ..messages import Body, DataRequest, DataResponse, Extension, Text
from ..payload import Payload

__all__ = ["FRAME_BYTES", "HEADER_BYTES", "check_kind", "check_size"]

FRAME_BYTES = 256 * 1024
"""What a frame may hold, its prefix included."""

HEADER_BYTES = 4 * 1024
"""What the fields of a body may take."""

# Length of the frame, kind, flags and length of the header.
_PREFIX_BYTES = 8

_ALLOWED = frozenset({Text, Extension, DataRequest, DataResponse})


def check_kind(body: Body) -> None:
    """Raise KindNotAllowed for kinds that belong to the node."""
    if type(body) not in _ALLOWED:
        raise KindNotAllowed(
            f"plugins may not send {body.token}: only TEXT, EXTENSION, DATA_REQUEST, DATA_RESPONSE"
        )


def check_size(body: Body, payload: Payload | None) -> None:
    """Raise PayloadTooLarge for what every peer would refuse."""
    try:
        header = len(msgspec.msgpack.encode((None, None, None, *structs.astuple(body))))
    except (UnicodeEncodeError, OverflowError) as error:
        raise PayloadError(f"{body.token} cannot be encoded: {error}") from error
    if header > HEADER_BYTES:
        raise PayloadTooLarge(
            f"header of {header} bytes in kind {body.code}, at most {HEADER_BYTES}"
        )
    size = _PREFIX_BYTES + header + (len(payload.data) if payload is not None else 0)
    if size > FRAME_BYTES:
        raise PayloadTooLarge(f"{body.token} of {size} bytes: a frame holds at most {FRAME_BYTES}")
