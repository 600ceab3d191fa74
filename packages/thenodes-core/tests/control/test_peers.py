"""The commands about peers."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from thenodes_core.control.commands import CommandTable
from thenodes_core.control.known import add_known_command
from thenodes_core.control.peers import (
    Connected,
    Disconnected,
    Forgotten,
    PeerRow,
    add_peer_commands,
    render_peers,
)
from thenodes_core.errors import CommandError, CommandFailed
from thenodes_plugin_api import Direction, PeerRecord, PeerSource, Verified

NOW = 1_000_000.0
LONG = "k7qa2mzv3rtnx5yhc4wbd6epfugsi2oj"
RELAY = "r" * 32

DIRECT = PeerRow(
    node_id=LONG,
    name="Kitchen",
    path="direct",
    trust="trusted",
    since=NOW - 90,
    address="192.0.2.7:50000",
    direction=Direction.INBOUND,
    encoding="binary",
    node_type="daemon",
    capabilities=("relay",),
    verified=Verified.SESSION,
    fingerprint="ab" * 32,
    rtt_seconds=0.0123,
    received_bytes=1_234_567,
    sent_bytes=12,
    queued_bytes=0,
    known_addresses=("192.0.2.7:50000",),
)
EVIL = msgspec.structs.replace(DIRECT, name="a\x1b[2J\n", address="\x07", capabilities=("\x1b",))
BEHIND = PeerRow(node_id="hall", path="relay", trust="unknown", since=NOW - 5, relay=RELAY)
STORED = msgspec.structs.replace(BEHIND, node_id="attic", path="stored")


class View:
    """A node with these peers; what is asked of it is noted."""

    def __init__(self, *rows: PeerRow) -> None:
        self.now = NOW
        self.given = rows
        self.done: list[str] = []
        self.comes: dict[str, Connected] = {}
        self.forgets = Forgotten([], [], path=False, is_connected=False)

    def rows(self) -> Sequence[PeerRow]:
        return self.given

    def known_peers(self) -> Sequence[PeerRecord]:
        return [PeerRecord("a:1", PeerSource.GOSSIP, node_id="cellar")]

    def peer_ids(self) -> Sequence[str]:
        return [*(row.node_id for row in self.given), "cellar"]

    def addresses_of(self, node_id: str) -> Sequence[str]:
        return ["a:1", "a:2"] if node_id == "cellar" else []

    async def connect(self, address: str) -> Connected:
        if address == "bad:":
            raise ValueError("'bad:' has no port")
        self.done.append(f"connect {address}")
        return self.comes.get(address, Connected(address, "failed", None, "refused\x1b[2J"))

    async def disconnect(self, node_id: str) -> Disconnected:
        self.done.append(f"disconnect {node_id}")
        return Disconnected(node_id, ["a:1"], was_connected=node_id == LONG)

    def forget(self, name: str) -> Forgotten:
        self.done.append(f"forget {name}")
        return self.forgets


class Asked:
    """The commands of a view."""

    def __init__(self, *rows: PeerRow) -> None:
        self.view = View(*rows)
        self.table = CommandTable()
        add_peer_commands(self.table, self.view)

    async def text(self, line: str) -> str:
        return (await self.table.run(line)).text

    async def fails(self, line: str) -> str:
        with pytest.raises(CommandError) as raised:
            await self.table.run(line)
        assert str(raised.value).isprintable()
        return str(raised.value)


@pytest.fixture
def asked() -> Asked:
    return Asked(DIRECT, BEHIND, STORED)


def test_no_peers_are_told_in_words() -> None:
    assert render_peers([], NOW) == "no peers connected"


def test_peers_stand_in_columns_and_long_ids_are_cut_where_they_do_not_fit() -> None:
    head, direct, behind, stored = render_peers([DIRECT, BEHIND, STORED], NOW).splitlines()

    assert head.split() == "PEER NAME PATH RTT SINCE IN OUT TRUST ADDRESS".split()
    assert direct.startswith("k7qa2mzv…  Kitchen  direct")
    assert direct.endswith("1.2 MB  12 B  trusted  192.0.2.7:50000")
    assert "via rrrrrrrr…" in behind
    assert "stored at rrrrrrrr…" in stored


def test_ids_are_told_whole_where_they_fit_or_that_is_asked_for() -> None:
    short = msgspec.structs.replace(DIRECT, node_id="k" * 12, name="")

    assert "k" * 12 in render_peers([short], NOW)
    assert LONG in render_peers([DIRECT], NOW, is_wide=True)


def test_a_usual_row_fits_80_columns() -> None:
    usual = msgspec.structs.replace(DIRECT, name="")

    assert max(map(len, render_peers([usual], NOW).splitlines())) <= 80


def test_ids_that_begin_alike_are_cut_so_that_they_can_be_told_apart() -> None:
    ids = [f"{'a' * 20}{number}{'b' * 11}" for number in range(2)]
    rows = [msgspec.structs.replace(DIRECT, node_id=node_id) for node_id in ids]

    lines = render_peers(rows, NOW).splitlines()

    assert [line.split()[0] for line in lines[1:]] == [f"{'a' * 20}{n}…" for n in range(2)]


def test_what_a_peer_chose_is_escaped() -> None:
    assert all(line.isprintable() for line in render_peers([EVIL], NOW).splitlines())


@pytest.mark.parametrize("line", ["peer info k7", "known", "peer info cellar"])
async def test_what_others_chose_is_escaped_where_one_is_told_of(line: str) -> None:
    asked = Asked(EVIL)
    evil = PeerRecord("a:1\x1b[2J\x07", PeerSource.GOSSIP, node_id="cellar")
    add_known_command(asked.table, lambda: [evil])

    shown = (await asked.text(line)).splitlines()

    assert shown
    assert all(line.isprintable() for line in shown)


async def test_the_rows_are_the_data_of_peers(asked: Asked) -> None:
    reply = await asked.table.run("peers --json")

    assert (reply.data, reply.as_json) == ((DIRECT, BEHIND, STORED), True)
    assert LONG in await asked.text("peers --wide")
    assert "takes no arguments but --wide" in await asked.fails("peers all")


async def test_info_tells_everything_of_a_peer_that_is_named_by_its_beginning(asked: Asked) -> None:
    text = await asked.text("peer info k7")

    for part in (LONG, "Kitchen", "12 ms", "1.2 MB", "trusted", "ab" * 32, "relay", "1 min 30 s"):
        assert part in text


async def test_info_of_a_peer_that_is_not_there_tells_where_it_is_known(asked: Asked) -> None:
    assert await asked.text("peer info cel") == "cellar is not connected; known at a:1, a:2"


async def test_an_unknown_peer_is_told(asked: Asked) -> None:
    assert "no peer's id begins with 'x'" in await asked.fails("peer info x")


async def test_connect_tells_who_answered(asked: Asked) -> None:
    asked.view.comes["b:1"] = Connected("b:1", "connected", "hall", "")
    asked.view.comes["b:2"] = Connected("b:2", "duplicate", "hall", "")

    assert await asked.text("peer connect b:1") == "connected with hall at b:1"
    assert await asked.text("peer connect b:2") == "connected already with hall at b:2"


async def test_connect_tells_why_not(asked: Asked) -> None:
    assert await asked.fails("peer connect b:1") == "not connected with b:1: refused\\x1b[2J"
    assert "has no port" in await asked.fails("peer connect bad:")


async def test_a_known_peer_is_dialled_at_each_of_its_addresses(asked: Asked) -> None:
    asked.view.comes["a:2"] = Connected("a:2", "connected", "cellar", "")

    assert await asked.text("peer connect cellar") == "connected with cellar at a:2"
    assert asked.view.done == ["connect a:1", "connect a:2"]


async def test_what_is_neither_a_peer_nor_an_address_is_told_what_one_is(asked: Asked) -> None:
    assert (await asked.fails("peer connect example.org")).endswith("; an address is HOST:PORT")


async def test_a_peer_without_an_address_cannot_be_dialled(asked: Asked) -> None:
    assert "no address of hall is known" in await asked.fails("peer connect hall")


async def test_disconnect_tells_what_is_no_longer_dialled(asked: Asked) -> None:
    assert await asked.text("peer disconnect k7qa") == (
        f"{LONG} disconnected; it is not dialled any more at a:1, until peer connect"
    )
    assert "was not connected" in await asked.text("peer disconnect hall")


async def test_forget_tells_what_was_forgotten(asked: Asked) -> None:
    asked.view.forgets = Forgotten(["a:1"], ["hall"], path=True, is_connected=True)

    assert (await asked.text("peer forget hall")).splitlines() == [
        "forgot of hall: its addresses a:1; the key of hall; its way through a relay",
        "it is still connected; peer disconnect ends that",
    ]
    await asked.text("peer forget a:1")
    assert asked.view.done == ["forget hall", "forget a:1"]


async def test_forget_of_what_is_not_known_fails(asked: Asked) -> None:
    with pytest.raises(CommandFailed, match="nothing is known of x:1"):
        await asked.table.run("peer forget x:1")


@pytest.mark.parametrize("verb", ["info", "connect", "disconnect", "forget"])
async def test_each_takes_one_word(verb: str, asked: Asked) -> None:
    assert "expected one word, got 'nothing'" in await asked.fails(f"peer {verb}")
    assert "expected one word, got 'a b'" in await asked.fails(f"peer {verb} a b")
