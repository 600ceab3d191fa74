"""The control socket: a Unix socket in the state directory that only its owner can use.

One JSON object a line: `{"line": "peers"}` is answered by
`{"ok": true, "text": …, "data": …}` or `{"ok": false, "text": …, "failed": …}`,
where `failed` tells a command that failed from one that is wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from ..errors import CommandError, CommandFailed, NoNode, StateDirError
from .commands import CommandTable, Reply

__all__ = ["CONTROL_SOCKET", "ControlSocket", "ask"]

CONTROL_SOCKET = "control.sock"

_LINE_BYTES = 64 * 1024
_ANSWER_BYTES = 16 * 1024 * 1024
_CONNECTIONS = 16
_IDLE_SECONDS = 60.0

# sun_path holds 104 bytes on macOS and 108 on Linux, with the closing zero.
_PATH_BYTES = 100
_SHORT_PREFIX = "thenodes-socket-"


class _Question(msgspec.Struct):
    line: str


class _Answer(msgspec.Struct):
    ok: bool
    text: str
    data: object = None
    failed: bool = False


_decode_question = msgspec.json.Decoder(_Question).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode
_encode = msgspec.json.Encoder().encode


class ControlSocket:
    """Answers commands for as long as the context lasts.

    At most 16 connections at once, a line of at most 64 KiB; more are refused.
    A connection that says nothing for a minute is closed.

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
                self._accept, sock=listener, limit=_LINE_BYTES
            )
        except OSError as error:
            listener.close()
            raise StateDirError(f"{self._path}: no control socket: {error.strerror}") from error
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
        if task is None or len(self._connections) >= _CONNECTIONS:
            writer.write(_encode(_Answer(False, "too many control connections")) + b"\n")
            writer.close()
            return
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
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
                answer = _Answer(False, f"a line of more than {_LINE_BYTES} bytes")
                writer.write(_encode(answer) + b"\n")
                await writer.drain()
                return
            if not line:
                return
            writer.write(_encode(await self._answer(line)) + b"\n")
            await writer.drain()

    async def _answer(self, line: bytes) -> _Answer:
        try:
            reply = await self._table.run(_decode_question(line).line)
        except msgspec.DecodeError as error:
            return _Answer(False, f'expected {{"line": "<command>"}}: {error}')
        except CommandError as error:
            return _Answer(False, str(error), failed=isinstance(error, CommandFailed))
        return _Answer(True, reply.text, reply.data)


async def ask(state_dir: Path, line: str, *, timeout_seconds: float = 30.0) -> Reply:
    """Run a command on the node that holds a state directory.

    Raises:
        NoNode: no node runs there.
        StateDirError: it does not answer.
        CommandError: the node does not understand the command.
        CommandFailed: it does, and the command failed.
    """
    path = state_dir / CONTROL_SOCKET
    try:
        path.lstat()
        target = path.readlink() if path.is_symlink() else path
        async with asyncio.timeout(timeout_seconds):
            reader, writer = await asyncio.open_unix_connection(str(target), limit=_ANSWER_BYTES)
            try:
                writer.write(_encode(_Question(line)) + b"\n")
                await writer.drain()
                answer = _decode_answer(await reader.readline())
            finally:
                writer.close()
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NoNode(
            f"no node runs on {state_dir}; start one with: thenodes run --state-dir {state_dir}"
        ) from error
    except PermissionError as error:
        raise StateDirError(f"{path}: belongs to another user") from error
    except TimeoutError as error:
        raise StateDirError(f"{path}: no answer within {timeout_seconds:g} s") from error
    except (OSError, ValueError, msgspec.DecodeError) as error:
        raise StateDirError(f"{path}: {error}") from error
    if answer.failed:
        raise CommandFailed(answer.text)
    if not answer.ok:
        raise CommandError(answer.text)
    return Reply(answer.text, answer.data)
