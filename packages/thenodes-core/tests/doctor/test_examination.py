"""Whole examinations: of nodes that run, of stopped ones, and of addresses that hang."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from pathlib import Path

import msgspec
import pytest

from thenodes_core import Config, MemoryNetwork, Node, NodeTable, RealmTable
from thenodes_core.clock import SystemClock
from thenodes_core.config import EncryptionTable, TrustPolicyTable
from thenodes_core.control.status import PluginLine
from thenodes_core.doctor import Finding, Outcome, examine, stopped_patient
from thenodes_core.doctor.command import summary
from thenodes_core.doctor.examination import _judge_plugin
from thenodes_core.store.state_dir import StateDir
from thenodes_core.transport.memory import MemoryLink


async def examined(
    config: Config, state_dir: Path, network: MemoryNetwork, *, most_seconds: float = 8.0
) -> list[Finding]:
    patient = stopped_patient(config, state_dir, lambda: [], SystemClock(), transport=network)
    return [one async for one in examine(patient, most_seconds=most_seconds)]


def about(found: list[Finding], check: str) -> Finding:
    (one,) = [one for one in found if one.check == check]
    return one


async def prepared(state_dir: Path, network: MemoryNetwork, config: Config | None = None) -> Config:
    """A node that ran once, and has its key."""
    config = config or Config()
    config = msgspec.structs.replace(config, port=0, node=NodeTable(state_dir=str(state_dir)))
    async with Node(config, transport=network):
        pass
    return config


async def test_a_peer_that_admits_the_node_is_named_with_its_realm(tmp_path: Path) -> None:
    network = MemoryNetwork()
    config = await prepared(tmp_path / "own", network)
    async with Node(Config(port=0), transport=network) as peer:
        config = msgspec.structs.replace(config, bootstrap_nodes=(peer.address,))

        found = await examined(config, tmp_path / "own", network)

        bootstrap = about(found, "bootstrap")
        assert bootstrap.outcome is Outcome.OK
        assert f"admits this node: {peer.id}, realm default/1.0" in bootstrap.text
        assert bootstrap.seconds is not None
        assert "not a day ahead of the peers" in about(found, "clock").text


async def test_without_a_key_a_peer_is_only_looked_at_and_notes_nothing(tmp_path: Path) -> None:
    network = MemoryNetwork()
    async with Node(Config(port=0), transport=network) as peer:
        config = Config(bootstrap_nodes=(peer.address,))

        found = await examined(config, tmp_path / "own", network)

        assert about(found, "bootstrap").text.startswith("answers with its HELLO")
        assert not peer.counters.snapshot().get("trust_decisions.open", 0)
        assert not (tmp_path / "own").exists()


async def test_a_peer_of_another_realm_and_one_that_refuses_the_key_say_why(
    tmp_path: Path,
) -> None:
    network = MemoryNetwork()
    config = await prepared(tmp_path / "own", network)
    policy = EncryptionTable(trust_policy=TrustPolicyTable(mode="allowlist"))
    async with (
        Node(Config(port=0, realm=RealmTable(name="barn")), transport=network) as other,
        Node(Config(port=0, encryption=policy), transport=network) as strict,
    ):
        config = msgspec.structs.replace(config, bootstrap_nodes=(other.address, strict.address))

        found = await examined(config, tmp_path / "own", network)

        of = {one.subject: one for one in found if one.check == "bootstrap"}
        assert of[other.address].outcome is Outcome.PROBLEM
        assert "realm" in of[other.address].text
        assert "realm.name" in of[other.address].fix
        assert of[strict.address].outcome is Outcome.PROBLEM
        assert "promote" in of[strict.address].fix


async def test_a_peer_that_the_own_policy_refuses_is_a_problem_here(tmp_path: Path) -> None:
    network = MemoryNetwork()
    policy = EncryptionTable(trust_policy=TrustPolicyTable(mode="allowlist"))
    config = await prepared(tmp_path / "own", network, Config(encryption=policy))
    async with Node(Config(port=0), transport=network) as peer:
        config = msgspec.structs.replace(config, bootstrap_nodes=(peer.address,))

        found = await examined(config, tmp_path / "own", network)

        assert about(found, "bootstrap").outcome is Outcome.PROBLEM
        assert "not trusted here" in about(found, "bootstrap").text
        assert "trust explain" in about(found, "bootstrap").fix


async def test_an_address_where_nobody_is_says_so(tmp_path: Path) -> None:
    config = Config(bootstrap_nodes=("127.0.0.1:1",))

    found = await examined(config, tmp_path, MemoryNetwork())

    assert about(found, "bootstrap").outcome is Outcome.PROBLEM
    assert "firewall" in about(found, "bootstrap").fix


async def test_a_file_that_cannot_be_looked_at_is_a_problem_and_the_rest_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("thenodes_core.doctor.examination.shutil.disk_usage", refused)

    found = await examined(Config(port=0), tmp_path, MemoryNetwork())

    state = about(found, "state")
    assert state.outcome is Outcome.PROBLEM
    assert state.text == "cannot be looked at: Permission denied"
    assert state.subject == str(tmp_path)
    assert about(found, "port").outcome is Outcome.OK


class Hanging(MemoryNetwork):
    """Takes for ever."""

    async def dial(self, address: str) -> MemoryLink:
        await asyncio.Event().wait()
        raise AssertionError


async def test_addresses_that_hang_hold_up_nothing_else(tmp_path: Path) -> None:
    config = Config(bootstrap_nodes=tuple(f"10.0.0.{n}:1" for n in range(1, 100)))

    found = await examined(config, tmp_path, Hanging(), most_seconds=0.5)

    late = [one for one in found if "not known after" in one.text]
    assert len([one for one in late if one.check == "bootstrap"]) == 99
    assert about(found, "port").outcome is not None


async def test_of_many_addresses_some_are_asked_at_a_time(tmp_path: Path) -> None:
    asked: list[str] = []

    class Counting(Hanging):
        async def dial(self, address: str) -> MemoryLink:
            asked.append(address)
            return await super().dial(address)

    config = Config(bootstrap_nodes=tuple(f"10.0.0.{n}:1" for n in range(1, 100)))

    await examined(config, tmp_path, Counting(), most_seconds=0.5)

    assert len(asked) == 32


async def test_an_address_that_hangs_is_given_up(tmp_path: Path) -> None:
    patient = stopped_patient(Config(), tmp_path, lambda: [], SystemClock(), transport=Hanging())

    met = await patient.prober.ask("10.0.0.1:1", most_seconds=0.05)

    assert met.problem == "no answer within 0.05 s"


async def test_while_a_process_holds_the_directory_peers_are_only_looked_at(
    tmp_path: Path,
) -> None:
    network = MemoryNetwork()
    config = await prepared(tmp_path / "own", network)
    async with Node(Config(port=0), transport=network) as peer:
        config = msgspec.structs.replace(config, bootstrap_nodes=(peer.address,))
        with StateDir(tmp_path / "own"):
            found = await examined(config, tmp_path / "own", network)

        assert f"answers with its HELLO: {peer.id}" in about(found, "bootstrap").text
        assert f"held by process {os.getpid()}" in about(found, "state").text
        assert not peer.counters.snapshot().get("trust_decisions.open", 0)


async def test_the_lock_of_a_node_that_ended_in_order_is_not_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = await prepared(tmp_path, MemoryNetwork())

    def tried(*_: int) -> None:
        raise AssertionError("a node that starts now would find its directory in use")

    monkeypatch.setattr(fcntl, "flock", tried)

    found = await examined(config, tmp_path, MemoryNetwork())

    assert "no node holds it" in about(found, "state").text


async def test_a_running_node_examines_itself_without_ending_its_sessions(tmp_path: Path) -> None:
    network = MemoryNetwork()
    async with Node(Config(port=0), transport=network) as peer:
        config = Config(port=0, bootstrap_nodes=(peer.address,))
        async with Node(config, transport=network) as node:
            await node.wait_for(peer.id)
            before = peer.counters.snapshot()

            reply = await node.commands.run("doctor --json")

            assert "bootstrap" in reply.text
            assert "connected" in reply.text
            assert peer.counters.snapshot() == before


async def test_a_running_node_asks_the_addresses_that_it_was_given_since(tmp_path: Path) -> None:
    network = MemoryNetwork()
    async with Node(Config(port=0), transport=network) as node:
        node.reload_network(["127.0.0.1:1"], node.config.discovery)

        reply = await node.commands.run("doctor")

        assert "problem bootstrap    127.0.0.1:1" in reply.text


async def test_a_running_node_does_not_replace_a_session_that_it_has(tmp_path: Path) -> None:
    network = MemoryNetwork()
    async with (
        Node(Config(port=0), transport=network) as peer,
        Node(Config(port=0), transport=network) as node,
    ):
        patient = node._operation.patient()
        met = await patient.prober.ask(peer.address)
        assert met.ending is not None

        config = Config(port=0, bootstrap_nodes=(node.address,))
        async with Node(config, transport=network) as third:
            await node.wait_for(third.id)

            looked = await node._operation.patient().prober.ask(third.address)

            assert looked.looked
            assert node.peers.get(third.id) is not None


@pytest.mark.parametrize(
    ("state", "count"), [("rejected", 1), ("quarantined", 1), ("failed", 1), ("running", 0)]
)
def test_plugins_that_do_not_work_are_problems(state: str, count: int) -> None:
    line = PluginLine("kv", "1", state, "kv.whl", "TN-P002: expected", codes=("TN-P002",))

    found = _judge_plugin(line)

    assert len(found) == count
    assert all(one.outcome is Outcome.PROBLEM and "kv" in one.fix for one in found)


def test_the_summary_counts() -> None:
    problem = Finding("a", Outcome.PROBLEM, "x")
    fine = Finding("a", Outcome.OK, "x")

    assert summary([problem, fine]) == "1 problem, no warnings"
    assert summary([fine]) == "nothing is wrong, as far as 1 checks tell"
