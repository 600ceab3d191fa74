"""When a peer is asked for a sign of life, and when it is given up."""

from __future__ import annotations

from thenodes_core.limits import Limits
from thenodes_core.session.liveness import Liveness, Verdict


def look(liveness: Liveness, now: float, received: int = 0, **what: object) -> Verdict:
    values: dict[str, object] = {"written": (0, 0), "waiting": False, **what}
    return liveness.look(now, received=received, **values)  # type: ignore[arg-type]


def test_a_peer_that_is_heard_is_left_alone() -> None:
    liveness = Liveness(Limits(), 0.0)

    verdicts = [look(liveness, now * 9.0, received=now) for now in range(1, 20)]

    assert set(verdicts) == {Verdict.ALIVE}


def test_a_silent_peer_is_asked_once_an_interval_and_cut_after_three() -> None:
    liveness = Liveness(Limits(), 0.0)

    verdicts = {now: look(liveness, float(now)) for now in range(1, 31)}

    assert [now for now, verdict in verdicts.items() if verdict is Verdict.ASK] == [10, 20]
    assert [now for now, verdict in verdicts.items() if verdict is Verdict.SILENT] == [30]


def test_any_byte_is_life() -> None:
    liveness = Liveness(Limits(), 0.0)
    look(liveness, 29.0, received=1)

    assert look(liveness, 30.0, received=1) is Verdict.ALIVE
    assert look(liveness, 58.9, received=1) is not Verdict.SILENT
    assert look(liveness, 59.0, received=1) is Verdict.SILENT


def test_a_peer_that_takes_nothing_is_cut_after_five_seconds() -> None:
    liveness = Liveness(Limits(), 0.0)
    look(liveness, 1.0, received=1, written=(3, 100), waiting=True)

    verdicts = [
        look(liveness, now, received=int(now), written=(3, 100), waiting=True)
        for now in (2.0, 5.9, 6.0)
    ]

    assert verdicts == [Verdict.ALIVE, Verdict.ALIVE, Verdict.STUCK]


def test_a_slow_peer_that_takes_something_is_kept() -> None:
    liveness = Liveness(Limits(), 0.0)

    verdicts = [
        look(liveness, now * 4.0, received=now, written=(3, 10_000 - now), waiting=True)
        for now in range(1, 50)
    ]

    assert set(verdicts) == {Verdict.ALIVE}


def test_the_clock_of_progress_begins_when_something_waits() -> None:
    liveness = Liveness(Limits(), 0.0)
    look(liveness, 9.0, received=1)

    assert look(liveness, 10.0, received=1, waiting=True) is Verdict.ALIVE
    assert look(liveness, 14.0, received=1, waiting=True) is Verdict.STUCK


def test_the_intervals_are_settings() -> None:
    liveness = Liveness(Limits(heartbeat_seconds=2.0, progress_seconds=1.0), 0.0)

    assert look(liveness, 2.0) is Verdict.ASK
    assert look(liveness, 6.0) is Verdict.SILENT


def test_a_peer_that_is_watched_closely_is_asked_and_cut_sooner() -> None:
    liveness = Liveness(Limits(), 0.0, interval_seconds=2.0)

    verdicts = {now: look(liveness, float(now)) for now in range(1, 7)}

    assert [now for now, verdict in verdicts.items() if verdict is Verdict.ASK] == [2, 4]
    assert [now for now, verdict in verdicts.items() if verdict is Verdict.SILENT] == [6]
    assert liveness.patience_seconds == 6.0


def test_a_peer_may_be_watched_more_closely_later() -> None:
    liveness = Liveness(Limits(), 0.0)
    assert look(liveness, 5.0) is Verdict.ALIVE

    liveness.interval_seconds = 2.0

    assert look(liveness, 5.5) is Verdict.ASK
    assert look(liveness, 6.0) is Verdict.SILENT
