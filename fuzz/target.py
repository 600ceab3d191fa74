"""What holds of any input, whichever encoding it is for."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable

import atheris

with atheris.instrument_imports(include=["thenodes_core", "thenodes_plugin_api"]):
    from thenodes_core.errors import ProtocolError
    from thenodes_core.limits import Limits
    from thenodes_core.protocol.codec import Codec, UnknownKind
    from thenodes_core.protocol.codec_bin import BinaryCodec
    from thenodes_core.protocol.codec_json import JsonCodec
    from thenodes_plugin_api import PayloadError, PayloadTooLarge

__all__ = ["BINARY", "JSON", "LIMITS", "check", "fuzz"]

# Small enough that inputs of a few hundred bytes cross them.
LIMITS = Limits(
    message_bytes=4096, frame_bytes=1024, header_bytes=256, control_header_bytes=512
)
BINARY, JSON = BinaryCodec(LIMITS), JsonCodec(LIMITS)


def check(codec: Codec, data: bytes) -> None:
    """Decode `data`; what is a message must survive being sent on.

    Raises:
        Exception: decoding raised anything but ProtocolError, encoding anything but
            what `Codec.encode` promises, or the message came back as another.
    """
    try:
        messages = codec.decode(data)
    except ProtocolError:
        return
    for message in messages:
        if isinstance(message, UnknownKind):
            continue
        for again in (BINARY, JSON):
            with contextlib.suppress(PayloadTooLarge, PayloadError):
                sent = again.encode(message)
                if again is not codec:
                    continue
                back = again.decode(sent)
                if back != [message]:
                    raise AssertionError(f"{message!r} came back as {back!r}")


def fuzz(one_input: Callable[[bytes], None]) -> None:
    """Run a target until libFuzzer's options end it."""
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
