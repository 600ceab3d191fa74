"""Requirements from anybody: judged, or refused, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from thenodes_core.plugins.requirements import Requirements
from thenodes_core.plugins.source import Content, Metadata
from thenodes_plugin_api import Manifest, PluginSection

DIGITS = "9" * 5000


def content(*requires: str, python: str | None = None, abi: int = 1, revision: int = 0) -> Content:
    section = PluginSection(id="my", version="1", entry="m:f", abi=abi, abi_revision=revision)
    return Content(
        package=Path("m"),
        manifest=Manifest(manifest=1, plugin=section),
        metadata=Metadata("METADATA", "my", "1", python, requires, None),
    )


def codes(judged: Content) -> list[str]:
    requirements = Requirements()
    requirements.add("other", judged.metadata)
    return [fault.code for fault in requirements.faults(judged)]


API = "thenodes-plugin-api>=1.0,<2"


@pytest.mark.parametrize(
    "line",
    [
        "(" * 10_000,
        "none-such; " + "(" * 10_000,
        f"msgspec>={DIGITS}",
        f"msgspec<{DIGITS}",
        "msgspec>=999; platform_release > 'a'",
        "none-such @ https://example.org/none.whl",
        "",
    ],
    ids=lambda line: line[:30],
)
def test_a_requirement_that_cannot_be_met_or_read_is_told(line: str) -> None:
    assert codes(content(API, line)) in (["TN-P020"], [])


@pytest.mark.parametrize("abi", [-1, 10**6 + 1, int("f" * 10_000, 16)], ids=["-1", "10^6", "big"])
def test_a_generation_that_is_none_is_told_by_its_own_gate_alone(abi: int) -> None:
    assert codes(content(API, abi=abi)) == []


@pytest.mark.parametrize(
    ("line", "abi", "revision", "agrees"),
    [
        ("thenodes-plugin-api>=1.0,<2", 1, 0, True),
        ("thenodes-plugin-api~=1.0", 1, 0, True),
        ("TheNodes_Plugin_API>=1.0,<2", 1, 0, True),
        ("thenodes-plugin-api>=1.2,<2", 1, 2, True),
        ("thenodes-plugin-api>=1.1,<2", 1, 2, False),
        ("thenodes-plugin-api>=1.3,<2", 1, 2, False),
        ("thenodes-plugin-api>=1.0,<3", 1, 0, False),
        ("thenodes-plugin-api", 1, 0, False),
        ("thenodes-plugin-api>=2.0,<3", 2, 0, True),
    ],
)
def test_pip_and_host_have_to_be_told_the_same(
    line: str, abi: int, revision: int, agrees: bool
) -> None:
    assert codes(content(line, abi=abi, revision=revision)) == ([] if agrees else ["TN-P012"])


@given(st.text(max_size=60), st.text(max_size=20))
@example("x>=" + DIGITS, ">=" + DIGITS)
def test_any_requirement_is_judged_or_refused(line: str, python: str) -> None:
    assert set(codes(content(line, python=python))) <= {"TN-P012", "TN-P014", "TN-P020"}
