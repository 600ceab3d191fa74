"""Counters become metrics: none is lost, none is told twice, labels are few."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from thenodes_core.health.counted import FAMILIES, OTHER, counted, levels
from thenodes_core.health.metrics import METRICS, Kind

SOURCES = "\n".join(
    path.read_text()
    for path in (Path(__file__).parents[2] / "src").rglob("*.py")
    if "health" not in path.parts
)


def told(counters: dict[str, int]) -> dict[tuple[str, ...], float]:
    """What is not 0, by metric and labels."""
    return {(one.metric.name, *one.labels): one.value for one in counted(counters) if one.value}


@pytest.mark.parametrize(
    "counter", sorted(set(re.findall(r'counters\.add\(\s*"([a-z_]+)"', SOURCES)))
)
def test_every_counter_of_the_core_has_a_metric_of_its_own(counter: str) -> None:
    assert counter in FAMILIES


def test_every_counter_is_told_once() -> None:
    counters = {f"{name}.why": 1 for name in FAMILIES} | {"somebodys.why": 1, "somebodys": 1}

    series = counted(counters)

    assert sum(one.value for one in series) == len(counters)
    assert len({(one.metric.name, one.labels) for one in series}) == len(series)


def test_every_series_has_the_labels_of_its_metric() -> None:
    counters = {name: 1 for name in FAMILIES} | {"somebodys.why": 1}

    assert all(len(one.labels) == len(one.metric.labels) for one in counted(counters))


def test_a_reason_is_a_label() -> None:
    assert told({"messages_dropped.bad_payload": 3}) == {
        ("thenodes_messages_dropped", "bad_payload"): 3
    }


def test_outcomes_of_handshakes_share_a_metric() -> None:
    counters = {
        "peers_joined": 4,
        "sessions_probed": 3,
        "connections_refused": 2,
        "sessions_refused.realm": 1,
    }

    assert told(counters) == {
        ("thenodes_handshakes", "joined"): 4,
        ("thenodes_handshakes", "probed"): 3,
        ("thenodes_handshakes", "no_node"): 2,
        ("thenodes_handshakes", "realm"): 1,
    }


def test_ids_of_peers_are_no_labels() -> None:
    assert told({f"relay_stalled.peer-{number}": 1 for number in range(500)}) == {
        ("thenodes_relay_stalled",): 500
    }


def test_what_grows_from_0_is_told_before_it_does() -> None:
    zero = {(one.metric.name, *one.labels) for one in counted({}, ["my"])}

    assert ("thenodes_handshakes", "joined") in zero
    assert ("thenodes_relay_forwarded",) in zero
    assert ("thenodes_plugin_quarantines", "my") in zero


def test_reasons_beyond_64_are_told_together_and_stay_where_they_were() -> None:
    counters = {f"messages_dropped.reason_{number}": 1 for number in range(64)}
    first = told(counters)
    counters |= {f"messages_dropped.more_{number}": 1 for number in range(10)}

    later = told(counters)

    assert first.items() <= later.items()
    assert later["thenodes_messages_dropped", OTHER] == 10
    assert len(later) == 65


def test_counters_of_unknown_services_are_told_by_name_and_bounded() -> None:
    told_of = told({f"mine_{number}.why": 1 for number in range(100)})

    assert told_of["thenodes_service_counts", "mine_0", "why"] == 1
    assert told_of["thenodes_service_counts", OTHER, OTHER] == 36


def test_levels_of_the_relay_have_metrics_and_others_are_told_by_name() -> None:
    read = {"relay_queue_frames": 7.0, "lost": 1.0, "sessions": 2.0}

    assert [(one.metric.name, one.labels, one.value) for one in levels(read)] == [
        ("thenodes_relay_queue_frames", (), 7.0),
        ("thenodes_service_levels", ("lost",), 1.0),
        ("thenodes_service_levels", ("sessions",), 2.0),
    ]


def test_levels_beyond_64_of_unknown_services_are_not_told() -> None:
    assert len(levels({f"mine_{number}": 1.0 for number in range(100)})) == 64


@pytest.mark.parametrize("name", METRICS)
def test_names_follow_the_conventions(name: str) -> None:
    metric = METRICS[name]

    assert re.fullmatch(r"thenodes(_[a-z0-9]+)+", name)
    assert not name.endswith(("_total", "_count", "_sum", "_bucket"))
    assert metric.help
    assert not metric.help.endswith(".")
    assert metric.kind in Kind
    for unit in ("millis", "_ms", "minutes", "kilobytes"):
        assert unit not in name
