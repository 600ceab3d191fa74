"""`python -m benchmarks WHAT`: a table, and JSON with `--json FILE`."""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

from . import bare, connections, crowd, events, handshakes, nodes, plugins, startup, top
from .relay import measure as relay
from .result import Far, Row

BINARY, JSON = "thenodes.v1.bin", "thenodes.v1.json"
SIZES = (256, 4096)
KINDS = ("bare", BINARY, JSON)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", choices=(*MEASURES, *FAR), metavar=" | ".join(MEASURES))
    parser.add_argument("kind", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--runs", type=positive, default=5, help="alternating runs; default 5")
    parser.add_argument(
        "--messages", type=int, help="per run; default 100000, 3000 round trips, 300 handshakes"
    )
    parser.add_argument("--sessions", type=int, help="default 2000, in a crowd 500")
    parser.add_argument("--plugins", type=positive, default=100, help="default 100")
    parser.add_argument("--frozen", type=int, default=50, help="of a crowd; default 50")
    parser.add_argument("--garbage", type=int, default=50, help="of a crowd; default 50")
    parser.add_argument("--seconds", type=float, help="of a crowd, default 60; of top, default 10")
    parser.add_argument(
        "--part", choices=tuple(relay.PARTS), action="append", help="of relay; all by default"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here")
    options = parser.parse_args()
    if options.what in FAR and options.kind:
        asyncio.run(far_process(options.what, options.kind))
        return
    rows = MEASURES[options.what](options)
    show(rows)
    if options.json:
        machine = {"python": platform.python_version(), "machine": platform.machine()}
        options.json.write_text(json.dumps({"what": options.what, **machine, "rows": rows}))


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError("expected at least 1")
    return number


async def far_process(role: str, kind: str) -> None:
    if role == "events-far":
        await events.listen(kind)
    elif role == "top-far":
        await top.hold(Path(kind))
    elif role == "handshakes":
        await handshakes.listen(kind)
    elif kind == "crowd":
        await crowd.listen()
    elif role == "hold":
        await connections.hold(kind)
    elif kind == "bare":
        await bare.listen()
    else:
        await nodes.listen(kind)


def measure_throughput(options: argparse.Namespace) -> list[Row]:
    found = measure(throughput(options.messages or 100_000), options.runs)
    return with_ratios(found, "messages/s", max)


def measure_latency(options: argparse.Namespace) -> list[Row]:
    return with_ratios(measure(latency(options.messages or 3000), options.runs), "µs p50", min)


def measure_connections(options: argparse.Namespace) -> list[Row]:
    return connections.measure(options.sessions or 2000)


def measure_startup(options: argparse.Namespace) -> list[Row]:
    return startup.measure(options.runs)


def measure_crowd(options: argparse.Namespace) -> list[Row]:
    sessions = options.sessions or 500
    return crowd.measure(sessions, options.frozen, options.garbage, options.seconds or 60)


def measure_handshakes(options: argparse.Namespace) -> list[Row]:
    return handshakes.measure(options.messages or 300, options.runs)


def measure_plugins(options: argparse.Namespace) -> list[Row]:
    return plugins.measure(options.plugins, options.runs)


def measure_relay(options: argparse.Namespace) -> list[Row]:
    much = relay.Options(
        runs=options.runs,
        messages=options.messages or 400_000,
        trips=(options.messages or 40_000) // 20,
        peers=options.sessions or 1000,
    )
    return [row for part in options.part or relay.PARTS for row in relay.measure(part, much)]


def measure_events(options: argparse.Namespace) -> list[Row]:
    return events.measure(options.messages or 400_000, options.runs)


def measure_top(options: argparse.Namespace) -> list[Row]:
    return top.measure(options.sessions or 500, options.seconds or 10, options.runs)


FAR = ("far", "hold", "handshakes", "events-far", "top-far")
"""What a far process can be."""

MEASURES: dict[str, Callable[[argparse.Namespace], list[Row]]] = {
    "throughput": measure_throughput,
    "latency": measure_latency,
    "connections": measure_connections,
    "startup": measure_startup,
    "crowd": measure_crowd,
    "handshakes": measure_handshakes,
    "plugins": measure_plugins,
    "relay": measure_relay,
    "events": measure_events,
    "top": measure_top,
}


def throughput(messages: int) -> Callable[[str, int], float]:
    def once(kind: str, size: int) -> float:
        with Far(kind) as far:
            if kind == "bare":
                return asyncio.run(bare.rate(far, size, messages))
            return asyncio.run(nodes.rate(far, kind, size, messages))

    return once


def latency(messages: int) -> Callable[[str, int], float]:
    def once(kind: str, size: int) -> float:
        with Far(kind) as far:
            if kind == "bare":
                times = asyncio.run(bare.round_trips(far, size, messages))
            else:
                times = asyncio.run(nodes.round_trips(far, kind, size, messages))
        return statistics.median(times) * 1e6

    return once


def measure(once: Callable[[str, int], float], runs: int) -> dict[tuple[str, int], list[float]]:
    """Every kind in turn, again and again, so that drift of the machine meets all alike."""
    found: dict[tuple[str, int], list[float]] = {(k, size): [] for size in SIZES for k in KINDS}
    for number in range(runs):
        for (kind, size), values in found.items():
            sys.stderr.write(f"\rrun {number + 1} of {runs}: {kind} {size} B          ")
            values.append(once(kind, size))
    sys.stderr.write("\n")
    return found


def with_ratios(
    found: dict[tuple[str, int], list[float]], unit: str, best: Callable[[list[float]], float]
) -> list[Row]:
    """A row for each kind and size, with its ratio to the bare library's median."""
    return [
        {
            "kind": kind,
            "size": size,
            unit: statistics.median(values),
            "best": best(values),
            "ratio to bare": statistics.median(values) / statistics.median(found["bare", size]),
            "values": values,
        }
        for (kind, size), values in found.items()
    ]


def show(rows: list[Row]) -> None:
    columns = [name for name in rows[0] if name != "values"]
    lines = [columns, ["---"] * len(columns)]
    lines += [[shown(row[name]) for name in columns] for row in rows]
    sys.stdout.write("".join(f"| {' | '.join(line)} |\n" for line in lines))


def shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}" if abs(value) < 100 else f"{value:,.0f}"
    return str(value)


main()
