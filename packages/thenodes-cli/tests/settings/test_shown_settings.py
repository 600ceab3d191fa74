"""Settings as they are shown: what a terminal might obey is escaped, and means the same."""

from __future__ import annotations

import tomllib

import pytest

from thenodes_cli.settings.shown import as_toml, value_text


@pytest.mark.parametrize("text", ["\x1b[2J", "\x9b31m", "\u202e", "a\nb\r", "\x7f", '"\\'])
def test_what_a_terminal_might_obey_is_escaped(text: str) -> None:
    shown = as_toml({"plugin": {"kv": {"name": text, text: 1}}}, {"plugin.kv.name": text})

    assert all(c.isprintable() or c == "\n" for c in shown)
    assert tomllib.loads(shown)["plugin"]["kv"] == {"name": text, text: 1}
    assert value_text(text).isprintable()
    assert tomllib.loads(f"a = {value_text(text)}")["a"] == text
