"""How long it takes to find and judge wheels that are in the cache already."""

from __future__ import annotations

import base64
import hashlib
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

from thenodes_core.plugins.cache import cache_directory
from thenodes_core.plugins.find import candidates
from thenodes_core.plugins.gates import scan
from thenodes_core.plugins.policy import GatePolicy

from .result import Row

__all__ = ["measure"]

_WATCHED = "benchmark_plugin_"


def measure(count: int, runs: int) -> list[Row]:
    """Milliseconds for `count` wheels; a run in which one of them is imported fails."""
    imported: list[str] = []

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event == "import" and str(arguments[0]).startswith(_WATCHED):
            imported.append(str(arguments[0]))

    sys.addaudithook(watch)
    with tempfile.TemporaryDirectory() as folder:
        wheels = Path(folder) / "plugins"
        wheels.mkdir(mode=0o700)
        for number in range(count):
            _write(wheels, number)
        policy = GatePolicy(cache=cache_directory(Path(folder) / "state"))
        first = _timed(wheels, count, policy)
        times = [_timed(wheels, count, policy) for _ in range(runs)]
    if imported:
        raise RuntimeError(f"scanning imported {', '.join(imported)}")
    rows: Sequence[tuple[str, float]] = (
        ("scan, unpacking each", first),
        ("scan, all in the cache", statistics.median(times)),
    )
    return [{"kind": kind, "wheels": count, "ms": ms} for kind, ms in rows]


def _timed(wheels: Path, count: int, policy: GatePolicy) -> float:
    started = time.perf_counter()
    found = scan(candidates((), wheels, ()), policy)
    ms = (time.perf_counter() - started) * 1000
    if len(found.accepted) != count:
        raise RuntimeError(f"expected {count} sound wheels, got {len(found.accepted)}")
    return ms


def _write(folder: Path, number: int) -> None:
    package = f"{_WATCHED}{number}"
    info = f"{package}-1.0.dist-info"
    files = {
        f"{package}/__init__.py": "from .plugin import register_plugin\n",
        f"{package}/plugin.py": "raise RuntimeError('a plugin was run')\n" + "# a line\n" * 500,
        f"{package}/py.typed": "",
        f"{package}/thenodes-plugin.toml": (
            f'manifest = 1\n[plugin]\nid = "p{number}"\nversion = "1.0"\n'
            f'entry = "{package}:register_plugin"\nabi = 1\n'
            f'[messages]\nhandles = ["p{number}.*"]\n'
        ),
        f"{info}/METADATA": (
            f"Metadata-Version: 2.4\nName: {package}\nVersion: 1.0\nRequires-Python: >=3.11\n"
            "Requires-Dist: thenodes-plugin-api<2,>=1.0\nRequires-Dist: msgspec\n\nA plugin.\n"
        ),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[thenodes.plugins]\np{number} = {package}:register_plugin\n",
    }
    rows = [f"{name},sha256={_digest(text)},{len(text)}\n" for name, text in files.items()]
    files[f"{info}/RECORD"] = "".join([*rows, f"{info}/RECORD,,\n"])
    path = folder / f"{package}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    path.chmod(0o600)


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
