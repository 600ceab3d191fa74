"""What takes the place of an answer fits the terminal."""

from __future__ import annotations

import msgspec
import pytest

from thenodes_cli.fitting import fitted
from thenodes_core.control.sample import Rate, Sample

SAMPLE = Sample(
    at=1.0,
    node_id="n" * 32,
    interval_seconds=1.0,
    received=Rate(),
    sent=Rate(),
    kinds=[],
    session_count=0,
    sessions=[],
    outbox_frames=0,
    outbox_bytes=0,
    waiting_peers=0,
    inboxes=[],
    lag_seconds=0.0,
)


@pytest.mark.parametrize("data", [SAMPLE, msgspec.to_builtins(SAMPLE)], ids=["here", "elsewhere"])
def test_a_sample_is_laid_out_for_the_terminal(data: object) -> None:
    lines = fitted("x" * 80, data, 38, 12)

    assert (lines[0], len(lines) <= 12) == ("n" * 32, True)
    assert "0 peers" in lines[1]


def test_anything_else_is_cut() -> None:
    assert fitted("one two\nthree\nfour", {"a": 1}, 5, 2) == ["one t", "three"]
