"""The command `send`."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from thenodes_core.control.commands import CommandTable
from thenodes_core.control.texts import add_send_command
from thenodes_core.errors import CommandError, CommandFailed
from thenodes_plugin_api import DeliveryOutcome, DeliveryStatus, NoRoute, Reason, SendError


class View:
    """A node that knows two peers; how sending goes is the test's."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.comes: DeliveryOutcome | SendError = DeliveryOutcome(DeliveryStatus.SENT)

    def peer_ids(self) -> Sequence[str]:
        return ["kitchen", "hall"]

    async def send_text(self, node_id: str, text: str) -> DeliveryOutcome:
        if isinstance(self.comes, SendError):
            raise self.comes
        self.sent.append((node_id, text))
        return self.comes


@pytest.fixture
def view() -> View:
    return View()


@pytest.fixture
def table(view: View) -> CommandTable:
    table = CommandTable()
    add_send_command(table, view)
    return table


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("send kit hello there", "hello there"),
        ("send kit 'hello  there'", "hello  there"),
        ("send kit it's late, don't wait", "it's late, don't wait"),
        ("send kit -- --json", "--json"),
    ],
)
async def test_the_rest_of_the_line_is_the_text(
    line: str, text: str, table: CommandTable, view: View
) -> None:
    assert (await table.run(line)).text == "sent to kitchen"
    assert view.sent == [("kitchen", text)]


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (DeliveryStatus.SENT, "sent to hall through relay r"),
        (DeliveryStatus.STORED, "stored at relay r for hall, until it is there"),
        (DeliveryStatus.DELIVERED, "delivered to hall through relay r"),
    ],
)
async def test_it_says_how_far_the_text_came(
    status: DeliveryStatus, said: str, table: CommandTable, view: View
) -> None:
    view.comes = DeliveryOutcome(status, relay="r")

    reply = await table.run("send hall hi")

    assert reply.text == said
    assert isinstance(reply.data, dict)
    assert (reply.data["to"], reply.data["status"]) == ("hall", status.value)


async def test_a_refusal_fails_and_says_why(table: CommandTable, view: View) -> None:
    view.comes = DeliveryOutcome(
        DeliveryStatus.REFUSED, relay="r", reason=Reason.OVERLOAD, detail="full\x1b[2J"
    )

    with pytest.raises(CommandFailed, match=r"refused by r, for hall: full\\x1b\[2J"):
        await table.run("send hall hi")


async def test_no_way_fails_and_says_why(table: CommandTable, view: View) -> None:
    view.comes = NoRoute(Reason.CAPABILITY_MISSING, "this node uses no relays")

    with pytest.raises(CommandFailed, match="not sent to hall: this node uses no relays"):
        await table.run("send hall hi")


async def test_a_whole_id_may_be_of_a_node_that_was_never_met(
    table: CommandTable, view: View
) -> None:
    await table.run("send attic hi")

    assert view.sent == [("attic", "hi")]


@pytest.mark.parametrize("line", ["send", "send hall"])
async def test_a_peer_and_a_text_are_needed(line: str, table: CommandTable) -> None:
    with pytest.raises(CommandError, match="expected a peer and a text"):
        await table.run(line)


async def test_what_is_no_id_is_refused(table: CommandTable) -> None:
    with pytest.raises(CommandError, match="'a/b' is no node id"):
        await table.run("send a/b hi")
