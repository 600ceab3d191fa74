"""What the gates let through: the operator's settings, and what is there already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from thenodes_plugin_api import Manifest

from ..config.tables import BlockTable, PluginsTable
from .lock import Locked, read_lock

__all__ = ["GatePolicy", "make_policy"]


class GatePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What the gates measure a plugin by.

    Attributes:
        allowed: ids; None allows all.
        blocked: what is refused whatever else speaks for it.
        signers: fingerprints of the keys whose signatures count.
        verify_signatures: True where nothing unsigned is loaded.
        lock: what may be loaded under an id, by id.
        reserved: words that no plugin may have as its prompt prefix.
        taken: manifests of the plugins that are loaded already.
        cache: where wheels are unpacked; None where they are only judged.
    """

    allowed: frozenset[str] | None = None
    blocked: tuple[BlockTable, ...] = ()
    signers: frozenset[str] = frozenset()
    verify_signatures: bool = False
    lock: Mapping[str, Locked] = {}
    reserved: frozenset[str] = frozenset()
    taken: Sequence[Manifest] = ()
    cache: Path | None = None


def make_policy(
    table: PluginsTable,
    *,
    state_dir: Path | None = None,
    cache: Path | None = None,
    reserved: Iterable[str] = (),
    taken: Sequence[Manifest] = (),
) -> GatePolicy:
    """The policy of a configuration.

    Args:
        table: `[plugins]`.
        state_dir: where `plugins.lock` is, if anywhere.
        cache: where wheels are unpacked, see `cache_directory`.
        reserved: the node's own prompt words.
        taken: the plugins that are loaded already.

    Raises:
        StateDirError: `plugins.lock` cannot be read.
    """
    return GatePolicy(
        allowed=None if table.allowed is None else frozenset(table.allowed),
        blocked=table.blocked,
        signers=frozenset(table.signers),
        verify_signatures=table.verify_signatures,
        lock={} if state_dir is None else read_lock(state_dir),
        reserved=frozenset(reserved),
        taken=taken,
        cache=cache,
    )
