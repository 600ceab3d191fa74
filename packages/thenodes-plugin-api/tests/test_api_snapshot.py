"""The public API is what the snapshot says, and what a change of it means is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs

import thenodes_plugin_api
from thenodes_plugin_api import PLUGIN_ABI_REVISION, PLUGIN_ABI_VERSION
from thenodes_plugin_api.testing.public_api import (
    Api,
    Class,
    Level,
    Member,
    Snapshot,
    changes,
    describe,
    problems,
    take,
)
from thenodes_plugin_api.testing.public_api.__main__ import main
from thenodes_plugin_api.testing.public_api.describe import Function, Role, Value

PACKAGE = Path(__file__).parents[1]
SNAPSHOT = PACKAGE / "api.json"
CHANGELOG = PACKAGE / "CHANGELOG.md"
ABI = (PLUGIN_ABI_VERSION, PLUGIN_ABI_REVISION)

Edit = Callable[[Api], None]

SEND = Member(
    "method", "None", ("self", "to: str", "payload: bytes = b''", "*", "wait: float = 5.0"), True
)
API: Api = {
    "Context": Class(Role.HOST, ("Protocol",), {"send": SEND, "id": Member("property", "str")}),
    "Plugin": Class(
        Role.PLUGIN,
        ("object",),
        {
            "abi": Member("attribute", "ClassVar[int]"),
            "on_start": Member("method", "None", ("self", "ctx: Context"), True),
        },
    ),
    "Sink": Class(
        Role.PLUGIN,
        ("Protocol",),
        {"handle": Member("method", "None", ("self", "event: Event"), True)},
    ),
    "Event": Class(
        Role.DATA,
        ("Struct",),
        {"action": Member("field", "str"), "detail": Member("field", "str", default="''")},
    ),
    "Reason": Class(Role.ENUM, ("StrEnum",), {"QUOTA": Member("value", "'quota'")}),
    "Bad": Class(Role.ERROR, ("Worse", "Exception"), {}),
    "Body": Value(("Text", "Extension")),
    "parse": Function(Member("function", "Manifest", ("text: str", "*", "source: str = ''"))),
}


def a_class(api: Api, name: str) -> Class:
    found = api[name]
    assert isinstance(found, Class)
    return found


def set_member(name: str, member: str, to: Member | None, *, first: bool = False) -> Edit:
    """An edit that adds, changes or removes a member."""

    def edit(api: Api) -> None:
        old = a_class(api, name)
        members = {key: value for key, value in old.members.items() if key != member}
        added = {} if to is None else {member: to}
        merged = added | members if first else {**old.members, **added} if added else members
        api[name] = structs.replace(old, members=merged)

    return edit


def put(name: str, to: Class | Function | Value | None) -> Edit:
    """An edit that adds, changes or removes a name."""

    def edit(api: Api) -> None:
        api.pop(name) if to is None else api.update({name: to})

    return edit


def method(*parameters: str, is_async: bool = True) -> Member:
    return Member("method", "None", ("self", *parameters), is_async)


def edited(edit: Edit) -> Api:
    api = dict(API)
    edit(api)
    return api


def test_the_snapshot_the_code_the_numbers_and_the_changelog_agree() -> None:
    snapshot = Snapshot.read(SNAPSHOT.read_bytes())
    names = describe(thenodes_plugin_api)

    found = problems(snapshot, names, CHANGELOG.read_text(encoding="utf-8"), abi=ABI)

    assert not found, "\n".join(found)


def test_the_snapshot_is_written_as_it_is_read() -> None:
    content = SNAPSHOT.read_bytes()

    assert Snapshot.read(content).write() == content


def test_it_is_known_of_every_class_who_writes_it() -> None:
    api = describe(thenodes_plugin_api)
    classes = {name: item.role for name, item in api.items() if isinstance(item, Class)}

    assert {name for name, role in classes.items() if role is Role.PLUGIN} == {
        "Carrier",
        "EventSink",
        "Plugin",
        "Route",
    }
    assert {name for name, role in classes.items() if role is Role.HOST} == {
        "Clock",
        "Events",
        "PeerStore",
        "Peers",
        "PluginContext",
        "PluginRegistrarApi",
        "Relay",
        "RelayBindBuilder",
        "RelayForwardBuilder",
        "RelayUser",
        "ServiceDoor",
        "ServiceSession",
        "Task",
    }


def test_the_description_knows_what_has_to_be_given_and_what_need_not() -> None:
    api = describe(thenodes_plugin_api)
    plugin, extension = a_class(api, "Plugin"), a_class(api, "Extension")

    assert plugin.members["abi"] == Member("attribute", "ClassVar[int]")
    assert plugin.members["prompt_prefix"].default == "None"
    assert extension.members["kind"] == Member("field", "str")
    assert extension.members["reply_to"].default == "None"
    assert a_class(api, "PluginContext").members["send"].parameters[-2:] == (
        "timeout_seconds: float = 5.0",
        "options: DeliveryOptions | None = None",
    )


REVISIONS = {
    "a name": put("New", Value(("1",))),
    "a method of the host": set_member("Context", "ask", method("what: str")),
    "an optional hook": set_member("Plugin", "on_pause", method("ctx: Context")),
    "an optional attribute": set_member("Plugin", "x", Member("attribute", "int", default="0")),
    "a field with a default": set_member("Event", "at", Member("field", "int", default="0")),
    "a member of an enum": set_member("Reason", "OTHER", Member("value", "'other'")),
    "a type in a union": put("Body", Value(("Text", "Extension", "Data"))),
    "a base": put("Bad", Class(Role.ERROR, ("Worse", "Exception", "ValueError"), {})),
    "a keyword of the host": set_member(
        "Context", "send", method(*SEND.parameters[1:], "urgent: bool = False")
    ),
    "an argument of the host at the end": set_member(
        "Context",
        "send",
        method("to: str", "payload: bytes = b''", "n: int = 0", "*", "wait: float = 5.0"),
    ),
    "a keyword of a function": put(
        "parse",
        Function(
            Member("function", "Manifest", ("text: str", "*", "source: str = ''", "n: int = 0"))
        ),
    ),
}

GENERATIONS = {
    "a name less": put("Body", None),
    "another thing": put("Body", Function(SEND)),
    "a method less": set_member("Context", "send", None),
    "a hook less": set_member("Plugin", "on_start", None),
    "a required attribute": set_member("Plugin", "name", Member("attribute", "str")),
    "a required method of a protocol": set_member("Sink", "close", method()),
    "an argument of a hook": set_member(
        "Plugin", "on_start", method("ctx: Context", "why: str = ''")
    ),
    "a required argument": set_member("Context", "send", method("to: str", "what: str")),
    "an argument less": set_member("Context", "send", method("to: str", "*", "wait: float = 5.0")),
    "a keyword less": set_member("Context", "send", method("to: str", "payload: bytes = b''")),
    "another default": set_member(
        "Context", "send", method("to: str", "payload: bytes = b''", "*", "wait: float = 1.0")
    ),
    "another result": set_member("Context", "id", Member("property", "int")),
    "no longer async": set_member("Context", "send", structs.replace(SEND, is_async=False)),
    "a required field": set_member("Event", "at", Member("field", "int")),
    "a field with a default before others": set_member(
        "Event", "at", Member("field", "int", default="0"), first=True
    ),
    "a field of another type": set_member("Event", "action", Member("field", "int")),
    "another value": set_member("Reason", "QUOTA", Member("value", "'q'")),
    "a value less": set_member("Reason", "QUOTA", None),
    "a base less": put("Bad", Class(Role.ERROR, ("Exception",), {})),
    "a type less in a union": put("Body", Value(("Text",))),
    "another writer": put("Sink", structs.replace(a_class(API, "Sink"), role=Role.HOST)),
    "keywords alone": put("Event", structs.replace(a_class(API, "Event"), keywords_only=True)),
}


@pytest.mark.parametrize("edit", REVISIONS.values(), ids=REVISIONS)
def test_what_is_added_is_a_revision(edit: Edit) -> None:
    assert [change.level for change in changes(API, edited(edit))] == [Level.REVISION]


@pytest.mark.parametrize("edit", GENERATIONS.values(), ids=GENERATIONS)
def test_what_breaks_plugins_is_a_generation(edit: Edit) -> None:
    found = changes(API, edited(edit))

    assert max(change.level for change in found) is Level.GENERATION


def test_nothing_is_no_change() -> None:
    assert changes(API, dict(API)) == []


def test_a_change_says_where_what_and_what_it_takes() -> None:
    (change,) = changes(API, edited(set_member("Sink", "close", method())))

    assert str(change) == "Sink.close: added, and plugins that lack it break: generation"


TOLD = "## 1.{}.0\n\n* Plugin ABI generation 1, revision {}.\n"


def test_a_change_that_was_not_recorded_is_a_problem() -> None:
    added = edited(set_member("Context", "ask", method()))

    (unrecorded, unsaid) = problems(Snapshot(1, 0, API), added, TOLD.format(0, 0), abi=(1, 0))

    assert "Context.ask: added; the host provides it: revision" in unrecorded
    assert "PLUGIN_ABI_REVISION" in unrecorded
    assert "CHANGELOG.md" in unrecorded
    assert unsaid == "CHANGELOG.md, section 1.0.x, does not mention Context"


def test_a_recorded_change_since_the_release_has_to_raise_the_number() -> None:
    added = edited(set_member("Context", "ask", method()))
    snapshot = Snapshot(1, 0, added, API, (1, 0))

    (found,) = problems(snapshot, added, TOLD.format(0, 0) + "* Context.ask\n", abi=(1, 0))

    assert "raise PLUGIN_ABI_REVISION in abi.py" in found


def test_a_break_since_the_release_has_to_raise_the_generation() -> None:
    broken = edited(put("Body", None))
    snapshot = Snapshot(1, 1, broken, API, (1, 0))

    (found,) = problems(snapshot, broken, TOLD.format(1, 1) + "* No Body\n", abi=(1, 1))

    assert "Body: removed: generation" in found
    assert "raise PLUGIN_ABI_VERSION in abi.py" in found


def test_a_change_that_numbers_and_changelog_tell_is_no_problem() -> None:
    added = edited(set_member("Context", "ask", method()))
    snapshot = Snapshot(1, 1, added, API, (1, 0))

    assert problems(snapshot, added, TOLD.format(1, 1) + "* Context.ask\n", abi=(1, 1)) == []


def test_a_number_that_the_snapshot_or_the_changelog_lacks_is_a_problem() -> None:
    found = problems(Snapshot(1, 0, API), API, TOLD.format(0, 0), abi=(1, 1))

    assert found == [
        "the snapshot is of ABI 1.0, the code of 1.1: take a new one",
        "CHANGELOG.md has no section 1.1.x that says 'generation 1, revision 1'",
    ]


def test_before_the_first_release_nothing_can_break() -> None:
    snapshot = take(edited(put("Body", None)), Snapshot(1, 0, API))

    assert problems(snapshot, snapshot.names, TOLD.format(0, 0), abi=ABI) == []


def test_a_release_is_what_changes_are_measured_against() -> None:
    snapshot = take(API, None, release=True)

    assert snapshot.released == API
    assert snapshot.released_abi == ABI
    assert take(API, snapshot).released == API


def test_the_script_takes_the_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "api.json"

    assert main([str(path), str(CHANGELOG)]) == 0

    assert Snapshot.read(path.read_bytes()).names == describe(thenodes_plugin_api)


def test_the_script_refuses_a_change_that_the_changelog_does_not_tell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "api.json"
    names = describe(thenodes_plugin_api)
    del names["OutboxFull"]
    path.write_bytes(take(names, None).write())
    before = path.read_bytes()

    assert main([str(path), str(CHANGELOG)]) == 1

    assert "does not mention OutboxFull" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_the_script_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage:" in capsys.readouterr().err
