"""Finding and reading plugins without running them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import thenodes_relay
from thenodes_core.errors import PluginLoadError
from thenodes_core.plugins.find import candidates
from thenodes_core.plugins.gates import scan
from thenodes_core.plugins.policy import GatePolicy
from thenodes_core.plugins.source import Source
from thenodes_plugin_api import MANIFEST_NAME

WritePlugin = Callable[..., Path]


def read_source(path: Path) -> Source:
    found = scan(candidates([path], None, ()), GatePolicy())
    for fault in found.verdicts[0].faults:
        raise fault.error()
    return found.accepted[0]


def refusal(path: Path) -> PluginLoadError:
    with pytest.raises(PluginLoadError) as caught:
        read_source(path)
    return caught.value


def manifest_of(tree: Path) -> Path:
    (path,) = tree.rglob(MANIFEST_NAME)
    return path


def test_the_manifest_of_a_source_tree_is_found(write_plugin: WritePlugin) -> None:
    tree = write_plugin("my")

    source = read_source(tree)

    assert source.origin == str(tree)
    assert source.package == manifest_of(tree).parent
    assert source.manifest.plugin.id == "my"


def test_the_import_package_itself_can_be_named(write_plugin: WritePlugin) -> None:
    package = manifest_of(write_plugin("my")).parent

    assert read_source(package).package == package


def test_a_relative_path_is_made_absolute(
    write_plugin: WritePlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = write_plugin("my")
    monkeypatch.chdir(tree.parent)

    source = read_source(Path(tree.name))

    assert source.package.is_absolute()
    assert source.origin == tree.name


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    error = refusal(tmp_path / "none")

    assert error.code == "TN-P010"
    assert "not there" in str(error)


def test_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plugin.py"
    path.write_text("")

    assert "expected a wheel (*.whl), a source tree, or a directory" in str(refusal(path))


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    error = refusal(tmp_path)

    assert error.code == "TN-P010"
    assert f"no {MANIFEST_NAME}" in str(error)


def test_more_than_one_manifest_is_refused_and_each_is_named(write_plugin: WritePlugin) -> None:
    tree = write_plugin("my")
    second = tree / "src" / "other" / MANIFEST_NAME
    second.parent.mkdir()
    second.write_text("")

    error = refusal(tree)

    assert error.code == "TN-P010"
    assert str(second.relative_to(tree)) in str(error)
    assert str(manifest_of_first(tree)) in str(error)


def manifest_of_first(tree: Path) -> Path:
    return min(p for p in tree.rglob(MANIFEST_NAME) if p.parent.name != "other").relative_to(tree)


@pytest.mark.parametrize("folder", ["tests", "build", "dist", ".venv", "my.egg-info"])
def test_manifests_of_tests_and_build_products_are_not_counted(
    write_plugin: WritePlugin, folder: str
) -> None:
    tree = write_plugin("my")
    other = tree / folder / MANIFEST_NAME
    other.parent.mkdir()
    other.write_text("")

    assert read_source(tree).manifest.plugin.id == "my"


def test_a_manifest_far_below_is_not_looked_for(write_plugin: WritePlugin, tmp_path: Path) -> None:
    write_plugin("my", under=tmp_path / "deep" / "a" / "b")

    assert f"no {MANIFEST_NAME}" in str(refusal(tmp_path / "deep"))


@pytest.mark.parametrize("content", [b"manifest = ", b"\xff", b"", b"manifest = 1\n"])
def test_a_manifest_that_cannot_be_used_is_refused_by_its_name(
    write_plugin: WritePlugin, content: bytes
) -> None:
    tree = write_plugin("my")
    manifest_of(tree).write_bytes(content)

    error = refusal(tree)

    assert error.code == "TN-P010"
    assert str(manifest_of(tree)) in str(error)


def test_a_manifest_of_64_kib_is_read(write_plugin: WritePlugin) -> None:
    tree = write_plugin("my")
    manifest = manifest_of(tree)
    text = manifest.read_text()

    manifest.write_text(text + "#" * (64 * 1024 - len(text)))

    assert read_source(tree).manifest.plugin.id == "my"


def test_a_manifest_of_more_than_64_kib_is_refused(write_plugin: WritePlugin) -> None:
    tree = write_plugin("my")
    manifest = manifest_of(tree)
    text = manifest.read_text()
    manifest.write_text(text + "#" * (64 * 1024 - len(text) + 1))

    assert "larger than 65536 bytes" in str(refusal(tree))


def test_an_entry_in_another_package_is_refused(write_plugin: WritePlugin) -> None:
    error = refusal(write_plugin("my", entry="somewhere_else:register_plugin"))

    assert error.code == "TN-P010"
    assert "'somewhere_else'" in str(error)


@pytest.mark.parametrize(
    ("abi", "way_out"),
    [
        ("2", "get a newer TheNodes"),
        ("0", "get a newer plugin"),
        ("-1", "get a newer plugin"),
        ("1\nabi-revision = 1", "get a newer TheNodes"),
    ],
)
def test_an_abi_that_is_not_served_is_refused_with_the_way_out(
    write_plugin: WritePlugin, abi: str, way_out: str
) -> None:
    error = refusal(write_plugin("my", abi=abi))

    assert error.code == "TN-P011"
    assert way_out in str(error)


def test_folders_and_wheels_of_a_plugins_directory_come_by_name(tmp_path: Path) -> None:
    for name in ("b", "a", ".hidden", "_private"):
        (tmp_path / name).mkdir()
    for name in ("README.md", "a.whl", "b.whl.tnsig", ".c.whl"):
        (tmp_path / name).write_text("")

    found = candidates((), tmp_path, ())

    assert [candidate.path.name for candidate in found] == ["a", "a.whl", "b"]


def test_a_plugins_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (candidate,) = candidates((), tmp_path / "none", ())

    assert candidate.fault is not None
    assert candidate.fault.code == "TN-P010"
    assert str(tmp_path / "none") in candidate.fault.received


def test_a_path_may_be_a_directory_of_wheels_and_trees(
    write_plugin: WritePlugin, tmp_path: Path
) -> None:
    write_plugin("my", under=tmp_path / "many")
    (tmp_path / "many" / "other.whl").write_text("")

    found = candidates([tmp_path / "many"], None, ())

    assert [candidate.path.name for candidate in found] == ["my", "other.whl"]


def test_a_path_may_be_a_directory_of_trees(write_plugin: WritePlugin, tmp_path: Path) -> None:
    write_plugin("b", under=tmp_path / "many")
    write_plugin("a", under=tmp_path / "many")

    found = candidates([tmp_path / "many"], None, ())

    assert [candidate.path.name for candidate in found] == ["a", "b"]


def test_a_tree_that_was_built_is_still_one_tree(write_plugin: WritePlugin) -> None:
    tree = write_plugin("my")
    (tree / "my-0.1.0-py3-none-any.whl").write_text("")

    (candidate,) = candidates([tree], None, ())

    assert candidate.path == tree


def test_an_installed_plugin_is_found_by_its_entry_point() -> None:
    assert thenodes_relay.__file__ is not None

    (candidate,) = candidates((), None, ["relay"])

    assert candidate.path == Path(thenodes_relay.__file__).parent
    assert scan([candidate], GatePolicy()).accepted[0].manifest.plugin.id == "relay"


def test_a_plugin_that_is_not_installed_is_refused_with_those_that_are() -> None:
    (candidate,) = candidates((), None, ["rely"])

    assert candidate.fault is not None
    assert "relay" in candidate.fault.received
