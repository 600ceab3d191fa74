"""What the host hands to a plugin's `register_plugin` function."""

from __future__ import annotations

from collections.abc import Callable

from .abi import PLUGIN_ABI_MIN, PLUGIN_ABI_VERSION
from .errors import AbiVersionMismatch, MissingHandlerError, NullApiError, NullContextError
from .plugin import Plugin

__all__ = ["PluginRegistrarApi"]


class PluginRegistrarApi:
    """Takes plugins during registration, and refuses what this host cannot run.

    Args:
        accept: the host's own function, called for each plugin that passed.
    """

    def __init__(self, accept: Callable[[Plugin], None]) -> None:
        self._accept: Callable[[Plugin], None] | None = accept

    @staticmethod
    def check(api: object) -> PluginRegistrarApi:
        """Return `api` if it is a registrar.

        Raises:
            NullApiError: it is not.
        """
        if not isinstance(api, PluginRegistrarApi):
            raise NullApiError(
                f"register_plugin needs a PluginRegistrarApi, got {type(api).__name__}"
            )
        return api

    @property
    def abi_version(self) -> int:
        """The ABI generation of this host."""
        return PLUGIN_ABI_VERSION

    def register_plugin(self, plugin: Plugin) -> None:
        """Hand a plugin to the host.

        Raises:
            MissingHandlerError: not an instance of `Plugin`.
            AbiVersionMismatch: its `abi` is missing or not served.
            NullContextError: registration is over.
        """
        if self._accept is None:
            raise NullContextError("registration is over: call this inside register_plugin only")
        if not isinstance(plugin, Plugin):
            got = (
                plugin.__name__ + " (a class)"
                if isinstance(plugin, type)
                else type(plugin).__name__
            )
            raise MissingHandlerError(f"expected an instance of Plugin, got {got}")
        received = getattr(plugin, "abi", None)
        served = range(PLUGIN_ABI_MIN, PLUGIN_ABI_VERSION + 1)
        if type(received) is not int or received not in served:
            raise AbiVersionMismatch(_describe(served), received)
        self._accept(plugin)

    def close(self) -> None:
        """End registration; the host calls this."""
        self._accept = None


def _describe(served: range) -> str:
    first, last = served[0], served[-1]
    return str(last) if first == last else f"{first} to {last}"
