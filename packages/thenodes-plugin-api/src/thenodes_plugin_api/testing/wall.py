"""What a plugin may raise without harming anybody else; as in a host."""

from __future__ import annotations

import asyncio

__all__ = ["CONTAINED", "describe", "raise_if_ours"]

CONTAINED = (Exception, SystemExit, asyncio.CancelledError)
"""Caught around every call into a plugin. It may raise CancelledError too, by
awaiting a task that was cancelled."""


def raise_if_ours(error: BaseException) -> None:
    """Let the cancellation of the running task itself through; any other is the plugin's."""
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        raise error


def describe(error: BaseException) -> str:
    """Name an error and its text."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
