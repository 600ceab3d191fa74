"""The key-value store on nodes in memory, with the test kit of the plugin API."""

from __future__ import annotations

import pytest

import kvstore_plugin
from thenodes_plugin_api import Extension, Payload, Plugin, Text
from thenodes_plugin_api.testing import (
    Mesh,
    MeshNode,
    RegistrationError,
    check_plugin,
    embed,
)


class Stranger(Plugin):
    """Sends what it likes, and keeps nothing."""

    abi = 1


async def start(mesh: Mesh, *peers: MeshNode, table: dict[str, object] | None = None) -> MeshNode:
    """A node with the store, connected with `peers`."""
    node = await mesh.add(f"node{len(mesh.nodes)}", connect=False, config={"kvstore": table or {}})
    for peer in peers:
        await mesh.connect(node, peer)
    return node


async def start_stranger(mesh: Mesh, peer: MeshNode) -> MeshNode:
    """A node without the store, connected with `peer`."""
    node = await mesh.add("stranger", embed("stranger", Stranger()), connect=False)
    await mesh.connect(node, peer)
    return node


async def say(node: MeshNode, line: str) -> str:
    """What the store answers at the prompt."""
    return await node.prompt(line) or ""


async def test_the_store_takes_whatever_a_stranger_sends() -> None:
    await check_plugin(__file__)


async def test_a_value_that_was_put_can_be_read(mesh: Mesh) -> None:
    node = await start(mesh)

    assert await say(node, "put a 1") == "stored a = 1, sent to 0 peers"
    assert await say(node, "get a") == "a = 1"


async def test_a_value_may_have_spaces(mesh: Mesh) -> None:
    node = await start(mesh)

    await say(node, "put greeting hello to  you")

    assert await say(node, "get greeting") == "greeting = hello to  you"


async def test_a_put_reaches_every_peer(mesh: Mesh) -> None:
    hub = await start(mesh)
    others = [await start(mesh, hub) for _ in range(3)]

    assert await say(hub, "put a 1") == "stored a = 1, sent to 3 peers"

    assert [await say(other, "get a") for other in others] == ["a = 1"] * 3


async def test_a_put_of_either_side_reaches_the_other(mesh: Mesh) -> None:
    one = await start(mesh)
    other = await start(mesh, one)

    await say(one, "put a 1")
    await say(other, "put b 2")

    assert await say(one, "list") == await say(other, "list") == "a = 1\nb = 2"


async def test_the_newest_put_wins(mesh: Mesh) -> None:
    one = await start(mesh)
    other = await start(mesh, one)

    await say(one, "put a 1")
    await say(other, "put a 2")

    assert await say(one, "get a") == await say(other, "get a") == "a = 2"


async def test_a_late_joiner_is_given_the_entries_there_are(mesh: Mesh) -> None:
    first = await start(mesh)
    await say(first, "put a 1")
    await say(first, "put b 2")

    late = await start(mesh, first)

    assert await say(late, "list") == "a = 1\nb = 2"


@pytest.mark.parametrize("count", [499, 500, 501, 1250])
async def test_a_late_joiner_is_given_more_than_one_page(mesh: Mesh, count: int) -> None:
    first = await start(mesh)
    for number in range(count):
        await first.prompt(f"put key{number} {number}")

    late = await start(mesh, first)

    assert await say(late, "list") == await say(first, "list")
    assert len((await say(late, "list")).splitlines()) == count


async def test_joining_leaves_what_was_here_already_as_it_is(mesh: Mesh) -> None:
    one, other = await start(mesh), await start(mesh)
    await say(one, "put a mine")
    await say(other, "put a yours")

    await start(mesh, one, other)

    assert (await say(one, "get a"), await say(other, "get a")) == ("a = mine", "a = yours")


async def test_a_peer_that_has_no_store_is_not_asked(mesh: Mesh) -> None:
    node = await start(mesh)

    await start_stranger(mesh, node)
    await mesh.advance(60.0)

    assert not mesh.faults
    assert await say(node, "list") == "no entries"


@pytest.mark.parametrize("kind", ["kvstore.put", "kvstore.get", "kvstore.list"])
@pytest.mark.parametrize(
    "payload",
    [
        Payload.json({"key": 1, "value": [], "after": 3}),
        Payload.json([]),
        Payload.text("a"),
        Payload.binary(b"\x00"),
    ],
    ids=["wrong types", "no object", "text", "bytes"],
)
async def test_a_malformed_payload_of_a_peer_is_reported_and_harms_nothing(
    mesh: Mesh, kind: str, payload: Payload
) -> None:
    node = await start(mesh)
    await say(node, "put a 1")
    stranger = await start_stranger(mesh, node)

    await stranger.send(node.id, Extension(kind), payload)

    assert node.dropped["bad_payload"] == 1
    assert not mesh.faults
    assert await say(node, "list") == "a = 1"


@pytest.mark.parametrize("kind", ["kvstore.put", "kvstore.get", "kvstore.list", "kvstore.other"])
async def test_a_message_without_a_payload_or_of_another_kind_is_ignored(
    mesh: Mesh, kind: str
) -> None:
    node = await start(mesh)
    stranger = await start_stranger(mesh, node)

    await stranger.send(node.id, Extension(kind))
    await stranger.send(node.id, Text("hello"))

    assert not mesh.faults
    assert node.dropped["bad_payload"] == 0
    assert await say(node, "list") == "no entries"


async def test_a_peer_can_ask_for_a_value(mesh: Mesh) -> None:
    node = await start(mesh)
    await say(node, "put a 1")
    stranger = await start_stranger(mesh, node)

    answers = [
        await stranger.context().request(node.id, "kvstore.get", Payload.json({"key": key}))
        for key in "ab"
    ]

    assert [answer.payload for answer in answers] == [
        Payload.json({"key": "a", "value": "1"}),
        Payload.json({"key": "b", "value": None}),
    ]


async def test_one_entry_more_than_allowed_is_not_stored(mesh: Mesh) -> None:
    node = await start(mesh, table={"max_entries": 2})
    await say(node, "put a 1")
    await say(node, "put b 2")

    assert await say(node, "put c 3") == "not stored: there are 2 entries already"
    assert await say(node, "list") == "a = 1\nb = 2"


async def test_a_full_store_still_takes_new_values_of_its_keys(mesh: Mesh) -> None:
    node = await start(mesh, table={"max_entries": 1})
    await say(node, "put a 1")

    await say(node, "put a 2")

    assert await say(node, "get a") == "a = 2"


async def test_an_entry_that_was_not_stored_is_not_sent(mesh: Mesh) -> None:
    one = await start(mesh, table={"max_entries": 0})
    other = await start(mesh, one)

    await say(one, "put a 1")

    assert await say(other, "list") == "no entries"


async def test_a_peer_cannot_put_more_entries_than_allowed(mesh: Mesh) -> None:
    small = await start(mesh, table={"max_entries": 2})
    large = await start(mesh, small)

    for number in range(5):
        await say(large, f"put key{number} {number}")

    assert await say(small, "list") == "key0 = 0\nkey1 = 1"


async def test_a_late_joiner_takes_no_more_entries_than_allowed(mesh: Mesh) -> None:
    first = await start(mesh)
    for number in range(5):
        await say(first, f"put key{number} {number}")

    late = await start(mesh, first, table={"max_entries": 3})

    assert len((await say(late, "list")).splitlines()) == 3


async def test_a_limit_that_is_no_number_is_refused(mesh: Mesh) -> None:
    with pytest.raises(RegistrationError, match="max_entries: expected int"):
        await start(mesh, table={"max_entries": "many"})


@pytest.mark.parametrize("line", ["put a", "get", "list all", "dance"])
async def test_a_line_that_is_no_command_is_answered_with_the_usage(mesh: Mesh, line: str) -> None:
    node = await start(mesh)

    assert await say(node, line) == f"usage: {kvstore_plugin.USAGE}"


async def test_a_key_that_is_not_there_is_told(mesh: Mesh) -> None:
    assert await say(await start(mesh), "get a") == "no entry a"
