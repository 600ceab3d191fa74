"""What a plugin may raise without harming anybody else; as in a host."""

from __future__ import annotations

import asyncio

__all__ = ["CONTAINED", "describe", "raise_if_ours"]

CONTAINED = (Exception, SystemExit, asyncio.CancelledError)
"""Caught around calls into a plugin that are not hooks: import, registration, presets."""


_NOT_THE_PLUGINS = (KeyboardInterrupt, GeneratorExit)


def raise_if_ours(error: BaseException) -> None:
    """Let through what is meant for the process, or for the running task itself.

    Any other error is the plugin's, and so is the CancelledError of something that it
    waited for.
    """
    task = asyncio.current_task()
    if isinstance(error, _NOT_THE_PLUGINS) or (
        isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling()
    ):
        raise error


def describe(error: BaseException) -> str:
    """Name an error and its text."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
