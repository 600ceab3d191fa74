"""The realm: which network a node belongs to."""

from __future__ import annotations

import msgspec

__all__ = ["Realm"]


class Realm(msgspec.Struct, frozen=True):
    """A network's name and version; nodes of different realms refuse each other.

    Attributes:
        name: for people, such as `"Müller Home"`.
        code: for machines: lowercase words joined by `-`, derived from the name.
        version: of the application protocol spoken in the realm.
    """

    name: str = "default"
    code: str = "default"
    version: str = "1.0"

    def __str__(self) -> str:
        return f"{self.code}/{self.version}"
