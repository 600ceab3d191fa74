"""What is to happen later: in order, on time, and not once it is cancelled."""

from __future__ import annotations

import asyncio
import functools

from thenodes_plugin_api.testing import ManualClock, RecordingContext
from thenodes_relay.client.agenda import Agenda


async def test_calls_come_in_the_order_of_their_times() -> None:
    clock = ManualClock()
    context = RecordingContext(clock=clock)
    agenda, called = Agenda(context), list[int]()
    for seconds in (3, 1, 2):
        agenda.call_later(seconds, functools.partial(called.append, seconds))
    await clock.advance(2.5)
    assert called == [1, 2]
    await clock.advance(1)

    assert called == [1, 2, 3]
    await context.close()


async def test_what_is_cancelled_is_not_called() -> None:
    clock = ManualClock()
    context = RecordingContext(clock=clock)
    agenda, called = Agenda(context), list[int]()
    appointment = agenda.call_later(1, lambda: called.append(1))
    appointment.cancel()
    appointment.cancel()
    await clock.advance(2)

    assert called == []
    await context.close()


async def test_a_thousand_that_are_cancelled_leave_nothing_behind() -> None:
    clock = ManualClock()
    context = RecordingContext(clock=clock)
    agenda, called = Agenda(context), list[int]()
    agenda.call_later(1000, lambda: called.append(1))
    for _ in range(1000):
        agenda.call_later(10, lambda: called.append(2)).cancel()

    assert len(agenda._entries) < 200
    await clock.advance(1001)
    assert called == [1]
    await context.close()


async def test_nothing_is_called_once_it_is_closed() -> None:
    clock = ManualClock()
    context = RecordingContext(clock=clock)
    agenda, called = Agenda(context), list[int]()
    agenda.call_later(1, lambda: called.append(1))
    agenda.close()
    agenda.call_later(1, lambda: called.append(2))
    await clock.advance(5)

    assert called == []
    await context.close()


async def test_a_future_is_waited_for_until_its_time_is_up() -> None:
    clock = ManualClock()
    context = RecordingContext(clock=clock)
    agenda = Agenda(context)
    loop = asyncio.get_running_loop()
    late: asyncio.Future[str | None] = loop.create_future()
    early: asyncio.Future[str | None] = loop.create_future()
    waiting = asyncio.ensure_future(agenda.within(late, 1.0))
    other = asyncio.ensure_future(agenda.within(early, 1.0))
    await clock.advance(0.5)
    early.set_result("here")
    await clock.advance(1)

    assert (await waiting, await other) == (None, "here")
    await context.close()


async def test_who_waits_for_a_future_waits_no_longer_once_it_is_closed() -> None:
    clock = ManualClock()
    context = RecordingContext(clock=clock)
    agenda = Agenda(context)
    loop = asyncio.get_running_loop()
    before: asyncio.Future[str | None] = loop.create_future()
    after: asyncio.Future[str | None] = loop.create_future()
    waiting = asyncio.ensure_future(agenda.within(before, 1.0))
    await clock.advance(0)
    agenda.close()

    assert (await waiting, await agenda.within(after, 1.0)) == (None, None)
    await context.close()
