"""Imports a plugin and lets it register; whatever goes wrong stays here."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import msgspec

from thenodes_plugin_api import Manifest, Plugin, PluginApiError, PluginRegistrarApi

from ..errors import PluginLoadError
from .containment import CONTAINED
from .deadline import Late, run_within
from .hooks import hook_faults
from .names import is_same_code
from .source import Source

__all__ = ["LOAD_SECONDS", "Loaded", "load"]

LOAD_SECONDS = 10.0
"""How long import and registration of a plugin may take."""


class Loaded(msgspec.Struct, frozen=True):
    """A plugin that registered.

    Attributes:
        manifest: what it says about itself.
        plugin: the object.
        origin: where it came from.
    """

    manifest: Manifest
    plugin: Plugin
    origin: str


def load(source: Source, *, seconds: float = LOAD_SECONDS) -> Loaded:
    """Import a plugin's entry point and call it.

    Args:
        source: passed the gates.
        seconds: for import and registration together.

    Raises:
        PluginLoadError: TN-P030 where its module name is taken, TN-P060 where
            import or registration raised or were late, TN-P061 where the object
            disagrees with the manifest or has a hook that cannot be called.
    """
    before = set(sys.modules)
    try:
        return run_within(seconds, lambda: _load(source))
    except Late as error:
        _forget(source, before)
        raise PluginLoadError(
            "TN-P060",
            f"import and registration did not return within {seconds:g} s",
            expected="a plugin that registers at once",
            fix="move the work into on_start, or into ctx.spawn",
        ) from error


def _load(source: Source) -> Loaded:
    module_name, _, function = source.manifest.plugin.entry.partition(":")
    module = _import(source, module_name)
    register = getattr(module, function, None)
    if not callable(register):
        raise PluginLoadError(
            "TN-P060",
            f"{module_name} has no function {function!r}",
            expected=f"the manifest's entry, {source.manifest.plugin.entry!r}",
            fix="mend the manifest's entry",
        )
    plugin = _register(register, function, source)
    try:
        _check_agreement(plugin, source.manifest)
        for fault in hook_faults(plugin):
            raise fault.error()
    except PluginLoadError:
        raise
    except CONTAINED as error:
        raise _raised("TN-P061", error, "its class", source) from error
    return Loaded(source.manifest, plugin, source.origin)


def _register(
    register: Callable[[PluginRegistrarApi], object], function: str, source: Source
) -> Plugin:
    registered: list[Plugin] = []
    api = PluginRegistrarApi(registered.append)
    try:
        register(api)
    except PluginApiError as error:
        raise PluginLoadError(
            "TN-P061",
            f"registration refused: {error}",
            expected="an instance of Plugin whose abi is the manifest's",
            fix="register such an object",
        ) from error
    except CONTAINED as error:
        raise _raised("TN-P060", error, "registration", source) from error
    finally:
        api.close()
    if len(registered) != 1:
        raise PluginLoadError(
            "TN-P060",
            f"{function} registered {len(registered)} plugins",
            expected="one",
            fix="register one plugin a manifest",
        )
    return registered[0]


def _import(source: Source, module_name: str) -> ModuleType:
    top = module_name.partition(".")[0]
    present = sys.modules.get(top)
    if present is not None and not _is_of(present, source):
        raise PluginLoadError(
            "TN-P030",
            f"the module name {top!r} is taken in this process",
            expected="names that nobody else has",
            fix="the plugin has to choose another, or this process to start anew",
        )
    before = set(sys.modules)
    try:
        if present is None:
            _import_package(top, source.package)
        return importlib.import_module(module_name)
    except CONTAINED as error:
        _forget(source, before)
        raise _raised("TN-P060", error, "import", source) from error


def _is_of(module: ModuleType, source: Source) -> bool:
    folder = _folder(module)
    return folder is not None and is_same_code(folder, source.package)


def _forget(source: Source, before: set[str]) -> None:
    """Take back what an import that failed has left."""
    top = source.package.name
    for name in set(sys.modules) - before:
        if name == top or name.startswith(f"{top}."):
            sys.modules.pop(name, None)


def _import_package(top: str, folder: Path) -> None:
    # By location, so that sys.path stays as it is and nothing can be shadowed.
    spec = importlib.util.spec_from_file_location(
        top, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder} is not a package")
    module = importlib.util.module_from_spec(spec)
    sys.modules[top] = module
    spec.loader.exec_module(module)


def _folder(module: ModuleType) -> Path | None:
    return Path(module.__file__).resolve().parent if module.__file__ else None


def _check_agreement(plugin: Plugin, manifest: Manifest) -> None:
    for name, declared, actual in (
        ("abi", manifest.plugin.abi, plugin.abi),
        ("prompt prefix", manifest.prompt.prefix, plugin.prompt_prefix),
    ):
        if declared != actual:
            raise PluginLoadError(
                "TN-P061",
                f"{name} is {declared!r} in the manifest and {actual!r} on the class",
                expected="the same in both",
                fix="write the same literal into both",
            )


def _raised(code: str, error: BaseException, stage: str, source: Source) -> PluginLoadError:
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if Path(f.filename).is_relative_to(source.package)]
    where = f" at {Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
    return PluginLoadError(
        code,
        f"{stage} raised {type(error).__name__}{where}: {error}",
        expected="nothing raised",
        fix="mend the plugin; thenodes plugin test runs its tests",
    )
