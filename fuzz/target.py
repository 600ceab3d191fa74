"""What holds of any input, whichever encoding it is for."""

from __future__ import annotations

import sys
from collections.abc import Callable

import atheris

with atheris.instrument_imports(include=["thenodes_core", "thenodes_plugin_api"]):
    from thenodes_core.errors import ProtocolError
    from thenodes_core.limits import Limits
    from thenodes_core.protocol.codec import Codec, UnknownKind
    from thenodes_core.protocol.codec_bin import BinaryCodec
    from thenodes_core.protocol.codec_json import JsonCodec
    from thenodes_core.protocol.forward import message_of
    from thenodes_plugin_api import Frame, Message, PayloadError, PayloadTooLarge

__all__ = ["BINARY", "JSON", "LIMITS", "check", "fuzz"]

# Small enough that inputs of a few hundred bytes cross them.
LIMITS = Limits(message_bytes=4096, frame_bytes=1024, header_bytes=256, control_header_bytes=512)
BINARY, JSON = BinaryCodec(LIMITS), JsonCodec(LIMITS)

# A codec remembers heads: what comes back is read by one that has not seen the input.
_READERS: dict[str, Codec] = {"binary": BinaryCodec(LIMITS), "json": JsonCodec(LIMITS)}


def check(codec: Codec, data: bytes) -> None:
    """Decode `data`; what is a message or a frame must survive being sent on.

    Raises:
        Exception: decoding raised anything but ProtocolError, encoding anything but
            what `Codec.encode` promises, or the message came back as another.
    """
    _check_frames(codec, data)
    try:
        messages = codec.decode(data)
    except ProtocolError:
        return
    for message in messages:
        if isinstance(message, UnknownKind):
            continue
        _encode(JSON if codec is BINARY else BINARY, message)
        sent = _encode(codec, message)
        if sent is not None and (back := _READERS[codec.name].decode(sent)) != [message]:
            raise AssertionError(f"{message!r} came back as {back!r}")


def _check_frames(codec: Codec, data: bytes) -> None:
    try:
        parts = codec.read(data)
    except ProtocolError:
        return
    for frame in (item for part in parts for item in part if isinstance(item, Frame)):
        if (back := BINARY.read(frame.data)) != [[frame]]:
            raise AssertionError(f"{frame!r} came back as {back!r}")
        try:
            JSON.encode(message_of(frame.data, "here", "there"))
        except (PayloadTooLarge, PayloadError):
            continue


def _encode(codec: Codec, message: Message) -> bytes | None:
    try:
        return codec.encode(message)
    except (PayloadTooLarge, PayloadError):
        return None


def fuzz(one_input: Callable[[bytes], None]) -> None:
    """Run a target until libFuzzer's options end it."""
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
