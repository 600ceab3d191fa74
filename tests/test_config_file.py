"""A configuration file by the command, and at the prompt of a running node."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from .nodes import RunningNode, fails, thenodes


def test_a_file_is_made_once_checked_and_changed(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    thenodes("config", "init", str(file))
    made = file.read_bytes()

    again = thenodes("config", "init", str(file), check=False)
    checked = thenodes("config", "check", str(file)).stdout
    unknown = thenodes("config", "set", "relm.name", "x", "--config", str(file), check=False)

    assert again.returncode == 2
    assert "--force" in again.stderr
    assert "fine, 0 settings" in checked
    assert unknown.returncode == 2
    assert "did you mean realm.name?" in unknown.stderr
    assert file.read_bytes() == made
    assert file.stat().st_mode & 0o777 == 0o600

    done = thenodes("config", "set", "realm.name", "home", "--config", str(file), "--json").stdout
    got = thenodes("config", "get", "realm.name", "--config", str(file)).stdout

    assert json.loads(done)["restart"] == ["realm.name"]
    assert got == '"home"\n'
    assert len(file.read_bytes().splitlines()) == len(made.splitlines())


def test_init_tells_machines_the_file_and_people_how_to_start_a_node_with_it(
    tmp_path: Path,
) -> None:
    plain, spaced = tmp_path / "node.toml", tmp_path / "my node.toml"

    made = thenodes("config", "init", str(plain), "--json").stdout
    told = thenodes("config", "init", str(spaced)).stdout

    assert json.loads(made) == {"file": str(plain)}
    assert f"thenodes run --config '{spaced}'" in told


def test_init_makes_a_relay_of_a_node(tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    thenodes("config", "init", str(file), "--relay", "--set", "realm.name=home")

    relay = json.loads(
        thenodes("config", "get", "network.relay", "--config", str(file), "--json").stdout
    )

    assert relay["value"]["enabled"]
    assert relay["value"]["store_forward"]


def test_settings_that_do_not_go_together_make_no_file(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"

    code, error = fails(
        "config", "init", str(file), "--set", "plugin.kv.a=1", "--set", "plugin.kv.a.b=2"
    )

    assert code == 2
    assert "--set: plugin.kv.a.b does not fit another --set" in error
    assert not file.exists()


def test_set_without_a_file_says_how_to_get_one() -> None:
    done = thenodes("config", "set", "port", "1", check=False)

    assert done.returncode == 2
    assert "thenodes config init" in done.stderr


def test_a_running_node_changes_its_file_and_takes_over_what_it_can(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    thenodes("config", "init", str(file))
    node = RunningNode(tmp_path / "state", "--config", str(file))
    try:
        at_once = node.exec("config", "set", "encryption.trust_policy.mode", "tofu")
        later = node.exec("config", "set", "realm.name", "home")
        overridden = node.exec("config", "set", "port", "50001")
        before = file.read_bytes()
        refused = thenodes(
            *("exec", "--state-dir", str(node.state_dir)),
            *("config", "set", "port", "many"),
            check=False,
        )

        assert "it applies now" in at_once
        assert node.exec("config", "get", "encryption.trust_policy.mode") == '"tofu"'
        assert "when the node is started again" in later
        assert node.exec("config", "get", "realm.name") == '"default"'
        assert "the options it was started with win over the file" in overridden
        assert "the node runs with that" not in overridden
        assert refused.returncode == 1
        assert file.read_bytes() == before
        assert node.logged(action="reloaded")
    finally:
        node.stop(signal.SIGTERM)


def test_a_running_node_without_a_file_says_so(tmp_path: Path) -> None:
    node = RunningNode(tmp_path / "state")
    try:
        done = thenodes(
            *("exec", "--state-dir", str(node.state_dir), "config", "set", "port", "1"),
            check=False,
        )
    finally:
        node.stop(signal.SIGTERM)

    assert done.returncode == 1
    assert "started without a file" in done.stderr
