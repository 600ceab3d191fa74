"""Importing plugins, and what happens where that fails."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from thenodes_core.errors import PluginLoadError
from thenodes_core.plugins.find import candidates
from thenodes_core.plugins.gates import scan
from thenodes_core.plugins.loader import Loaded, load
from thenodes_core.plugins.policy import GatePolicy
from thenodes_core.plugins.source import Source

WritePlugin = Callable[..., Path]


def read_source(path: Path) -> Source:
    found = scan(candidates([path], None, ()), GatePolicy())
    for fault in found.verdicts[0].faults:
        raise fault.error()
    return found.accepted[0]


def load_tree(tree: Path) -> Loaded:
    return load(read_source(tree))


def refusal(tree: Path) -> PluginLoadError:
    with pytest.raises(PluginLoadError) as caught:
        load_tree(tree)
    return caught.value


def test_a_plugin_registers_itself(write_plugin: WritePlugin) -> None:
    tree = write_plugin("my")

    loaded = load_tree(tree)

    assert type(loaded.plugin).__name__ == "Made"
    assert loaded.manifest.plugin.id == "my"
    assert loaded.origin == str(tree)


def test_loading_leaves_the_search_path_as_it_is(write_plugin: WritePlugin) -> None:
    before = list(sys.path)

    load_tree(write_plugin("my"))

    assert sys.path == before


def test_a_plugin_may_import_its_own_modules(write_plugin: WritePlugin) -> None:
    tree = write_plugin("my", code="from .inner import VALUE", body="abi = VALUE")
    (package,) = (tree / "src").iterdir()
    (package / "inner.py").write_text("VALUE = 1\n")

    assert load_tree(tree).plugin.abi == 1


def test_the_entry_may_lie_in_a_module_of_the_package(write_plugin: WritePlugin) -> None:
    tree = write_plugin("my", entry="{package}.inner:start")
    (package,) = (tree / "src").iterdir()
    (package / "inner.py").write_text(
        "from . import Made\ndef start(api):\n    api.register_plugin(Made())\n"
    )

    assert type(load_tree(tree).plugin).__name__ == "Made"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise RuntimeError('at import')", "import raised RuntimeError at __init__.py:2"),
        ("raise SystemExit(3)", "import raised SystemExit"),
        ("import no_such_module_anywhere", "No module named 'no_such_module_anywhere'"),
        ("def (", "SyntaxError"),
    ],
)
def test_a_plugin_that_fails_at_import_is_refused(
    write_plugin: WritePlugin, code: str, told: str
) -> None:
    error = refusal(write_plugin("my", code=code))

    assert error.code == "TN-P060"
    assert told in str(error)


def test_a_failed_import_leaves_no_module_behind(write_plugin: WritePlugin) -> None:
    tree = write_plugin("my", code="from . import inner\nraise RuntimeError")
    (package,) = (tree / "src").iterdir()
    (package / "inner.py").write_text("")

    refusal(tree)

    assert [name for name in sys.modules if name.startswith(package.name)] == []


def test_a_plugin_that_was_mended_can_be_loaded_after_a_failure(write_plugin: WritePlugin) -> None:
    tree = write_plugin("my", code="raise RuntimeError")
    refusal(tree)
    (package,) = (tree / "src").iterdir()
    text = (package / "__init__.py").read_text()
    (package / "__init__.py").write_text(text.replace("raise RuntimeError", ""))

    assert load_tree(tree).plugin.abi == 1


@pytest.mark.parametrize("raised", ["RuntimeError('no')", "SystemExit(3)"])
def test_a_plugin_that_raises_at_registration_is_refused(
    write_plugin: WritePlugin, raised: str
) -> None:
    error = refusal(write_plugin("my", register=f"raise {raised}"))

    assert error.code == "TN-P060"
    assert "registration raised" in str(error)


def test_a_missing_entry_function_is_refused(write_plugin: WritePlugin) -> None:
    error = refusal(write_plugin("my", entry="{package}:no_such_function"))

    assert error.code == "TN-P060"
    assert "no_such_function" in str(error)


@pytest.mark.parametrize(
    ("register", "count"),
    [("pass", 0), ("api.register_plugin(Made()); api.register_plugin(Made())", 2)],
)
def test_any_other_number_of_plugins_than_one_is_refused(
    write_plugin: WritePlugin, register: str, count: int
) -> None:
    error = refusal(write_plugin("my", register=register))

    assert error.code == "TN-P060"
    assert f"registered {count} plugins; expected one" in str(error)


@pytest.mark.parametrize("body", ["abi = 2", "pass", "abi = '1'"])
def test_an_abi_on_the_class_that_is_not_the_manifests_is_refused(
    write_plugin: WritePlugin, body: str
) -> None:
    assert refusal(write_plugin("my", body=body)).code == "TN-P061"


def test_a_class_instead_of_an_instance_is_refused(write_plugin: WritePlugin) -> None:
    assert refusal(write_plugin("my", register="api.register_plugin(Made)")).code == "TN-P061"


@pytest.mark.parametrize(
    ("extra", "body"),
    [
        ('[prompt]\nprefix = "my"', "abi = 1"),
        ("", 'abi = 1\nprompt_prefix = "my"'),
        ('[prompt]\nprefix = "my"', 'abi = 1\nprompt_prefix = "yours"'),
    ],
)
def test_a_prefix_on_the_class_that_is_not_the_manifests_is_refused(
    write_plugin: WritePlugin, extra: str, body: str
) -> None:
    error = refusal(write_plugin("my", extra=extra, body=body))

    assert error.code == "TN-P061"
    assert "prompt prefix" in str(error)


def test_the_registrar_is_of_no_use_after_registration(write_plugin: WritePlugin) -> None:
    tree = write_plugin(
        "my", code="kept = []", register="kept.append(api); api.register_plugin(Made())"
    )
    loaded = load_tree(tree)
    module = sys.modules[type(loaded.plugin).__module__]

    with pytest.raises(Exception, match="registration is over"):
        module.kept[0].register_plugin(loaded.plugin)


def test_a_module_name_of_the_standard_library_is_taken(write_plugin: WritePlugin) -> None:
    error = refusal(write_plugin("my", package="antigravity"))

    assert error.code == "TN-P030"
    assert "'antigravity'" in str(error)


def test_a_module_name_of_the_host_is_taken(write_plugin: WritePlugin) -> None:
    tree = write_plugin("my")
    taken = read_source(tree)
    sys.modules[taken.package.name] = json
    try:
        assert refusal(tree).code == "TN-P030"
    finally:
        del sys.modules[taken.package.name]


def test_a_module_name_of_another_plugin_is_taken(
    write_plugin: WritePlugin, tmp_path: Path
) -> None:
    load_tree(write_plugin("one", package="thenodes_test_shared"))
    other = write_plugin("other", package="thenodes_test_shared", under=tmp_path / "elsewhere")

    assert refusal(other).code == "TN-P030"


def test_the_same_plugin_can_be_loaded_by_a_second_node(write_plugin: WritePlugin) -> None:
    tree = write_plugin("my")

    assert load_tree(tree).plugin is not load_tree(tree).plugin


@pytest.mark.parametrize(
    ("where", "forever"),
    [
        ("code", "while True: pass"),
        ("register", "__import__('threading').Event().wait(3)"),
    ],
)
def test_a_plugin_that_does_not_return_is_given_up_and_its_modules_are_taken_back(
    write_plugin: WritePlugin, where: str, forever: str
) -> None:
    tree = write_plugin("my", **{where: forever})
    source = read_source(tree)

    with pytest.raises(PluginLoadError, match="did not return within") as caught:
        load(source, seconds=0.1)

    assert caught.value.code == "TN-P060"
    assert source.package.name not in sys.modules


@pytest.mark.parametrize(
    ("hook", "told"),
    [
        ("def on_message(self, message, ctx): pass", "on_message is not async"),
        ("async def on_message(self, message): pass", "on_message(message)"),
        ("async def on_message(message, ctx): pass", "on_message(ctx)"),
        ("async def on_start(self): pass", "on_start()"),
        ("async def on_prompt(self, line, ctx, more): pass", "on_prompt(line, ctx, more)"),
        ("async def on_peer(self, event, ctx, *, key): pass", "on_peer(event, ctx, *, key)"),
        ("async def early_config_defaults(self): pass", "early_config_defaults is async"),
        ("on_stop = 5", "on_stop is int"),
    ],
)
def test_a_hook_that_cannot_be_called_is_told_at_load(
    write_plugin: WritePlugin, hook: str, told: str
) -> None:
    error = refusal(write_plugin("my", body=f"abi = 1\n{hook}"))

    assert error.code == "TN-P061"
    assert error.received == told
    assert "def on_" in error.expected or "def early_" in error.expected


@pytest.mark.parametrize(
    "hook",
    [
        "async def on_message(self, *args): pass",
        "async def on_message(self, message, ctx, more=None): pass",
        "@staticmethod\nasync def on_start(ctx): pass",
        "@classmethod\nasync def on_start(cls, ctx): pass",
        "@wrapped\nasync def on_start(self, ctx): pass",
    ],
)
def test_a_hook_that_can_be_called_is_taken_in_any_form(
    write_plugin: WritePlugin, hook: str
) -> None:
    code = (
        "import functools\n"
        "def wrapped(hook):\n"
        "    @functools.wraps(hook)\n"
        "    def call(*args):\n"
        "        return hook(*args)\n"
        "    return call\n"
    )

    assert load_tree(write_plugin("my", code=code, body=f"abi = 1\n{hook}")).plugin.abi == 1
