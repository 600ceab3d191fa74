"""What a plugin may raise without harming anybody else."""

from __future__ import annotations

import asyncio

from ..text import printable

__all__ = ["CONTAINED", "describe", "is_ours", "raise_if_ours"]

CONTAINED = (Exception, SystemExit, asyncio.CancelledError)
"""Caught around calls into a plugin from the node's own start. It may raise
CancelledError too, by awaiting a task that was cancelled."""

_SHOWN = 500
_NOT_THE_PLUGINS = (KeyboardInterrupt, GeneratorExit)


def raise_if_ours(error: BaseException) -> None:
    """Let through what is meant for the process, or for the running task itself.

    Any other error is the plugin's, an exception class of its own that is no `Exception`
    included, and so is the CancelledError of something that it waited for.
    """
    if is_ours(error):
        raise error


def is_ours(error: BaseException) -> bool:
    """Whether `raise_if_ours` lets it through."""
    task = asyncio.current_task()
    return isinstance(error, _NOT_THE_PLUGINS) or (
        isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
    )


def describe(error: BaseException) -> str:
    """An exception in a few words, whatever its class does where it is printed."""
    try:
        text = str(error)
    except Exception:
        text = "its text cannot be made"
    name = type(error).__name__
    return printable(f"{name}: {text}" if text else name, most=_SHOWN)
