"""Asks a running node, over its control socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

import msgspec

from ..errors import CommandError, CommandFailed, NoNode, StateDirError
from .access import Description
from .commands import Reply
from .completion import Candidate
from .questions import (
    ANSWER_BYTES,
    CONTROL_SOCKET,
    LINE_BYTES,
    Answer,
    Question,
    decode_answer,
    encode,
)

__all__ = ["RemoteAccess", "answers", "ask"]

_ANSWER_SECONDS = 30.0
_T = TypeVar("_T")


async def ask(state_dir: Path, line: str, *, timeout_seconds: float = _ANSWER_SECONDS) -> Reply:
    """Run a command on the node that holds a state directory; of several answers, the first.

    Raises:
        NoNode: no node runs there.
        StateDirError: it does not answer.
        CommandError: the node does not understand the command.
        CommandFailed: it does, and the command failed.
    """
    async with aclosing(_ask(state_dir, Question(line), timeout_seconds)) as given:
        async for answer in given:
            return _reply_of(answer)
    return Reply("")


async def answers(
    state_dir: Path, line: str, *, timeout_seconds: float = _ANSWER_SECONDS
) -> AsyncGenerator[Reply, None]:
    """Run a command, and give each of its answers as it comes.

    Args:
        state_dir: of the node.
        line: the command.
        timeout_seconds: for the first answer; what follows may take its time.

    Raises:
        NoNode: no node runs there, or it ended amid its answers.
        StateDirError: it does not answer.
        CommandError: the node does not understand the command.
        CommandFailed: it does, and the command failed.
    """
    async with aclosing(_ask(state_dir, Question(line), timeout_seconds)) as given:
        async for answer in given:
            yield _reply_of(answer)


class RemoteAccess:
    """The commands of a node in another process.

    Args:
        state_dir: the node's.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir

    async def describe(self) -> Description:
        """What the node understands, now; raises as `ask`."""
        return self._read(await self._first(Question(describe=True)), Description)

    async def complete(self, typed: str, prefix: str | None) -> list[Candidate]:
        """What may be typed next; raises as `ask`."""
        found = await self._first(Question(complete=typed, shell=prefix))
        return self._read(found, list[Candidate])

    def answers(self, line: str) -> AsyncGenerator[Reply, None]:
        """Every answer to a line; raises as `answers`."""
        return answers(self._state_dir, line)

    def _read(self, data: object, kind: type[_T]) -> _T:
        try:
            return msgspec.convert(data, kind)
        except msgspec.ValidationError as error:
            raise StateDirError(_other_version(self._state_dir, error)) from error

    async def _first(self, question: Question) -> object:
        async with aclosing(_ask(self._state_dir, question, _ANSWER_SECONDS)) as given:
            async for answer in given:
                return answer.data
        return None


async def _ask(
    state_dir: Path, question: Question, timeout_seconds: float
) -> AsyncGenerator[Answer, None]:
    path = state_dir / CONTROL_SOCKET
    asked = encode(question) + b"\n"
    if len(asked) > LINE_BYTES:
        raise CommandError(f"a line of {len(asked)} bytes; a node takes {LINE_BYTES}")
    try:
        path.lstat()
        target = path.readlink() if path.is_symlink() else path
        async with asyncio.timeout(timeout_seconds):
            reader, writer = await asyncio.open_unix_connection(str(target), limit=ANSWER_BYTES)
        try:
            writer.write(asked)
            async with asyncio.timeout(timeout_seconds):
                await writer.drain()
                answer = _checked(await reader.readline(), state_dir)
            followed = answer.more
            while answer.more:
                yield answer
                answer = _checked(await reader.readline(), state_dir)
            if not followed:
                yield answer
        finally:
            writer.close()
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NoNode(
            f"no node runs on {state_dir}; start one with: thenodes run --state-dir {state_dir}"
        ) from error
    except PermissionError as error:
        raise StateDirError(
            f"{path}: belongs to another user; ask as the user who runs the node"
        ) from error
    except TimeoutError as error:
        raise StateDirError(
            f"{path}: no answer within {timeout_seconds:g} s; the node is there, and stopped "
            "(kill -CONT) or held up: its log may say by what"
        ) from error
    except ConnectionError as error:
        raise NoNode(_gone(state_dir)) from error
    except msgspec.DecodeError as error:
        raise StateDirError(_other_version(state_dir, error)) from error
    except ValueError as error:
        raise StateDirError(f"{path}: an answer of more than {ANSWER_BYTES} bytes") from error
    except OSError as error:
        raise StateDirError(f"{path}: {error.strerror or error}") from error


def _other_version(state_dir: Path, error: Exception) -> str:
    return f"{state_dir / CONTROL_SOCKET}: what answers is no node of this version: {error}"


def _reply_of(answer: Answer) -> Reply:
    return Reply(
        answer.text,
        answer.data,
        as_json=answer.as_json,
        more=answer.more,
        replaces=answer.replaces,
    )


def _gone(state_dir: Path) -> str:
    return f"the node on {state_dir} has stopped, or closed the connection"


def _checked(line: bytes, state_dir: Path) -> Answer:
    if not line:
        raise NoNode(_gone(state_dir))
    answer = decode_answer(line)
    if answer.failed:
        raise CommandFailed(answer.text)
    if not answer.ok:
        raise CommandError(answer.text)
    return answer
