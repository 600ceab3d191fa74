"""Which of two sessions stays: both sides have to agree."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from thenodes_core.peers.duplicates import SessionFacts, newer_wins

IDS = st.lists(st.text("ab", min_size=1, max_size=3), min_size=2, max_size=2, unique=True)
OLD, NEW = b"old instance", b"new instance"


def staying(local: str, peer: str, dialled_by: list[str]) -> str:
    """Who dialled the session that stays on one side, given the order that side saw."""
    kept = dialled_by[0]
    for newer in dialled_by[1:]:
        facts = [SessionFacts(OLD, dialler == local) for dialler in (kept, newer)]
        if newer_wins(local, peer, *facts):
            kept = newer
    return kept


@given(IDS, st.booleans(), st.booleans())
def test_both_sides_keep_the_same_of_two_crossing_sessions(
    ids: list[str], one_saw_its_own_first: bool, other_saw_its_own_first: bool
) -> None:
    one, other = ids
    seen_by_one = [one, other] if one_saw_its_own_first else [other, one]
    seen_by_other = [other, one] if other_saw_its_own_first else [one, other]

    assert staying(one, other, seen_by_one) == staying(other, one, seen_by_other)


@given(IDS, st.data())
def test_the_session_that_the_smaller_id_dialled_stays_in_any_order(
    ids: list[str], data: st.DataObject
) -> None:
    one, other = ids
    sessions = data.draw(st.permutations([one, other, one, other]))

    assert staying(one, other, list(sessions)) == min(ids)


@given(IDS, st.booleans())
def test_in_the_same_direction_the_newer_wins_on_both_sides(
    ids: list[str], one_dialled: bool
) -> None:
    one, other = ids
    here, there = SessionFacts(OLD, one_dialled), SessionFacts(OLD, not one_dialled)

    assert newer_wins(one, other, here, here)
    assert newer_wins(other, one, there, there)


@given(IDS, st.booleans(), st.booleans())
def test_a_restarted_peers_session_wins_whoever_dialled(
    ids: list[str], older_dialled_here: bool, newer_dialled_here: bool
) -> None:
    older = SessionFacts(OLD, older_dialled_here)
    newer = SessionFacts(NEW, newer_dialled_here)

    assert newer_wins(ids[0], ids[1], older, newer)


@given(IDS, st.booleans(), st.booleans())
def test_of_a_peer_that_names_no_instance_the_newer_wins(
    ids: list[str], older_dialled_here: bool, newer_dialled_here: bool
) -> None:
    older = SessionFacts(None, older_dialled_here)
    newer = SessionFacts(None, newer_dialled_here)

    assert newer_wins(ids[0], ids[1], older, newer)
