"""Fuzzes the JSON encoding: `python -m fuzz.envelope [CORPUS] [INPUT]`.

An input is tried as it is, as the fields of a kind that its first byte names, and as the
value of a payload: mutations seldom leave a whole envelope intact.
"""

from __future__ import annotations

from thenodes_plugin_api import KINDS

from .seeds import PAYLOAD_TYPES
from .target import JSON, check, fuzz

__all__ = ["one_input"]


def one_input(data: bytes) -> None:
    """Try one input."""
    choice, rest = int.from_bytes(data[:1]), data[1:]
    check(JSON, data)
    check(JSON, _envelope(b'{"%s":%s}' % (KINDS[choice % len(KINDS)].token.encode(), rest)))
    payload = b'{"type":"%s","value":%s}' % (
        PAYLOAD_TYPES[choice % len(PAYLOAD_TYPES)].encode(),
        rest,
    )
    check(JSON, _envelope(b'"DATA_REQUEST"', b',"payload":' + payload))


def _envelope(msg_type: bytes, rest: bytes = b"") -> bytes:
    realm = b'{"name":"default","version":"1.0"}'
    return b'{"from":"a","to":"b","realm":%s,"msg_type":%s%s}' % (realm, msg_type, rest)


if __name__ == "__main__":
    fuzz(one_input)
