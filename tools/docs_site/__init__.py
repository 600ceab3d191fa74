"""What the docs site does beyond its generator: see `links`, `command_line`, and here."""

from __future__ import annotations

from typing import Any

from .command_line import with_commands
from .links import Repository

__all__ = ["setup"]

_FENCE = "```"
_PLAIN = ("hex", "msgpack")  # names of blocks of the wire protocol, which no lexer knows


def setup(app: Any) -> dict[str, Any]:
    """Called by Sphinx, since docs/conf.py lists this package."""
    # Imported here: what tests look at needs no generator.
    from pygments.lexers.special import TextLexer

    app.add_config_value("repository_url", "", "env")
    app.connect("source-read", _read)
    app.connect("autodoc-process-docstring", _without_fences)
    for name in _PLAIN:
        app.add_lexer(name, TextLexer)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _read(app: Any, name: str, source: list[str]) -> None:
    repository = Repository(app.srcdir, app.config.repository_url)
    text, taken = repository.page(name, source[0])
    source[0] = with_commands(text)
    for path in taken:
        app.env.note_dependency(str(path))


def _without_fences(
    app: Any, what: str, name: str, documented: object, options: object, lines: list[str]
) -> None:
    """Docstrings have their examples in fences, as Markdown does; autodoc reads another markup."""
    within = False
    for at, line in enumerate(lines):
        text = line.lstrip()
        indent = line[: len(line) - len(text)]
        if text.startswith(_FENCE):
            within = not within
            language = text.removeprefix(_FENCE).strip()
            lines[at] = f"{indent}.. code-block:: {language or 'text'}\n" if within else ""
        elif within:
            lines[at] = f"    {line}" if text else ""
    lines[:] = "\n".join(lines).split("\n")
