"""`thenodes config`, the environment and `thenodes peers`, as an operator runs them."""

from __future__ import annotations

import json
import os
import signal
import tomllib
from pathlib import Path
from typing import Any

import pytest

from thenodes_core.config import load_config, make_config, read_environment, settle

from .conftest import StartNode
from .nodes import KVSTORE, RunningNode, stop_all, thenodes, wait_until

KEEP = "[network.persistence]\nenabled = true\n"
STATED = {"addr": "a.example:1", "source": "Manual", "failures": 2, "last_success_epoch": None}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("THENODES_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def write(text: str, name: str = "node.toml") -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


def fails(*words: str) -> tuple[int, list[str]]:
    """Exit code and lines of stderr of a command that must not end in a traceback."""
    done = thenodes(*words, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stdout == ""
    return done.returncode, done.stderr.strip().splitlines()


def show(*words: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(thenodes("config", "show", "--json", *words).stdout)
    return answer


def run_to_the_end(*words: str) -> str:
    """Run a node whose prompt quits at once; returns what it wrote to stderr."""
    run = ("run", "--prompt", *words)
    done = thenodes(*run, stdin="quit\ny\n")
    assert "Traceback" not in done.stderr, done.stderr
    return done.stderr


def keep_peers(state_dir: Path, *entries: dict[str, object]) -> None:
    state_dir.mkdir(exist_ok=True)
    (state_dir / "peers.json").write_text(json.dumps(entries))


@pytest.mark.parametrize(
    ("text", "count"),
    [("", "0 settings"), ("port = 1\n", "1 setting"), ("port = 1\nhost = '::1'\n", "2 settings")],
)
def test_check_says_how_many_settings_are_fine(text: str, count: str) -> None:
    write(text)

    assert thenodes("config", "check", "node.toml").stdout == f"node.toml: fine, {count}\n"


def test_check_for_machines_is_json() -> None:
    write("port = 1\n")

    output = thenodes("config", "check", "node.toml", "--json").stdout

    assert json.loads(output) == {"file": "node.toml", "settings": 1}


@pytest.mark.parametrize("machines", [(), ("--json",)], ids=["people", "machines"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prot = 1", "unknown key prot; did you mean port?"),
        ("port = 'x'", "port: Expected `int`, got `str`"),
        ("port = 2024-05-01", "port: Expected `int`, got `date`"),
        ("port = ", "not TOML: Invalid value (at end of document)"),
        (
            "[network.relay]\nstore_forward = true",
            "network.relay.store_forward: true needs a relay; set network.relay.enabled = true",
        ),
        (
            "bootstrap_nodes = ['nowhere']",
            "bootstrap_nodes: 'nowhere' has no port: expected host:port, such as nowhere:50000",
        ),
    ],
)
def test_check_tells_what_is_wrong_in_one_line(
    text: str, expected: str, machines: tuple[str, ...]
) -> None:
    write(text)

    code, lines = fails("config", "check", "node.toml", *machines)

    assert (code, lines) == (2, [f"error: node.toml: {expected}"])


def test_check_tells_every_unknown_key() -> None:
    write("prot = 1\n[realm]\nnam = 'x'\n")

    code, lines = fails("config", "check", "node.toml")

    assert (code, lines) == (
        2,
        [
            "error: node.toml: unknown key prot; did you mean port?",
            "node.toml: unknown key realm.nam; did you mean realm.name?",
        ],
    )


def test_check_of_a_missing_file_says_so() -> None:
    code, lines = fails("config", "check", "none.toml")

    assert (code, lines) == (
        2,
        ["error: none.toml: cannot be read: No such file or directory"],
    )


@pytest.mark.parametrize("words", [(), (".",)], ids=["no file", "a folder"])
def test_check_without_a_file_is_a_usage_error(words: tuple[str, ...]) -> None:
    assert fails("config", "check", *words)[0] == 2


def test_check_starts_nothing_and_loads_no_plugin() -> None:
    write(f"[node]\nstate_dir = 'state'\n[plugins]\npaths = ['{KVSTORE}']\n")

    thenodes("config", "check", "node.toml")

    assert [path.name for path in Path().iterdir()] == ["node.toml"]


def test_check_does_not_look_at_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THENODES_PORT", "x")
    write("")

    assert thenodes("config", "check", "node.toml").stdout.startswith("node.toml: fine")


@pytest.mark.parametrize("text", [KEEP, "[node]\nallow_ephemeral = false\n"])
@pytest.mark.parametrize("words", [("check",), ("show", "--config")], ids=["check", "show"])
def test_what_a_node_runs_with_is_fine(words: tuple[str, ...], text: str) -> None:
    write(text)
    run_to_the_end("--port", "0", "--config", "node.toml")

    thenodes("config", *words, "node.toml")


def test_show_tells_the_origin_of_every_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THENODES_PORT", "0")
    write("port = 1\n[realm]\nname = 'Home'\n[plugin.my]\nsize = 7\n")

    lines = thenodes("config", "show", "--config", "node.toml", "--origin").stdout.splitlines()

    assert "port = 0 # environment" in lines
    assert 'name = "Home" # node.toml' in lines
    assert 'host = "127.0.0.1" # default' in lines
    assert "size = 7 # node.toml" in lines
    assert "# app_name =  # default" in lines


def test_show_for_machines_tells_value_and_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THENODES_PORT", "0")
    write("app_name = 'app'\n")

    shown = show("--config", "node.toml", "--origin")

    assert shown["port"] == {"value": 0, "origin": "environment"}
    assert shown["app_name"] == {"value": "app", "origin": "node.toml"}
    assert shown["realm.name"] == {"value": "default", "origin": "default"}


def test_show_for_machines_is_nested_like_the_file() -> None:
    write("[realm]\nname = 'Home'\n[plugin.my]\nday = 2024-05-01\n")

    shown = show("--config", "node.toml")

    assert (shown["port"], shown["realm"]["name"], shown["app_name"]) == (50000, "Home", None)
    assert shown["plugin"] == {"my": {"day": "2024-05-01"}}


FULL = """
app_name = 'app "quoted" # ü'
bootstrap_nodes = ["a.example:1", "[::1]:2"]
[node]
state_dir = "state"
[realm]
name = "Home"
[limits]
close_seconds = 0.5
[logging]
json_path = ""
[plugin.my-plugin]
items = [{ x = 1 }, { x = 2 }]
after = true
day = 2024-05-01
at = 1979-05-27T07:32:00Z
lines = "one\\ntwo\\t\\u0007"
nested = [[1, 2], ["a"]]
big = 99999999999999999999999999
[plugin.my-plugin.inner]
half = 0.5
[plugin."a.b"]
"c d" = 1
"""


@pytest.mark.parametrize("origin", [(), ("--origin",)], ids=["plain", "origin"])
def test_what_show_prints_is_a_file_of_the_same_settings(origin: tuple[str, ...]) -> None:
    write(FULL)

    write(thenodes("config", "show", "--config", "node.toml", *origin).stdout, "again.toml")

    assert load_config(Path("again.toml")).config == load_config(Path("node.toml")).config


@pytest.mark.parametrize(
    "value", ["a\\u00a0b", "\\u0085", "\\ue000", "x" * 20_000], ids=["nbsp", "nel", "pua", "long"]
)
def test_what_show_prints_can_be_read_again_whatever_the_text(value: str) -> None:
    write(f'[plugin.my]\nkey = "{value}"\n')

    printed = thenodes("config", "show", "--config", "node.toml").stdout

    assert tomllib.loads(printed)["plugin"] == load_config(Path("node.toml")).config.plugin


def test_show_without_a_file_shows_the_defaults() -> None:
    shown = tomllib.loads(thenodes("config", "show").stdout)

    assert shown["node"].pop("state_dir") == "data"
    assert make_config(shown).config == make_config({}).config


def test_show_refuses_what_a_node_would_refuse() -> None:
    write("[encryption]\nmtls = true\n")

    code, lines = fails("config", "show", "--config", "node.toml")

    assert code == 2
    assert lines == [
        "error: node.toml: encryption.mtls: true needs TLS; set encryption.enabled = true"
    ]


def test_a_variable_names_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write("port = 7\n")
    monkeypatch.setenv("THENODES_CONFIG", "node.toml")

    assert show()["port"] == 7


def test_the_option_wins_over_the_variable_that_names_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write("port = 7\n")
    write("port = 8\n", "other.toml")
    monkeypatch.setenv("THENODES_CONFIG", "node.toml")

    assert show("--config", "other.toml")["port"] == 8


def test_an_empty_variable_names_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THENODES_CONFIG", "")

    assert show()["port"] == 50000


@pytest.mark.parametrize("command", [("run",), ("config", "show"), ("status",), ("peers",)])
def test_a_variable_that_names_no_file_is_told(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THENODES_CONFIG", "none.toml")

    code, lines = fails(*command)

    assert (code, lines) == (2, ["error: none.toml: cannot be read: No such file or directory"])


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("THENODES_PORT", "x", "THENODES_PORT: Expected `int`, got 'x'"),
        ("THENODES_PROT", "1", "unknown variable THENODES_PROT; did you mean THENODES_PORT?"),
        ("THENODES_PLUGIN", "1", "unknown variable THENODES_PLUGIN"),
        ("THENODES_ENCRYPTION__MTLS", "true", "encryption.mtls: true needs TLS"),
        ("THENODES_REALM__NAME", "\udcff", r"realm.name: expected at most 64 printable"),
    ],
)
@pytest.mark.parametrize("command", [("run",), ("config", "show")], ids=["run", "show"])
def test_a_wrong_variable_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], name: str, text: str, expected: str
) -> None:
    monkeypatch.setenv(name, text)

    code, lines = fails(*command)

    assert (code, len(lines)) == (2, 1)
    assert lines[0].startswith(f"error: environment: {expected}")


@pytest.mark.parametrize("name", ["NODE__STATE_DIR", "PLUGINS__DIRECTORY", "PLUGIN__MY__KEY"])
def test_a_value_that_is_not_utf8_can_be_shown_as_json(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"THENODES_{name}", "\udcff")

    assert "Traceback" not in thenodes("config", "show", "--json", check=False).stderr


@pytest.mark.parametrize("words", [("run", "--port", "0"), ("status",)], ids=["run", "status"])
def test_the_home_directory_of_nobody_is_told_in_one_line(words: tuple[str, ...]) -> None:
    code, lines = fails(*words, "--state-dir", "~no-such-user/x")

    assert (code in (1, 2), len(lines)) == (True, 1)


@pytest.mark.parametrize("host", ["a..b", "x" * 100], ids=["empty label", "long label"])
def test_a_host_that_is_no_name_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("THENODES_ENCRYPTION__ALLOW_PLAINTEXT", "true")

    code, lines = fails("run", "--port", "0", "--host", host)

    assert (code in (1, 2), len(lines)) == (True, 1)


def test_a_node_takes_its_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {
        "THENODES_PORT": "0",
        "THENODES_REALM__NAME": "From Outside",
        "THENODES_NODE__STATE_DIR": "state",
        "THENODES_PLUGINS__PATHS": str(KVSTORE),
        "THENODES_PLUGIN__KVSTORE__MAX_ENTRIES": "5",
        "THENODES_PLUGIN__GHOST__SIZE": "1",
    }
    for name, text in environ.items():
        monkeypatch.setenv(name, text)

    errors = run_to_the_end()

    assert settle([read_environment(environ)]).config.plugin["kvstore"] == {"max_entries": 5}
    assert "realm from-outside/1.0" in errors
    assert "[plugin.ghost] is set, but no such plugin is loaded" in errors
    assert "[plugin.kvstore]" not in errors
    assert Path("state", "identity.pem").exists()


def test_an_option_wins_over_the_environment_over_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write("port = 1\n[realm]\nname = 'file'\nversion = '7'\n")
    monkeypatch.setenv("THENODES_REALM__NAME", "environment")
    monkeypatch.setenv("THENODES_PORT", "1")

    errors = run_to_the_end("--port", "0", "--config", "node.toml")

    assert "realm environment/7" in errors


def test_a_node_without_console_shows_no_events() -> None:
    write("port = 0\n[logging]\ndisable_console = true\n")

    assert run_to_the_end("--config", "node.toml") == ""


def test_a_node_without_console_still_keeps_its_log() -> None:
    write("port = 0\n[logging]\ndisable_console = true\n")

    run_to_the_end("--config", "node.toml")

    assert '"started"' in Path("data/logs/events.jsonl").read_text()


def test_the_peers_of_a_running_node_are_listed(start_node: StartNode) -> None:
    first = start_node("first")
    second = start_node("second", "--bootstrap", first.status()["listening"])
    wait_until(second.peers, "the nodes to connect")

    peers = json.loads(thenodes("peers", "--state-dir", "second", "--json").stdout)

    assert [peer["node_id"] for peer in peers] == [first.status()["node_id"]]
    assert first.status()["node_id"][:8] in thenodes("peers", "--state-dir", "second").stdout


def test_a_node_without_peers_says_so(start_node: StartNode) -> None:
    start_node("only")

    assert thenodes("peers", "--state-dir", "only").stdout == "no peers connected\n"


def test_the_known_addresses_of_a_running_node_are_listed(start_node: StartNode) -> None:
    first = start_node("first")
    address = first.status()["listening"]
    second = start_node("second", "--bootstrap", address)
    wait_until(second.peers, "the nodes to connect")

    output = thenodes("peers", "--known", "--state-dir", "second", "--json").stdout

    (known,) = (record for record in json.loads(output) if record["addr"] == address)
    assert (known["source"], known["node_id"]) == ("Bootstrap", first.status()["node_id"])


def test_what_a_node_knew_is_there_after_it_stopped_and_at_its_next_start(
    start_node: StartNode,
) -> None:
    config = str(write(KEEP))
    first = start_node("first")
    address = first.status()["listening"]
    second = start_node("second", "--config", config, "--bootstrap", address)
    wait_until(second.peers, "the nodes to connect")

    assert second.stop()[0] == 0
    stopped = thenodes("peers", "--known", "--state-dir", "second").stdout
    start_node("second", "--config", config)
    started = thenodes("peers", "--known", "--state-dir", "second").stdout

    assert stopped.startswith(f"{address}  Bootstrap  answered ")
    assert started.startswith(f"{address}  Bootstrap  answered ")


def test_the_file_of_a_stopped_node_is_listed_newest_success_first() -> None:
    late = STATED | {"addr": "b.example:1", "last_success_epoch": 4_000_000_000, "node_id": "late"}
    keep_peers(Path("data"), STATED, late)

    lines = thenodes("peers", "--known").stdout.splitlines()

    assert [line.split()[0] for line in lines] == ["b.example:1", "a.example:1"]
    assert lines[0].endswith("late")
    assert lines[1].endswith("never answered, 2 failures since")


def test_the_file_of_a_stopped_node_is_found_where_its_configuration_says() -> None:
    keep_peers(Path("elsewhere"), STATED)
    write("[network.persistence]\npath = 'elsewhere/peers.json'\n")

    output = thenodes("peers", "--known", "--config", "node.toml", "--json").stdout

    assert json.loads(output) == [STATED | {"node_id": None, "capabilities": None}]


def test_the_damaged_file_of_a_stopped_node_is_told_and_left_as_it_is() -> None:
    Path("data").mkdir()
    Path("data/peers.json").write_text("{")

    done = thenodes("peers", "--known")

    assert done.stdout == "no addresses known\n"
    assert done.stderr.startswith("warning: data/peers.json: not a list of addresses")
    assert [path.name for path in Path("data").iterdir()] == ["peers.json"]


def test_a_stopped_node_that_kept_nothing_is_told_with_the_way_out() -> None:
    code, lines = fails("peers", "--known")

    assert (code, lines) == (
        1,
        [
            (
                "error: no node runs on data, and there is no data/peers.json; "
                "a node with network.persistence.enabled = true keeps one"
            )
        ],
    )


def test_the_peers_of_a_stopped_node_are_told_with_the_way_out() -> None:
    code, lines = fails("peers")

    assert code == 1
    assert lines == ["error: no node runs on data; start one with: thenodes run --state-dir data"]


def test_a_damaged_file_does_not_keep_a_node_from_starting() -> None:
    Path("data").mkdir()
    Path("data/peers.json").write_text("{")
    write(KEEP)

    errors = run_to_the_end("--port", "0", "--config", "node.toml")

    assert "not a list of addresses" in errors
    assert "the file is kept as" in errors
    assert Path("data/peers.json.damaged-1").read_text() == "{"


def test_a_folder_in_place_of_the_file_is_told_in_one_line() -> None:
    Path("data/peers.json").mkdir(parents=True)
    write(KEEP)

    code, lines = fails("run", "--port", "0", "--config", "node.toml")

    assert (code, len(lines)) == (1, 1)
    assert lines[0].endswith("peers.json: cannot be read: Is a directory")


def test_the_file_of_a_killed_node_is_listed() -> None:
    write(KEEP)
    keep_peers(Path("data"), STATED)
    node = RunningNode(Path("data"), "--config", "node.toml")
    try:
        node.process.send_signal(signal.SIGKILL)
        node.process.wait()
    finally:
        stop_all([node])

    done = thenodes("peers", "--known", check=False)

    assert done.stdout.startswith("a.example:1")


@pytest.mark.parametrize("epoch", [10**18, 10**30], ids=["year", "number"])
def test_a_moment_that_no_calendar_has_does_not_break_the_list(epoch: int) -> None:
    keep_peers(Path("data"), STATED | {"last_success_epoch": epoch})

    assert "Traceback" not in thenodes("peers", "--known", check=False).stderr
