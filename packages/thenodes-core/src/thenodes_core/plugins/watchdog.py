"""Notices from a thread of its own that the event loop is held, and by whom."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from pathlib import PurePath
from types import FrameType, TracebackType
from typing import Protocol, Self

import msgspec

from ..text import printable

__all__ = ["Culprit", "Stall", "Watchdog", "plugin_frame"]

_IDLE_SECONDS = 0.5
_STEP_SECONDS = 0.25
_STEPS = 5
_FRAMES = 12
_STACK_CHARACTERS = 1500
_JOIN_SECONDS = 1.0


class Culprit(msgspec.Struct, frozen=True):
    """What of a plugin holds the event loop.

    Attributes:
        plugin_id: whose code it is.
        where: the hook, or `background work`.
        serial: tells one call of a hook from the next.
    """

    plugin_id: str
    where: str
    serial: int = 0


class Stall(msgspec.Struct, frozen=True):
    """The event loop was found held.

    Attributes:
        plugin_id: by which plugin; None where it is no plugin's code.
        where: the hook, or `background work`.
        seconds: for how long at least.
        stack: where the loop's thread was, outermost first; bounded, printable.
    """

    plugin_id: str | None
    where: str
    seconds: float
    stack: str

    def __str__(self) -> str:
        """The same in one line."""
        whose = "" if self.plugin_id is None else f"plugin {self.plugin_id}: "
        return (
            f"{whose}{self.where} holds the event loop for {self.seconds:.1f} s by now, "
            f"and nothing else runs; it is in {self.stack}"
        )


class Suspects(Protocol):
    """Knows what plugins do; asked from the watchdog's thread."""

    def accuse(self, task: asyncio.Task[object] | None, frame: FrameType) -> Culprit | None:
        """Whose the task is that runs, or else the innermost frame."""
        ...


class Watchdog:
    """Asks the event loop for a sign of life, and looks where it is when none comes.

    With the default times a loop that is held is noticed between 1.3 and 1.8 seconds
    later, once for each time that it is held. Time in which the whole process did not
    run is not counted: each step of the wait counts once however long it took.

    Args:
        suspects: says whose code runs.
        notice: told in the watchdog's thread; it must not touch the loop.
        idle_seconds: between two questions.
        step_seconds: between two looks at a loop that does not answer.
    """

    def __init__(
        self,
        suspects: Suspects,
        notice: Callable[[Stall], None],
        *,
        idle_seconds: float = _IDLE_SECONDS,
        step_seconds: float = _STEP_SECONDS,
    ) -> None:
        self._suspects = suspects
        self._notice = notice
        self._idle_seconds = idle_seconds
        self._step_seconds = step_seconds
        self._alive = threading.Event()
        self._ended = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._loop_thread = 0
        self._thread: threading.Thread

    def __enter__(self) -> Self:
        """Watch the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._thread = threading.Thread(target=self._run, name="plugin watchdog", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._alive.set()
        self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        while not self._ended.wait(self._idle_seconds):
            self._alive.clear()
            try:
                self._loop.call_soon_threadsafe(self._alive.set)
            except RuntimeError:
                return  # The loop is closed.
            if not self._ended.is_set():
                self._wait_for_life()

    def _wait_for_life(self) -> None:
        suspect: Culprit | None = None
        steps = 0
        told = False
        while not self._alive.wait(self._step_seconds):
            frame = sys._current_frames().get(self._loop_thread)
            if frame is None:
                return
            culprit = self._suspects.accuse(asyncio.current_task(self._loop), frame)
            # Many hooks one after the other are no stall: the loop gets its turns.
            steps = steps + 1 if culprit == suspect else 1
            suspect = culprit
            if steps >= _STEPS and not told:
                told = True
                self._notice(_stall(culprit, steps * self._step_seconds, frame))


def plugin_frame(frame: FrameType, tops: dict[str, str]) -> str | None:
    """The plugin whose package a frame that the loop has called is in, innermost first.

    Args:
        frame: the innermost.
        tops: plugin ids by their top-level package.
    """
    for inner in _frames(frame):
        top = str(inner.f_globals.get("__name__", "")).partition(".")[0]
        if top in tops:
            return tops[top]
    return None


def _stall(culprit: Culprit | None, seconds: float, frame: FrameType) -> Stall:
    shown = [
        f"{PurePath(f.f_code.co_filename).name}:{f.f_lineno} {f.f_code.co_name}"
        for f in _frames(frame)[:_FRAMES]
    ]
    stack = printable(" > ".join(reversed(shown)), most=_STACK_CHARACTERS)
    if culprit is None:
        return Stall(None, "no plugin's code", seconds, stack)
    return Stall(culprit.plugin_id, culprit.where, seconds, stack)


def _frames(frame: FrameType) -> list[FrameType]:
    """The frames that the event loop called, innermost first."""
    found = []
    inner: FrameType | None = frame
    while inner is not None:
        code = inner.f_code
        if code.co_name == "_run" and inner.f_globals.get("__name__") == "asyncio.events":
            break
        found.append(inner)
        inner = inner.f_back
    return found
