"""The chat, with the test kit of the plugin API."""

from __future__ import annotations

from thenodes_plugin_api import (
    DeliveryOutcome,
    DeliveryStatus,
    Extension,
    OutboxFull,
    Payload,
    Plugin,
    QoS,
    Reason,
    RelayNotify,
    Verified,
)
from thenodes_plugin_api.testing import Mesh, RecordingContext, check_plugin


async def test_the_chat_takes_whatever_a_stranger_sends() -> None:
    await check_plugin(__file__)


async def test_what_is_said_to_a_connected_node_is_read_there(mesh: Mesh) -> None:
    alice, bob = await mesh.grow(2)

    assert await alice.prompt(f"say {bob.id} how do you do") == "sent"

    assert await bob.prompt("read") == "node1: how do you do (session)"
    assert await alice.prompt("read") == "nothing was said"


async def test_what_is_said_to_who_is_away_is_stored_for_a_day(
    plugin: Plugin, context: RecordingContext
) -> None:
    context.reach("bob", DeliveryOutcome(DeliveryStatus.STORED, relay="hub"))

    assert await plugin.on_prompt("say bob hello", context) == "stored at hub"

    (sent,) = context.sent
    assert sent.options is not None
    assert (sent.options.qos, sent.options.ttl_seconds) == (QoS.RELIABLE, 86400)


async def test_a_refusal_says_why(plugin: Plugin, context: RecordingContext) -> None:
    context.reach(
        "bob",
        DeliveryOutcome(
            DeliveryStatus.REFUSED, relay="hub", reason=Reason.QUOTA, detail="bob has enough"
        ),
    )

    assert await plugin.on_prompt("say bob hi", context) == "refused by hub: quota, bob has enough"


async def test_who_cannot_be_reached_is_named(plugin: Plugin, context: RecordingContext) -> None:
    context.connect("carol")
    context.fail("carol", OutboxFull("carol reads nothing"))

    told = await plugin.on_prompt("say bob hi", context)

    assert told is not None
    assert told.startswith("bob cannot be reached: no session with bob")
    assert await plugin.on_prompt("say carol hi", context) == "not sent: carol reads nothing"


async def test_a_message_through_a_relay_shows_its_seal(
    plugin: Plugin, context: RecordingContext
) -> None:
    message = context.message(
        "bob", Extension("chat.say"), Payload.text("hi"), verified=Verified.SEAL
    )

    await plugin.on_message(message, context)

    assert await plugin.on_prompt("read", context) == "bob: hi (seal)"


async def test_a_relays_word_is_logged(plugin: Plugin, context: RecordingContext) -> None:
    notice = RelayNotify(Reason.TIMEOUT, detail="it expired")

    await plugin.on_message(context.message("hub", notice), context)

    assert [line.text for line in context.log_lines] == ["a relay tells: timeout, it expired"]


async def test_only_so_many_lines_are_kept(plugin: Plugin, context: RecordingContext) -> None:
    for number in range(1001):
        message = context.message("bob", Extension("chat.say"), Payload.text(f"{number}"))
        await plugin.on_message(message, context)

    lines = (await plugin.on_prompt("read", context) or "").splitlines()

    assert (len(lines), lines[0]) == (1000, "bob: 1 (session)")


async def test_anything_else_is_told_how_it_is_used(
    plugin: Plugin, context: RecordingContext
) -> None:
    for line in ("", "say", "say bob", "read me", "shout"):
        assert await plugin.on_prompt(line, context) == "usage: say NODE TEXT | read"
