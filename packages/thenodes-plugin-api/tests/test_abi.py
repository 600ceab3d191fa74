"""The ABI numbers, and what the package needs at run time."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys

import pytest

from thenodes_plugin_api import (
    PLUGIN_ABI_MIN,
    PLUGIN_ABI_REVISION,
    PLUGIN_ABI_VERSION,
    __version__,
)

FORBIDDEN = ("websockets", "cryptography", "asyncio", "thenodes_core", "click", "prompt_toolkit")
KIT = ("pytest", "pytest_asyncio", "thenodes_plugin_api.testing")


def test_the_distributions_major_is_the_generation_and_its_minor_the_revision() -> None:
    major, minor, *_ = importlib.metadata.version("thenodes-plugin-api").split(".")

    assert (int(major), int(minor)) == (PLUGIN_ABI_VERSION, PLUGIN_ABI_REVISION)


def test_the_packages_own_version_is_the_distributions() -> None:
    assert __version__ == importlib.metadata.version("thenodes-plugin-api")


def test_the_oldest_generation_served_is_not_newer_than_the_newest() -> None:
    assert 1 <= PLUGIN_ABI_MIN <= PLUGIN_ABI_VERSION


def test_msgspec_is_the_only_requirement() -> None:
    requirements = importlib.metadata.requires("thenodes-plugin-api") or []

    always = [text for text in requirements if "extra ==" not in text]

    assert [re.split(r"[^\w-]", text)[0] for text in always] == ["msgspec"]


def test_importing_the_package_loads_no_library_of_the_node() -> None:
    program = (
        "import sys, thenodes_plugin_api\n"
        f"print(*sorted(name for name in {FORBIDDEN!r} if name in sys.modules))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )

    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    ("imported", "forbidden"),
    [
        ("thenodes_plugin_api", KIT),
        ("thenodes_plugin_api.testing", ("pytest", "thenodes_core", "thenodes_relay")),
        ("thenodes_plugin_api.testing.conformance", ("pytest", "thenodes_core", "thenodes_relay")),
        ("thenodes_plugin_api.testing.public_api", ("pytest", "thenodes_core", "thenodes_relay")),
        ("thenodes_plugin_api.testing.pytest_plugin", ("thenodes_core", "thenodes_relay")),
    ],
)
def test_the_kit_is_loaded_only_where_it_is_wanted_and_pytest_only_for_fixtures(
    imported: str, forbidden: tuple[str, ...]
) -> None:
    program = (
        f"import sys, {imported}\n"
        f"print(*sorted(name for name in {forbidden!r} if name in sys.modules))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )

    assert done.stdout.strip() == ""
