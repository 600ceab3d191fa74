"""The three numbers that decide whether a host can run a plugin.

The distribution's major version is the generation and its minor the revision;
a test holds them equal.
"""

from __future__ import annotations

__all__ = ["PLUGIN_ABI_MIN", "PLUGIN_ABI_REVISION", "PLUGIN_ABI_VERSION"]

PLUGIN_ABI_VERSION = 1
"""Generation served: raised when something that plugins rely on breaks."""

PLUGIN_ABI_MIN = 1
"""Oldest generation still served."""

PLUGIN_ABI_REVISION = 0
"""Additive revision of the generation: raised when something is added."""
