"""Manifests and registration, as a host does them, of a project under test."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import msgspec

from ..abi import PLUGIN_ABI_MIN, PLUGIN_ABI_REVISION, PLUGIN_ABI_VERSION
from ..errors import ManifestError, PluginApiError
from ..manifest import (
    MANIFEST_NAME,
    Manifest,
    MessagesSection,
    PluginSection,
    PromptSection,
    parse_manifest,
)
from ..plugin import Plugin
from ..registrar import PluginRegistrarApi
from .errors import RegistrationError
from .wall import CONTAINED, describe

__all__ = ["Registered", "embed", "find_manifest", "load_manifest", "make_config", "register"]

_HOOKS = {
    "early_config_defaults": (),
    "on_start": ("ctx",),
    "on_stop": ("ctx",),
    "on_message": ("message", "ctx"),
    "on_peer": ("event", "ctx"),
    "on_prompt": ("line", "ctx"),
}


class Registered(msgspec.Struct, frozen=True):
    """A plugin that a host would run.

    Attributes:
        manifest: what it says about itself.
        plugin: the object.
    """

    manifest: Manifest
    plugin: Plugin

    @property
    def id(self) -> str:
        """The plugin's id."""
        return self.manifest.plugin.id


def find_manifest(start: Path | str) -> Path:
    """Return the manifest of the project that `start` is a file or folder of.

    That is the one `thenodes-plugin.toml` in `start` or in the nearest folder above
    that has one, in a package of its own or in one below `src`.

    Raises:
        ManifestError: none, or more than one.
    """
    here = Path(start).resolve()
    if here.name == MANIFEST_NAME:
        return here
    for folder in (here, *here.parents) if here.is_dir() else here.parents:
        for pattern in (MANIFEST_NAME, f"*/{MANIFEST_NAME}", f"src/*/{MANIFEST_NAME}"):
            found = sorted(folder.glob(pattern))
            if len(found) == 1:
                return found[0]
            if found:
                names = ", ".join(str(path.relative_to(folder)) for path in found)
                raise ManifestError(f"{folder}: expected one {MANIFEST_NAME}, got {names}")
        if (folder / "pyproject.toml").exists():
            break
    raise ManifestError(f"{here}: no {MANIFEST_NAME} there or in a project above")


def load_manifest(where: Path | str) -> Manifest:
    """Read the manifest that `find_manifest` finds, and check that this ABI is served.

    Raises:
        ManifestError: there is none, or it cannot be used.
        RegistrationError: its ABI is not served.
    """
    path = find_manifest(where)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: {error}") from error
    manifest = parse_manifest(text, source=str(path))
    plugin = manifest.plugin
    newest = plugin.abi == PLUGIN_ABI_VERSION
    if not PLUGIN_ABI_MIN <= plugin.abi <= PLUGIN_ABI_VERSION or (
        newest and plugin.abi_revision > PLUGIN_ABI_REVISION
    ):
        raise RegistrationError(
            f"{path}: plugin ABI {plugin.abi}.{plugin.abi_revision} is not served: expected "
            f"{PLUGIN_ABI_MIN}.0 to {PLUGIN_ABI_VERSION}.{PLUGIN_ABI_REVISION} "
            "(TN-P011); install a thenodes-plugin-api that serves it"
        )
    return manifest


def register(where: Path | str) -> Registered:
    """Import a project's entry point and let it register, as a host does.

    Each call registers anew: nodes of one test have an object each.

    Args:
        where: a file or folder of the project, such as `__file__` of a test.

    Raises:
        ManifestError: the manifest cannot be used.
        RegistrationError: importing or registering raised, or what was registered
            disagrees with the manifest.
    """
    path = find_manifest(where)
    manifest = load_manifest(path)
    module_name, _, function = manifest.plugin.entry.partition(":")
    module = _import(path.parent, module_name)
    entry = getattr(module, function, None)
    if not callable(entry):
        raise RegistrationError(f"{module_name} has no function {function!r} (TN-P060)")
    accepted: list[Plugin] = []
    api = PluginRegistrarApi(accepted.append)
    try:
        entry(api)
    except PluginApiError as error:
        raise RegistrationError(f"registration refused: {error} (TN-P061)") from error
    except CONTAINED as error:
        raise RegistrationError(f"registration raised {describe(error)} (TN-P060)") from error
    finally:
        api.close()
    if len(accepted) != 1:
        raise RegistrationError(
            f"{function} registered {len(accepted)} plugins: expected one (TN-P060)"
        )
    _check_agreement(accepted[0], manifest)
    _check_hooks(accepted[0])
    return Registered(manifest, accepted[0])


def embed(plugin_id: str, plugin: Plugin, *, handles: tuple[str, ...] | None = None) -> Registered:
    """Take a plugin that has no manifest, such as the other end of a conversation.

    Args:
        plugin_id: its id.
        plugin: the object.
        handles: kinds that it claims; `<plugin_id>.*` where None.

    Raises:
        RegistrationError: an id, prefix or claim is not valid, or the ABI not served.
    """
    manifest = Manifest(
        manifest=1,
        plugin=PluginSection(
            id=plugin_id, version="0", entry="embedded:plugin", abi=getattr(plugin, "abi", 0)
        ),
        prompt=PromptSection(prefix=plugin.prompt_prefix),
        messages=MessagesSection(handles=(f"{plugin_id}.*",) if handles is None else handles),
    )
    try:
        PluginRegistrarApi(lambda accepted: None).register_plugin(plugin)
        manifest = msgspec.convert(msgspec.to_builtins(manifest), Manifest)
    except (PluginApiError, msgspec.ValidationError) as error:
        raise RegistrationError(f"plugin {plugin_id!r}: {error}") from error
    _check_hooks(plugin)
    return Registered(manifest, plugin)


def make_config(
    registered: Registered, given: Mapping[str, object] | None = None
) -> dict[str, object]:
    """Return the table that the plugin gets: `given` over the manifest's defaults.

    Raises:
        RegistrationError: a key that the plugin does not know, or a value of another type.
    """
    defaults, wanted = registered.manifest.config.defaults, registered.plugin.config_type
    table = {**defaults, **(given or {})}
    if wanted is not None:
        try:
            made = msgspec.convert(table, wanted)
        except msgspec.ValidationError as error:
            raise RegistrationError(f"[plugin.{registered.id}]: {error}") from error
        return {f.encode_name: getattr(made, f.name) for f in msgspec.structs.fields(wanted)}
    for name, value in (given or {}).items() if defaults else ():
        if name not in defaults:
            raise RegistrationError(
                f"[plugin.{registered.id}]: unknown key {name!r}: expected one of "
                f"{', '.join(defaults)}"
            )
        table[name] = _of_type(f"[plugin.{registered.id}] {name}", defaults[name], value)
    return table


def _of_type(key: str, default: object, value: object) -> object:
    if type(default) is float and type(value) is int:
        return float(value)
    if type(value) is not type(default):
        raise RegistrationError(
            f"{key}: expected {type(default).__name__}, as {default!r}, "
            f"got {type(value).__name__}, {value!r}"
        )
    return value


def _import(package: Path, module_name: str) -> ModuleType:
    top = module_name.partition(".")[0]
    if top != package.name:
        raise RegistrationError(
            f"entry is in package {top!r}, the manifest in {package.name!r}: "
            "expected both in one (TN-P010)"
        )
    try:
        if top not in sys.modules:
            _import_package(top, package)
        module = importlib.import_module(module_name)
    except CONTAINED as error:
        sys.modules.pop(top, None)
        raise RegistrationError(f"import raised {describe(error)} (TN-P060)") from error
    origin = sys.modules[top].__file__
    if origin is None or Path(origin).resolve().parent != package.resolve():
        raise RegistrationError(
            f"the module name {top!r} is taken by {origin}: expected {package} (TN-P030)"
        )
    return module


def _import_package(top: str, folder: Path) -> None:
    # By location: what is tested is the project, installed or not.
    spec = importlib.util.spec_from_file_location(
        top, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder} is not a package")
    module = importlib.util.module_from_spec(spec)
    sys.modules[top] = module
    spec.loader.exec_module(module)


def _check_agreement(plugin: Plugin, manifest: Manifest) -> None:
    for name, declared, actual in (
        ("abi", manifest.plugin.abi, plugin.abi),
        ("prompt prefix", manifest.prompt.prefix, plugin.prompt_prefix),
    ):
        if declared != actual:
            raise RegistrationError(
                f"{name} is {declared!r} in the manifest and {actual!r} on the class: "
                "write the same literal into both (TN-P061)"
            )


def _check_hooks(plugin: Plugin) -> None:
    for name, arguments in _HOOKS.items():
        hook = getattr(plugin, name)
        is_async = name != "early_config_defaults"
        expected = f"{'async ' * is_async}def {name}({', '.join(('self', *arguments))})"
        try:
            inspect.signature(hook).bind(*arguments)
        except TypeError as error:
            raise RegistrationError(f"{name}: {error}: expected {expected} (TN-P061)") from error
        except ValueError:
            # Written in C and silent about what it takes.
            continue
        # Of another callable only a call shows what it returns.
        if inspect.isroutine(hook) and _is_async(hook) is not is_async:
            raise RegistrationError(f"{name}: expected {expected} (TN-P061)")


def _is_async(hook: Callable[..., object]) -> bool:
    return inspect.iscoroutinefunction(inspect.unwrap(hook))
