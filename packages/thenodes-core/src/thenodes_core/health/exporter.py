"""A node's metrics as text for Prometheus; the only module that imports prometheus-client."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client import Metric as Family
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from .counted import Series
from .metrics import METRICS, Kind, Metric
from .readings import Parts, Reading, Spread, readings

__all__ = ["CONTENT_TYPE", "Exporter"]

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Exporter(Collector):
    """Reads a node whenever somebody asks; nothing is kept between.

    The registry is its own, so that each node in a process tells only its own metrics, and
    those of the process.

    Args:
        parts: the node's.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self) -> str:
        """Everything, now."""
        return generate_latest(self._registry).decode()

    def describe(self) -> Iterable[Family]:
        """Nothing: what is told of no node yet is not read at the start."""
        return ()

    def collect(self) -> Iterator[Family]:
        """Every metric, whether or not there is something to tell of it."""
        read: dict[str, list[Reading]] = defaultdict(list)
        for reading in readings(self._parts):
            read[reading.metric.name].append(reading)
        for metric in METRICS.values():
            yield _family(metric, read[metric.name])


def _family(metric: Metric, read: Iterable[Reading]) -> Family:
    name, text, labels = metric.name, metric.help, metric.labels
    match metric.kind:
        case Kind.COUNTER:
            counter = CounterMetricFamily(name, text, labels=labels)
            for one in _series(read):
                counter.add_metric(one.labels, one.value)
            return counter
        case Kind.GAUGE:
            gauge = GaugeMetricFamily(name, text, labels=labels)
            for one in _series(read):
                gauge.add_metric(one.labels, one.value)
            return gauge
        case Kind.SUMMARY:
            summary = SummaryMetricFamily(name, text, labels=labels)
            for spread in _spreads(read):
                summary.add_metric(spread.labels, spread.count, spread.sum)
            return summary
        case Kind.HISTOGRAM:
            histogram = HistogramMetricFamily(name, text, labels=labels)
            for spread in _spreads(read):
                buckets = [(_bound(bound), count) for bound, count in spread.buckets]
                histogram.add_metric(spread.labels, buckets, spread.sum)
            return histogram


def _bound(seconds: float) -> str:
    return "+Inf" if seconds == math.inf else str(seconds)


def _series(read: Iterable[Reading]) -> list[Series]:
    return [one for one in read if isinstance(one, Series)]


def _spreads(read: Iterable[Reading]) -> list[Spread]:
    return [one for one in read if isinstance(one, Spread)]
