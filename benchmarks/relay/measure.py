"""What `python -m benchmarks relay` measures: every system in turn, again and again."""

from __future__ import annotations

import asyncio
import statistics
import sys
from collections.abc import Callable, Sequence

import msgspec

from ..clients import raise_descriptor_limit
from ..result import Row
from . import bare, bindings, light, nats_server, nodes, storing
from .processes import FILES

__all__ = ["PARTS", "Options", "measure"]


class Options(msgspec.Struct, frozen=True):
    """How much is measured.

    Attributes:
        runs: of each, in turn.
        messages: of each run, of the fast ones; the slow ones take a part of it.
        trips: round trips of each run.
        peers: of the crowd, and of the most senders.
    """

    runs: int = 5
    messages: int = 400_000
    trips: int = 2000
    peers: int = 1000


class Measured(msgspec.Struct, frozen=True):
    """One thing that is measured.

    Attributes:
        what: for people.
        unit: of the value.
        once: measures it once; returns the value, or several by name.
        yardstick: to which of the others it is set in proportion.
    """

    what: str
    unit: str
    once: Callable[[], float]
    yardstick: str = ""


def measure(part: str, options: Options) -> list[Row]:
    """The rows of one part."""
    raise_descriptor_limit(FILES)
    if part == "bindings":
        return [
            {
                "what": f"memory of a {what}",
                "unit": "KiB",
                "value": value,
                "ratio": "",
                "values": [],
            }
            for what, value in bindings.measure(options.peers).items()
        ]
    found = list(PARTS[part](options))
    if missing := nats_server.missing():
        sys.stderr.write(f"NATS is left out: {missing}\n")
        found = [one for one in found if "NATS" not in one.what and "JetStream" not in one.what]
    values: dict[str, list[float]] = {one.what: [] for one in found}
    for number in range(options.runs):
        for one in found:
            sys.stderr.write(f"\r{part}, run {number + 1} of {options.runs}: {one.what:60}")
            values[one.what].append(one.once())
    sys.stderr.write("\n")
    return [_row(one, values) for one in found]


def _row(one: Measured, values: dict[str, list[float]]) -> Row:
    median = statistics.median(values[one.what])
    yardstick = values.get(one.yardstick)
    return {
        "what": one.what,
        "unit": one.unit,
        "value": median,
        "ratio": "" if yardstick is None else median / statistics.median(yardstick),
        "values": values[one.what],
    }


def _throughput(options: Options) -> Sequence[Measured]:
    found = []
    for size in (256, 4096):
        count = options.messages if size == 256 else options.messages // 4
        yardstick = f"bare forwarder, {size} B"
        found += [
            Measured(yardstick, "messages/s", _run(bare.rate, size, count // 8, 1), yardstick),
            Measured(
                f"NATS, {size} B", "messages/s", _run(nats_server.rate, size, count // 2), yardstick
            ),
            Measured(f"relay, {size} B", "frames/s", _run(light.rate, size, count), yardstick),
            Measured(
                f"plugin to plugin, unsealed, {size} B",
                "messages/s",
                _run(nodes.rate, "off", size, count // 2),
                yardstick,
            ),
            Measured(
                f"plugin to plugin, sealed, {size} B",
                "messages/s",
                _run(nodes.rate, "required", size, count // 4),
                yardstick,
            ),
        ]
    return found


def _latency(options: Options) -> Sequence[Measured]:
    found = []
    trips, yardstick = options.trips, "bare forwarder"
    for name, quantile in (("p50", 0.5), ("p99", 0.99)):
        own = f"{yardstick}, {name}"
        found += [
            Measured(own, "µs", _at(quantile, bare.round_trips, 256, trips), own),
            Measured(
                f"NATS, {name}", "µs", _at(quantile, nats_server.round_trips, 256, trips), own
            ),
            Measured(f"relay, {name}", "µs", _at(quantile, light.round_trips, 256, trips), own),
            Measured(
                f"plugin to plugin, unsealed, {name}",
                "µs",
                _at(quantile, nodes.round_trips, "off", 256, trips),
                own,
            ),
            Measured(
                f"plugin to plugin, sealed, {name}",
                "µs",
                _at(quantile, nodes.round_trips, "required", 256, trips),
                own,
            ),
        ]
    return found


def _store(options: Options) -> Sequence[Measured]:
    count = options.messages // 4
    one = "JetStream, one sender waits for each"
    return [
        Measured(one, "stored/s", _run(nats_server.stores, 256, count // 10, 1), one),
        Measured(
            "JetStream, 64 senders", "stored/s", _run(nats_server.stores, 256, count // 2, 64), one
        ),
        Measured(
            "relay, 64 senders wait for each", "stored/s", _run(storing.stores, 256, count, 64), one
        ),
        Measured(
            "relay, 64 senders have 16 under way",
            "stored/s",
            _run(storing.stores, 256, count, 64, 16),
            one,
        ),
        Measured("relay, drain", "frames/s", _run(storing.drain, 256, count)),
    ]


def _senders(options: Options) -> Sequence[Measured]:
    found = []
    for senders in sorted({1, 10, 100, options.peers}):
        yardstick = f"bare forwarder, {senders} senders"
        count = options.messages // 4
        found += [
            Measured(yardstick, "messages/s", _run(bare.rate, 256, count // 2, senders), yardstick),
            Measured(
                f"relay, {senders} senders",
                "frames/s",
                _run_light(256, count, senders=senders),
                yardstick,
            ),
        ]
    return found


def _crowd(options: Options) -> Sequence[Measured]:
    alone = "relay, two active nodes alone"
    return [
        Measured(alone, "frames/s", _run_light(256, options.messages), alone),
        Measured(
            f"relay, two active among {options.peers} connected",
            "frames/s",
            _run_light(256, options.messages, idle=options.peers - 2),
            alone,
        ),
    ]


PARTS: dict[str, Callable[[Options], Sequence[Measured]]] = {
    "throughput": _throughput,
    "latency": _latency,
    "store": _store,
    "senders": _senders,
    "crowd": _crowd,
    "bindings": lambda options: (),
}
"""What can be measured by itself."""


def _run(work: Callable[..., object], *arguments: object) -> Callable[[], float]:
    return lambda: asyncio.run(work(*arguments))  # type: ignore[arg-type]


def _run_light(size: int, messages: int, *, senders: int = 1, idle: int = 0) -> Callable[[], float]:
    return lambda: asyncio.run(light.rate(size, messages, senders=senders, idle=idle))


def _at(quantile: float, work: Callable[..., object], *arguments: object) -> Callable[[], float]:
    def once() -> float:
        times: list[float] = sorted(asyncio.run(work(*arguments)))  # type: ignore[arg-type]
        return times[int(len(times) * quantile)] * 1e6

    return once
