"""Manifests and registration of the project under test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from thenodes_plugin_api import ManifestError, Plugin
from thenodes_plugin_api.testing import (
    RegistrationError,
    embed,
    find_manifest,
    load_manifest,
    make_config,
    register,
)

Project = Callable[..., Path]

MANIFEST = """
manifest = 1
[plugin]
id = "made"
version = "0.1.0"
entry = "{entry}"
abi = {abi}
abi-revision = {revision}
[prompt]
prefix = "made"
[config]
defaults = {{ greeting = "hello", seconds = 1.5 }}
"""

CODE = """
from thenodes_plugin_api import Plugin
{before}
class Made(Plugin):
    abi = 1
    prompt_prefix = {prefix!r}
    {body}
def register_plugin(api):
    {register}
"""


class Table(msgspec.Struct):
    """A table of a plugin's own type."""

    greeting: str
    seconds: float
    loud: bool = False


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Writes a project and returns its folder."""

    def project(
        *,
        entry: str = "thenodes_made:register_plugin",
        abi: int = 1,
        revision: int = 0,
        before: str = "",
        prefix: str = "made",
        body: str = "",
        register: str = "api.register_plugin(Made())",
    ) -> Path:
        package = tmp_path / "project" / "src" / "thenodes_made"
        package.mkdir(parents=True)
        (tmp_path / "project" / "pyproject.toml").touch()
        (tmp_path / "project" / "tests").mkdir()
        (package / "thenodes-plugin.toml").write_text(
            MANIFEST.format(entry=entry, abi=abi, revision=revision)
        )
        (package / "__init__.py").write_text(
            CODE.format(before=before, prefix=prefix, body=body, register=register)
        )
        return tmp_path / "project"

    yield project
    sys.modules.pop("thenodes_made", None)


def test_the_manifest_is_found_from_anywhere_in_the_project(project: Project) -> None:
    root = project()
    manifest = root / "src" / "thenodes_made" / "thenodes-plugin.toml"

    starts = (root, root / "tests", root / "tests" / "test_x.py", manifest, manifest.parent)

    assert {find_manifest(start) for start in starts} == {manifest}


def test_the_search_ends_at_the_project(project: Project) -> None:
    inner = project() / "inner"
    inner.mkdir()
    (inner / "pyproject.toml").touch()

    with pytest.raises(ManifestError, match=r"no thenodes-plugin\.toml"):
        find_manifest(inner)


def test_two_manifests_are_one_too_many(project: Project) -> None:
    root = project()
    (root / "src" / "other").mkdir()
    (root / "src" / "other" / "thenodes-plugin.toml").touch()

    with pytest.raises(ManifestError, match="expected one"):
        find_manifest(root)


@pytest.mark.parametrize(("abi", "revision"), [(0, 0), (2, 0), (1, 999)])
def test_an_abi_that_is_not_served_is_refused(project: Project, abi: int, revision: int) -> None:
    root = project(abi=abi, revision=revision)

    with pytest.raises(RegistrationError, match=rf"plugin ABI {abi}\.{revision} is not served"):
        load_manifest(root)


def test_each_registration_makes_an_object_of_its_own(project: Project) -> None:
    root = project()

    one, other = register(root), register(root)

    assert one.id == "made"
    assert one.plugin is not other.plugin


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"entry": "thenodes_made:absent"}, "no function 'absent'"),
        ({"entry": "elsewhere:register_plugin"}, "TN-P010"),
        ({"before": "raise SystemExit(1)"}, "import raised SystemExit: 1"),
        ({"register": "raise ValueError('no')"}, "registration raised ValueError: no"),
        ({"register": "api.register_plugin(Made)"}, r"Made \(a class\)"),
        ({"register": "pass"}, "registered 0 plugins"),
        ({"prefix": "other"}, "prompt prefix is 'made' in the manifest and 'other'"),
        ({"body": "async def on_start(self): pass"}, "on_start.*expected async def on_start"),
        ({"body": "def on_prompt(self, line, ctx): pass"}, "expected async def on_prompt"),
    ],
    ids=str,
)
def test_what_a_host_refuses_is_refused(
    project: Project, wrong: dict[str, str], expected: str
) -> None:
    root = project(**wrong)

    with pytest.raises(RegistrationError, match=expected):
        register(root)


def test_a_module_name_that_somebody_has_is_refused(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "thenodes_made", pytest)

    with pytest.raises(RegistrationError, match="'thenodes_made' is taken"):
        register(project())


def test_the_operators_table_goes_over_the_defaults(project: Project) -> None:
    assert make_config(register(project()), {"seconds": 2}) == {"greeting": "hello", "seconds": 2.0}


@pytest.mark.parametrize(
    ("given", "expected"),
    [({"greting": "x"}, "unknown key 'greting'"), ({"greeting": 1}, "expected str")],
)
def test_a_table_that_does_not_fit_is_refused(
    project: Project, given: dict[str, object], expected: str
) -> None:
    with pytest.raises(RegistrationError, match=expected):
        make_config(register(project()), given)


def test_a_table_has_the_type_that_the_plugin_gives_it() -> None:
    class Typed(Plugin):
        abi = 1
        config_type = Table

    typed = embed("typed", Typed())

    made = make_config(typed, {"greeting": "x", "seconds": 1})
    assert made == {"greeting": "x", "seconds": 1.0, "loud": False}
    with pytest.raises(RegistrationError, match="seconds"):
        make_config(typed, {"greeting": "x"})


def test_an_embedded_plugin_claims_what_begins_with_its_id() -> None:
    class Made(Plugin):
        abi = 1

    assert embed("made", Made()).manifest.messages.handles == ("made.*",)
    with pytest.raises(RegistrationError, match="id"):
        embed("Not An Id", Made())
