"""What a plugin may preset in the node's configuration."""

from __future__ import annotations

import msgspec

__all__ = ["ConfigDefaults", "NodeDefaults", "RealmDefaults"]


class RealmDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """Defaults for `[realm]`."""

    name: str | None = None
    code: str | None = None
    version: str | None = None


class NodeDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """Defaults for `[node]`."""

    node_type: str | None = None


class ConfigDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """Values that apply where the operator set none.

    The operator's file and flags win over these, these win over the library's
    defaults. `bootstrap_nodes_extend` is added to whatever list applies,
    without duplicates.

    Attributes:
        port: TCP port to listen on.
        app_name: the application's name, for people.
        realm: the network.
        node: the node's role.
        bootstrap_nodes: addresses to dial: `host:port`, `ws://…`, `wss://…`.
        bootstrap_nodes_extend: addresses to add.
        capabilities: what to advertise, at most 64 of 64 characters.
    """

    port: int | None = None
    app_name: str | None = None
    realm: RealmDefaults | None = None
    node: NodeDefaults | None = None
    bootstrap_nodes: tuple[str, ...] | None = None
    bootstrap_nodes_extend: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
