"""The file of `config init` changes nothing, and each of its lines is valid."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from thenodes_cli.commands.target import DEFAULTS
from thenodes_cli.settings.template import template
from thenodes_core.config import parse_file, setting_types, settle, validate

LINES = template().splitlines()
COMMENTED = [number for number, line in enumerate(LINES) if re.match(r"#\S", line)]
LEFT_OUT = {
    "encryption.accept_self_signed",
    "encryption.paths.trusted_crl_dir",
    "encryption.paths.issuer_crl_dir",
    "encryption.trust_policy.pin_fp_algo",
}


def test_the_file_as_written_changes_nothing(tmp_path: Path) -> None:
    settings = settle([DEFAULTS, parse_file(tmp_path / "a.toml", template().encode())])

    assert settings == settle([DEFAULTS])


@pytest.mark.parametrize("number", COMMENTED, ids=lambda number: LINES[number])
def test_every_line_may_be_uncommented(number: int, tmp_path: Path) -> None:
    lines = list(LINES)
    lines[number] = lines[number].removeprefix("#")
    if lines[number].startswith("max_entries") and lines[number - 1].startswith("#["):
        lines[number - 1] = lines[number - 1].removeprefix("#")

    settings = settle([DEFAULTS, parse_file(tmp_path / "a.toml", "\n".join(lines).encode())])

    validate(settings.config, settings.origins)


def test_every_setting_that_does_something_is_in_it() -> None:
    keys = {key for key, _ in setting_types() if key != "plugin"} - LEFT_OUT
    everything = tomllib.loads("\n".join(re.sub(r"^#(?=\S)", "", line) for line in LINES))

    for key in keys:
        if not key.startswith("encryption.noise."):
            table = everything
            for word in key.split("."):
                table = table[word]


def test_its_lines_are_as_wide_as_a_terminal() -> None:
    assert max(map(len, LINES)) <= 100
