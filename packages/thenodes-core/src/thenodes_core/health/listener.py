"""Where a node tells how it is: `/healthz`, `/readyz` and `/metrics`."""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

import msgspec

from thenodes_plugin_api import Level, SystemEvent

from .._version import __version__
from ..address import host_port
from ..clock import Clock
from ..config import HealthTable, is_loopback
from ..events.dispatcher import Dispatcher
from ..supervisor import Supervisor
from ..transport.base import Listener
from ..transport.pages import Page, serve_pages
from .readings import Parts

if TYPE_CHECKING:
    from .exporter import Exporter

__all__ = ["HealthListener"]

_PATHS = ("/healthz", "/readyz", "/metrics")
_JSON = "application/json"
_NO_METRICS = (
    "metrics need prometheus-client, which is not installed; "
    'pip install "thenodes-core[metrics]", and start the node again\n'
)
_DEFECT = Page("internal error; the node's log says more\n", 500)


class HealthListener:
    """Listens where `[health]` says, if it does. Use as an async context manager.

    Args:
        table: where.
        parts: what is told.
        supervisor: told of defects in what makes the pages.
        events: told where it listens.
        clock: says how long the node is up.
    """

    def __init__(
        self,
        table: HealthTable,
        parts: Parts,
        supervisor: Supervisor,
        events: Dispatcher,
        clock: Clock,
    ) -> None:
        self._table = table
        self._parts = parts
        self._supervisor = supervisor
        self._events = events
        self._clock = clock
        self._exporter: Exporter | None = None
        self._listener: Listener | None = None
        self._stack = AsyncExitStack()

    @property
    def url(self) -> str | None:
        """Where it listens; None where it does not."""
        if self._listener is None:
            return None
        return f"http://{host_port(self._listener.host, self._listener.port)}"

    async def __aenter__(self) -> Self:
        """Begin to listen.

        Raises:
            ListenError: the address cannot be used.
        """
        host, port = self._table.host, self._table.port
        if port is None:
            return self
        self._exporter = _exporter(self._parts)
        local = is_loopback(host)
        self._listener = await serve_pages(host, port, self._answer, refuse_names=local)
        self._stack.push_async_callback(self._listener.close)
        what = "health and metrics" if self._exporter else "health, but no metrics,"
        self._tell("health_listening", f"{what} at {self.url}: {', '.join(_PATHS)}")
        if not local:
            self._tell(
                "health_exposed",
                f"health.host is {host}: whoever reaches {self.url} may read what it tells, "
                "unencrypted; see that only your monitoring does, or set health.host to "
                "127.0.0.1",
                Level.WARNING,
            )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def _answer(self, path: str) -> Page:
        pages = [_DEFECT]

        async def make() -> None:
            pages.append(self._page(path))

        await self._supervisor.supervise(make())
        return pages[-1]

    def _page(self, path: str) -> Page:
        match path:
            case "/healthz":
                return self._alive()
            case "/readyz":
                reasons = self._parts.readiness.reasons
                return _json({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)
            case "/metrics":
                return self._metrics()
            case _:
                return Page(f"there is only: {', '.join(_PATHS)}\n", 404)

    def _alive(self) -> Page:
        return _json(
            {
                "alive": True,
                "version": __version__,
                "node_id": self._parts.network.peers.local.node_id,
                "uptime_seconds": round(self._clock.time() - self._parts.started_at, 3),
            }
        )

    def _metrics(self) -> Page:
        if self._exporter is None:
            return Page(_NO_METRICS, 501)
        from .exporter import CONTENT_TYPE

        return Page(self._exporter.text(), content_type=CONTENT_TYPE)

    def _tell(self, action: str, detail: str, level: Level = Level.INFO) -> None:
        at = self._clock.time()
        self._events.emit(SystemEvent(action=action, detail=detail, level=level, at=at))


def _exporter(parts: Parts) -> Exporter | None:
    # Imported here: it takes 50 ms, and is an extra.
    try:
        from .exporter import Exporter
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("prometheus_client"):
            raise
        return None
    return Exporter(parts)


def _json(value: object, status: int = 200) -> Page:
    return Page(msgspec.json.encode(value).decode() + "\n", status, _JSON)
