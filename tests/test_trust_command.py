"""`thenodes trust` and SIGHUP, as an operator uses them, on nodes that run and that are stopped."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thenodes_core.security.certificates import make_certificate, pem
from thenodes_core.security.identity import Identity
from thenodes_plugin_api import Realm

from .conftest import StartNode
from .nodes import RunningNode, data_of, fails, thenodes, wait_until

EVIL = "a\x1b[2Jb\n\u202e"
REALM = Realm(name="default", code="default", version="1.0")
OBSERVE = "[encryption.trust_policy]\nmode = 'observe'\n"
ALLOWLIST = "[encryption.trust_policy]\nmode = 'allowlist'\n"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("THENODES_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def write(text: str, name: str = "node.toml") -> str:
    Path(name).write_text(text)
    return name


def put(store: str, *, name: str | None = None, state_dir: str = "data") -> str:
    """Put a certificate of a new key into a store; returns its fingerprint."""
    identity = Identity.generate()
    made = make_certificate(
        identity, node_id="n", realm=REALM, now=time.time(), common_name=name or "peer"
    )
    folder = Path(state_dir, "pki", store)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    Path(state_dir).chmod(0o700)
    (folder / f"{made.fingerprint}.pem").write_bytes(pem(made.der))
    return made.fingerprint


def listed(store: str, *words: str) -> list[str]:
    return [entry["fingerprint"] for entry in data_of("trust", store, *words)]


def events(state_dir: str = "data") -> list[dict[str, Any]]:
    """What the log holds; a node writes it a moment after things happen."""
    path = Path(state_dir, "logs/events.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def is_told(action: str, state_dir: str) -> Callable[[], bool]:
    """Whether the log holds an event of that action."""
    return lambda: any(event.get("action") == action for event in events(state_dir))


def moves(state_dir: str = "data") -> list[tuple[str, str, str]]:
    return [
        (event["fingerprint"], event["from_store"], event["to_store"])
        for event in events(state_dir)
        if event["type"] == "promotion"
    ]


def refusing(start_node: StartNode) -> tuple[RunningNode, RunningNode, tuple[str, ...]]:
    """A node, another that dials and refuses it, and the other's options."""
    peer = start_node("peer")
    options = ("--config", write(OBSERVE), "--bootstrap", peer.status()["listening"])
    node = start_node("node", *options)
    wait_until(lambda: node.status()["dialling"][0]["error"], "the peer to be refused")
    return peer, node, options


def test_a_peer_that_was_observed_is_promoted_and_let_in_at_once(start_node: StartNode) -> None:
    peer, node, _ = refusing(start_node)
    key = peer.status()["fingerprint"]
    target = ("--state-dir", "node")

    observed = listed("observed", *target)
    text = thenodes("trust", "promote", key[:8], *target).stdout
    wait_until(node.peers, "the peer to get in")

    assert observed == [key]
    assert text == f"{key} is trusted\n"
    assert node.peers() == [peer.status()["node_id"]]
    assert (listed("observed", *target), listed("trusted", *target)) == ([], [key])
    wait_until(lambda: (key, "observed", "trusted") in moves("node"), "the audit")


def test_a_stopped_node_is_told_whom_to_trust_and_lets_them_in(start_node: StartNode) -> None:
    peer, node, options = refusing(start_node)
    key = peer.status()["fingerprint"]
    assert node.stop()[0] == 0

    thenodes("trust", "promote", key[:8], "--state-dir", "node")
    again = start_node("node", *options)
    wait_until(again.peers, "the peer to get in")

    assert again.peers() == [peer.status()["node_id"]]
    assert moves("node") == [(key, "observed", "trusted")]


def test_a_peer_that_is_revoked_is_out_at_once(start_node: StartNode) -> None:
    first = start_node("first")
    second = start_node("second", "--bootstrap", first.status()["listening"])
    wait_until(first.peers, "the nodes to connect")
    key = second.status()["fingerprint"]
    Path("first/pki/trusted/certs").mkdir(mode=0o700, parents=True)
    certificate = data_of("identity", "show", "--state-dir", "second")["certificate"]["path"]
    Path("first/pki/trusted/certs/second.crt").write_bytes(Path(certificate).read_bytes())

    thenodes("trust", "reload", "--state-dir", "first")
    thenodes("trust", "revoke", key[:8], "--state-dir", "first")

    wait_until(lambda: not first.peers(), "the peer to be gone")
    wait_until(lambda: "revoked" in second.status()["dialling"][0]["error"], "the refusal")


def test_what_is_done_to_a_stopped_node_is_in_the_log_that_the_node_writes(
    start_node: StartNode,
) -> None:
    start_node("data").stop()
    key = put("observed/certs")

    thenodes("trust", "promote", key)

    kinds = [event.get("action", event["type"]) for event in events()]
    assert kinds[0] == "started"
    assert kinds[-2:] == ["stopping", "promotion"]
    assert events()[-1]["operator"]


def test_the_log_is_where_the_settings_say_or_nowhere() -> None:
    first, second = put("observed/certs"), put("observed/certs")
    write("[logging]\njson_path = 'audit.jsonl'\n")
    write("[logging]\njson_path = ''\n", "silent.toml")

    thenodes("trust", "promote", first, "--config", "node.toml", "--state-dir", "data")
    thenodes("trust", "promote", second, "--config", "silent.toml", "--state-dir", "data")

    (line,) = Path("audit.jsonl").read_text().splitlines()
    assert json.loads(line)["fingerprint"] == first
    assert not Path("data/logs").exists()


def test_a_log_that_cannot_be_written_is_told() -> None:
    key = put("observed/certs")
    Path("data/logs/events.jsonl").mkdir(parents=True)

    code, error = fails("trust", "promote", key)

    assert code == 1
    assert "data/logs/events.jsonl: what was done cannot be written to the event log" in error


def test_a_promotion_is_done_once() -> None:
    key = put("observed/certs")

    first = data_of("trust", "promote", key)
    again = data_of("trust", "promote", key)

    assert (first["from_store"], first["to_store"], first["changed"]) == (
        "observed",
        "trusted",
        True,
    )
    assert again["changed"] is False
    assert moves() == [(key, "observed", "trusted")]
    assert thenodes("trust", "promote", key).stdout == f"{key} was trusted already\n"


def test_a_key_goes_to_rejected_and_back() -> None:
    key = put("trusted/certs")

    thenodes("trust", "revoke", key[:6])
    rejected = listed("rejected"), listed("trusted")
    thenodes("trust", "promote", key[:6])

    assert rejected == ([key], [])
    assert (listed("rejected"), listed("trusted")) == ([], [key])
    assert moves() == [(key, "trusted", "rejected"), (key, "rejected", "trusted")]


def test_directories_that_the_settings_name_are_used() -> None:
    write("[encryption.paths]\ntrusted_cert_dir = 'friends'\n")
    key = put("observed/certs")

    moved = data_of("trust", "promote", key, "--config", "node.toml", "--state-dir", "data")

    assert Path(moved["path"]).parent == Path("friends").absolute()


def test_the_own_key_is_shown_running_or_not(start_node: StartNode) -> None:
    node = start_node("data")
    (running,) = data_of("trust", "own")
    node.stop()
    (stopped,) = data_of("trust", "own")

    assert running["fingerprint"] == data_of("identity", "show")["fingerprint"]
    assert Path(stopped.pop("path")).samefile(running.pop("path"))
    assert stopped == running


def test_ids_are_listed_and_forgotten_running_or_not(start_node: StartNode) -> None:
    write("[node]\nid = 'kitchen'\n")
    first = start_node("first")
    second = start_node(
        "second", "--config", "node.toml", "--bootstrap", first.status()["listening"]
    )
    wait_until(first.peers, "the nodes to connect")
    key = second.status()["fingerprint"]
    second.stop()
    target = ("--state-dir", "first")

    running = data_of("trust", "ids", *target)
    first.stop()
    stopped = data_of("trust", "ids", *target)
    text = thenodes("trust", "forget", "kitchen", *target).stdout

    assert running == stopped == {"kitchen": key}
    assert text == "kitchen may come with another key\n"
    assert data_of("trust", "ids", *target) == {}
    assert events("first")[-1]["action"] == "key_forgotten"


def test_a_configured_id_comes_with_another_key_only_once_it_is_forgotten(
    start_node: StartNode,
) -> None:
    peer = start_node("peer", "--config", write("[node]\nid = 'kitchen'\n"))
    address = peer.status()["listening"]
    node = start_node("node", "--bootstrap", address)
    wait_until(node.peers, "the nodes to connect")
    peer.stop()
    thenodes("identity", "new", "--force", "--config", "node.toml", "--state-dir", "peer")

    start_node("peer", "--config", "node.toml", port=int(address.rpartition(":")[2]))
    wait_until(lambda: "kitchen is known here" in _refusal(node), "the refusal")
    refusal = _refusal(node)
    thenodes("trust", "forget", "kitchen", "--state-dir", "node")
    wait_until(node.peers, "the node to get in")

    assert "trust forget kitchen" in refusal


def _refusal(node: RunningNode) -> str:
    error: str = node.status()["dialling"][0]["error"]
    return error


def test_every_step_of_the_policy_is_explained() -> None:
    write(ALLOWLIST)
    key = put("observed/certs")

    text = thenodes("trust", "explain", key[:8], "--config", "node.toml", "--state-dir", "data")
    data = data_of("trust", "explain", key[:8], "--config", "node.toml", "--state-dir", "data")

    lines = text.stdout.splitlines()
    assert lines[0] == f"{key} would be refused: not-in-trusted"
    assert [line.split()[0] for line in lines[1:3]] == ["passed", "passed"]
    assert lines[-1].split()[:2] == ["failed", "mode"]
    assert (data["fingerprint"], data["decision"]["reason"]) == (key, "not-in-trusted")
    assert len(data["decision"]["steps"]) == len(lines) - 1


def test_to_look_changes_nothing() -> None:
    key = put("observed/certs")
    before = sorted(Path().rglob("*"))

    for words in (("observed",), ("trusted",), ("own",), ("ids",), ("explain", key), ("reload",)):
        thenodes("trust", *words)

    assert [path for path in sorted(Path().rglob("*")) if path.name != "lock"] == before


@pytest.mark.parametrize("store", ["observed", "trusted", "rejected", "own", "ids"])
def test_an_empty_list_is_told_in_words(store: str) -> None:
    Path("data").mkdir()

    assert thenodes("trust", store).stdout.startswith("no ")
    assert data_of("trust", store) in ([], {})


def test_what_a_certificate_says_is_escaped() -> None:
    put("observed/certs", name=EVIL)

    people = thenodes("trust", "observed").stdout
    machines = thenodes("trust", "observed", "--json").stdout

    assert all(line.isprintable() for line in (people + machines).split("\n"))
    assert len(people.splitlines()) == 1


@pytest.mark.parametrize("verb", ["promote", "revoke", "explain"])
@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("0000", "0000: no trusted, observed or rejected key has a fingerprint that begins so"),
        ("abc", "'abc': expected 4 to 64 hexadecimal digits"),
        ("kitchen", "'kitchen': expected 4 to 64 hexadecimal digits"),
        ("abcd", f"abcd: 2 keys begin so: abcd{'1' * 60}, abcd{'2' * 60}; give more"),
        ("\x1b[2J", r"expected 4 to 64"),
    ],
    ids=["unknown", "short", "id", "ambiguous", "escape"],
)
def test_a_key_that_is_not_one_is_told(verb: str, prefix: str, expected: str) -> None:
    put("observed/certs")
    folder = Path("data/pki/rejected")
    folder.mkdir(mode=0o700)
    for digit in "12":
        (folder / f"abcd{digit * 60}.pem").touch()

    code, error = fails("trust", verb, prefix)

    assert (code, expected in error) == (1, True), error
    assert error.splitlines()[-1].startswith("error: ")
    assert error.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("promote",), "missing <fingerprint>"),
        (("promote", "a", "b"), "trust promote <fingerprint>: expected one word, got 'a b'"),
        (("forget", "a", "b"), "trust forget <id or address>: expected one word, got 'a b'"),
        (("observed", "lost"), "trust observed list takes no arguments, got 'lost'"),
        (("demote", "abcd"), "no command 'demote'; did you mean promote?"),
    ],
)
def test_wrong_words_are_a_usage_error(words: tuple[str, ...], expected: str) -> None:
    Path("data").mkdir()

    code, error = fails("trust", *words)

    assert (code, expected in error) == (2, True), error


def test_an_id_that_is_not_known_is_told() -> None:
    Path("data").mkdir()

    code, error = fails("trust", "forget", "kitchen")

    assert (code, error) == (
        1,
        "error: kitchen is not known here by a key; trust ids lists what is",
    )


def test_a_directory_that_is_not_there_is_told_and_not_made() -> None:
    code, error = fails("trust", "observed", "--state-dir", "nowhere")

    assert (code, error) == (
        1,
        "error: nowhere: no such state directory; name the node's with --state-dir or --config",
    )
    assert not Path("nowhere").exists()


def test_a_running_node_answers_what_is_wrong_like_a_stopped_one(start_node: StartNode) -> None:
    start_node("data")

    assert fails("trust", "promote", "0000")[0] == 1
    assert fails("trust", "promote", "abc")[1].startswith("error: 'abc': expected 4 to 64")
    assert fails("trust", "promote", "")[1].startswith("error: '': expected 4 to 64")
    assert fails("trust", "forget", "a", "b")[0] == 2
    assert fails("trust", "forget", "a b")[1].startswith("error: a b is not known here")


def test_a_policy_that_cannot_work_is_told() -> None:
    write("[encryption.trust_policy]\nmode = 'ca'\n")
    Path("data").mkdir()

    code, error = fails("trust", "observed", "--config", "node.toml", "--state-dir", "data")

    assert code == 2
    assert "needs the certificate of a CA" in error


def test_files_that_cannot_be_read_are_told_and_the_others_count() -> None:
    key = put("observed/certs")
    Path("data/pki/observed/certs/broken.pem").write_text("hello")

    done = thenodes("trust", "observed", "--json")

    assert [entry["fingerprint"] for entry in json.loads(done.stdout)] == [key]
    assert done.stderr.startswith("warning: data/pki/observed/certs/broken.pem: left out")


def test_a_node_that_does_not_answer_is_not_interfered_with(start_node: StartNode) -> None:
    node = start_node("data")
    Path("data/control.sock").unlink()

    code, error = fails("trust", "observed")

    assert code == 1
    assert error == (
        f"error: data is in use by process {node.process.pid}, "
        "which does not answer; try again in a moment"
    )


def test_sighup_applies_the_trust_policy_to_those_who_are_connected(
    start_node: StartNode,
) -> None:
    first = start_node("first", "--config", write("port = 1\n"))
    second = start_node("second", "--bootstrap", first.status()["listening"])
    wait_until(first.peers, "the nodes to connect")

    write(f"port = 2\n{ALLOWLIST}")
    first.process.send_signal(signal.SIGHUP)
    wait_until(lambda: not first.peers(), "the peer to be out")
    wait_until(lambda: second.status()["dialling"][0]["error"], "the refusal")
    code, errors = first.stop()

    assert code == 0
    assert 'encryption.trust_policy.mode = "allowlist"; the keys on disk are read' in errors
    assert "warning changed, but in use only after a restart: port" not in errors


def test_sighup_names_what_needs_a_restart(start_node: StartNode) -> None:
    node = start_node("only", "--config", write(""))

    write("app_name = 'other'\n[discovery]\nenabled = false\n")
    node.process.send_signal(signal.SIGHUP)
    wait_until(is_told("restart_needed", "only"), "the reload")
    code, errors = node.stop()

    assert code == 0
    assert "changed, but in use only after a restart: app_name, discovery.enabled" in errors


def test_sighup_with_a_broken_file_changes_nothing(start_node: StartNode) -> None:
    node = start_node("only", "--config", write(ALLOWLIST))

    write("port = \n")
    node.process.send_signal(signal.SIGHUP)
    wait_until(is_told("reload_failed", "only"), "the reload")
    code, errors = node.stop()

    assert code == 0
    assert "nothing is reloaded, the node goes on as it was: node.toml: not TOML" in errors


def test_sighup_without_a_file_reads_the_keys_on_disk(start_node: StartNode) -> None:
    node = start_node("data")
    key = put("trusted/certs")

    node.process.send_signal(signal.SIGHUP)
    wait_until(is_told("reloaded", "data"), "the reload")

    assert listed("trusted") == [key]
    assert node.stop()[0] == 0
