"""Two services cannot both have a kind or a command, and a default one gives way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from thenodes_core.plugins.find import candidates
from thenodes_core.plugins.gates import Scan, scan
from thenodes_core.plugins.policy import GatePolicy

WritePlugin = Callable[..., Path]

FIRST = '[service]\nkinds = ["RELAY_FWD"]\ncommands = ["carry"]'


def judge(*paths: Path, reserved: frozenset[str] = frozenset()) -> Scan:
    return scan(candidates(paths, None, ()), GatePolicy(reserved=reserved))


def received(found: Scan, plugin_id: str) -> list[str]:
    """What is wrong with a plugin."""
    (verdict,) = (verdict for verdict in found.verdicts if verdict.id == plugin_id)
    assert set(verdict.codes) <= {"TN-P030"}
    return [fault.received for fault in verdict.faults]


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        ('[service]\nkinds = ["ACK", "RELAY_FWD"]', "the kind RELAY_FWD is taken by a"),
        ('[service]\nkinds = []\ncommands = ["carry"]', "the command 'carry' is taken by a"),
        ('[prompt]\nprefix = "carry"', "the prompt prefix 'carry' is a command of a"),
    ],
)
def test_what_a_service_has_no_other_plugin_gets(
    write_plugin: WritePlugin, extra: str, problem: str
) -> None:
    body = 'abi = 1\nprompt_prefix = "carry"' if "[prompt]" in extra else "abi = 1"
    found = judge(write_plugin("a", extra=FIRST), write_plugin("b", extra=extra, body=body))

    assert [source.manifest.plugin.id for source in found.accepted] == ["a"]
    assert received(found, "b") == [problem]


def test_a_service_gets_no_command_that_is_a_prompt_prefix(write_plugin: WritePlugin) -> None:
    other = write_plugin("a", extra='[prompt]\nprefix = "carry"')

    assert received(judge(other, write_plugin("b", extra=FIRST)), "b") == [
        "the command 'carry' is taken by a"
    ]


def test_a_command_of_a_service_is_not_its_own_prompt_prefix(write_plugin: WritePlugin) -> None:
    plugin = write_plugin("a", extra=f'[prompt]\nprefix = "carry"\n{FIRST}')

    assert received(judge(plugin), "a") == ["the command 'carry' is its own prompt prefix"]


def test_a_command_of_the_nodes_own_is_no_services(write_plugin: WritePlugin) -> None:
    found = judge(write_plugin("a", extra=FIRST), reserved=frozenset({"carry"}))

    assert received(found, "a") == ["the command 'carry' is the node's own"]


def test_two_services_of_different_kinds_are_both_loaded(write_plugin: WritePlugin) -> None:
    other = '[service]\nkinds = ["ACK"]\ncommands = ["other"]'

    found = judge(write_plugin("a", extra=FIRST), write_plugin("b", extra=other))

    assert len(found.accepted) == 2


@pytest.mark.parametrize(
    "section",
    ['kinds = ["HELLO"]', 'kinds = []\ntable = "encryption"', "kinds = []\nhidden = 1"],
    ids=["kind", "table", "key"],
)
def test_a_section_that_asks_for_what_no_service_gets_is_refused(
    write_plugin: WritePlugin, section: str
) -> None:
    found = judge(write_plugin("a", extra=f"[service]\n{section}"))

    assert found.accepted == []
    assert found.verdicts[0].codes == ("TN-P010",)


def test_an_installed_default_is_a_candidate() -> None:
    found = scan(candidates((), None, (), ["relay"]), GatePolicy())

    assert [source.manifest.plugin.id for source in found.accepted] == ["relay"]


def test_a_default_that_is_named_is_a_candidate_once() -> None:
    assert len(candidates((), None, ["relay"], ["relay"])) == 1


def test_a_default_gives_way_to_a_plugin_of_its_id(write_plugin: WritePlugin) -> None:
    tree = write_plugin("relay", extra=FIRST)

    found = scan(candidates([tree], None, (), ["relay"]), GatePolicy())

    assert [verdict.origin for verdict in found.verdicts] == [str(tree)]
    assert len(found.accepted) == 1
