"""What happened lately: bounds, problems kept apart, and readers that fall behind."""

from __future__ import annotations

import asyncio

from thenodes_core.events.recent import RecentEvents
from thenodes_plugin_api import Event, Level, SystemEvent


def event(number: int, level: Level = Level.INFO) -> SystemEvent:
    return SystemEvent(action="told", detail=str(number), level=level, at=float(number))


def details(events: object) -> list[str]:
    assert isinstance(events, list)
    return [one.detail for one in events]


async def test_the_last_thousand_events_are_kept_and_no_more() -> None:
    recent = RecentEvents()

    await recent.handle_batch([event(number) for number in range(1001)])

    kept = recent.last(2000)
    assert (len(kept), kept[0].at) == (1000, 1.0)


async def test_of_the_last_events_only_so_many_are_given_and_only_those_that_are_wanted() -> None:
    recent = RecentEvents()
    for number in range(10):
        await recent.handle(event(number))

    assert details(recent.last(2)) == ["8", "9"]
    assert details(recent.last(2, lambda one: one.at < 5)) == ["3", "4"]
    assert details(recent.last(0)) == []


async def test_a_flood_of_others_pushes_out_no_warning() -> None:
    recent = RecentEvents(most=10)
    await recent.handle(event(0, Level.WARNING))

    await recent.handle_batch([event(number) for number in range(1, 100)])

    assert details(recent.problems) == ["0"]


async def test_problems_are_bounded_and_all_of_them_count_as_unread_until_they_are_read() -> None:
    recent = RecentEvents()

    await recent.handle_batch([event(number, Level.ERROR) for number in range(40)])

    assert (len(recent.problems), recent.unread) == (32, 40)
    recent.mark_read()
    assert (len(recent.problems), recent.unread) == (32, 0)


async def test_a_subscription_gives_what_happens_and_is_wanted_in_order() -> None:
    recent = RecentEvents()
    subscription = recent.subscribe(lambda one: one.at != 2)
    assert subscription is not None
    with subscription:
        reading = asyncio.ensure_future(read(subscription, 2))
        await recent.handle_batch([event(1), event(2), event(3)])

        assert details(await reading) == ["1", "3"]


async def test_a_reader_that_falls_behind_is_told_how_many_it_missed_and_reads_the_newest() -> None:
    recent = RecentEvents()
    subscription = recent.subscribe()
    assert subscription is not None
    with subscription:
        for start in (0, 600):
            await recent.handle_batch([event(start + number) for number in range(600)])

        first, second = await read(subscription, 2)

    assert isinstance(first, SystemEvent)
    assert (first.action, first.detail[:3], second.at) == ("events_dropped", "200", 200.0)


async def test_a_subscription_that_ended_gets_nothing_and_makes_room_for_another() -> None:
    recent = RecentEvents()
    held = [recent.subscribe() for _ in range(16)]
    assert recent.subscribe() is None

    first = held[0]
    assert first is not None
    with first:
        pass

    assert recent.subscribe() is not None


async def read(subscription: object, count: int) -> list[Event]:
    return [await subscription.next() for _ in range(count)]  # type: ignore[attr-defined]
