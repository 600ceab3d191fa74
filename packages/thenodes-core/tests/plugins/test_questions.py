"""Open questions of plugins to peers."""

from __future__ import annotations

import asyncio
import random

import pytest

from thenodes_core.plugins.questions import Questions
from thenodes_plugin_api import Extension, Message, PeerGone, Text, TooManyRequests

MOST = 1024


@pytest.fixture
def questions() -> Questions:
    return Questions(random.Random(0).randbytes)


def reply(request_id: str, sender: str = "b") -> Message:
    return Message(Extension("my.x", reply_to=request_id), sender=sender)


async def test_the_asked_peers_reply_answers_the_question(questions: Questions) -> None:
    request_id, answer = questions.ask("my", "b")

    assert questions.answer(reply(request_id))
    assert await answer == reply(request_id)


async def test_another_peers_reply_counts_for_nothing(questions: Questions) -> None:
    request_id, answer = questions.ask("my", "b")

    assert not questions.answer(reply(request_id, sender="mallory"))
    assert not answer.done()


async def test_a_reply_that_nobody_asked_for_counts_for_nothing(questions: Questions) -> None:
    questions.ask("my", "b")

    assert not questions.answer(reply("00" * 12))


@pytest.mark.parametrize("body", [Text("x"), Extension("my.x"), Extension("my.x", request_id="1")])
async def test_what_is_no_reply_answers_nothing(
    questions: Questions, body: Text | Extension
) -> None:
    assert not questions.answer(Message(body, sender="b"))


async def test_a_second_reply_changes_nothing(questions: Questions) -> None:
    request_id, answer = questions.ask("my", "b")
    questions.answer(reply(request_id))

    questions.answer(Message(Extension("other", reply_to=request_id), sender="b"))

    assert await answer == reply(request_id)


async def test_a_reply_to_a_dropped_question_counts_for_nothing(questions: Questions) -> None:
    request_id, answer = questions.ask("my", "b")

    questions.drop(request_id)

    assert answer.cancelled()
    assert not questions.answer(reply(request_id))


async def test_dropping_a_question_that_is_not_open_does_nothing(questions: Questions) -> None:
    questions.drop("never asked")


async def test_who_waits_for_a_peer_that_left_is_told(questions: Questions) -> None:
    _, answer = questions.ask("my", "b")

    questions.peer_gone("b")

    with pytest.raises(PeerGone, match="b left"):
        await answer


async def test_who_waits_for_another_peer_waits_on(questions: Questions) -> None:
    _, answer = questions.ask("my", "c")

    questions.peer_gone("b")

    assert not answer.done()


async def test_a_peer_that_left_after_its_answer_changes_nothing(questions: Questions) -> None:
    request_id, answer = questions.ask("my", "b")
    questions.answer(reply(request_id))

    questions.peer_gone("b")

    assert await answer == reply(request_id)


async def test_one_question_more_than_allowed_is_refused(questions: Questions) -> None:
    for _ in range(MOST):
        questions.ask("my", "b")

    with pytest.raises(TooManyRequests, match="1024"):
        questions.ask("my", "b")


async def test_one_plugins_questions_take_nothing_from_another(questions: Questions) -> None:
    for _ in range(MOST):
        questions.ask("my", "b")

    questions.ask("other", "b")


async def test_a_dropped_question_makes_room(questions: Questions) -> None:
    request_ids = [questions.ask("my", "b")[0] for _ in range(MOST)]
    questions.drop(request_ids[0])

    questions.ask("my", "b")


async def test_request_ids_are_long_and_never_the_same() -> None:
    questions = Questions(random.Random(1).randbytes)

    request_ids = {questions.ask("my", "b")[0] for _ in range(100)}

    assert len(request_ids) == 100
    assert {len(request_id) for request_id in request_ids} == {24}
    await asyncio.sleep(0)
