"""Tests of links within one process."""

from __future__ import annotations

import asyncio

import pytest

from thenodes_core.clock import ManualClock, settle
from thenodes_core.errors import DialError, LinkClosed, ListenError
from thenodes_core.transport.base import Link
from thenodes_core.transport.memory import MemoryLink, MemoryNetwork


async def pair(network: MemoryNetwork) -> tuple[MemoryLink, Link]:
    """The dialling end and the accepting end of a new link."""
    accepted = asyncio.get_running_loop().create_future()

    async def accept(link: Link) -> None:
        accepted.set_result(link)
        await asyncio.Event().wait()

    listener = await network.listen("127.0.0.1", 0, accept, ignore)
    near = await network.dial(f"ws://127.0.0.1:{listener.port}")
    return near, await accepted


def ignore(remote: str, problem: str) -> None:
    raise AssertionError(f"nothing to report, but {remote}: {problem}")


async def closed(link: Link) -> LinkClosed:
    with pytest.raises(LinkClosed) as caught:
        await link.receive()
    return caught.value


async def test_a_message_arrives_at_the_other_end() -> None:
    near, far = await pair(MemoryNetwork())

    await near.send(b"there")
    await far.send(b"and back")

    assert (await far.receive(), await near.receive()) == (b"there", b"and back")


async def test_messages_keep_their_order() -> None:
    near, far = await pair(MemoryNetwork())
    for number in range(10):
        await near.send(b"%d" % number)

    assert [await far.receive() for _ in range(10)] == [b"%d" % number for number in range(10)]


async def test_the_dialling_end_knows_the_address_it_dialled() -> None:
    network = MemoryNetwork()

    near, _ = await pair(network)

    assert near.remote == "127.0.0.1:40000"


async def test_both_ends_speak_the_networks_encoding() -> None:
    near, far = await pair(MemoryNetwork(subprotocol="thenodes.v1.json"))

    assert (near.subprotocol, far.subprotocol) == ("thenodes.v1.json", "thenodes.v1.json")


async def test_a_port_where_nobody_listens_refuses() -> None:
    with pytest.raises(DialError, match="connection refused"):
        await MemoryNetwork().dial("ws://127.0.0.1:1")


async def test_a_port_that_is_taken_is_not_listened_on_again() -> None:
    network = MemoryNetwork()

    async def accept(link: Link) -> None: ...

    listener = await network.listen("127.0.0.1", 0, accept, ignore)

    with pytest.raises(ListenError, match="taken"):
        await network.listen("127.0.0.1", listener.port, accept, ignore)


async def test_a_closed_listener_accepts_no_more_but_its_links_stay() -> None:
    network = MemoryNetwork()
    links: list[Link] = []

    async def accept(link: Link) -> None:
        links.append(link)
        await asyncio.Event().wait()

    listener = await network.listen("127.0.0.1", 0, accept, ignore)
    near = await network.dial(f"ws://127.0.0.1:{listener.port}")
    await settle()
    await listener.close()

    with pytest.raises(DialError):
        await network.dial(f"ws://127.0.0.1:{listener.port}")
    await near.send(b"still here")
    assert await links[0].receive() == b"still here"


async def test_a_link_is_closed_when_whoever_serves_it_returns() -> None:
    network = MemoryNetwork()

    async def accept(link: Link) -> None:
        await link.send(b"bye")

    listener = await network.listen("127.0.0.1", 0, accept, ignore)
    near = await network.dial(f"ws://127.0.0.1:{listener.port}")

    assert await near.receive() == b"bye"
    assert (await closed(near)).code == 1006


async def test_closing_tells_the_other_end_code_and_reason() -> None:
    near, far = await pair(MemoryNetwork())

    await near.close(4001, "realm")

    end = await closed(far)
    assert (end.code, end.reason, end.by_peer) == (4001, "realm", True)


async def test_the_closing_end_knows_that_it_was_itself() -> None:
    near, _ = await pair(MemoryNetwork())

    await near.close(4001, "realm")

    end = await closed(near)
    assert (end.code, end.by_peer) == (4001, False)


async def test_what_arrived_before_the_end_can_still_be_received() -> None:
    near, far = await pair(MemoryNetwork())
    await near.send(b"last words")

    await near.close(1000, "")

    assert await far.receive() == b"last words"
    await closed(far)


async def test_sending_on_a_closed_link_fails() -> None:
    near, far = await pair(MemoryNetwork())
    await near.close(1000, "")

    with pytest.raises(LinkClosed):
        await far.send(b"x")


async def test_aborting_wakes_a_reader_on_either_end() -> None:
    near, far = await pair(MemoryNetwork())
    readers = [asyncio.ensure_future(end.receive()) for end in (near, far)]
    await settle()

    near.abort()

    results = await asyncio.gather(*readers, return_exceptions=True)
    assert [type(result) for result in results] == [LinkClosed, LinkClosed]


async def test_the_first_end_of_a_link_is_the_one_that_counts() -> None:
    near, far = await pair(MemoryNetwork())

    await near.close(4009, "restarting")
    far.abort()

    assert (await closed(far)).code == 4009


async def test_a_cut_breaks_every_link_and_tells_nobody_why() -> None:
    network = MemoryNetwork()
    near, far = await pair(network)

    network.cut()

    assert [(await closed(near)).code, (await closed(far)).code] == [1006, 1006]


async def test_a_sender_waits_where_too_much_is_not_yet_read() -> None:
    near, far = await pair(MemoryNetwork(queue_messages=2))
    await near.send(b"1")
    await near.send(b"2")
    third = asyncio.ensure_future(near.send(b"3"))
    await settle()
    assert not third.done()

    await far.receive()

    await third


async def test_aborting_wakes_a_waiting_sender() -> None:
    near, far = await pair(MemoryNetwork(queue_messages=1))
    await near.send(b"1")
    sender = asyncio.ensure_future(near.send(b"2"))
    await settle()

    far.abort()

    with pytest.raises(LinkClosed):
        await sender


async def test_a_message_of_exactly_the_limit_is_received() -> None:
    near, far = await pair(MemoryNetwork())
    far.limit(4)
    await near.send(b"1234")

    assert await far.receive() == b"1234"


async def test_a_message_over_the_limit_ends_the_link_for_both() -> None:
    near, far = await pair(MemoryNetwork())
    far.limit(4)
    await near.send(b"12345")

    mine, theirs = await closed(far), await closed(near)

    assert [(mine.code, mine.by_peer), (theirs.code, theirs.by_peer)] == [
        (1009, False),
        (1009, True),
    ]


async def test_a_message_arrives_after_the_delay_and_not_before() -> None:
    clock = ManualClock()
    near, far = await pair(MemoryNetwork(clock=clock, delay_seconds=0.5))
    await near.send(b"late")
    reader = asyncio.ensure_future(far.receive())

    await clock.advance(0.499)
    assert not reader.done()
    await clock.advance(0.001)

    assert await reader == b"late"


async def test_messages_on_their_way_count_as_not_yet_read() -> None:
    clock = ManualClock()
    near, far = await pair(MemoryNetwork(clock=clock, delay_seconds=1, queue_messages=1))
    await near.send(b"1")
    second = asyncio.ensure_future(near.send(b"2"))
    await clock.advance(1)
    assert not second.done()

    await far.receive()

    await second


async def test_a_network_that_loses_everything_delivers_nothing() -> None:
    near, far = await pair(MemoryNetwork(loss=1.0))
    await near.send(b"lost")
    reader = asyncio.ensure_future(far.receive())
    await settle()

    assert not reader.done()
    reader.cancel()


async def test_the_same_seed_loses_the_same_messages() -> None:
    arrived = []
    for _ in range(2):
        near, far = await pair(MemoryNetwork(loss=0.5, seed=7))
        for number in range(20):
            await near.send(b"%d" % number)
        await near.close(1000, "")
        received = []
        try:
            while True:
                received.append(await far.receive())
        except LinkClosed:
            arrived.append(received)

    assert arrived[0] == arrived[1]
    assert 0 < len(arrived[0]) < 20


async def test_what_was_sent_before_the_end_arrives_before_it() -> None:
    clock = ManualClock()
    network = MemoryNetwork(clock=clock, delay_seconds=1.0)
    accepted: asyncio.Future[Link] = asyncio.get_running_loop().create_future()

    async def accept(link: Link) -> None:
        accepted.set_result(link)
        await asyncio.Event().wait()

    listener = await network.listen("127.0.0.1", 0, accept, lambda *_: None)
    near = await network.dial(f"ws://127.0.0.1:{listener.port}")
    far = await accepted
    await near.send(b"last words")
    await near.close(4009, "restarting")
    await clock.advance(1.0)

    assert await far.receive() == b"last words"
    with pytest.raises(LinkClosed, match="4009"):
        await far.receive()


async def test_a_message_that_is_cut_in_its_middle_was_sent_and_never_arrives() -> None:
    network = MemoryNetwork()
    near, far = await pair(network)
    await near.send(b"whole")

    network.cut_in_message()
    await near.send(b"broken")

    assert await far.receive() == b"whole"
    assert [(await closed(link)).code for link in (near, far)] == [1006, 1006]
    assert network.links == set()


async def test_a_link_made_after_a_cut_is_whole() -> None:
    network = MemoryNetwork()
    network.cut_in_message()

    near, far = await pair(network)
    await near.send(b"there")

    assert await far.receive() == b"there"


async def test_messages_that_the_network_doubles_arrive_twice_in_order() -> None:
    near, far = await pair(MemoryNetwork(doubles=lambda data: data != b"2"))

    for data in (b"1", b"2", b"3"):
        await near.send(data)

    assert [await far.receive() for _ in range(5)] == [b"1", b"1", b"2", b"3", b"3"]


async def test_an_answer_is_not_taken_while_the_other_end_is_still_at_what_it_answers() -> None:
    near, far = await pair(MemoryNetwork())
    taken: list[bytes] = []

    def answer(data: bytes) -> bool:
        taken.append(data)
        far.send_now(b"answer")
        return True

    def take(data: bytes) -> bool:
        taken.append(data)
        return True

    asking, answering = (
        asyncio.ensure_future(near.receive(take)),
        asyncio.ensure_future(far.receive(answer)),
    )
    await settle()
    near.send_now(b"question")

    assert taken == [b"question"]
    assert await asking == b"answer"
    answering.cancel()


async def test_a_ping_is_answered_after_twice_the_delay() -> None:
    clock = ManualClock()
    near, _ = await pair(MemoryNetwork(clock=clock, delay_seconds=0.5))
    answers: list[float] = []
    start = clock.monotonic()

    assert near.ping(lambda: answers.append(clock.monotonic() - start))
    await clock.advance(0.9)
    assert answers == []
    await clock.advance(0.1)

    assert answers == [1.0]


async def test_a_link_that_ended_is_neither_pinged_nor_answers() -> None:
    clock = ManualClock()
    near, _ = await pair(MemoryNetwork(clock=clock, delay_seconds=0.5))
    answers: list[None] = []
    near.ping(lambda: answers.append(None))

    near.abort()
    await clock.advance(2.0)

    assert (answers, near.ping(lambda: None)) == ([], False)
