"""Whether the hooks of a plugin's object can be called at all (TN-P061)."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from thenodes_plugin_api import Plugin

from .verdict import Fault

__all__ = ["hook_faults"]

# name: what it is called with
_HOOKS = {
    "early_config_defaults": (),
    "on_start": ("ctx",),
    "on_stop": ("ctx",),
    "on_message": ("message", "ctx"),
    "on_peer": ("event", "ctx"),
    "on_prompt": ("line", "ctx"),
}
_NOT_ASYNC = frozenset({"early_config_defaults"})


def hook_faults(plugin: Plugin) -> Iterator[Fault]:
    """TN-P061: hooks that would fail at their first call, whatever they do."""
    for name, arguments in _HOOKS.items():
        hook = getattr(plugin, name)
        is_async = name not in _NOT_ASYNC
        expected = f"{'async ' * is_async}def {name}(self{''.join(f', {a}' for a in arguments)})"
        if not callable(hook):
            yield _fault(expected, f"{name} is {type(hook).__name__}")
        elif not _takes(hook, arguments):
            yield _fault(expected, f"{name}{inspect.signature(hook)}")
        elif inspect.isroutine(hook) and _is_async(hook) is not is_async:
            yield _fault(expected, f"{name} is {'not ' * is_async}async")


def _takes(hook: object, arguments: tuple[str, ...]) -> bool:
    try:
        signature = inspect.signature(hook)  # type: ignore[arg-type]  # it is callable
    except (ValueError, TypeError):
        # Written in C and silent about what it takes.
        return True
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True


def _is_async(hook: object) -> bool:
    return inspect.iscoroutinefunction(inspect.unwrap(hook))  # type: ignore[arg-type]


def _fault(expected: str, received: str) -> Fault:
    return Fault("TN-P061", expected, received, "give the hook the form of the base class")
