"""The dispatcher: every sink for itself, and nobody waits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import pytest

from thenodes_core.clock import settle
from thenodes_core.events.counters import Counters
from thenodes_core.events.dispatcher import Dispatcher
from thenodes_plugin_api import Event, SystemEvent


class Fast:
    """Takes every event at once."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    @property
    def actions(self) -> list[str]:
        return [getattr(event, "action", "") for event in self.events]

    async def handle(self, event: Event) -> None:
        self.events.append(event)


class Slow(Fast):
    """Takes an event only once it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()

    async def handle(self, event: Event) -> None:
        await self.go_on.wait()
        await super().handle(event)


class Raising(Fast):
    """Raises at every event, after noting it."""

    async def handle(self, event: Event) -> None:
        await super().handle(event)
        raise RuntimeError("sink")


def event(number: int) -> Event:
    return SystemEvent(action=str(number))


async def test_a_sink_gets_every_event_in_order() -> None:
    sink = Fast()
    async with Dispatcher(Counters()) as dispatcher:
        dispatcher.add_sink(sink)
        for number in range(5):
            dispatcher.emit(event(number))

    assert sink.actions == ["0", "1", "2", "3", "4"]


async def test_emitting_never_waits_and_never_calls_a_sink_itself() -> None:
    sink = Fast()
    async with Dispatcher(Counters()) as dispatcher:
        dispatcher.add_sink(sink)

        dispatcher.emit(event(0))

        assert sink.events == []


async def test_emitting_without_a_sink_does_nothing() -> None:
    async with Dispatcher(Counters()) as dispatcher:
        dispatcher.emit(event(0))


async def test_a_slow_sink_loses_events_which_are_counted() -> None:
    counters = Counters()
    sink = Slow()
    async with Dispatcher(counters, queue_events=2) as dispatcher:
        dispatcher.add_sink(sink)
        for number in range(5):
            dispatcher.emit(event(number))
        sink.go_on.set()

    assert counters.get("events_dropped") == 3
    assert sink.actions[:2] == ["0", "1"]


async def test_a_slow_sink_is_told_how_many_it_missed() -> None:
    sink = Slow()
    async with Dispatcher(Counters(), queue_events=2) as dispatcher:
        dispatcher.add_sink(sink)
        for number in range(5):
            dispatcher.emit(event(number))
        sink.go_on.set()

    told = sink.events[-1]
    assert isinstance(told, SystemEvent)
    assert told.action == "events_dropped"
    assert told.detail.startswith("3 events")


async def test_a_slow_sink_takes_nothing_from_another() -> None:
    slow, fast = Slow(), Fast()
    async with Dispatcher(Counters(), queue_events=2) as dispatcher:
        dispatcher.add_sink(slow)
        dispatcher.add_sink(fast)
        for number in range(10):
            dispatcher.emit(event(number))
            await settle(3)

        assert len(fast.events) == 10
        slow.go_on.set()


async def test_a_raising_sink_goes_on_with_the_next_event() -> None:
    counters = Counters()
    sink = Raising()
    async with Dispatcher(counters) as dispatcher:
        dispatcher.add_sink(sink)
        dispatcher.emit(event(0))
        dispatcher.emit(event(1))

    assert sink.actions == ["0", "1"]
    assert counters.get("event_sink_failures") == 2


async def test_a_raising_sink_harms_no_other() -> None:
    fast = Fast()
    async with Dispatcher(Counters()) as dispatcher:
        dispatcher.add_sink(Raising())
        dispatcher.add_sink(fast)
        dispatcher.emit(event(0))

    assert fast.actions == ["0"]


async def test_a_sink_added_twice_gets_each_event_once() -> None:
    sink = Fast()
    async with Dispatcher(Counters()) as dispatcher:
        dispatcher.add_sink(sink)
        dispatcher.add_sink(sink)
        dispatcher.emit(event(0))

    assert sink.actions == ["0"]


async def test_a_removed_sink_gets_nothing_more() -> None:
    sink = Fast()
    async with Dispatcher(Counters()) as dispatcher:
        dispatcher.add_sink(sink)
        dispatcher.emit(event(0))
        await settle()
        dispatcher.remove_sink(sink)
        dispatcher.emit(event(1))

    assert sink.actions == ["0"]


async def test_removing_a_sink_that_was_never_added_does_nothing() -> None:
    async with Dispatcher(Counters()) as dispatcher:
        dispatcher.remove_sink(Fast())


async def test_what_is_queued_at_the_end_is_still_handled() -> None:
    sink = Fast()
    async with Dispatcher(Counters()) as dispatcher:
        dispatcher.add_sink(sink)
        await settle()
        dispatcher.emit(event(0))

    assert sink.actions == ["0"]


async def test_a_sink_that_never_returns_does_not_hold_up_the_end() -> None:
    sink = Slow()
    async with asyncio.timeout(5):
        async with Dispatcher(Counters(), flush_seconds=0.01) as dispatcher:
            dispatcher.add_sink(sink)
            dispatcher.emit(event(0))

    assert sink.events == []


async def test_an_event_after_the_end_goes_nowhere() -> None:
    sink = Fast()
    async with Dispatcher(Counters()) as dispatcher:
        dispatcher.add_sink(sink)

    dispatcher.emit(event(0))
    await settle()

    assert sink.events == []


class Exiting(Fast):
    """Raises SystemExit at every event, after noting it."""

    async def handle(self, event: Event) -> None:
        await super().handle(event)
        raise SystemExit(3)


async def test_a_sink_that_exits_ends_nothing_but_its_own_turn() -> None:
    counters = Counters()
    sink, fast = Exiting(), Fast()
    async with Dispatcher(counters) as dispatcher:
        dispatcher.add_sink(sink)
        dispatcher.add_sink(fast)
        dispatcher.emit(event(0))
        dispatcher.emit(event(1))

    assert (sink.actions, fast.actions) == (["0", "1"], ["0", "1"])
    assert counters.get("event_sink_failures") == 2


class Stubborn(Fast):
    """Does not let itself be cancelled until it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()

    async def handle(self, event: Event) -> None:
        while not self.go_on.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.go_on.wait()


async def test_a_sink_that_swallows_cancellation_does_not_hold_up_the_end() -> None:
    sink = Stubborn()
    dispatcher = Dispatcher(Counters(), flush_seconds=0.01)
    dispatcher.add_sink(sink)
    dispatcher.emit(event(0))
    await settle()

    ending = asyncio.ensure_future(dispatcher.__aexit__(None, None, None))
    done, _ = await asyncio.wait([ending], timeout=2)
    sink.go_on.set()
    await settle()

    assert done == {ending}


class Batches(Fast):
    """Takes what has gathered at once."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    async def handle_batch(self, events: Sequence[Event]) -> None:
        self.sizes.append(len(events))
        self.events += events


async def test_a_sink_that_can_gets_what_has_gathered_at_once() -> None:
    sink = Batches()
    async with Dispatcher(Counters()) as dispatcher:
        dispatcher.add_sink(sink)
        for number in range(2000):
            dispatcher.emit(event(number))

    assert sink.actions == [str(number) for number in range(2000)]
    assert sink.sizes[:2] == [1024, 976]


async def test_a_sink_that_takes_batches_gets_an_empty_one_at_the_end() -> None:
    sink = Batches()
    async with Dispatcher(Counters()) as dispatcher:
        dispatcher.add_sink(sink)
        dispatcher.emit(event(0))

    assert sink.sizes == [1, 0]


class BlockedBatches(Batches):
    """Takes a batch only once it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()

    async def handle_batch(self, events: Sequence[Event]) -> None:
        await self.go_on.wait()
        await super().handle_batch(events)


async def test_a_blocked_sink_of_batches_is_told_what_it_missed_and_disturbs_no_other() -> None:
    counters = Counters()
    blocked, fast = BlockedBatches(), Fast()
    async with Dispatcher(counters, queue_events=2) as dispatcher:
        dispatcher.add_sink(blocked)
        dispatcher.add_sink(fast)
        for number in range(10):
            dispatcher.emit(event(number))
            await settle(3)
        blocked.go_on.set()

    assert fast.actions == [str(number) for number in range(10)]
    assert blocked.actions == ["0", "1", "2", "events_dropped"]
    assert counters.get("events_dropped") == 7


async def test_ten_thousand_events_in_one_turn_fit_into_the_queue() -> None:
    counters = Counters()
    sink = Fast()
    async with Dispatcher(counters, flush_seconds=10) as dispatcher:
        dispatcher.add_sink(sink)
        for number in range(10_000):
            dispatcher.emit(event(number))

    assert len(sink.events) == 10_000
    assert counters.snapshot() == {}


async def test_a_failing_sink_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    counters = Counters()
    async with Dispatcher(counters, monotonic=lambda: now[0]) as dispatcher:
        dispatcher.add_sink(Raising())
        for moment in (0.0, 1.0, 59.0, 60.0):
            now[0] = moment
            dispatcher.emit(event(0))
            await settle()

    assert counters.get("event_sink_failures") == 4
    assert len(caplog.records) == 2


class Cancelling(Fast):
    """Waits for something that is cancelled, at every event, after noting it."""

    async def handle(self, event: Event) -> None:
        await super().handle(event)
        waited_for = asyncio.get_running_loop().create_future()
        waited_for.cancel()
        await waited_for


async def test_a_sink_that_waits_for_something_cancelled_goes_on_with_the_next_event() -> None:
    counters = Counters()
    sink = Cancelling()
    async with Dispatcher(counters) as dispatcher:
        dispatcher.add_sink(sink)
        dispatcher.emit(event(0))
        await settle()
        dispatcher.emit(event(1))

    assert sink.actions == ["0", "1"]
    assert counters.get("event_sink_failures") == 2


async def test_a_sink_that_comes_later_can_have_the_first_events() -> None:
    late, later, last = Fast(), Fast(), Fast()
    async with Dispatcher(Counters()) as dispatcher:
        dispatcher.emit(event(0))
        dispatcher.add_sink(late, from_the_first=True)
        dispatcher.add_sink(later)
        dispatcher.forget_first()
        dispatcher.add_sink(last, from_the_first=True)
        dispatcher.emit(event(1))

    assert late.actions == ["0", "1"]
    assert later.actions == last.actions == ["1"]


class Unwritable(Fast):
    """Cannot write."""

    async def handle(self, event: Event) -> None:
        raise PermissionError(13, "Permission denied", "/log")


async def test_a_sink_that_cannot_write_is_told_in_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Dispatcher(Counters()) as dispatcher:
        dispatcher.add_sink(Unwritable())
        dispatcher.emit(event(0))

    assert [record.exc_info for record in caplog.records] == [None]
    assert "Unwritable cannot write: [Errno 13] Permission denied: '/log'" in caplog.text
