"""A plugin's modules, taken away for a fresh import and put back."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from thenodes_core.plugins.modules import is_shared, put_back, release, set_aside, users, using

TOP = "thenodes_test_own"


class Holder:
    """Whoever runs a plugin."""


@pytest.fixture(autouse=True)
def package() -> Iterator[ModuleType]:
    """A package with a module, and a stranger whose name only begins alike."""
    names = (TOP, f"{TOP}.inner", f"{TOP}_other")
    for name in names:
        sys.modules[name] = ModuleType(name)
    yield sys.modules[TOP]
    for name in names:
        sys.modules.pop(name, None)


def test_only_the_package_and_what_is_below_it_is_set_aside() -> None:
    modules = set_aside(TOP)

    assert sorted(modules) == [TOP, f"{TOP}.inner"]
    assert TOP not in sys.modules
    assert f"{TOP}_other" in sys.modules


def test_what_is_put_back_replaces_what_was_imported_meanwhile(package: ModuleType) -> None:
    modules = set_aside(TOP)
    sys.modules[TOP] = ModuleType(TOP)
    sys.modules[f"{TOP}.new"] = ModuleType(f"{TOP}.new")

    put_back(TOP, modules)

    assert sys.modules[TOP] is package
    assert f"{TOP}.new" not in sys.modules


def test_a_module_outside_that_imported_it_uses_it(package: ModuleType) -> None:
    vars(sys.modules[f"{TOP}_other"])["imported"] = package

    assert users(TOP, Holder()) == [f"{TOP}_other"]


def test_a_module_of_the_package_itself_is_no_other_user(package: ModuleType) -> None:
    vars(sys.modules[f"{TOP}.inner"])["imported"] = package

    assert users(TOP, Holder()) == []


def test_another_node_of_this_process_uses_it_until_it_lets_go() -> None:
    here, there = Holder(), Holder()
    using(TOP, here)
    using(TOP, there)

    during = users(TOP, here)
    release(TOP, there)

    assert (during, users(TOP, here)) == (["another node"], [])


def test_a_package_is_shared_while_two_nodes_run_it() -> None:
    here, there = Holder(), Holder()
    using(TOP, here)
    alone = is_shared(TOP)
    using(TOP, there)

    assert (alone, is_shared(TOP)) == (False, True)


def test_a_package_that_is_not_imported_has_no_users() -> None:
    assert users("thenodes_test_nowhere", Holder()) == []
