"""Imports a plugin and lets it register; whatever goes wrong stays here."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

import msgspec

from thenodes_plugin_api import Manifest, Plugin, PluginApiError, PluginRegistrarApi

from ..errors import PluginLoadError
from .containment import CONTAINED
from .source import Source

__all__ = ["Loaded", "load"]


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


def load(source: Source) -> Loaded:
    """Import a plugin's entry point and call it.

    Raises:
        PluginLoadError: TN-P030 where its module name is taken, TN-P060 where
            import or registration raised, TN-P061 where the object disagrees
            with the manifest.
    """
    module_name, _, function = source.manifest.plugin.entry.partition(":")
    module = _import(source, module_name)
    register = getattr(module, function, None)
    if not callable(register):
        raise PluginLoadError("TN-P060", f"{module_name} has no function {function!r}")
    registered: list[Plugin] = []
    api = PluginRegistrarApi(registered.append)
    try:
        register(api)
    except PluginApiError as error:
        raise PluginLoadError("TN-P061", f"registration refused: {error}") from error
    except CONTAINED as error:
        raise PluginLoadError("TN-P060", _describe(error, "registration", source)) from error
    finally:
        api.close()
    if len(registered) != 1:
        raise PluginLoadError(
            "TN-P060", f"{function} registered {len(registered)} plugins, expected one"
        )
    try:
        _check_agreement(registered[0], source.manifest)
    except PluginLoadError:
        raise
    except CONTAINED as error:
        raise PluginLoadError("TN-P061", _describe(error, "its class", source)) from error
    return Loaded(source.manifest, registered[0], source.origin)


def _import(source: Source, module_name: str) -> ModuleType:
    top = module_name.partition(".")[0]
    present = sys.modules.get(top)
    if top in sys.stdlib_module_names or (
        present is not None and _folder(present) != source.package.resolve()
    ):
        raise PluginLoadError(
            "TN-P030", f"the module name {top!r} is taken; the plugin has to choose another"
        )
    before = set(sys.modules)
    try:
        if present is None:
            _import_package(top, source.package)
        return importlib.import_module(module_name)
    except CONTAINED as error:
        for name in set(sys.modules) - before:
            if name == top or name.startswith(f"{top}."):
                del sys.modules[name]
        raise PluginLoadError("TN-P060", _describe(error, "import", source)) from error


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
                "TN-P061", f"{name} is {declared!r} in the manifest and {actual!r} on the class"
            )


def _describe(error: BaseException, stage: str, source: Source) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if Path(f.filename).is_relative_to(source.package)]
    where = f" at {Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
    return f"{stage} raised {type(error).__name__}{where}: {error}"
