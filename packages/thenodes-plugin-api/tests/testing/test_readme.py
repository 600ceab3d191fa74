"""The plugins of the README and of the testing guide pass the tests that stand beside them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[2]
README = PACKAGE / "README.md"
GUIDE = PACKAGE.parents[1] / "docs" / "plugins" / "testing.md"

SETTINGS = """
[tool.pytest.ini_options]
addopts = "--strict-config --strict-markers -W error -p no:cacheprovider"
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "function"
"""

NAMES_MANIFEST = """
manifest = 1
[plugin]
id = "names"
version = "0.1.0"
entry = "names_plugin:register_plugin"
abi = 1
[prompt]
prefix = "names"
commands = [{ name = "ask" }]
[messages]
handles = ["names.*"]
[config]
defaults = { name = "anonymous" }
"""


def blocks(file: Path, language: str) -> list[str]:
    """The code blocks of a file in a language."""
    text = file.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def run_tests(project: Path, package: str, code: str, manifest: str, tests: list[str]) -> str:
    """Write a project, run its tests and return what pytest says at its end."""
    folder = project / "src" / package
    folder.mkdir(parents=True)
    (project / "tests").mkdir()
    (folder / "__init__.py").write_text(code)
    (folder / "thenodes-plugin.toml").write_text(manifest)
    (project / "pyproject.toml").write_text(SETTINGS)
    for number, test in enumerate(tests):
        (project / "tests" / f"test_{number}.py").write_text(test)
    done = subprocess.run(
        [sys.executable, "-m", "pytest"], cwd=project, capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_the_plugin_of_the_readme_passes_the_tests_of_the_readme(tmp_path: Path) -> None:
    code, *tests = blocks(README, "python")
    (manifest,) = blocks(README, "toml")

    assert "3 passed" in run_tests(tmp_path, "greet_plugin", code, manifest, tests)


def test_the_plugin_of_the_guide_passes_the_tests_of_the_guide(tmp_path: Path) -> None:
    code, *tests = blocks(GUIDE, "python")

    assert "8 passed" in run_tests(tmp_path, "names_plugin", code, NAMES_MANIFEST, tests)


def test_the_settings_of_the_guide_are_those_that_its_tests_ran_with() -> None:
    (settings,) = blocks(GUIDE, "toml")

    assert set(settings.splitlines()) <= set(SETTINGS.splitlines())
