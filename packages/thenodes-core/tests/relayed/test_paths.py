"""Who was lately reached or heard through which relay."""

from __future__ import annotations

from thenodes_core.relayed.paths import Path, Paths


def test_the_way_to_a_node_is_that_of_the_last_message() -> None:
    paths = Paths()

    paths.sent("far", "one", 1.0)
    paths.heard(["far"], "two", 2.0)

    assert paths.get("far") == Path("far", "two", 1.0, 2.0)


def test_a_message_is_told_as_stored_until_its_target_is_heard() -> None:
    paths = Paths()

    paths.sent("far", "one", 1.0, is_stored=True)
    stored = paths.get("far")
    paths.heard(["far"], "one", 2.0)
    heard = paths.get("far")

    assert (stored and stored.is_stored, heard and heard.is_stored) == (True, False)


def test_the_way_that_was_used_last_comes_first() -> None:
    paths = Paths()
    for at, name in enumerate(("a", "b", "a", "c")):
        paths.sent(name, "relay", float(at))

    assert [path.node_id for path in paths.all()] == ["c", "a", "b"]
    assert [path.used_at for path in paths.all()] == [3.0, 2.0, 1.0]


def test_a_way_that_is_forgotten_is_gone() -> None:
    paths = Paths()
    paths.sent("far", "relay", 1.0)

    assert (paths.forget("far"), paths.forget("far"), paths.get("far")) == (True, False, None)


def test_the_one_more_makes_the_way_that_was_used_longest_ago_go() -> None:
    paths = Paths()
    for number in range(512):
        paths.sent(f"n{number}", "relay", float(number))
    paths.heard(["n0"], "relay", 600.0)

    paths.heard(["another"], "relay", 601.0)

    assert len(paths.all()) == 512
    assert (paths.get("n1"), paths.get("n0") is None) == (None, False)
