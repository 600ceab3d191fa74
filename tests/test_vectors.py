"""The vectors and the document of the wire protocol, against the codecs and by hand."""

from __future__ import annotations

import base64
import json
import re
import struct
import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest

from thenodes_core.errors import ProtocolError
from thenodes_core.limits import Limits
from thenodes_core.protocol.codec import UnknownKind
from thenodes_core.protocol.codec_bin import BinaryCodec
from thenodes_core.protocol.codec_json import JsonCodec
from thenodes_core.protocol.realm import realm_code
from thenodes_plugin_api import KINDS, DeliveryMetadata, Message, Payload, PayloadForm

ROOT = Path(__file__).parent.parent
VECTORS = ROOT / "tests" / "vectors"
WIRE = (ROOT / "docs" / "reference" / "wire.md").read_text()

BINARY, JSON = BinaryCodec(Limits()), JsonCodec(Limits())
BY_TOKEN = {kind.token: kind for kind in KINDS}


def load(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text())


MESSAGES: list[dict[str, Any]] = load("messages")
INVALID: dict[str, list[dict[str, Any]]] = load("invalid")


def build(described: dict[str, Any]) -> Message:
    """The message that a vector describes."""
    payload = described.get("payload")
    delivery = described.get("delivery")
    return Message(
        msgspec.convert(described["fields"], BY_TOKEN[described["kind"]]),
        payload
        and Payload(PayloadForm[payload["form"].upper()], bytes.fromhex(payload.get("hex", ""))),
        "node-a",
        "node-b",
        delivery and msgspec.convert(delivery, DeliveryMetadata),
        redelivered=described.get("redelivered", False),
    )


def by_name(vector: dict[str, Any]) -> str:
    return str(vector.get("name") or vector["why"])


def test_there_is_a_vector_of_every_kind() -> None:
    assert {vector["message"]["kind"] for vector in MESSAGES} == set(BY_TOKEN)


@pytest.mark.parametrize("vector", MESSAGES, ids=by_name)
def test_a_message_is_written_as_its_vector(vector: dict[str, Any]) -> None:
    message = build(vector["message"])

    assert BINARY.encode(message).hex() == vector["binary"]
    assert JSON.encode(message).decode() == vector["json"]


@pytest.mark.parametrize("vector", MESSAGES, ids=by_name)
def test_a_vector_is_read_as_its_message(vector: dict[str, Any]) -> None:
    expected = build(vector["message"])
    (binary,) = BINARY.decode(bytes.fromhex(vector["binary"]))
    (from_json,) = JSON.decode(vector["json"].encode())

    for read in (binary, from_json):
        assert isinstance(read, Message)
        assert (read.body, read.payload, read.delivery) == (
            expected.body,
            expected.payload,
            expected.delivery,
        )
    assert isinstance(binary, Message)
    assert binary.redelivered == expected.redelivered


def unpack(data: bytes, at: int = 0) -> tuple[Any, int]:
    """Read msgpack without any library: what the frames' headers use of it."""
    tag = data[at]
    at += 1
    if tag < 0x80:
        return tag, at
    if tag in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[tag], at
    if tag in _NUMBERS:
        size = struct.calcsize(_NUMBERS[tag])
        return struct.unpack(_NUMBERS[tag], data[at : at + size])[0], at + size
    if tag in _BYTES or 0xA0 <= tag < 0xC0:
        size = tag & 0x1F
        if tag in _BYTES:
            width, _ = _BYTES[tag]
            size, at = int.from_bytes(data[at : at + width], "big"), at + width
        piece = data[at : at + size]
        is_text = tag < 0xC0 or _BYTES[tag][1]
        return (piece.decode() if is_text else piece), at + size
    if 0x80 <= tag < 0x90:
        pairs = {}
        for _ in range(tag & 0x0F):
            key, at = unpack(data, at)
            pairs[key], at = unpack(data, at)
        return pairs, at
    if tag == 0xDC:
        size, at = int.from_bytes(data[at : at + 2], "big"), at + 2
    else:
        assert 0x90 <= tag < 0xA0, f"byte {tag:#x}"
        size = tag & 0x0F
    items = []
    for _ in range(size):
        item, at = unpack(data, at)
        items.append(item)
    return items, at


_NUMBERS = {0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xCB: ">d"}
_BYTES = {0xC4: (1, False), 0xC5: (2, False), 0xD9: (1, True), 0xDA: (2, True)}


def _uuid(data: bytes) -> uuid.UUID | None:
    return uuid.UUID(bytes=data) if len(data) == 16 else None


@pytest.mark.parametrize("vector", MESSAGES, ids=by_name)
def test_a_frame_is_what_the_document_says_read_without_our_code(vector: dict[str, Any]) -> None:
    described, frame = vector["message"], bytes.fromhex(vector["binary"])
    length, kind, flags, header_length = struct.unpack(">IBBH", frame[:8])
    header, end = unpack(frame[8 : 8 + header_length])
    payload = described.get("payload", {"form": None, "hex": ""})

    assert length == len(frame) - 4
    assert end == header_length
    assert kind == BY_TOKEN[described["kind"]].code
    assert [None, "text", "json", "binary"][flags & 7] == payload["form"]
    assert bool(flags & 8) == described.get("redelivered", False)
    assert frame[8 + header_length :].hex() == payload["hex"]
    assert header[:2] == [None, None]
    assert (header[2] is None) == ("delivery" not in described)
    for mine, theirs in zip(header[3:], described["fields"].values(), strict=True):
        if isinstance(theirs, dict) and isinstance(mine, list):
            assert [base64.b64encode(v).decode() if isinstance(v, bytes) else v for v in mine] == [
                *theirs.values()
            ]
        elif isinstance(mine, bytes):
            assert theirs in (base64.b64encode(mine).decode(), str(_uuid(mine)))
        else:
            assert mine == theirs


@pytest.mark.parametrize("vector", load("reference"), ids=by_name)
def test_what_the_reference_writes_is_understood(vector: dict[str, Any]) -> None:
    (read,) = JSON.decode(vector["json"].encode())
    assert isinstance(read, Message)
    means = vector["means"]
    fields = {k: v for k, v in msgspec.to_builtins(read.body).items() if v is not None}

    assert read.body.token == means["kind"]
    assert json.loads(json.dumps(fields)) == means["fields"]
    if "payload" in means:
        assert read.payload is not None
        assert read.payload.form.name.lower() == means["payload"]["form"]
        match means["payload"]["form"]:
            case "json":
                value: object = read.payload.as_json()
            case "text":
                value = read.payload.as_text()
            case _:
                value = list(read.payload.data)
        assert value == means["payload"]["value"]


@pytest.mark.parametrize("vector", INVALID["binary"], ids=by_name)
def test_a_frame_that_is_not_allowed_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        BINARY.decode(bytes.fromhex(vector["hex"]) + bytes(vector.get("pad", 0)))


@pytest.mark.parametrize("vector", INVALID["json"], ids=by_name)
def test_an_envelope_that_is_not_allowed_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        JSON.decode(vector["json"].encode())


@pytest.mark.parametrize("vector", load("realm"), ids=lambda vector: repr(vector["name"]))
def test_a_realm_has_the_code_of_its_vector(vector: dict[str, str]) -> None:
    assert realm_code(vector["name"]) == vector["code"]


@pytest.mark.parametrize("block", re.findall(r"```json\n(.*?)```", WIRE, re.DOTALL))
def test_every_envelope_of_the_document_is_one(block: str) -> None:
    for line in block.strip().splitlines():
        (read,) = JSON.decode(line.encode())
        assert not isinstance(read, UnknownKind)


@pytest.mark.parametrize("block", re.findall(r"```hex\n(.*?)```", WIRE, re.DOTALL))
def test_every_frame_of_the_document_is_one(block: str) -> None:
    digits = "".join(line.partition("#")[0] for line in block.splitlines())
    (read,) = BINARY.decode(bytes.fromhex(digits))

    assert isinstance(read, Message)


def test_every_kind_is_in_the_documents_table() -> None:
    for kind in KINDS:
        names = [field.encode_name for field in msgspec.structs.fields(kind)]
        row = re.search(rf"^\| {kind.code} \| {kind.token} \| (.*) \|$", WIRE, re.MULTILINE)
        assert row, kind.token
        assert re.findall(r"`(\w+)`", row[1]) == names
