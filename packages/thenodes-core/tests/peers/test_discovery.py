"""Learning addresses from peers: whole nodes over a network in memory."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import pytest

from thenodes_core import (
    Config,
    DiscoveryTable,
    EncryptionTable,
    ManualClock,
    MemoryNetwork,
    Node,
    TrustPolicyTable,
)
from thenodes_core.address import Scope
from thenodes_core.clock import settle
from thenodes_core.limits import Limits
from thenodes_core.peers.discovery import _may_travel
from thenodes_core.protocol.codec_bin import BinaryCodec
from thenodes_core.transport.base import Link
from thenodes_core.transport.memory import MemoryLink
from thenodes_plugin_api import (
    Body,
    Disconnect,
    Heartbeat,
    Hello,
    Message,
    PeerList,
    PeerRequest,
    PeerSource,
    Realm,
)

CODEC = BinaryCodec(Limits())

# The strangers of these tests have no keys.
KEYLESS_TOO = EncryptionTable(trust_policy=TrustPolicyTable(require_identity=False))


class Stranger:
    """A peer that the test speaks for."""

    def __init__(self, link: Link) -> None:
        self.link = link

    async def say(self, body: Body) -> None:
        await self.link.send(CODEC.encode(Message(body)))
        await settle()

    async def hear(self) -> list[Body]:
        """What has come by now, but signs of life."""
        bodies: list[Body] = []
        while True:
            try:
                async with asyncio.timeout(0.01):
                    messages = CODEC.decode(await self.link.receive())
            except TimeoutError:
                return bodies
            bodies += [m.body for m in messages if m.body and not isinstance(m.body, Heartbeat)]


class Town:
    """Nodes on one network and one clock."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.stack = stack
        self.clock = ManualClock()
        self.network = MemoryNetwork(clock=self.clock)

    async def node(self, *bootstrap: str, want: int = 16, enabled: bool = True) -> Node:
        table = DiscoveryTable(request_want=want, enabled=enabled)
        config = Config(port=0, bootstrap_nodes=bootstrap, discovery=table, encryption=KEYLESS_TOO)
        node = Node(config, transport=self.network, clock=self.clock)
        return await self.stack.enter_async_context(node)

    async def stranger(self, node: Node, *, listen: str | None = None) -> Stranger:
        link = await self.network.dial(f"ws://{node.address}")
        stranger = Stranger(link)
        await stranger.hear()
        await stranger.say(
            Hello("stranger", listen, realm=Realm("default", "default", "1.0"), instance=b"s" * 16)
        )
        return stranger


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    async with AsyncExitStack() as stack:
        yield Town(stack)


def ids(node: Node) -> set[str]:
    return {peer.node_id for peer in node.peers.all()}


def known(node: Node, source: PeerSource) -> Sequence[str]:
    return [record.addr for record in node.known.records if record.source is source]


async def test_two_nodes_that_know_only_a_third_find_each_other(town: Town) -> None:
    hub = await town.node()
    one = await town.node(hub.address)
    other = await town.node(hub.address)

    await town.clock.advance(120.0)

    assert ids(one) == {hub.id, other.id}
    assert ids(other) == {hub.id, one.id}


async def test_a_probe_leaves_the_session_as_it_is(town: Town) -> None:
    hub = await town.node()
    one = await town.node(hub.address)
    await one.wait_for(hub.id)
    since = [peer.connected_at for peer in hub.peers.all()]

    await town.clock.advance(60.0)

    assert [peer.connected_at for peer in hub.peers.all()] == since
    assert one.counters.get("sessions_probed") == 1
    (record,) = hub.known.records
    # Without TLS anybody may repeat a HELLO: that somebody answers there is all that is known.
    assert (record.addr, record.node_id) == (one.address, None)
    assert record.last_success_epoch is not None


class Encrypted(MemoryNetwork):
    """A network whose links show a certificate, as those of TLS do."""

    certificate = b""

    async def dial(self, address: str) -> MemoryLink:
        link = await super().dial(address)
        link.certificate_digest = hashlib.sha256(self.certificate).digest()
        return link


@pytest.mark.parametrize("is_the_peers", [True, False])
async def test_a_probe_over_tls_believes_only_the_certificate_of_the_peer(
    is_the_peers: bool,
) -> None:
    async with AsyncExitStack() as stack:
        town = Town(stack)
        town.network = network = Encrypted(clock=town.clock)
        hub = await town.node()
        one = await town.node(hub.address)
        await one.wait_for(hub.id)
        network.certificate = ssl.PEM_cert_to_DER_cert(one.certificate.decode())
        if not is_the_peers:
            network.certificate += b"x"

        await town.clock.advance(60.0)

        (record,) = hub.known.records
        assert record.node_id == (one.id if is_the_peers else None)
        assert (record.last_success_epoch is not None) == is_the_peers


async def test_nodes_without_discovery_stay_as_they_are(town: Town) -> None:
    hub = await town.node(enabled=False)
    one = await town.node(hub.address, enabled=False)
    await town.node(hub.address, enabled=False)

    await town.clock.advance(200.0)

    assert ids(one) == {hub.id}


async def test_with_as_many_peers_as_wanted_no_learned_address_is_dialled(town: Town) -> None:
    hub = await town.node()
    one = await town.node(hub.address, want=1)
    await one.wait_for(hub.id)
    one.known.add("127.0.0.1:9", PeerSource.GOSSIP)

    await town.clock.advance(200.0)

    assert one.counters.get("learned_dials") == 0


async def test_a_peer_that_was_let_go_of_is_not_dialled_at_an_address_that_is_known_for_it(
    town: Town,
) -> None:
    hub, one = await town.node(), await town.node(enabled=False)
    await hub.commands.run(f"peer connect {one.address}")
    await hub.commands.run(f"peer disconnect {one.id}")
    dials = hub.counters.get("learned_dials")

    await town.clock.advance(200.0)

    assert (hub.counters.get("learned_dials"), ids(hub)) == (dials, set())


async def test_a_peer_that_was_let_go_of_is_not_connected_at_an_address_of_nobody_yet(
    town: Town,
) -> None:
    hub, one = await town.node(), await town.node(enabled=False)
    await hub.commands.run(f"peer connect {one.address}")
    await hub.commands.run(f"peer disconnect {one.id}")
    hub.known.forget(one.address)
    hub.known.add(one.address, PeerSource.GOSSIP)

    await town.clock.advance(200.0)

    assert hub.counters.get("learned_dials") > 0
    assert ids(hub) == set()


async def test_at_most_four_learned_addresses_are_dialled_a_minute(town: Town) -> None:
    node = await town.node()
    for port in range(1, 60):
        node.known.add(f"127.0.0.1:{port}", PeerSource.GOSSIP)

    await town.clock.advance(5.0)
    at_once = node.counters.get("learned_dials")
    await town.clock.advance(300.0)

    assert at_once <= 4
    assert node.counters.get("learned_dials") <= 4 + 4 * 5 + 1


async def test_an_address_that_a_peer_made_up_is_forgotten_after_a_while(town: Town) -> None:
    node = await town.node()
    node.known.add("127.0.0.1:9", PeerSource.GOSSIP)

    await town.clock.advance(3600.0)

    assert node.known.records == []
    assert node.counters.get("learned_dial_failures") == 3


async def test_an_address_that_an_operator_named_is_not_forgotten(town: Town) -> None:
    node = await town.node()
    node.known.add("127.0.0.1:9", PeerSource.MANUAL)

    await town.clock.advance(10 * 3600.0)

    assert known(node, PeerSource.MANUAL) == ["127.0.0.1:9"]
    assert node.counters.get("learned_dials") < 20


async def test_a_nodes_own_address_is_dialled_once(town: Town) -> None:
    node = await town.node()
    node.known.add(node.address, PeerSource.GOSSIP)

    await town.clock.advance(600.0)

    assert node.known.records == []
    assert node.counters.get("learned_dials") == 1


async def test_a_peer_that_joins_is_asked_at_once(town: Town) -> None:
    node = await town.node()

    stranger = await town.stranger(node)

    assert await stranger.hear() == [PeerRequest(16)]


async def test_only_proven_addresses_are_told(town: Town) -> None:
    node = await town.node()
    stranger = await town.stranger(node)
    await stranger.hear()
    for number, source in enumerate(PeerSource, start=1):
        node.known.add(f"127.0.0.1:{number}", source)
    node.known.add("127.0.0.1:77", PeerSource.GOSSIP)
    node.known.mark_success("127.0.0.1:77", node_id="proven")
    node.known.add("127.0.0.1:78", PeerSource.GOSSIP)
    node.known.mark_success("127.0.0.1:78", node_id="was there")
    node.known.mark_failure("127.0.0.1:78")
    node.known.add("127.0.0.1:79", PeerSource.GOSSIP)
    node.known.mark_success("127.0.0.1:79", node_id="stranger")

    await stranger.say(PeerRequest(16))

    assert await stranger.hear() == [PeerList(("127.0.0.1:77",))]


async def test_no_more_addresses_are_told_than_asked_for(town: Town) -> None:
    node = await town.node()
    stranger = await town.stranger(node)
    await stranger.hear()
    for number in range(1, 400):
        node.known.add(f"127.0.0.1:{number}", PeerSource.GOSSIP)
        node.known.mark_success(f"127.0.0.1:{number}", node_id=f"n{number}")

    counts = []
    for want in (0, 5, 65_535):
        await stranger.say(PeerRequest(want))
        (answer,) = await stranger.hear()
        assert isinstance(answer, PeerList)
        counts.append(len(answer.peers))

    assert counts == [0, 5, 256]


async def test_requests_grow_apart(town: Town) -> None:
    node = await town.node()
    stranger = await town.stranger(node)
    await stranger.hear()
    seconds = []

    for second in range(1, 250):
        await town.clock.advance(1.0)
        if PeerRequest(16) in await stranger.hear():
            seconds.append(second)
            await stranger.say(PeerList(()))
        elif second % 10 == 0:
            await stranger.say(Heartbeat())

    assert seconds == [10, 30, 70, 150, 240]


async def test_requests_in_a_row_are_not_all_answered(town: Town) -> None:
    node = await town.node()
    stranger = await town.stranger(node)
    await stranger.hear()

    for _ in range(10):
        await stranger.say(PeerRequest(1))
    answers = await stranger.hear()
    await town.clock.advance(10.0)
    await stranger.say(PeerRequest(1))

    assert answers == [PeerList(())] * 3
    assert node.counters.get("messages_dropped", reason="rate_limited") == 7
    assert PeerList(()) in await stranger.hear()


async def test_a_list_that_was_not_asked_for_is_ignored(town: Town) -> None:
    node = await town.node()
    stranger = await town.stranger(node)
    await stranger.say(PeerList(("127.0.0.1:8",)))

    await stranger.say(PeerList(("127.0.0.1:9",)))

    assert known(node, PeerSource.GOSSIP) == ["127.0.0.1:8"]
    assert node.counters.get("messages_dropped", reason="unasked") == 1


async def test_of_a_hostile_list_only_addresses_are_taken_and_no_more_than_asked_for(
    town: Town,
) -> None:
    node = await town.node(want=8)
    stranger = await town.stranger(node)
    junk = (
        "",
        "a",
        "http://127.0.0.1:1",
        "127.0.0.1:1/path?q",
        "ws://user@127.0.0.1:2",
        "127.0.0.1:0",
        "127.0.0.1:9",
        "x" * 10_000,
        *(f"127.0.0.1:{port}" for port in range(100, 140)),
    )

    await stranger.say(PeerList(junk))

    assert known(node, PeerSource.GOSSIP) == ["127.0.0.1:9"]


@pytest.mark.parametrize("listen", ["", "nonsense", "x" * 500, "1.2.3.4", "http://a:1", "a:0"])
async def test_a_listening_address_that_is_none_harms_nobody(town: Town, listen: str) -> None:
    node = await town.node()

    await town.stranger(node, listen=listen)

    assert ids(node) == {"stranger"}
    assert node.known.records == []
    assert node.counters.get("internal_errors") == 0


async def test_a_peer_can_name_only_a_port_of_its_own_host(town: Town) -> None:
    node = await town.node()

    await town.stranger(node, listen="192.0.2.1:4242")

    assert known(node, PeerSource.HANDSHAKE) == ["127.0.0.1:4242"]


async def test_who_only_looks_is_told_nothing_and_reported_to_nobody(town: Town) -> None:
    node = await town.node()
    looking = Stranger(await town.network.dial(f"ws://{node.address}"))
    (hello,) = await looking.hear()
    await looking.say(Disconnect())
    await looking.link.close(1000, "normal")
    await settle()

    assert isinstance(hello, Hello)
    assert node.counters.get("sessions_probed") == 1
    assert not [name for name in node.counters.snapshot() if name.startswith("sessions_refused")]


@pytest.mark.parametrize(
    ("addr", "near", "expected"),
    [
        ("8.8.8.8:1", Scope.GLOBAL, True),
        ("example.org:1", Scope.GLOBAL, True),
        ("10.0.0.1:1", Scope.GLOBAL, False),
        ("127.0.0.1:1", Scope.GLOBAL, False),
        ("localhost:1", Scope.GLOBAL, False),
        ("[::1]:1", Scope.PRIVATE, False),
        ("169.254.169.254:80", Scope.GLOBAL, False),
        ("[::ffff:127.0.0.1]:1", Scope.GLOBAL, False),
        ("10.0.0.1:1", Scope.PRIVATE, True),
        ("127.0.0.1:1", Scope.PRIVATE, False),
        ("127.0.0.1:1", Scope.MACHINE, True),
        ("ws://8.8.8.8:1", Scope.GLOBAL, True),
        ("ws://8.8.8.8:1/admin", Scope.GLOBAL, False),
        ("8.8.8.8:1?x", Scope.GLOBAL, False),
        ("a.example:1\n", Scope.GLOBAL, False),
        ("2130706433:1", Scope.GLOBAL, False),
        ("0x7f000001:1", Scope.GLOBAL, False),
        ("127.1:1", Scope.GLOBAL, False),
    ],
)
def test_an_address_travels_only_to_and_from_who_is_near(
    addr: str, near: Scope, expected: bool
) -> None:
    assert _may_travel(addr, near) is expected
