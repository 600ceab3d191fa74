"""Runs every check at once, and tells each finding as it is known."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import shutil
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

import msgspec

from ..clock import Clock
from ..config import Config, expand, relay_addresses
from ..control.status import DialStatus, PluginLine
from ..descriptors import descriptor_limit
from ..errors import StateDirError
from ..protocol.close import CloseCode
from ..security.certificates import Certificate
from ..security.identity import Identity
from ..security.tls import NodeTls
from ..store.received import RECEIVED_FILE
from . import files
from .clock import Dated, check_clock
from .databases import check_database
from .finding import Finding, ok, problem, warning
from .machine import check_descriptors, check_disk, check_versions
from .port import check_free, check_listening, check_public
from .probe import Met, Prober, dates_of, judge_met

__all__ = ["Patient", "examine"]

_SECONDS = 8.0
_ADDRESSES_AT_ONCE = 32
_OLDEST_PYTHON = (3, 11)
_LIBRARIES = ("thenodes-core", "thenodes-plugin-api", "websockets", "cryptography", "msgspec")
_RELAY_DATABASE = Path("plugins", "relay", "frames.sqlite3")
_MET = {"connected": "connected", "duplicate": "connected by another address"}
_BROKEN_STATES = {"failed": "plugin reload", "quarantined": "plugin reload"}

_THREADS = 4
_END_SECONDS = 0.5
_DATED_FILES = 1000
_T = TypeVar("_T")

Check = Callable[[], Awaitable[Sequence[Finding]]]


class Patient(msgspec.Struct, frozen=True, kw_only=True):
    """A node, as it is looked at.

    Attributes:
        config: its settings.
        state_dir: its state directory; None where that is temporary.
        node_id: its id; of one that does not run, the one that the operator chose.
        prober: asks addresses as this node would.
        clock: tells the time.
        plugins: how its plugins stand, or would.
        holder: who holds the state directory, for people; empty where nobody does.
        listening: where it listens; None where it does not run.
        dialling: of a node that runs, how the addresses stand that it keeps connected.
        connected: the ids of its peers.
        tls: of a node that runs, what it serves TLS with.
        found: what was found before, when it was looked for.
    """

    config: Config
    state_dir: Path | None
    node_id: str | None
    prober: Prober
    clock: Clock
    plugins: Callable[[], Sequence[PluginLine]]
    holder: str = ""
    listening: str | None = None
    dialling: Sequence[DialStatus] = ()
    connected: frozenset[str] = frozenset()
    tls: NodeTls | None = None
    found: Sequence[Finding] = ()


async def examine(
    patient: Patient, *, most_seconds: float = _SECONDS
) -> AsyncGenerator[Finding, None]:
    """Everything that there is to tell, in the order in which it is known.

    Args:
        patient: the node.
        most_seconds: what is not known then is told as a warning.
    """
    for finding in patient.found:
        yield finding
    examination = _Examination(patient)
    tasks = {asyncio.ensure_future(check()): name for name, check in examination.checks().items()}
    ends = asyncio.get_running_loop().time() + most_seconds
    waiting = set(tasks)
    try:
        while waiting:
            left = ends - asyncio.get_running_loop().time()
            done, waiting = await asyncio.wait(
                waiting, timeout=max(0.0, left), return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                break
            for task in done:
                for finding in _told(task, tasks[task]):
                    yield finding
        for task in waiting:
            text = f"not known after {most_seconds:g} s"
            yield warning(tasks[task].partition(" ")[0], text, "try again", subject=tasks[task])
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=_END_SECONDS)
        examination.close()


def _told(task: asyncio.Task[Sequence[Finding]], name: str) -> Sequence[Finding]:
    """What a check found; where a file is not to be looked at, that."""
    try:
        return task.result()
    except OSError as error:
        named = name.partition(" ")[0]
        text = f"cannot be looked at: {error.strerror or error}"
        fix = "look at owner and mode of it, as the node's user"
        return [problem(named, text, fix, subject=str(error.filename or ""))]


class _Examination:
    """All checks of one node, and what they tell each other."""

    def __init__(self, patient: Patient) -> None:
        self._patient = patient
        self._asked = asyncio.Event()
        self._peers: list[Dated] = []
        self._at_once = asyncio.Semaphore(_ADDRESSES_AT_ONCE)
        # Its own threads: those of the loop may all wait for names that nobody answers for.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="doctor")

    def close(self) -> None:
        """Wait for nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _aside(self, function: Callable[..., _T], *args: object) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    def checks(self) -> Mapping[str, Check]:
        """Every check, by its name."""
        checks: dict[str, Check] = {
            "versions": self._versions,
            "descriptors": self._descriptors,
            "state": self._state,
            "tls": self._tls,
            "store": self._store,
            "port": self._port,
            "plugins": self._plugins,
            "clock": self._clock,
        }
        asked = self._addresses()
        left = len(asked)
        if not asked:
            self._asked.set()

        def wrapped(check: str, text: str) -> Check:
            async def ask() -> Sequence[Finding]:
                nonlocal left
                try:
                    return await self._address(check, text)
                finally:
                    left -= 1
                    if not left:
                        self._asked.set()

            return ask

        for text, check in asked.items():
            checks[f"{check} {text}"] = wrapped(check, text)
        if self._relay_ids() or not asked:
            checks["relays"] = self._relays
        return checks

    async def _versions(self) -> Sequence[Finding]:
        found = {name: _version(name) for name in _LIBRARIES}
        return check_versions(sys.version_info[:3], _OLDEST_PYTHON, found)

    async def _descriptors(self) -> Sequence[Finding]:
        return check_descriptors(descriptor_limit(), self._patient.config.limits.max_sessions)

    async def _state(self) -> Sequence[Finding]:
        directory = self._patient.state_dir
        if directory is None:
            text = "temporary: key and addresses end with the node"
            return [warning("state", text, "set node.state_dir")]
        found = list(files.check_state_dir(directory, self._patient.holder))
        if directory.is_dir():
            free = shutil.disk_usage(directory).free
            found += check_disk(free, str(directory))
        return found

    async def _tls(self) -> Sequence[Finding]:
        patient = self._patient
        if patient.state_dir is None or not patient.state_dir.is_dir():
            return []
        identity, found = files.check_identity(patient.config, patient.state_dir, patient.node_id)
        if identity is None:
            return found
        certificate, more = await self._certificate(identity)
        found = [*found, *more]
        if certificate is not None:
            found.append(files.check_handshake(patient.config, patient.state_dir, tls=patient.tls))
        return found

    async def _certificate(
        self, identity: Identity
    ) -> tuple[Certificate | None, Sequence[Finding]]:
        patient = self._patient
        directory, now = patient.state_dir or Path(), patient.clock.time()
        return files.check_certificate(patient.config, directory, identity, now)

    async def _store(self) -> Sequence[Finding]:
        patient = self._patient
        directory = patient.state_dir
        if directory is None:
            return []
        found = files.check_known_addresses(patient.config, directory, patient.clock.time())
        databases = {directory / RECEIVED_FILE: "which reliable messages came"}
        relay = patient.config.network.relay
        if relay.enabled:
            path = expand(relay.store_path) if relay.store_path else directory / _RELAY_DATABASE
            databases[path] = "what the relay keeps"
        read = [self._aside(check_database, path, what) for path, what in databases.items()]
        return [*found, *(one for some in await asyncio.gather(*read) for one in some)]

    async def _port(self) -> Sequence[Finding]:
        patient = self._patient
        config = patient.config
        if patient.listening is None:
            found = await self._aside(check_free, config.host, config.port)
        else:
            found = await check_listening(patient.listening)
        hosts = config.transport.public_hosts if patient.listening else ()
        asked = await asyncio.gather(*(patient.prober.ask(f"wss://{host}") for host in hosts))
        return [
            *found,
            *(check_public(host, _who(met)) for host, met in zip(hosts, asked, strict=True)),
        ]

    async def _plugins(self) -> Sequence[Finding]:
        try:
            lines = await self._aside(self._patient.plugins)
        except StateDirError as error:
            return [problem("plugins", str(error), "restore it, or remove it")]
        bad = [found for line in lines for found in _judge_plugin(line)]
        fine = len(lines) - len(bad)
        noun = "plugin" if fine == 1 else "plugins"
        return [*bad, ok("plugins", f"{fine} {noun} fine")] if fine or not bad else bad

    async def _clock(self) -> Sequence[Finding]:
        await self._asked.wait()
        here = await self._aside(_dated_files, self._patient.state_dir)
        return check_clock(self._patient.clock.time(), [*here, *self._peers])

    def _addresses(self) -> dict[str, str]:
        config = self._patient.config
        asked = dict.fromkeys(relay_addresses(config.network.relay), "relay")
        return dict.fromkeys(config.bootstrap_nodes, "bootstrap") | asked

    def _relay_ids(self) -> Sequence[str]:
        relay = self._patient.config.network.relay
        addresses = relay_addresses(relay)
        return [entry for entry in relay.use if entry not in addresses]

    async def _address(self, check: str, text: str) -> Sequence[Finding]:
        for dial in self._patient.dialling:
            if dial.address == text and dial.state in _MET:
                return [ok(check, _MET[dial.state], subject=text)]
        async with self._at_once:
            met = await self._patient.prober.ask(text)
        self._peers += dates_of(met)
        return [judge_met(check, text, met)]

    async def _relays(self) -> Sequence[Finding]:
        found: list[Finding] = []
        for node_id in self._relay_ids():
            if node_id in self._patient.connected:
                found.append(ok("relay", "connected", subject=node_id))
            elif self._patient.listening is None:
                text = "named by its id: only a node that runs can tell whether it is met"
                found.append(ok("relay", text, subject=node_id))
            else:
                fix = "name its address in network.relay.use, or look why it is not met"
                found.append(problem("relay", "not connected", fix, subject=node_id))
        if not self._addresses():
            found.append(ok("bootstrap", "no address is named: the node waits for others"))
        return found


def _judge_plugin(line: PluginLine) -> Sequence[Finding]:
    if line.state == "rejected":
        fix = f"more is told by: thenodes plugin info {line.id}"
        text = line.detail if line.codes else f"rejected: {line.detail}"
        return [problem("plugins", text, fix, subject=line.id)]
    if line.state in _BROKEN_STATES:
        fix = f"look into its log, then: {_BROKEN_STATES[line.state]} {line.id}"
        return [problem("plugins", f"{line.state}: {line.detail}", fix, subject=line.id)]
    return []


def _dated_files(directory: Path | None) -> Sequence[Dated]:
    """The newest files of a directory that is there, as far as they can be looked at."""
    dated = []
    if directory is not None:
        for path in islice(directory.rglob("*"), _DATED_FILES):
            with contextlib.suppress(OSError):
                dated.append(Dated(f"the file {path}", path.lstat().st_mtime))
    return dated


def _who(met: Met) -> str:
    if met.ending is None:
        return met.problem
    return "self" if met.ending.code == CloseCode.SELF else f"somebody else ({met.ending})"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
