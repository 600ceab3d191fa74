"""The README's plugin passes the README's tests, by the fixtures of the kit."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"

SETTINGS = """
[tool.pytest.ini_options]
addopts = "--strict-config --strict-markers -W error -p no:cacheprovider"
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "function"
"""


def blocks(language: str) -> list[str]:
    """The code blocks of the README in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)


def test_the_plugin_of_the_readme_passes_the_tests_of_the_readme(tmp_path: Path) -> None:
    code, tests = blocks("python")
    (manifest,) = blocks("toml")
    package = tmp_path / "src" / "greet_plugin"
    package.mkdir(parents=True)
    (tmp_path / "tests").mkdir()
    (package / "__init__.py").write_text(code)
    (package / "thenodes-plugin.toml").write_text(manifest)
    (tmp_path / "tests" / "test_greet.py").write_text(tests)
    (tmp_path / "pyproject.toml").write_text(SETTINGS)

    done = subprocess.run(
        [sys.executable, "-m", "pytest"], cwd=tmp_path, capture_output=True, text=True, timeout=50
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
