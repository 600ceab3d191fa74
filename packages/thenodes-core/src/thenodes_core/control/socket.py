"""The control socket: a Unix socket in the state directory that only its owner can use.

See `questions` for what is said, and `client` for the other end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from ..errors import CommandError, CommandFailed, StateDirError
from .access import describe
from .commands import CommandTable, Reply
from .completion import candidates
from .questions import (
    ANSWER_BYTES,
    CONTROL_SOCKET,
    LINE_BYTES,
    Answer,
    decode_question,
    encode,
)

__all__ = ["ControlSocket"]

_CONNECTIONS = 32
_REFUSED_SECONDS = 1.0
_IDLE_SECONDS = 60.0
_TAKEN_SECONDS = 10.0
_CANDIDATES = 1000
_EXPECTED = 'expected {"line": "<command>"}'

# sun_path holds 104 bytes on macOS and 108 on Linux, with the closing zero.
_PATH_BYTES = 100
_SHORT_PREFIX = "thenodes-socket-"


_FULL = Answer(
    False,
    f"{_CONNECTIONS} control connections are open, and no more may be; end one, such as an attach "
    "or an events --follow",
    failed=True,
)


class ControlSocket:
    """Answers commands for as long as the context lasts.

    At most 32 connections at once, a line of at most 64 KiB; more are refused. Of the refused
    as many are told so at a time.
    A connection that says nothing for a minute is closed, and one that takes nothing
    of its answers for ten seconds is cut. Where a command goes on answering, whatever
    the client says meanwhile, or its end, ends that command.

    Args:
        path: where; a stale socket there is replaced. A path too long for a
            socket becomes a symbolic link to one in a directory of its own.
        table: the commands.
    """

    def __init__(self, path: Path, table: CommandTable) -> None:
        self._path = path
        self._table = table
        self._server: asyncio.Server | None = None
        self._short: Path | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Start listening.

        Raises:
            StateDirError: the socket cannot be made.
        """
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._remove_old()
            with contextlib.suppress(OSError):
                # Linux makes the file with this mode; elsewhere chmod follows.
                os.fchmod(listener.fileno(), 0o600)
            target = self._target()
            listener.bind(str(target))
            target.chmod(0o600)
            if target != self._path:
                self._path.symlink_to(target)
            self._server = await asyncio.start_unix_server(
                self._accept, sock=listener, limit=LINE_BYTES
            )
        except OSError as error:
            listener.close()
            self._remove_short()
            raise StateDirError(
                f"{self._path}: no control socket: {error.strerror or error}"
            ) from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._path.unlink(missing_ok=True)
        self._remove_short()

    def _remove_short(self) -> None:
        if self._short is not None:
            shutil.rmtree(self._short, ignore_errors=True)

    def _remove_old(self) -> None:
        """Remove what a killed node left."""
        if self._path.is_symlink():
            folder = self._path.readlink().parent
            if folder.name.startswith(_SHORT_PREFIX):
                shutil.rmtree(folder, ignore_errors=True)
        self._path.unlink(missing_ok=True)

    def _target(self) -> Path:
        if len(os.fsencode(self._path)) <= _PATH_BYTES:
            return self._path
        self._short = Path(tempfile.mkdtemp(prefix=_SHORT_PREFIX))
        return self._short / CONTROL_SOCKET

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= 2 * _CONNECTIONS:
            writer.close()
            return
        is_full = len(self._connections) >= _CONNECTIONS
        self._connections.add(task)
        try:
            await (_refuse(reader, writer) if is_full else self._serve(reader, writer))
        except (ConnectionError, TimeoutError):
            pass  # The client is gone, or was idle for too long.
        except asyncio.CancelledError:
            pass  # The socket is closing. asyncio's own callback takes no cancelled task.
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                async with asyncio.timeout(_IDLE_SECONDS):
                    line = await reader.readline()
            except ValueError:
                answer = Answer(False, f"a line of more than {LINE_BYTES} bytes")
                await _say(writer, answer)
                return
            if not line:
                return
            if await self._answer(line, reader, writer):
                return
            # Thousands of questions may be here already: others have their turn between them.
            await asyncio.sleep(0)

    async def _answer(
        self, line: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one question; True where the connection is to end."""
        try:
            question = decode_question(line)
            if question.describe:
                await _say(writer, Answer(True, "", describe(self._table)))
            elif question.complete is not None:
                found = candidates(self._table, question.complete, question.shell)
                await _say(writer, Answer(True, "", found[:_CANDIDATES]))
            elif question.line is not None:
                following = self._table.follow(question.line)
                if following is not None:
                    return await _stream(following, reader, writer)
                await _say(writer, _answer_of(await self._table.run(question.line)))
            else:
                await _say(writer, Answer(False, f"{_EXPECTED}: nothing is asked"))
        except (msgspec.DecodeError, RecursionError) as error:
            await _say(writer, Answer(False, f"{_EXPECTED}: {error}"))
        except CommandError as error:
            await _say(writer, _refusal(error))
        return False


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _say(writer, _FULL)
    # What is closed before it is asked tells nothing: the question would break the connection.
    with contextlib.suppress(TimeoutError, ValueError):
        async with asyncio.timeout(_REFUSED_SECONDS):
            await reader.readline()


async def _stream(
    answers: AsyncGenerator[Reply, None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bool:
    """Give all answers, as they come; True where the client ended that."""
    ended = asyncio.ensure_future(reader.read(1))
    speaking = asyncio.ensure_future(_say_all(answers, writer))
    try:
        await asyncio.wait({ended, speaking}, return_when=asyncio.FIRST_COMPLETED)
        if speaking.done():
            speaking.result()
        # What the client said meanwhile is read, and is missing from what it says next.
        return ended.done()
    finally:
        for task in (ended, speaking):
            task.cancel()
        await asyncio.gather(ended, speaking, return_exceptions=True)


async def _say_all(answers: AsyncGenerator[Reply, None], writer: asyncio.StreamWriter) -> None:
    async with contextlib.aclosing(answers):
        try:
            async for reply in answers:
                await _say(writer, _answer_of(reply))
        except CommandError as error:
            await _say(writer, _refusal(error))
            return
    await _say(writer, Answer(True, ""))


def _answer_of(reply: Reply) -> Answer:
    return Answer(
        True,
        reply.text,
        reply.data,
        more=reply.more,
        as_json=reply.as_json,
        replaces=reply.replaces,
    )


def _refusal(error: CommandError) -> Answer:
    return Answer(False, str(error), failed=isinstance(error, CommandFailed))


async def _say(writer: asyncio.StreamWriter, answer: Answer) -> None:
    """Give one answer; a client that takes nothing is cut by the time-out that this raises."""
    data = encode(answer) + b"\n"
    if len(data) > ANSWER_BYTES:
        long = f"the answer is too long: {len(data)} bytes, and {ANSWER_BYTES} may be"
        data = encode(Answer(False, long, failed=True)) + b"\n"
    writer.write(data)
    async with asyncio.timeout(_TAKEN_SECONDS):
        await writer.drain()
