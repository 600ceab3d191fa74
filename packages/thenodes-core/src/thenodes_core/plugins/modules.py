"""A plugin's own modules: taken out of `sys.modules` for a fresh import, and put back."""

from __future__ import annotations

import importlib
import sys
import weakref
from collections.abc import Mapping
from types import ModuleType

__all__ = ["is_shared", "put_back", "release", "set_aside", "users", "using"]

# Kept on the module itself: two hosts of one process see each other's mark there.
_HOLDERS = "__thenodes_holders__"


def using(top: str, holder: object) -> None:
    """Note that `holder` runs a plugin of the package `top`."""
    module = sys.modules.get(top)
    if module is not None:
        vars(module).setdefault(_HOLDERS, weakref.WeakSet()).add(holder)


def release(top: str, holder: object) -> None:
    """Note that `holder` no longer does."""
    module = sys.modules.get(top)
    if module is not None:
        vars(module).get(_HOLDERS, weakref.WeakSet()).discard(holder)


def is_shared(top: str) -> bool:
    """True where plugins of several nodes of this process are of the package `top`."""
    module = sys.modules.get(top)
    return module is not None and len(vars(module).get(_HOLDERS, ())) > 1


def users(top: str, holder: object) -> list[str]:
    """Who else uses the package: modules outside it that imported it, and other nodes."""
    own = _modules_of(top)
    module = own.get(top)
    if module is None:
        return []
    found = ["another node" for other in vars(module).get(_HOLDERS, ()) if other is not holder]
    ours = {id(module) for module in own.values()}
    for name, other in list(sys.modules.items()):
        if name not in own and isinstance(other, ModuleType):
            # A copy: another thread may import something just now.
            values = list(vars(other).values())
            if any(isinstance(value, ModuleType) and id(value) in ours for value in values):
                found.append(name)
    return found


def set_aside(top: str) -> Mapping[str, ModuleType]:
    """Take the package and all below it out of `sys.modules`; returns what was there."""
    modules = _modules_of(top)
    for name in modules:
        del sys.modules[name]
    importlib.invalidate_caches()
    return modules


def put_back(top: str, modules: Mapping[str, ModuleType]) -> None:
    """Undo `set_aside`, whatever was imported meanwhile."""
    for name in _modules_of(top):
        del sys.modules[name]
    sys.modules.update(modules)


def _modules_of(top: str) -> dict[str, ModuleType]:
    return {
        name: module
        for name, module in list(sys.modules.items())
        if name == top or name.startswith(f"{top}.")
    }
