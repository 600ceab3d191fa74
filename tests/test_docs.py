"""The documents say what is so: settings, events, counters, codes, commands, snippets."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import thenodes_plugin_api
from thenodes_cli.app import app
from thenodes_core.config import load_config, make_config, setting_types, validate
from thenodes_core.config.descriptions import Setting, setting_tables
from thenodes_core.control.catalogue import CATALOGUE
from thenodes_core.health.metrics import METRICS, PROCESS_METRICS
from thenodes_core.plugins.manifest_schema import manifest_schema
from thenodes_core.protocol.close import CloseCode
from thenodes_core.security.refusal import DropReason
from thenodes_plugin_api import parse_manifest
from thenodes_relay.causes import Cause
from thenodes_relay.counters import ClientCounter, Counter

from .nodes import thenodes

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs" / "reference"
REFERENCE = "\n".join(path.read_text() for path in sorted(PAGES.glob("*.md")))
SOURCES = "\n".join(
    path.read_text()
    for path in sorted(ROOT.glob("packages/*/src/**/*.py"))
    if "testing" not in path.parts  # whose plugins tell what nobody else does
)


def config_keys() -> Iterator[str]:
    for key, _ in setting_types():
        yield "plugin.<id>" if key == "plugin" else key


def settings() -> list[Setting]:
    return [setting for table in setting_tables() for setting in table.settings]


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(), re.DOTALL)


def section(page: str, heading: str) -> str:
    """What stands below a heading of a page of the reference, up to the next of its level."""
    text = (PAGES / page).read_text()
    (found,) = re.findall(
        rf"^(#+) {heading}\n(.*?)(?=^\1 |^#{{1,2}} |\Z)", text, re.DOTALL | re.MULTILINE
    )
    return str(found[1])


@pytest.mark.parametrize("key", sorted(config_keys()))
def test_every_setting_is_documented(key: str) -> None:
    assert f"| `{key}` |" in REFERENCE


@pytest.mark.parametrize("setting", settings(), ids=lambda setting: setting.key)
def test_a_setting_means_in_the_reference_what_its_table_says(setting: Setting) -> None:
    page = (PAGES / "configuration.md").read_text()
    (row,) = re.findall(rf"^\| `{re.escape(setting.key)}` \|.*$", page, re.MULTILINE)
    meaning = re.split(r"(?<!\\) \| ", row)[2].removesuffix(" |")

    assert re.sub(r" \(\[.*\]\(.*\)\)$", "", meaning) == setting.text


@pytest.mark.parametrize(
    "name",
    sorted(
        set(
            re.findall(r'(?:action=|_emit\(|_report\(|_tell\(|\.report\()\s*"([a-z_]+)"', SOURCES)
            + re.findall(r'(?:counters\.add|\.count)\(\s*"([a-z_]+)"', SOURCES)
            + re.findall(r'reason="([a-z_]+)"', SOURCES)
            + re.findall(r'_emit\(\s*[\w.]+, "([a-z_]+)"', SOURCES)
        )
        - {"announced"}
    ),
)
def test_every_event_counter_and_reason_is_documented(name: str) -> None:
    assert re.search(rf"`{name}[`.]", REFERENCE)


@pytest.mark.parametrize("counter", [*Counter, *ClientCounter])
def test_every_counter_of_the_relay_is_documented(counter: Counter | ClientCounter) -> None:
    assert re.search(rf"`{counter.value}[`.]", section("metrics.md", "Counters"))


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_documented_as_it_is_told(name: str) -> None:
    metric = METRICS[name]
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    row = f"| `{metric.shown}` | {metric.kind} | {labels} | {metric.help} |".replace("|  |", "| |")

    assert row in (PAGES / "metrics.md").read_text().splitlines()


def test_no_metric_is_documented_that_is_not_told() -> None:
    told = {metric.shown for metric in METRICS.values()} | set(PROCESS_METRICS)
    names = r"`((?:thenodes|process)_[a-z_]+)`"

    assert set(re.findall(names, (PAGES / "metrics.md").read_text())) == told


@pytest.mark.parametrize("cause", list(Cause), ids=lambda cause: cause.name)
def test_every_reason_of_the_relay_is_documented(cause: Cause) -> None:
    assert f"| `{cause.reason}` |" in section("reasons.md", "What relays say")


@pytest.mark.parametrize("reason", list(DropReason))
def test_every_reason_against_what_came_through_a_relay_is_documented(reason: DropReason) -> None:
    assert f"| `{reason}` |" in section("reasons.md", "What came through a relay")


TRUST = (ROOT / "packages/thenodes-core/src/thenodes_core/security/trust.py").read_text()


@pytest.mark.parametrize(
    "reason",
    sorted(
        set(re.findall(r'_failed\(\s*"([a-z-]+)"', TRUST))
        | set(re.findall(r'_passed\([^()]*, "([a-z-]+)"\)', TRUST))
    ),
)
def test_every_reason_of_the_trust_policy_is_documented(reason: str) -> None:
    assert f"`{reason}`" in (ROOT / "docs" / "explanation" / "security.md").read_text()


@pytest.mark.parametrize("code", list(CloseCode))
def test_every_close_code_is_documented(code: CloseCode) -> None:
    assert f"| {code.value} | {code.word} | {code.reason} |" in REFERENCE


@pytest.mark.parametrize("code", sorted(set(re.findall(r"TN-P\d+", SOURCES))))
def test_every_rejection_code_is_documented_with_a_way_out(code: str) -> None:
    guide = (ROOT / "docs" / "plugins" / "codes.md").read_text()
    (found,) = re.findall(rf"^## {code}\n(.*?)(?=^## |\Z)", guide, re.DOTALL | re.MULTILINE)

    assert f"| {code} |" in REFERENCE
    assert "**Fix:**" in found


def test_the_configuration_of_the_page_on_running_plugins_is_valid() -> None:
    (example,) = blocks(ROOT / "docs" / "plugins" / "running.md", "toml")

    assert make_config(tomllib.loads(example)).config.plugins.stall == "exit"


def test_the_schema_of_the_manifest_is_current() -> None:
    published = json.loads((ROOT / "docs" / "plugins" / "manifest.schema.json").read_text())

    assert published == manifest_schema(), "python -m thenodes_core.plugins.manifest_schema"


def test_the_manifest_of_the_reference_is_valid_and_every_key_is_in_its_table() -> None:
    reference = ROOT / "docs" / "plugins" / "manifest.md"
    (example,) = blocks(reference, "toml")
    keys = {key for table in manifest_schema()["$defs"].values() for key in table["properties"]}

    assert parse_manifest(example).plugin.id == "my"
    sections = {"plugin", "prompt", "messages", "network", "service", "config"}
    for key in keys - sections - {"name", "help"}:
        assert re.search(rf"^\| `([a-z]+\.)?{key}` \|", reference.read_text(), re.MULTILINE), key


def test_the_manifest_of_the_page_on_services_is_valid() -> None:
    (sections,) = blocks(ROOT / "docs" / "plugins" / "service.md", "toml")
    (manifest,) = blocks(ROOT / "docs" / "plugins" / "manifest.md", "toml")
    head, _, _ = manifest.partition("[prompt]")

    service = parse_manifest(head + sections).service

    assert service is not None
    assert service.commands == ("relay",)


@pytest.mark.parametrize("name", app.list_commands(None))  # type: ignore[arg-type]
def test_every_command_is_documented_and_has_help_with_an_example(name: str) -> None:
    if not any(known.partition(" ")[0] == name for known in CATALOGUE):
        assert f"`thenodes {name}`" in REFERENCE
    assert "Example" in thenodes(name, "--help").stdout


@pytest.mark.parametrize("name", [name for name, text in CATALOGUE.items() if not text.hidden])
def test_every_command_of_a_node_is_documented_and_has_an_example(name: str) -> None:
    table = section("commands.md", "Of a running node")
    text = CATALOGUE[name]

    for known in (name, *text.aliases):
        assert re.search(rf"`{known}[ `]", table)
    assert text.example.startswith(f"{name} ") if text.example else not text.usage


def test_the_configurations_of_the_guide_to_relays_are_valid() -> None:
    relay, user = blocks(ROOT / "docs" / "how-to" / "relay.md", "toml")

    for example in (relay, user):
        table = make_config(tomllib.loads(example)).config
        validate(table)
        assert table.network.relay.is_on


TABLES = [
    (path.relative_to(ROOT / "docs").as_posix(), block)
    for folder in ("how-to", "tutorial", "explanation")
    for path in sorted((ROOT / "docs" / folder).glob("*.md"))
    for block in blocks(path, "toml")
]


@pytest.mark.parametrize(("path", "block"), TABLES)
def test_every_configuration_of_a_guide_is_valid(path: str, block: str) -> None:
    validate(make_config(tomllib.loads(block.replace("FIRST_ID", "a" * 32))).config)


def test_every_name_of_the_plugin_api_is_on_its_page() -> None:
    page = (PAGES / "plugin-api.md").read_text()
    shown = re.findall(r"automodule:: (thenodes_plugin_api[\w.]*)", page)
    names = {name for module in shown for name in importlib.import_module(module).__all__}

    assert set(thenodes_plugin_api.__all__) - names == {"__version__"}


def test_the_example_config_is_valid(tmp_path: Path) -> None:
    (example,) = blocks(PAGES / "configuration.md", "toml")
    file = tmp_path / "node.toml"
    file.write_text(example)

    config = load_config(file).config

    assert config.plugin["kvstore"]["max_entries"] == 500


PYTHON_BLOCKS = [
    (path.relative_to(ROOT).as_posix(), block)
    for path in sorted(
        [
            ROOT / "README.md",
            *ROOT.glob("packages/*/README.md"),
            *ROOT.glob("docs/plugins/*.md"),
            *ROOT.glob("docs/how-to/*.md"),
        ]
    )
    for block in blocks(path, "python")
]


@pytest.mark.parametrize(("path", "block"), PYTHON_BLOCKS)
def test_every_python_snippet_runs(path: str, block: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", block],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    assert done.returncode == 0, f"{path}: {done.stderr}"


def test_every_toml_snippet_of_a_plugin_is_valid() -> None:
    (manifest,) = blocks(ROOT / "packages" / "thenodes-plugin-api" / "README.md", "toml")
    relay, user = blocks(ROOT / "packages" / "thenodes-relay" / "README.md", "toml")
    (setting,) = blocks(ROOT / "examples" / "kvstore_plugin" / "README.md", "toml")

    assert parse_manifest(manifest).plugin.id == "greet"
    assert make_config(tomllib.loads(relay)).config.network.relay.enabled
    assert make_config(tomllib.loads(user)).config.network.relay.is_user
    assert make_config(tomllib.loads(setting)).config.plugin["kvstore"] == {"max_entries": 10000}


def test_the_readme_names_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()

    for verb in ("run", "test", "demo"):
        assert f"make {verb}" in readme
        assert f"\n{verb}: " in makefile


def test_versions_of_manifests_and_packages_agree() -> None:
    for name in ("relay",):
        source = ROOT / "packages" / f"thenodes-{name}" / "src" / f"thenodes_{name}"
        manifest = parse_manifest((source / "thenodes-plugin.toml").read_text())
        assert f'"{manifest.plugin.version}"' in (source / "_version.py").read_text()
