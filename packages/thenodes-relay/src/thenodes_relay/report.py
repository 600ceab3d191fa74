"""What the relay says of itself: plain data, made when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from thenodes_plugin_api import QoS

from .room import Depth
from .server import RelayServer

__all__ = [
    "BindingRow",
    "RelayStatus",
    "TargetStatus",
    "bindings_of",
    "levels_of",
    "status_of",
    "target_of",
]


class TargetStatus(msgspec.Struct, frozen=True):
    """What waits for one target.

    Attributes:
        target: its node id.
        is_present: whether it opened its mailbox over a session that it has.
        is_stalled: whether it has stopped taking frames.
        in_flight: reliable frames that it has and did not acknowledge.
        classes: frames and bytes by QoS, in memory and on disk.
    """

    target: str
    is_present: bool
    is_stalled: bool
    in_flight: int
    classes: Mapping[str, Depth]


class BindingRow(msgspec.Struct, frozen=True):
    """One mailbox or binding.

    Attributes:
        binding_id: by which its ends speak of it.
        node: whose it is.
        target: `*` for a mailbox.
        qos: of frames that name none; empty for a mailbox.
        stores: whether frames are kept.
        is_present: whether the target is there.
        expires_at: Unix seconds, or None.
    """

    binding_id: str
    node: str
    target: str
    qos: str
    stores: bool
    is_present: bool
    expires_at: float | None


class RelayStatus(msgspec.Struct, frozen=True):
    """The relay as a whole.

    Attributes:
        is_draining: whether it takes nothing new.
        stores: whether it keeps frames for nodes that are away.
        mailboxes: how many nodes can be reached.
        present: how many of them are there.
        strangers: how many of the mailboxes are strangers'.
        bindings: to named targets.
        frames: that wait, in memory and on disk.
        bytes: of their data.
        in_flight: reliable frames that their targets have not acknowledged.
        store_bytes: how large the store is.
        durability: what can be lost, in words.
        stalled: targets that take nothing now.
        stalled_lately: targets that stopped taking frames, the last ones.
        targets: for whom something waits.
        counters: every counter of the relay that moved.
    """

    is_draining: bool
    stores: bool
    mailboxes: int
    present: int
    strangers: int
    bindings: int
    frames: int
    bytes: int
    in_flight: int
    store_bytes: int
    durability: str
    stalled: list[str]
    stalled_lately: list[str]
    targets: list[TargetStatus]
    counters: dict[str, int]


def status_of(server: RelayServer) -> RelayStatus:
    """Describe the relay."""
    total = server.quotas.total
    flows = server.targets.flows.values()
    return RelayStatus(
        is_draining=server.is_draining,
        stores=server.settings.store_forward,
        mailboxes=server.bindings.mailbox_count,
        present=sum(flow.session is not None for flow in flows),
        strangers=server.bindings.stranger_count,
        bindings=server.bindings.binding_count,
        frames=total.frames,
        bytes=total.bytes,
        in_flight=sum(len(flow.in_flight) for flow in flows),
        store_bytes=server.store.size_bytes,
        durability=server.store.durability,
        stalled=server.stalls.current(),
        stalled_lately=[stall.target for stall in server.stalls.recent],
        targets=[target_of(server, target) for target in server.waiting_targets()],
        counters=server.tally.numbers(),
    )


def levels_of(server: RelayServer) -> Mapping[str, Callable[[], float]]:
    """What the relay shows in metrics: numbers that may go down, each read in a moment."""
    quotas, flows = server.quotas, server.targets.flows
    return {
        "relay_mailboxes": lambda: server.bindings.mailbox_count,
        "relay_present": lambda: sum(flow.session is not None for flow in flows.values()),
        "relay_bindings": lambda: server.bindings.binding_count,
        "relay_queue_frames": lambda: quotas.total.frames,
        "relay_queue_bytes": lambda: quotas.total.bytes,
        "relay_store_bytes": lambda: server.store.size_bytes,
        "relay_stalled_targets": lambda: len(server.stalls.current()),
    }


def target_of(server: RelayServer, target: str) -> TargetStatus:
    """Describe a target.

    Raises:
        ValueError: it has no mailbox, and nothing waits for it.
    """
    flow = server.targets.flows.get(target)
    depths = server.room.depths(target)
    if flow is None and not depths:
        raise ValueError(f"{target} has no mailbox here, and nothing waits for it")
    classes = {qos: Depth(depth.frames, depth.bytes) for qos, depth in depths.items()}
    for qos, load in ({} if flow is None else flow.queue.loads()).items():
        depth = classes.setdefault(qos, Depth())
        depth.frames += load.frames
        depth.bytes += load.bytes
    return TargetStatus(
        target,
        flow is not None and flow.session is not None,
        flow is not None and flow.is_stalled,
        0 if flow is None else len(flow.in_flight),
        {qos.value: classes[qos] for qos in QoS if qos in classes and classes[qos].frames},
    )


def bindings_of(server: RelayServer) -> list[BindingRow]:
    """List the mailboxes, then the bindings."""
    rows = [
        BindingRow(
            box.binding_id, box.node, "*", "", box.store, box.session is not None, box.ends_at
        )
        for box in server.bindings.mailboxes
    ]
    rows += [
        BindingRow(
            one.binding_id,
            one.node,
            one.target,
            one.qos.value,
            one.stores,
            one.mailbox is not None and one.mailbox.session is not None,
            one.expires_at,
        )
        for one in server.bindings
    ]
    return rows
