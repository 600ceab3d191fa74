"""Runs foreign code that should return at once, and gives up on it where it does not."""

from __future__ import annotations

import contextvars
import ctypes
import threading
from collections.abc import Callable
from typing import TypeVar

__all__ = ["Late", "run_within"]

T = TypeVar("T")


class Late(Exception):
    """The work did not return in time."""


def run_within(seconds: float, work: Callable[[], T]) -> T:
    """Do work in a thread, and wait for it.

    A thread cannot be ended. One that is late gets `Late` raised at its next step, and
    where it has none, since it waits in a system call, it is left behind; it does not keep
    the process from ending.

    Raises:
        Late: it did not return within `seconds`.
        BaseException: what the work raised.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    context = contextvars.copy_context()

    def run() -> None:
        try:
            results.append(context.run(work))
        except BaseException as error:  # handed to the caller
            errors.append(error)

    thread = threading.Thread(target=run, name="plugin import", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident or 0), ctypes.py_object(Late)
        )
        raise Late(f"did not return within {seconds:g} s")
    if errors:
        raise errors[0]
    return results[0]
