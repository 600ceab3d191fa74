"""A running node is watched: scraped as Prometheus does, by the dashboard and alerts of deploy/."""

from __future__ import annotations

import http.client
import itertools
import json
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from thenodes_core import Config, MemoryNetwork, NetworkTable, Node, RelayTable
from thenodes_core.health.counted import FAMILIES
from thenodes_core.health.metrics import METRICS, PROCESS_METRICS, Kind
from thenodes_relay.counters import ClientCounter, Counter

from .nodes import KVSTORE, RunningNode, fails, stop_all, wait_until

DEPLOY = Path(__file__).parent.parent / "deploy"
SERIES = {series: metric for metric in METRICS.values() for series in metric.series}
TARGET_LABELS = {"job", "instance"}
# What Grafana fills in.
GRAFANA = re.compile(r"\$\w+|\$\{\w+\}")


@pytest.fixture
def nodes() -> Iterator[list[RunningNode]]:
    running: list[RunningNode] = []
    yield running
    stop_all(running)


def get(url: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url + path, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def scrape(url: str) -> Mapping[tuple[str, ...], float]:
    status, text = get(url, "/metrics")
    assert status == 200
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_node_that_others_talk_to_is_scraped(tmp_path: Path, nodes: list[RunningNode]) -> None:
    first = RunningNode(tmp_path / "a", "--health-port", "0", "--plugin", str(KVSTORE))
    nodes.append(first)
    bootstrap = ("--bootstrap", f"127.0.0.1:{first.port}", "--plugin", str(KVSTORE))
    second = RunningNode(tmp_path / "b", "--health-port", "0", *bootstrap)
    nodes.append(second)
    wait_until(first.connected, "the peer")
    second.exec("kvstore", "put", "key", "value")
    url = first.ask("status")["health"]
    wait_until(lambda: scrape(url)["thenodes_messages_received_total",] > 0, "the message")

    told = scrape(url)

    assert get(url, "/readyz") == (200, '{"ready":true,"reasons":[]}\n')
    assert json.loads(get(url, "/healthz")[1])["node_id"] == first.node_id
    assert told["thenodes_sessions", "inbound", "binary"] == 1
    assert told["thenodes_handshakes_total", "joined"] == 1
    assert told["thenodes_frames_total", "received", "EXTENSION"] >= 1
    assert told["thenodes_bytes_total", "sent", "EXTENSION"] > 0
    assert told["thenodes_plugin_hook_seconds_count", "on_message", "kvstore"] >= 1
    assert told["process_open_fds",] > 3
    of_second = scrape(second.ask("status")["health"])
    assert of_second["thenodes_sessions", "outbound", "binary"] == 1


def test_strangers_who_open_connections_and_say_nothing_keep_no_scrape_out(
    tmp_path: Path, nodes: list[RunningNode]
) -> None:
    node = RunningNode(tmp_path / "a", "--health-port", "0")
    nodes.append(node)
    url = node.ask("status")["health"]
    place = ("127.0.0.1", int(url.rpartition(":")[2]))
    idle = [socket.create_connection(place) for _ in range(100)]
    idle[0].settimeout(1)

    try:
        assert get(url, "/healthz")[0] == 200
        assert scrape(url)["thenodes_ready",] == 1
        assert scrape(url)["process_open_fds",] < 100
    finally:
        for one in idle:
            one.close()


def test_a_header_of_ten_megabytes_harms_nothing(tmp_path: Path, nodes: list[RunningNode]) -> None:
    node = RunningNode(tmp_path / "a", "--health-port", "0")
    nodes.append(node)
    url = node.ask("status")["health"]
    before = scrape(url)["process_resident_memory_bytes",]
    long = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)

    try:
        long.request("GET", "/metrics", headers={"X-Long": "x" * 10_000_000})
        assert long.getresponse().status == 431
    except ConnectionError:
        pass
    finally:
        long.close()

    assert scrape(url)["process_resident_memory_bytes",] - before < 5_000_000
    assert node.events(action="internal_error") == []


def test_a_taken_port_ends_the_start_with_1_and_a_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, error = fails(
            "run", "--port", "0", "--state-dir", str(tmp_path / "a"), "--health-port", port
        )

    assert code == 1
    assert f"127.0.0.1:{port}" in error
    assert "choose another with --health-port" in error


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DEPLOY / "grafana" / "thenodes.json").read_text())
    return loaded


PANELS = [panel for panel in dashboard()["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]


def rules() -> list[dict[str, Any]]:
    loaded = yaml.safe_load((DEPLOY / "prometheus" / "thenodes.rules.yml").read_text())
    return [rule for group in loaded["groups"] for rule in group["rules"]]


def names_in(query: str) -> set[str]:
    return set(re.findall(r"\b(?:thenodes|process)_[a-z0-9_]+", query))


@pytest.mark.parametrize("query", QUERIES + [rule["expr"] for rule in rules()])
def test_what_is_asked_for_is_what_a_node_tells(query: str) -> None:
    names = names_in(query)
    asked = re.findall(r"by \(([^)]*)\)", query)
    labels = {label.strip() for group in asked for label in group.split(",")}
    for selector in re.findall(r"\{([^}]*)\}", query):
        labels |= set(re.findall(r"(\w+)\s*[=!]", selector))

    assert names or query.startswith("up{")
    assert names <= SERIES.keys() | set(PROCESS_METRICS)
    for metric in [SERIES[name] for name in names & SERIES.keys()]:
        assert labels <= {*metric.labels, *TARGET_LABELS, "le"}


def test_everything_that_a_node_tells_is_on_the_dashboard_but_for_a_few() -> None:
    shown = {SERIES[name].name for query in QUERIES for name in names_in(query) & SERIES.keys()}

    assert {name.removeprefix("thenodes_") for name in METRICS.keys() - shown} == {
        "node_info",
        # What a relay and its users do beside moving frames; the reference has them.
        "confirmations_dropped",
        "confirmations_received",
        "confirmations_sent",
        "relay_acks_ignored",
        "relay_bound",
        "relay_client_acked",
        "relay_client_bound",
        "relay_client_cards_refused",
        "relay_client_ignored",
        "relay_client_mailboxes",
        "relay_client_notified",
        "relay_client_received",
        "relay_client_refused_binds",
        "relay_client_unsaved",
        "relay_duplicates",
        "relay_notices_lost",
        "relay_notified",
        "relay_stalled",
        "relay_unbound",
        "service_counts",
        "service_levels",
        "texts_received",
    }


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_panel_has_a_unit_and_the_data_source_that_is_chosen(panel: dict[str, Any]) -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    defaults = panel["fieldConfig"]["defaults"]

    assert defaults.get("unit") or panel["options"]["yAxis"]["unit"]
    assert panel["datasource"] == chosen
    for target in panel["targets"]:
        assert target["datasource"] == chosen
        assert re.search(r'job=~"\$job",instance=~"\$instance"', target["expr"])
        assert target["legendFormat"] or panel["type"] == "stat"


def test_the_variables_of_the_dashboard_are_those_that_it_uses() -> None:
    board = dashboard()
    variables = [variable["name"] for variable in board["templating"]["list"]]
    used = {match.strip("${}") for match in GRAFANA.findall(json.dumps(board["panels"]))} - {
        "__rate_interval"
    }

    assert variables == ["datasource", "job", "instance"]
    assert used == set(variables)
    assert board["schemaVersion"] >= 41
    assert board["id"] is None


def test_panels_have_ids_of_their_own_and_do_not_lie_on_each_other() -> None:
    panels = dashboard()["panels"]
    places = [panel["gridPos"] for panel in panels]

    assert len({panel["id"] for panel in panels}) == len(panels)
    for one, other in itertools.combinations(places, 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_x or apart_y
    assert max(place["x"] + place["w"] for place in places) == 24


@pytest.mark.parametrize("counter", [*Counter, *ClientCounter])
def test_every_counter_of_the_relay_has_a_metric(counter: Counter | ClientCounter) -> None:
    assert counter.value in FAMILIES


async def test_every_level_of_a_relay_has_a_metric() -> None:
    relay = RelayTable(enabled=True)
    config = Config(port=0, network=NetworkTable(relay=relay))

    async with Node(config, transport=MemoryNetwork()) as node:
        names = set(node.counters.levels())

    assert {f"thenodes_{name}" for name in names} == {
        name
        for name, metric in METRICS.items()
        if metric.kind is Kind.GAUGE and name.startswith("thenodes_relay_")
    }


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_every_alert_says_what_is_so_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert "{{ $labels.instance }}" in rule["annotations"]["summary"]
    assert rule["annotations"]["description"].endswith(".")


def test_the_example_of_a_scrape_names_the_rules_and_a_port() -> None:
    table = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())

    assert table["rule_files"] == ["thenodes.rules.yml"]
    (job,) = table["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["127.0.0.1:9464"]}]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize(
    "words", [("check", "config", "prometheus.yml"), ("test", "rules", "thenodes.tests.yml")]
)
def test_promtool_agrees(words: tuple[str, ...]) -> None:
    done = subprocess.run(
        ["promtool", *words],
        cwd=DEPLOY / "prometheus",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
