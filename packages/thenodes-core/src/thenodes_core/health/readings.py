"""What a node's metrics are now, but for the process's."""

from __future__ import annotations

import itertools
import math
import platform
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import msgspec

from thenodes_plugin_api import Direction

from .._version import __version__
from ..config import Config
from ..events.counters import Counters
from ..network import PeerNetwork
from ..peers.numbers import SessionNumbers
from ..peers.store import KnownPeers
from ..plugins.roster import Roster
from ..session.tally import Traffic
from ..store.received import ReceivedIds
from .counted import Series, counted, levels
from .lag import BUCKETS, LoopLag
from .metrics import METRICS, Metric
from .readiness import Readiness

__all__ = ["Parts", "Reading", "Spread", "readings"]


class Spread(msgspec.Struct, frozen=True):
    """How often something was measured, and what that was together.

    Attributes:
        metric: whose.
        labels: its labels' values.
        count: how often.
        sum: together.
        buckets: up to which value how often, all below included; none in a summary.
    """

    metric: Metric
    labels: tuple[str, ...]
    count: int
    sum: float
    buckets: tuple[tuple[float, int], ...] = ()


# Told even where there are none.
_SESSIONS = tuple(itertools.product((d.value for d in Direction), ("binary", "json")))

Reading: TypeAlias = Series | Spread


class Parts(msgspec.Struct, frozen=True):
    """The parts of a node that are measured.

    Attributes:
        config: the node's.
        network: its peers.
        plugins: those that were loaded.
        known: the addresses that it knows.
        received: the reliable messages that its plugins had.
        counters: what was counted.
        readiness: whether it is ready.
        lag: of the event loop.
        started_at: Unix seconds.
    """

    config: Config
    network: PeerNetwork
    plugins: Roster
    known: KnownPeers
    received: ReceivedIds
    counters: Counters
    readiness: Readiness
    lag: LoopLag
    started_at: float


def readings(parts: Parts) -> Iterator[Reading]:
    """Read everything once."""
    yield from _node(parts)
    yield from _sessions(parts.network)
    yield from _plugins(parts.plugins)
    yield from _lag(parts.lag)
    plugins = [slot.plugin_id for slot in parts.plugins]
    yield from counted(parts.counters.as_counted(), plugins)
    yield from levels(parts.counters.levels())


def _node(parts: Parts) -> Iterator[Reading]:
    local = parts.network.peers.local
    yield _of("build_info", 1, __version__, platform.python_version())
    yield _of("node_info", 1, local.node_id, str(local.realm), parts.config.node.node_type)
    yield _of("start_time_seconds", parts.started_at)
    yield _of("ready", not parts.readiness.reasons)
    yield _of("known_peers", len(parts.known.records))
    yield _of("received_ids", len(parts.received))


def _sessions(network: PeerNetwork) -> Iterator[Reading]:
    peers = network.peers
    sessions = Counter(dict.fromkeys(_SESSIONS, 0))
    sessions.update((peer.direction.value, peer.encoding) for peer in peers.all())
    yield from _by("sessions", sessions.items())
    states = Counter((dial.state,) for dial in network.dialling)
    yield from _by("dialled_addresses", states.items())
    yield from _traffic(peers.traffic)
    yield from _queues(peers.numbers())


def _traffic(traffic: Traffic) -> Iterator[Series]:
    for direction, totals in (("received", traffic.received), ("sent", traffic.sent)):
        for total in totals:
            yield _of("frames", total.frames, direction, total.kind)
            yield _of("bytes", total.bytes, direction, total.kind)


def _queues(numbers: Sequence[SessionNumbers]) -> Iterator[Series]:
    yield _of("outbox_frames", sum(one.queued_frames for one in numbers))
    yield _of("outbox_bytes", sum(one.queued_bytes for one in numbers))
    yield _of("outbox_fullest_bytes", max((one.queued_bytes for one in numbers), default=0))
    times = [one.rtt_seconds for one in numbers if one.rtt_seconds is not None]
    if times:
        yield _of("round_trip_seconds", statistics.median(times), "median")
        yield _of("round_trip_seconds", max(times), "max")


def _plugins(plugins: Roster) -> Iterator[Reading]:
    yield from _by("plugins", Counter((str(slot.state),) for slot in plugins).items())
    hook_seconds = METRICS["thenodes_plugin_hook_seconds"]
    for slot in plugins:
        yield _of("plugin_inbox_items", len(slot.inbox.items), slot.plugin_id)
        yield _of("plugin_inbox_bytes", slot.inbox.size_bytes, slot.plugin_id)
        for hook, calls, seconds in slot.hook_times:
            yield Spread(hook_seconds, (slot.plugin_id, hook), calls, seconds)


def _lag(lag: LoopLag) -> Iterator[Reading]:
    buckets, below = [], 0
    for bound, count in zip((*BUCKETS, math.inf), lag.counts, strict=True):
        below += count
        buckets.append((bound, below))
    yield Spread(METRICS["thenodes_loop_lag_seconds"], (), below, lag.sum_seconds, tuple(buckets))


def _by(name: str, counts: Iterable[tuple[tuple[str, ...], int]]) -> Iterator[Series]:
    for labels, count in counts:
        yield _of(name, count, *labels)


def _of(name: str, value: float, *labels: str) -> Series:
    return Series(METRICS[f"thenodes_{name}"], labels, value)
