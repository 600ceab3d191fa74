"""What goes over the control socket: one JSON object a line, each way."""

from __future__ import annotations

import json

import msgspec

__all__ = [
    "ANSWER_BYTES",
    "CONTROL_SOCKET",
    "LINE_BYTES",
    "Answer",
    "Question",
    "decode_answer",
    "decode_question",
    "encode",
]

CONTROL_SOCKET = "control.sock"

LINE_BYTES = 64 * 1024
"""The longest question."""

ANSWER_BYTES = 16 * 1024 * 1024
"""The longest answer."""


class Question(msgspec.Struct, omit_defaults=True):
    """One question: a line to run, one to complete, or what the node understands.

    Attributes:
        line: a command.
        complete: a line up to the cursor, to be completed.
        shell: the plugin in whose shell `complete` is typed.
        describe: to be told of the plugins' shells.
    """

    line: str | None = None
    complete: str | None = None
    shell: str | None = None
    describe: bool = False


class Answer(msgspec.Struct, omit_defaults=True):
    """One answer.

    Attributes:
        ok: whether the command did what it says.
        text: for people.
        data: for machines.
        failed: of one that is not `ok`: it is understood, and failed.
        more: another answer to the same question follows.
        as_json: the question asked for data.
        replaces: it takes the place of the answer before it.
    """

    ok: bool
    text: str
    data: object = None
    failed: bool = False
    more: bool = False
    as_json: bool = False
    replaces: bool = False


decode_question = msgspec.json.Decoder(Question).decode
decode_answer = msgspec.json.Decoder(Answer).decode
_encode = msgspec.json.Encoder().encode


def encode(said: Question | Answer) -> bytes:
    """Encode it as a line, without its end; what is not Unicode, as in a path, becomes `?`."""
    try:
        return _encode(said)
    except UnicodeEncodeError:
        text = json.dumps(msgspec.to_builtins(said), ensure_ascii=False)
        return text.encode(errors="replace")
