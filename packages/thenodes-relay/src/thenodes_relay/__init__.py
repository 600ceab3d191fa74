"""The relay plugin of TheNodes."""

from ._version import __version__
from .plugin import RelayService, register_plugin

__all__ = ["RelayService", "__version__", "register_plugin"]
