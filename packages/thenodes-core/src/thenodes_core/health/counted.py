"""Which counter becomes which metric; none is lost, and none is told twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from .metrics import METRICS, Kind, Metric

__all__ = ["FAMILIES", "OTHER", "Series", "counted", "levels"]

OTHER = "other"
"""The label of all that is beyond the bound of one metric."""

_MOST_VALUES = 64

_SERVICE_COUNTS = METRICS["thenodes_service_counts"]
_SERVICE_LEVELS = METRICS["thenodes_service_levels"]


class Series(msgspec.Struct, frozen=True):
    """One number of a metric.

    Attributes:
        metric: whose.
        labels: its labels' values.
        value: the number.
    """

    metric: Metric
    labels: tuple[str, ...]
    value: float


class _Family(msgspec.Struct, frozen=True):
    """A counter's metric, and the label that it has there whatever its reason."""

    metric: Metric
    label: str | None = None


# Counters whose metric has another name, or that share one.
_PLACES: Mapping[str, tuple[str, str | None]] = {
    "peers_joined": ("handshakes", "joined"),
    "sessions_probed": ("handshakes", "probed"),
    "connections_refused": ("handshakes", "no_node"),
    "sessions_refused": ("handshakes", None),
    "dials": ("dials", "bootstrap"),
    "dial_failures": ("dial_failures", "bootstrap"),
    "learned_dials": ("dials", "learned"),
    "learned_dial_failures": ("dial_failures", "learned"),
    "plugins_quarantined": ("plugin_quarantines", None),
}


def _families() -> Mapping[str, _Family]:
    own = {"thenodes_frames", "thenodes_bytes", _SERVICE_COUNTS.name}
    shared = {f"thenodes_{place}" for place, _ in _PLACES.values()}
    families = {
        metric.name.removeprefix("thenodes_"): _Family(metric)
        for metric in METRICS.values()
        if metric.kind is Kind.COUNTER and metric.name not in own | shared
    }
    for counter, (place, label) in _PLACES.items():
        families[counter] = _Family(METRICS[f"thenodes_{place}"], label)
    return families


FAMILIES: Mapping[str, _Family] = _families()
"""By the counter's name without its reason."""


def counted(counters: Mapping[str, int], plugins: Iterable[str] = ()) -> Sequence[Series]:
    """Bring counters into metrics: each in one series, which may hold several.

    A series whose labels are known before anything was counted begins at 0, so that its
    growth is seen. Reasons that a metric has no label for, such as the ids of nodes, are
    added up; and so are those beyond 64 of one metric, in a series `other`.

    Args:
        counters: by name, or `name.reason`.
        plugins: the ids of those that were loaded.
    """
    sums: dict[tuple[str, tuple[str, ...]], float] = defaultdict(float, _zeros(plugins))
    values: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for name, count in counters.items():
        metric, labels = _place(name)
        seen = values[metric.name]
        if labels not in seen and len(seen) >= _MOST_VALUES:
            labels = (OTHER,) * len(labels)
        seen.add(labels)
        sums[metric.name, labels] += count
    return [Series(METRICS[name], labels, value) for (name, labels), value in sums.items()]


def _zeros(plugins: Iterable[str]) -> Mapping[tuple[str, tuple[str, ...]], float]:
    zeros: dict[tuple[str, tuple[str, ...]], float] = {}
    for family in FAMILIES.values():
        name, labels = family.metric.name, family.metric.labels
        if family.label is not None:
            zeros[name, (family.label,)] = 0.0
        elif not labels:
            zeros[name, ()] = 0.0
        elif labels == ("plugin",):
            zeros |= {(name, (plugin,)): 0.0 for plugin in plugins}
    return zeros


def levels(read: Mapping[str, float]) -> Sequence[Series]:
    """Bring what services measure into metrics; beyond 64 names that are not known, none.

    Args:
        read: by name.
    """
    found, others = [], 0
    for name, value in read.items():
        metric = METRICS.get(f"thenodes_{name}")
        if metric is not None and metric.kind is Kind.GAUGE and name.startswith("relay_"):
            found.append(Series(metric, (), value))
        elif others < _MOST_VALUES:
            others += 1
            found.append(Series(_SERVICE_LEVELS, (name,), value))
    return found


def _place(name: str) -> tuple[Metric, tuple[str, ...]]:
    counter, _, reason = name.partition(".")
    family = FAMILIES.get(counter)
    if family is None:
        return _SERVICE_COUNTS, (counter, reason)
    if not family.metric.labels:
        return family.metric, ()
    return family.metric, (family.label or reason,)
