"""Whether this host serves the ABI that a plugin was written for (TN-P011)."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

from thenodes_plugin_api import PLUGIN_ABI_MIN, PLUGIN_ABI_REVISION, PLUGIN_ABI_VERSION

from .verdict import Fault

__all__ = ["LARGEST_ABI", "abi_faults", "later_abi_faults"]

LARGEST_ABI = 1_000_000
"""Beyond it, a number is no generation and no revision."""


def abi_faults(plugin_id: str, abi: int, revision: int) -> Iterator[Fault]:
    """TN-P011: a generation that is not served, or a revision that is newer than the host's."""
    if max(abs(abi), abs(revision)) > LARGEST_ABI:
        # Python does not even write out a number of thousands of digits.
        expected = f"a generation and a revision of at most {LARGEST_ABI}"
        yield Fault("TN-P011", expected, f"{plugin_id} needs more", "mend the manifest")
        return
    received = f"{plugin_id} needs ABI {abi} revision {revision}"
    served = f"ABI {PLUGIN_ABI_VERSION}"
    if PLUGIN_ABI_MIN < PLUGIN_ABI_VERSION:
        served = f"ABI {PLUGIN_ABI_MIN} to {PLUGIN_ABI_VERSION}"
    expected = f"{served}, which this host serves"
    if not PLUGIN_ABI_MIN <= abi <= PLUGIN_ABI_VERSION:
        way_out = "newer TheNodes" if abi > PLUGIN_ABI_VERSION else "newer plugin"
        yield Fault("TN-P011", expected, received, f"get a {way_out}")
    elif abi == PLUGIN_ABI_VERSION and revision > PLUGIN_ABI_REVISION:
        expected = f"{served} up to revision {PLUGIN_ABI_REVISION}, which this host serves"
        yield Fault("TN-P011", expected, received, "get a newer TheNodes")


def later_abi_faults(text: str) -> Iterator[Fault]:
    """TN-P011 of a manifest that cannot be read otherwise: a later one may have other keys."""
    try:
        plugin = tomllib.loads(text)["plugin"]
        plugin_id, abi = str(plugin["id"]), plugin["abi"]
        revision = plugin.get("abi-revision", 0)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return
    if type(abi) is int and type(revision) is int:
        yield from abi_faults(plugin_id, abi, revision)
