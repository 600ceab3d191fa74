"""Realm codes: the form of a realm's name that machines compare."""

from __future__ import annotations

import re
import unicodedata

from thenodes_plugin_api import Realm

__all__ = ["make_realm", "realm_code"]

# Letters that Unicode does not decompose into an ASCII base and a mark.
_LETTERS = str.maketrans(
    {
        "ü": "ue",
        "ß": "ss",
        "æ": "ae",
        "œ": "oe",
        "ø": "o",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "ł": "l",
        "ħ": "h",
        "ı": "i",
        "ŋ": "n",
        "ŧ": "t",
    }
)
_SEPARATORS = re.compile(r"[^a-z0-9]+")


def realm_code(name: str) -> str:
    """Return the canonical code of a realm's name.

    ASCII letters and digits are kept in lower case, `ü` becomes `ue`, other
    Latin letters their ASCII base, any other run of characters one `-`.

    >>> realm_code("Müller  Home №2")
    'mueller-home-2'
    >>> realm_code("…")
    'default'
    """
    text = unicodedata.normalize("NFC", name).lower().translate(_LETTERS)
    base = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    return _SEPARATORS.sub("-", base).strip("-") or "default"


def make_realm(name: str, version: str, code: str | None = None) -> Realm:
    """Build a realm, deriving the code where none is given."""
    return Realm(name=name, code=realm_code(code or name), version=version)
