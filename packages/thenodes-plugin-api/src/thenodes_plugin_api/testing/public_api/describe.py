"""Describes every public name of the plugin API."""

from __future__ import annotations

import enum
import inspect
import types
import typing
from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec
from msgspec import structs

__all__ = ["PLUGIN_IMPLEMENTED", "Api", "Class", "Member", "Name", "Role", "describe"]

PLUGIN_IMPLEMENTED = frozenset({"Carrier", "EventSink", "Plugin", "Route"})
"""What plugins write and hosts call: here a new required member breaks plugins."""

# They say which ABI this is; what they are is compared apart from the rest.
_NUMBERS = frozenset({"PLUGIN_ABI_MIN", "PLUGIN_ABI_REVISION", "PLUGIN_ABI_VERSION", "__version__"})
_ROOT = __name__.partition(".")[0]


class Role(enum.StrEnum):
    """Who writes a class, and who uses it."""

    HOST = "host"
    PLUGIN = "plugin"
    DATA = "data"
    ENUM = "enum"
    ERROR = "error"


class Member(msgspec.Struct, frozen=True, omit_defaults=True):
    """A member of a class, or a function.

    Attributes:
        kind: `method`, `classmethod`, `staticmethod`, `function`, `property`,
            `attribute`, `field` or `value`.
        type: of the result, the attribute, the field; in an enum, the value.
        parameters: such as `"payload: Payload | None = None"`; `"*"` precedes those that
            are keywords only.
        is_async: of a function.
        default: of an attribute or a field; None where one has to be given.
    """

    kind: str
    type: str
    parameters: tuple[str, ...] = ()
    is_async: bool = False
    default: str | None = None


class Class(msgspec.Struct, frozen=True, omit_defaults=True, tag="class"):
    """A class.

    Attributes:
        role: who writes it.
        bases: its public bases.
        members: in the order of their declaration.
        keywords_only: whether fields are given by keyword.
    """

    role: Role
    bases: tuple[str, ...]
    members: dict[str, Member]
    keywords_only: bool = False


class Function(msgspec.Struct, frozen=True, tag="function"):
    """A function of the package."""

    signature: Member


class Value(msgspec.Struct, frozen=True, tag="value"):
    """A constant, or the members of a type alias or tuple."""

    of: tuple[str, ...]


Name = Class | Function | Value
Api = dict[str, Name]


def describe(module: types.ModuleType) -> Api:
    """Describe what `__all__` of a package names."""
    return {name: _name(name, getattr(module, name)) for name in sorted(module.__all__)}


def _name(name: str, value: object) -> Name:
    if isinstance(value, type):
        return _class(value)
    if inspect.isfunction(value):
        return Function(_function("function", value))
    if name in _NUMBERS:
        return Value(("a number of the ABI",))
    if isinstance(value, tuple):
        return Value(tuple(_text(item) for item in value))
    return Value(tuple(_text(item) for item in typing.get_args(value)) or (repr(value),))


def _class(cls: type) -> Class:
    return Class(
        _role(cls),
        tuple(base.__name__ for base in cls.__bases__ if not base.__name__.startswith("_")),
        dict(_members(cls)),
        keywords_only=issubclass(cls, msgspec.Struct) and _takes_keywords_alone(cls),
    )


def _takes_keywords_alone(cls: type[msgspec.Struct]) -> bool:
    parameters = inspect.signature(cls).parameters.values()
    return bool(parameters) and all(p.kind is p.KEYWORD_ONLY for p in parameters)


def _role(cls: type) -> Role:
    if cls.__name__ in PLUGIN_IMPLEMENTED:
        return Role.PLUGIN
    if issubclass(cls, enum.Enum):
        return Role.ENUM
    if issubclass(cls, BaseException):
        return Role.ERROR
    return Role.DATA if issubclass(cls, msgspec.Struct) else Role.HOST


def _members(cls: type) -> Iterator[tuple[str, Member]]:
    if issubclass(cls, enum.Enum):
        for name, item in cls.__members__.items():
            yield name, Member("value", repr(item.value))
    annotations = _annotations(cls)
    fields = structs.fields(cls) if issubclass(cls, msgspec.Struct) else ()
    for field in fields:
        default = None if field.required else _default(field)
        renamed = "" if field.encode_name == field.name else f" as {field.encode_name!r}"
        yield field.name, Member("field", annotations[field.name] + renamed, default=default)
    done = {field.name for field in fields} | set(getattr(cls, "__members__", ()))
    for name, of in annotations.items():
        if name not in done and not name.startswith("_"):
            has = name in _own(cls)
            done.add(name)
            yield name, Member("attribute", of, default=repr(getattr(cls, name)) if has else None)
    for name, value in _own(cls).items():
        if name not in done and (not name.startswith("_") or _is_written_init(cls, name, value)):
            yield name, _member(value)


def _own(cls: type) -> dict[str, object]:
    """The attributes that this package's classes give a class, the nearest first."""
    own: dict[str, object] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.partition(".")[0] == _ROOT:
            own |= vars(base)
    return own


def _annotations(cls: type) -> dict[str, str]:
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.partition(".")[0] == _ROOT:
            found |= inspect.get_annotations(base)
    return found


def _is_written_init(cls: type, name: str, value: object) -> bool:
    protocol = Protocol in cls.__mro__
    return name == "__init__" and inspect.isfunction(value) and not protocol


def _member(value: object) -> Member:
    if isinstance(value, property):
        return Member("property", _text(inspect.signature(value.fget or len).return_annotation))
    if isinstance(value, classmethod | staticmethod):
        return _function(type(value).__name__, value.__func__)
    if inspect.isfunction(value):
        return _function("method", value)
    return Member("attribute", type(value).__name__, default=repr(value))


def _function(kind: str, function: Callable[..., object]) -> Member:
    signature = inspect.signature(function)
    parameters: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in parameters:
            parameters.append("*")
        parameters.append(_parameter(parameter))
    return Member(
        kind,
        _text(signature.return_annotation),
        tuple(parameters),
        inspect.iscoroutinefunction(function),
    )


def _parameter(parameter: inspect.Parameter) -> str:
    text = parameter.name
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        text = f"**{text}" if parameter.kind is parameter.VAR_KEYWORD else f"*{text}"
    if parameter.annotation is not parameter.empty:
        text += f": {_text(parameter.annotation)}"
    return text if parameter.default is parameter.empty else f"{text} = {parameter.default!r}"


def _default(field: structs.FieldInfo) -> str:
    if field.default is not msgspec.NODEFAULT:
        return repr(field.default)
    factory = field.default_factory
    return f"{getattr(factory, '__module__', '')}.{getattr(factory, '__qualname__', '')}()"


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return value.__name__ if isinstance(value, type) else repr(value)
