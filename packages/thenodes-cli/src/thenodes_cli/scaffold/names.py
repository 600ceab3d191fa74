"""What a new plugin is called: every name that follows from the one that was typed."""

from __future__ import annotations

import importlib.metadata
import keyword
import re
import sys
import unicodedata
from collections.abc import Mapping

import msgspec

from thenodes_core.control.builtin import BUILTIN_COMMANDS
from thenodes_core.errors import CommandError

__all__ = ["MOST_CHARACTERS", "Names", "derive_names"]

MOST_CHARACTERS = 32
"""Of an id and of a prompt prefix; a manifest allows no longer prefix."""

_MOST_OF_NAME = 64  # as the template checks

_ID = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_MODULE = re.compile(r"[a-z][a-z0-9_]{0,47}")

# The prompt's own words: those of the node, of the prompt, and of the commands about plugins.
_PROMPT_WORDS = BUILTIN_COMMANDS | {"exit", "quit", "plugin", "plugins"}

_HOST_MODULES = {"thenodes_plugin_api", "thenodes_core", "thenodes_relay", "thenodes_cli"}

# Windows opens devices under these names, whatever follows a dot.
_DEVICES = {"con", "prn", "aux", "nul"} | {
    f"{port}{n}" for port in ("com", "lpt") for n in "123456789"
}


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """The names of one plugin.

    Attributes:
        name: for people.
        id: its id, which never changes, and the first part of its messages' kinds.
        prefix: the word that enters its shell at the prompt.
        module: its import package.
        distribution: what pip calls it, and the folder it is made in.
    """

    name: str
    id: str
    prefix: str
    module: str
    distribution: str


def derive_names(typed: str, given: Mapping[str, str]) -> Names:
    """Derive every name from what was typed.

    Args:
        typed: the name, such as `"My Plugin"`.
        given: `name`, `id`, `prefix` or `module` where they are chosen otherwise.

    Raises:
        CommandError: no name can be made of it, or one is taken; says what to write instead.
    """
    plugin_id = given["id"] if "id" in given else _slug(typed)
    _check_pattern("id", plugin_id, _ID, MOST_CHARACTERS)
    if plugin_id in _DEVICES:
        raise CommandError(f"{plugin_id!r} is the name of a device on Windows; {_write(plugin_id)}")
    names = Names(
        name=given["name"] if "name" in given else _for_people(typed, plugin_id),
        id=plugin_id,
        prefix=given.get("prefix", plugin_id),
        module=given.get("module", f"thenodes_{plugin_id.replace('-', '_')}"),
        distribution=f"thenodes-{plugin_id.replace('_', '-')}",
    )
    _check_prefix(names)
    _check_module(names)
    return names


def _slug(typed: str) -> str:
    """The id in a name: ASCII, lowercase, hyphens between its words.

    Raises:
        CommandError: there is none.
    """
    if not typed.strip():
        raise CommandError("the name is empty; write one, as in: thenodes new-plugin my")
    if re.search(r"[/\\]|\A\.+\Z|\A[A-Za-z]:", typed.strip()):
        raise CommandError(_refuse_path(typed.strip()))
    plain = "".join(
        char for char in unicodedata.normalize("NFKD", typed) if not unicodedata.combining(char)
    )
    slug = re.sub(r"[\s._-]+", "-", plain).strip("-").lower()
    slug = slug.removeprefix("thenodes-")
    possible = re.sub(r"[^a-z0-9-]", "", slug).strip("-")
    if slug != possible:
        strange = ", ".join(sorted({repr(char) for char in slug if not _is_allowed(char)}))
        raise CommandError(
            f"the name {_short(typed)} has {strange}; expected letters a to z, digits, hyphens and "
            f"spaces; {_write(possible, instead=True)}"
        )
    if slug in ("", "thenodes"):
        raise CommandError(
            f"the name {_short(typed)} says nothing about the plugin; write what it is for, as in: "
            "thenodes new-plugin my"
        )
    if not slug[0].isalpha():
        raise CommandError(f"the name {_short(typed)} begins with a digit; {_write(slug)}")
    if len(slug) > MOST_CHARACTERS:
        raise CommandError(
            f"the name {_short(typed)} has {len(slug)} characters, at most {MOST_CHARACTERS} are "
            f"possible; {_write(slug[:20].rstrip('-'), instead=True)}"
        )
    return slug


def _for_people(typed: str, plugin_id: str) -> str:
    name = " ".join(unicodedata.normalize("NFC", typed).split()).strip("._- ")
    return name if 0 < len(name) <= _MOST_OF_NAME else plugin_id


def _refuse_path(typed: str) -> str:
    *folders, last = re.split(r"[/\\]+", typed.rstrip("/\\"))
    if not folders or not re.search(r"[A-Za-z]", last):
        return f"{_short(typed)} is a path; write a name, as in: thenodes new-plugin my"
    folder = "/".join(folders) or "/"
    return (
        f"{_short(typed)} is a path; write the name and the folder to make it in: "
        f"thenodes new-plugin {last} --output {folder}"
    )


def _check_pattern(what: str, value: str, pattern: re.Pattern[str], most: int) -> None:
    if not pattern.fullmatch(value):
        signs = "digits and underscores" if what == "module" else "digits, hyphens and underscores"
        raise CommandError(
            f"{what} {_short(value)}: expected a lowercase letter, then lowercase letters, "
            f"{signs}, at most {most}; choose another with --data {what}=…"
        )


def _check_prefix(names: Names) -> None:
    _check_pattern("prefix", names.prefix, _ID, MOST_CHARACTERS)
    if names.prefix in _PROMPT_WORDS:
        raise CommandError(
            f"the prompt prefix {names.prefix!r} is the prompt's own command; write "
            f"another name, or choose a prefix: --data prefix=my-{names.prefix}"
        )


def _check_module(names: Names) -> None:
    module = names.module
    _check_pattern("module", module, _MODULE, 48)
    if keyword.iskeyword(module) or keyword.issoftkeyword(module):
        raise CommandError(f"module {module!r} is a word of Python; {_other_module(names)}")
    if module in sys.stdlib_module_names:
        raise CommandError(f"module {module!r} is Python's own; {_other_module(names)}")
    if module in _HOST_MODULES:
        raise CommandError(f"module {module!r} is TheNodes' own; {_write(names.id)}")
    # Where the plugin itself is installed, its module is its own.
    for owner in importlib.metadata.packages_distributions().get(module, []):
        if owner != names.distribution:
            raise CommandError(f"module {module!r} is that of {owner}; {_other_module(names)}")


def _other_module(names: Names) -> str:
    return f"leave it out, or write --data module=thenodes_{names.id.replace('-', '_')}"


def _write(name: str, *, instead: bool = False) -> str:
    """The way out: a name that is possible."""
    possible = name if instead and name[:1].isalpha() else f"my-{name}".rstrip("-")
    return f"write, for example: thenodes new-plugin {possible}"


def _is_allowed(char: str) -> bool:
    return char.isascii() and (char.isalnum() or char == "-")


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
