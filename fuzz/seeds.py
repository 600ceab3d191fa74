"""What the targets begin with: the test vectors, and the words of an envelope."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from thenodes_plugin_api import KINDS

__all__ = ["PAYLOAD_TYPES", "envelopes", "frames", "words"]

PAYLOAD_TYPES = ("Text", "Json", "Binary", "Sealed", "Frame")
_OTHER_WORDS = ("from", "to", "msg_type", "payload", "type", "value", "realm", "name", "delivery")
_VECTORS = Path(__file__).parent.parent / "tests" / "vectors"


def frames() -> Iterator[bytes]:
    """Binary messages, each also without its length."""
    for vector in _load("messages"):
        frame = bytes.fromhex(vector["binary"])
        yield frame
        yield frame[4:]
    for vector in _load("invalid")["binary"]:
        yield bytes.fromhex(vector["hex"])
    for message in _handshake_messages("thenodes.v1.bin"):
        yield bytes.fromhex(message)


def envelopes() -> Iterator[bytes]:
    """Envelopes, and what `envelope.one_input` puts into one."""
    for vector in [*_load("messages"), *_load("reference"), *_load("invalid")["json"]]:
        yield vector["json"].encode()
    for message in _handshake_messages("thenodes.v1.json"):
        yield message.encode()
    for vector in _load("messages"):
        envelope = json.loads(vector["json"])
        if isinstance(envelope["msg_type"], dict):
            ((token, fields),) = envelope["msg_type"].items()
            number = next(n for n, kind in enumerate(KINDS) if kind.token == token)
            yield bytes([number]) + json.dumps(fields).encode()
        if payload := envelope["payload"]:
            number = PAYLOAD_TYPES.index(payload["type"])
            yield bytes([number]) + json.dumps(payload["value"]).encode()


def words() -> list[str]:
    """The strings that an envelope is made of."""
    names = {field.encode_name for kind in KINDS for field in msgspec.structs.fields(kind)}
    return sorted({*names, *(kind.token for kind in KINDS), *PAYLOAD_TYPES, *_OTHER_WORDS})


def _handshake_messages(subprotocol: str) -> Iterator[str]:
    for vector in _load("handshake")["handshakes"]:
        if vector["subprotocol"] == subprotocol:
            for side in (vector["acceptor"], vector["dialer"]):
                yield side["hello"]
                yield side["auth"]


def _load(name: str) -> Any:
    return json.loads((_VECTORS / f"{name}.json").read_text())
