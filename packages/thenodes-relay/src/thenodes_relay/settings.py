"""The table `[network.relay]`, as the node hands it over."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

__all__ = ["Settings", "read_settings"]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator set; docs/reference/configuration.md says what each is.

    Attributes:
        enabled: whether this node is a relay.
        store_forward: whether it keeps frames for those who are away.
        mailboxes_max: how many nodes it can be reached for.
        max_bindings_per_node: how many targets one node may bind.
        queue_max_per_target: frames kept for one target.
        queue_max_global: frames kept for all targets.
        queue_bytes_per_target: bytes kept for one target.
        frames_per_second: of one node; 0 for as many as it likes.
        frames_burst: frames of one node at once.
        bytes_per_second: of one node; 0 for as many as it likes.
        bytes_burst: bytes of one node at once.
        ttl_secs: longest time that a frame is kept.
        retention_secs: how long a mailbox outlives its owner's session.
        allow: node ids or fingerprints that alone are admitted, where there are any.
        deny: node ids or fingerprints that are not.
        store_path: the store's file; in the plugin's directory where None.
        synchronous: how SQLite writes: `full`, `normal` or `off`.
    """

    enabled: bool = False
    store_forward: bool = False
    mailboxes_max: int = 10_000
    max_bindings_per_node: int = 1024
    queue_max_per_target: int = 1024
    queue_max_global: int = 8192
    queue_bytes_per_target: int = 16 * 1024 * 1024
    frames_per_second: int = 5000
    frames_burst: int = 10_000
    bytes_per_second: int = 8 * 1024 * 1024
    bytes_burst: int = 16 * 1024 * 1024
    ttl_secs: int = 7 * 86_400
    retention_secs: int = 7 * 86_400
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    store_path: str | None = None
    synchronous: str = "full"


def read_settings(table: Mapping[str, object]) -> Settings:
    """Read the table.

    Raises:
        msgspec.ValidationError: a value is of another type than the relay expects.
    """
    return msgspec.convert(dict(table), Settings, strict=False)
