"""`python -m benchmarks throughput | latency`: a table, and JSON with `--json FILE`."""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

from . import bare, nodes
from .result import Far

BINARY, JSON = "thenodes.v1.bin", "thenodes.v1.json"
SIZES = (256, 4096)
KINDS = ("bare", BINARY, JSON)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", choices=("throughput", "latency", "far"))
    parser.add_argument("kind", nargs="?", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--runs", type=int, default=5, help="alternating runs; default 5")
    parser.add_argument("--messages", type=int, help="per run; default 100000, or 3000 round trips")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here")
    options = parser.parse_args()
    if options.what == "far":
        asyncio.run(bare.listen() if options.kind == "bare" else nodes.listen(options.kind))
        return
    if options.what == "throughput":
        unit, best, once = "messages/s", max, throughput(options.messages or 100_000)
    else:
        unit, best, once = "µs p50", min, latency(options.messages or 3000)
    rows = [row(kind, size, values) for (kind, size), values in measure(once, options.runs).items()]
    add_ratios(rows)
    show(rows, unit, best)
    if options.json:
        machine = {"python": platform.python_version(), "machine": platform.machine()}
        options.json.write_text(json.dumps({"unit": unit, **machine, "rows": rows}, indent=2))


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


def row(kind: str, size: int, values: list[float]) -> dict[str, object]:
    return {"kind": kind, "size": size, "median": statistics.median(values), "values": values}


def add_ratios(rows: list[dict[str, object]]) -> None:
    yardsticks = {r["size"]: r["median"] for r in rows if r["kind"] == "bare"}
    for r in rows:
        median, yardstick = r["median"], yardsticks[r["size"]]
        assert isinstance(median, float)
        assert isinstance(yardstick, float)
        r["ratio"] = median / yardstick


def show(rows: list[dict[str, object]], unit: str, best: Callable[[list[float]], float]) -> None:
    lines = [
        f"| kind | size | {unit}, median | best | ratio to bare |",
        "| --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        values = r["values"]
        assert isinstance(values, list)
        lines.append(
            f"| {r['kind']} | {r['size']} B | {r['median']:,.0f} | {best(values):,.0f} "
            f"| {r['ratio']:.2f} |"
        )
    sys.stdout.write("\n".join(lines) + "\n")


main()
