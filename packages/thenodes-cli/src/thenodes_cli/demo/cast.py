"""The nodes of the demo: each a process of its own, with a state directory of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from thenodes_core.control.client import ask
from thenodes_core.control.commands import Reply
from thenodes_core.errors import CommandFailed, NoNode

__all__ = ["Actor", "Cast"]

_START_SECONDS = 10.0
_STOP_SECONDS = 5.0
_LOOK_SECONDS = 0.05


class Actor:
    """One node of the demo.

    Args:
        name: what it is called in the story.
        folder: where its state directory goes.
        options: of `thenodes run`.
        environment: settings as variables.
    """

    def __init__(
        self, name: str, folder: Path, *options: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.state_dir = folder / name
        self._options = options
        self._environment = dict(environment or {})
        self._process: asyncio.subprocess.Process | None = None
        self.node_id = ""

    async def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            CommandFailed: it ended, or does not answer in time.
        """
        words = [sys.executable, "-m", "thenodes_cli", "run", "--state-dir", str(self.state_dir)]
        log = self.state_dir.with_suffix(".log")
        with log.open("ab") as errors:
            self._process = await asyncio.create_subprocess_exec(
                *words,
                *self._options,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=errors,
                env=_plain_environment() | self._environment,
                # Ctrl-C is for the story, which then stops its nodes in order.
                start_new_session=True,
            )
        await self.until(self._is_up, "to start")
        self.node_id = (await self.data("version"))["node_id"]

    async def say(self, line: str) -> Reply:
        """Run a command on it."""
        return await ask(self.state_dir, line)

    async def data(self, line: str) -> Any:
        """What a command answers to machines."""
        return (await self.say(line)).data

    async def until(self, condition: Callable[[], Awaitable[bool]], what: str) -> None:
        """Wait until an asynchronous condition holds.

        Raises:
            CommandFailed: it does not in time, or the node ended.
        """
        try:
            async with asyncio.timeout(_START_SECONDS):
                while not await condition():
                    if self._process is not None and self._process.returncode is not None:
                        log = self.state_dir.with_suffix(".log")
                        told = log.read_text(errors="replace").strip().splitlines()[-3:]
                        raise CommandFailed(f"{self.name} ended: {' / '.join(told)}")
                    await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError as error:
            raise CommandFailed(
                f"{self.name} took more than {_START_SECONDS:g} s {what}"
            ) from error

    async def stop(self) -> None:
        """Stop it in order; kill it where that takes too long."""
        await self._end(signal.SIGINT)

    async def kill(self) -> None:
        """Kill it, as a power cut would."""
        await self._end(signal.SIGKILL)

    async def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.send_signal(number)
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _is_up(self) -> bool:
        try:
            await self.say("version")
        except NoNode:
            return False
        return True


class Cast:
    """All actors; on leaving, those that run are stopped."""

    def __init__(self) -> None:
        self._actors: list[Actor] = []

    def add(self, actor: Actor) -> Actor:
        """Take another in."""
        self._actors.append(actor)
        return actor

    def __iter__(self) -> Iterator[Actor]:
        return iter(self._actors)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.gather(*(actor.stop() for actor in self._actors))


def _plain_environment() -> dict[str, str]:
    """This process's environment, without settings that are for another node."""
    return {name: value for name, value in os.environ.items() if not name.startswith("THENODES_")}
