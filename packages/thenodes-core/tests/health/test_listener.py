"""What a running node tells of itself over HTTP."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Mapping

import pytest
from prometheus_client.parser import text_string_to_metric_families

from thenodes_core import Config, ListenError, MemoryNetwork, Node
from thenodes_core.config import HealthTable
from thenodes_core.health.metrics import METRICS, Kind
from thenodes_core.health.readiness import Phase, Readiness
from thenodes_plugin_api import (
    Event,
    Level,
    Message,
    PeerJoined,
    PeerLeft,
    Plugin,
    PluginContext,
    Text,
)

HERE = HealthTable(port=0)


class Taker(Plugin):
    """Takes messages, and holds up its start until it may go on."""

    abi = 1

    def __init__(self, *, waits: bool = False) -> None:
        self.go_on = asyncio.Event()
        self.arrived = asyncio.Event()
        if not waits:
            self.go_on.set()

    async def on_start(self, ctx: PluginContext) -> None:
        await self.go_on.wait()

    async def on_peer(self, event: PeerJoined | PeerLeft, ctx: PluginContext) -> None:
        pass

    async def on_message(self, message: Message, ctx: PluginContext) -> None:
        self.arrived.set()


class Events:
    def __init__(self) -> None:
        self.all: list[Event] = []

    async def handle(self, event: Event) -> None:
        self.all.append(event)

    def find(self, action: str) -> list[Event]:
        return [event for event in self.all if getattr(event, "action", "") == action]


async def get(url: str | None, path: str, name: str = "") -> tuple[int, str]:
    assert url is not None
    host, _, port = url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {name or host}\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), body


async def scrape(node: Node) -> Mapping[tuple[str, ...], float]:
    """Every sample by its name and labels' values, as Prometheus would read it."""
    status, text = await get(node.status().health, "/metrics")
    assert status == 200
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def config(*bootstrap: str, health: HealthTable = HERE) -> Config:
    return Config(port=0, bootstrap_nodes=bootstrap, health=health)


async def test_a_node_tells_that_it_lives() -> None:
    async with Node(config(), transport=MemoryNetwork()) as node:
        status, body = await get(node.status().health, "/healthz")

    alive = json.loads(body)
    assert status == 200
    assert alive["alive"] is True
    assert alive["node_id"] == node.id
    assert alive["uptime_seconds"] >= 0
    assert "version" in alive


async def test_a_path_that_is_not_there_lists_those_that_are() -> None:
    async with Node(config(), transport=MemoryNetwork()) as node:
        assert await get(node.status().health, "/") == (
            404,
            "there is only: /healthz, /readyz, /metrics\n",
        )


async def test_without_a_port_nothing_listens() -> None:
    here = config(health=HealthTable())
    async with Node(here, transport=MemoryNetwork()) as node:
        assert node.status().health is None


async def test_a_node_is_ready_from_its_start_to_its_stop() -> None:
    taker, events = Taker(waits=True), Events()
    here = config()
    node = Node(here, plugins={"my": taker}, sinks=(events,), transport=MemoryNetwork())
    starting = asyncio.ensure_future(node.__aenter__())
    while not events.find("health_listening"):
        await asyncio.sleep(0)
    (listening,) = events.find("health_listening")
    url = re.findall(r"http://[\d.:]+\d", str(listening))[0]

    assert await get(url, "/readyz") == (
        503,
        '{"ready":false,"reasons":["the node is starting"]}\n',
    )
    assert (await get(url, "/healthz"))[0] == 200
    taker.go_on.set()
    await starting
    assert await get(url, "/readyz") == (200, '{"ready":true,"reasons":[]}\n')
    await node.__aexit__(None, None, None)


async def test_a_node_that_drains_lives_and_is_not_ready() -> None:
    async with Node(config(), transport=MemoryNetwork()) as node:
        await node.drain(seconds=0.1)
        url = node.status().health

        status, text = await get(url, "/readyz")
        alive, _ = await get(url, "/healthz")
        told = await scrape(node)

    assert (status, alive) == (503, 200)
    assert "draining" in text
    assert told["thenodes_ready",] == 0


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.DRAINING, Phase.STOPPING])
def test_a_node_that_is_not_ready_says_why(phase: Phase) -> None:
    readiness = Readiness()
    readiness.phase = phase

    (reason,) = readiness.reasons

    assert phase.value in reason
    assert readiness.is_running is (phase is Phase.DRAINING)


async def test_a_scrape_tells_of_traffic() -> None:
    network, taker = MemoryNetwork(), Taker()
    async with (
        Node(config(), plugins={"my": taker}, transport=network) as a,
        Node(config(a.address), transport=network) as b,
    ):
        await b.wait_for(a.id)
        await a.wait_for(b.id)
        for _ in range(3):
            await b.send(a.id, Text("hello"))
        await taker.arrived.wait()
        await b.peers.ping(a.id)
        of_a, of_b = await scrape(a), await scrape(b)

    assert of_a["thenodes_ready",] == 1
    assert of_a["thenodes_node_info", a.id, "daemon", "default/1.0"] == 1
    assert of_a["thenodes_sessions", "inbound", "binary"] == 1
    assert of_a["thenodes_sessions", "outbound", "binary"] == 0
    assert of_b["thenodes_sessions", "outbound", "binary"] == 1
    assert of_a["thenodes_messages_received_total",] == 3
    assert of_b["thenodes_messages_received_total",] == 0
    assert of_a["thenodes_handshakes_total", "joined"] == 1
    assert of_a["thenodes_frames_total", "received", "TEXT"] == 3
    assert of_b["thenodes_frames_total", "sent", "TEXT"] == 3
    size = of_a["thenodes_bytes_total", "received", "TEXT"]
    assert of_b["thenodes_bytes_total", "sent", "TEXT"] == size > 30
    assert of_b["thenodes_outbox_frames",] == of_b["thenodes_outbox_fullest_bytes",] == 0
    assert 0 <= of_b["thenodes_round_trip_seconds", "max"] < 5
    assert of_b["thenodes_dials_total", "bootstrap"] == 1
    assert of_a["thenodes_plugins", "running"] == 1
    assert of_a["thenodes_plugin_inbox_items", "my"] == 0
    assert of_a["thenodes_plugin_hook_seconds_count", "on_message", "my"] == 3
    assert of_a["thenodes_plugin_hook_seconds_count", "on_peer", "my"] == 1
    assert of_a["process_resident_memory_bytes",] > 1_000_000


async def test_two_nodes_in_one_process_have_their_own_metrics() -> None:
    network = MemoryNetwork()
    async with (
        Node(config(), transport=network) as a,
        Node(config(), transport=network) as b,
    ):
        a.counters.add("dials", 7)

        assert (await scrape(a))["thenodes_dials_total", "bootstrap"] == 7
        assert (await scrape(b))["thenodes_dials_total", "bootstrap"] == 0


async def test_no_counter_of_a_node_is_lost() -> None:
    async with Node(config(), transport=MemoryNetwork()) as node:
        node.counters.add("messages_dropped", 5, reason="bad_payload")
        node.counters.add("somebodys_own", 6, reason="why")
        node.counters.show_level("relay_queue_frames", lambda: 7)
        told = await scrape(node)

    assert told["thenodes_messages_dropped_total", "bad_payload"] == 5
    assert told["thenodes_service_counts_total", "somebodys_own", "why"] == 6
    assert told["thenodes_relay_queue_frames",] == 7


async def test_every_metric_of_the_table_is_told_with_its_kind_and_help() -> None:
    async with Node(config(), transport=MemoryNetwork()) as node:
        _, text = await get(node.status().health, "/metrics")

    families = {family.name: family for family in text_string_to_metric_families(text)}
    for metric in METRICS.values():
        family = families[metric.name]
        assert (family.type, family.documentation) == (metric.kind.value, metric.help)
    ours = {name for name in families if name.startswith("thenodes_")}
    assert ours == set(METRICS)


async def test_how_late_the_loop_is_is_a_histogram() -> None:
    async with Node(config(), transport=MemoryNetwork()) as node:
        await asyncio.sleep(0.3)
        told = await scrape(node)

    assert told["thenodes_loop_lag_seconds_count",] >= 1
    assert (
        told["thenodes_loop_lag_seconds_bucket", "+Inf"] == told["thenodes_loop_lag_seconds_count",]
    )
    assert METRICS["thenodes_loop_lag_seconds"].kind is Kind.HISTOGRAM


async def test_without_prometheus_client_metrics_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "thenodes_core.health.exporter", raising=False)
    async with Node(config(), transport=MemoryNetwork()) as node:
        status, text = await get(node.status().health, "/metrics")

        assert (await get(node.status().health, "/healthz"))[0] == 200
    assert status == 501
    assert 'pip install "thenodes-core[metrics]"' in text


async def test_a_name_is_no_way_to_the_pages_on_loopback_and_one_beyond_it() -> None:
    found = []
    for host in ("127.0.0.1", "0.0.0.0"):
        here = config(health=HealthTable(host=host, port=0))
        async with Node(here, transport=MemoryNetwork()) as node:
            url = (node.status().health or "").replace("0.0.0.0", "127.0.0.1")
            found.append((await get(url, "/healthz", "evil.example"))[0])

    assert found == [421, 200]


async def test_beyond_loopback_a_node_warns_that_it_is_not_encrypted() -> None:
    events = Events()
    here = config(health=HealthTable(host="0.0.0.0", port=0))
    async with Node(here, sinks=(events,), transport=MemoryNetwork()):
        pass

    (exposed,) = events.find("health_exposed")
    assert exposed.level is Level.WARNING
    assert "unencrypted" in str(exposed)


async def test_on_loopback_nothing_is_warned_of_and_the_address_is_told() -> None:
    events = Events()
    network = MemoryNetwork()
    async with Node(config(), sinks=(events,), transport=network) as node:
        url = node.status().health

    assert events.find("health_exposed") == []
    (listening,) = events.find("health_listening")
    assert url is not None
    assert url in str(listening)


async def test_a_taken_port_keeps_the_node_from_starting() -> None:
    network = MemoryNetwork()
    async with Node(config(), transport=network) as node:
        url = node.status().health
        assert url is not None
        taken = HealthTable(port=int(url.rpartition(":")[2]))
        with pytest.raises(ListenError, match="--health-port"):
            async with Node(config(health=taken), transport=network):
                pass


async def test_a_defect_in_what_is_told_is_an_event_and_harms_nothing_else() -> None:
    events = Events()
    network = MemoryNetwork()
    async with Node(config(), sinks=(events,), transport=network) as node:
        node.counters.show_level("broken", lambda: 1 / 0)
        url = node.status().health

        assert (await get(url, "/metrics"))[0] == 500
        assert (await get(url, "/healthz"))[0] == 200
    assert len(events.find("internal_error")) == 1
