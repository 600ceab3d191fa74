"""What a change of the public API means for plugins that were written before it."""

from __future__ import annotations

import enum
from collections.abc import Iterator

import msgspec

from .describe import Api, Class, Function, Member, Name, Role, Value

__all__ = ["Change", "Level", "changes"]


class Level(enum.IntEnum):
    """How much of the version has to be raised."""

    PATCH = 0
    REVISION = 1
    GENERATION = 2


class Change(msgspec.Struct, frozen=True):
    """One difference.

    Attributes:
        path: the name, or `Class.member`.
        level: what it takes.
        why: what happened, in a few words.
    """

    path: str
    level: Level
    why: str

    @property
    def name(self) -> str:
        """The public name concerned."""
        return self.path.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.path}: {self.why}: {self.level.name.lower()}"


def changes(old: Api, new: Api) -> list[Change]:
    """Compare two descriptions, name by name."""
    found: list[Change] = []
    for name in sorted({*old, *new}):
        if name not in new:
            found.append(Change(name, Level.GENERATION, "removed"))
        elif name not in old:
            found.append(Change(name, Level.REVISION, "added"))
        else:
            found += _of_name(name, old[name], new[name])
    return found


def _of_name(name: str, old: Name, new: Name) -> Iterator[Change]:
    if isinstance(old, Class) and isinstance(new, Class):
        yield from _of_class(name, old, new)
    elif isinstance(old, Function) and isinstance(new, Function):
        yield from _of_member(name, old.signature, new.signature, Role.HOST)
    elif isinstance(old, Value) and isinstance(new, Value):
        if set(old.of) < set(new.of):
            yield Change(name, Level.REVISION, f"also {', '.join(sorted({*new.of} - {*old.of}))}")
        elif old != new:
            yield Change(name, Level.GENERATION, "means something else")
    else:
        yield Change(name, Level.GENERATION, "is something else")


def _of_class(name: str, old: Class, new: Class) -> Iterator[Change]:
    if old.role is not new.role:
        yield Change(name, Level.GENERATION, f"was of role {old.role}, is of role {new.role}")
    if old.bases != new.bases:
        fewer = set(old.bases) - set(new.bases)
        level = Level.GENERATION if fewer else Level.REVISION
        yield Change(name, level, f"bases are {', '.join(new.bases)}")
    if new.keywords_only and not old.keywords_only:
        yield Change(name, Level.GENERATION, "takes fields by keyword alone")
    for member in [*old.members, *(m for m in new.members if m not in old.members)]:
        path = f"{name}.{member}"
        if member not in new.members:
            yield Change(path, Level.GENERATION, "removed")
        elif member not in old.members:
            yield _of_new_member(path, member, new)
        else:
            yield from _of_member(path, old.members[member], new.members[member], new.role)
    if not new.keywords_only and _moved(old, new):
        yield Change(name, Level.GENERATION, "fields have another order")


def _of_new_member(path: str, name: str, new: Class) -> Change:
    member = new.members[name]
    if new.role is Role.PLUGIN and _is_required(member, new):
        return Change(path, Level.GENERATION, "added, and plugins that lack it break")
    if member.kind == "field" and member.default is None:
        return Change(path, Level.GENERATION, "added without a default")
    whose = {Role.PLUGIN: "plugins may have it", Role.HOST: "the host provides it"}
    return Change(path, Level.REVISION, f"added; {whose.get(new.role, 'nobody has to use it')}")


def _is_required(member: Member, owner: Class) -> bool:
    if member.kind == "attribute":
        return member.default is None
    # A protocol has no implementation that plugins would inherit.
    return "Protocol" in owner.bases


def _of_member(path: str, old: Member, new: Member, role: Role) -> Iterator[Change]:
    if old == new:
        return
    widened = msgspec.structs.replace(new, parameters=old.parameters) == old
    if widened and role is not Role.PLUGIN and _takes_what(new.parameters, old.parameters):
        yield Change(path, Level.REVISION, "takes more, and everything that it took")
    else:
        yield Change(path, Level.GENERATION, f"was {_show(old)}, is {_show(new)}")


def _takes_what(new: tuple[str, ...], old: tuple[str, ...]) -> bool:
    """True where every call that fitted the old parameters fits the new ones."""
    old_positional, old_keywords = _split(old)
    new_positional, new_keywords = _split(new)
    added = [*new_positional[len(old_positional) :], *(set(new_keywords) - set(old_keywords))]
    return (
        new_positional[: len(old_positional)] == old_positional
        and set(old_keywords) <= set(new_keywords)
        and all(" = " in parameter or parameter.startswith("*") for parameter in added)
    )


def _split(parameters: tuple[str, ...]) -> tuple[list[str], list[str]]:
    if "*" not in parameters:
        return list(parameters), []
    at = parameters.index("*")
    return list(parameters[:at]), list(parameters[at + 1 :])


def _moved(old: Class, new: Class) -> bool:
    before = [name for name, member in old.members.items() if member.kind == "field"]
    after = [name for name, member in new.members.items() if member.kind == "field"]
    return set(before) <= set(after) and after[: len(before)] != before


def _show(member: Member) -> str:
    if member.kind in ("field", "attribute", "value", "property"):
        return member.type + ("" if member.default is None else f" = {member.default}")
    return f"{'async ' * member.is_async}({', '.join(member.parameters)}) -> {member.type}"
