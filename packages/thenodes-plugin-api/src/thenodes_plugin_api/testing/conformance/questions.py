"""Questions and answers."""

from __future__ import annotations

import asyncio

from ...context import PluginContext
from ...errors import PeerGone, RequestTimeout, TooManyRequests
from ...messages import Extension, Message, Text, Verified
from ...payload import Payload
from .rig import Behaviour, Rig, Spec, raises

__all__ = ["QUESTIONS"]

ASK = "one.ask"


async def a_question_gets_its_answer(rig: Rig) -> None:
    """The answer reaches who asked, and is no message for any plugin."""
    (one,) = await rig.start("a", Spec("one"))
    (far,) = await rig.start("b", Spec("one"))
    far.then = _answers

    answer = await one.ctx.request("b", ASK, Payload.text("n"))
    await rig.settle()

    assert answer.payload == Payload.text("n")
    assert (answer.sender, answer.verified) == ("b", Verified.SESSION)
    assert isinstance(answer.body, Extension)
    assert answer.body.kind == ASK
    assert one.messages == []


async def many_questions_get_each_its_own_answer(rig: Rig) -> None:
    """Also where they are answered in another order."""
    (one,) = await rig.start("a", Spec("one"))
    (far,) = await rig.start("b", Spec("one"))
    asking = [
        asyncio.ensure_future(one.ctx.request("b", ASK, Payload.text(str(number))))
        for number in range(10)
    ]
    await rig.settle()

    for question in reversed(far.messages):
        await far.ctx.reply(question, question.payload)
    answers = await asyncio.gather(*asking)

    assert [a.payload for a in answers] == [Payload.text(str(number)) for number in range(10)]


async def only_the_asked_peers_answer_counts(rig: Rig) -> None:
    """Whoever else knows the request id is counted, and not believed."""
    (one,) = await rig.start("a", Spec("one"))
    (asked,) = await rig.start("b", Spec("one"))
    (liar,) = await rig.start("c", Spec("one"))
    asking = asyncio.ensure_future(one.ctx.request("b", ASK))
    await rig.settle()
    (question,) = asked.messages
    assert isinstance(question.body, Extension)

    lie = Extension(ASK, reply_to=question.body.request_id)
    await liar.ctx.send("a", lie, Payload.text("lie"))
    await rig.settle()
    assert rig.dropped("a", "unexpected_reply") == 1
    await asked.ctx.reply(question, Payload.text("truth"))

    assert (await asking).payload == Payload.text("truth")


async def an_answer_counts_once_and_only_in_time(rig: Rig) -> None:
    """A second answer, and one after the deadline, are dropped."""
    (one,) = await rig.start("a", Spec("one"))
    (far,) = await rig.start("b", Spec("one"))
    asking = asyncio.ensure_future(one.ctx.request("b", ASK, timeout_seconds=2.0))
    await rig.settle()

    await rig.advance(1.9)
    assert not asking.done()
    await rig.advance(0.2)
    await raises(RequestTimeout, asking)
    await far.ctx.reply(far.messages[0])
    await rig.settle()

    assert rig.dropped("a", "unexpected_reply") == 1


async def a_question_fails_where_the_peer_leaves(rig: Rig) -> None:
    """At once, not at the deadline."""
    (one,) = await rig.start("a", Spec("one"))
    await rig.start("b", Spec("one"))
    asking = asyncio.ensure_future(one.ctx.request("b", ASK))
    await rig.settle()

    await rig.cut()

    await raises(PeerGone, asking)


async def at_most_1024_questions_are_open(rig: Rig) -> None:
    """The next one fails; another plugin's do not."""
    one, other = await rig.start("a", Spec("one"), Spec("other"))
    await rig.start("b", Spec("far", handles=("ask",)))
    asking = [asyncio.ensure_future(one.ctx.request("b", "ask")) for _ in range(1024)]
    await rig.settle()

    await raises(TooManyRequests, one.ctx.request("b", "ask"))
    asking.append(asyncio.ensure_future(other.ctx.request("b", "ask")))
    await rig.settle()

    assert not asking[-1].done()
    await rig.cut()
    await asyncio.gather(*asking, return_exceptions=True)


async def only_a_question_can_be_answered(rig: Rig) -> None:
    """Not a text, and not an EXTENSION without a request id."""
    (one,) = await rig.start("a", Spec("one"))
    await rig.start("b", Spec("far"))

    for body in (Text("hi"), Extension(ASK)):
        await raises(ValueError, one.ctx.reply(Message(body, sender="b")))


async def _answers(message: Message, ctx: PluginContext) -> None:
    await ctx.reply(message, message.payload)


QUESTIONS: tuple[Behaviour, ...] = (
    a_question_gets_its_answer,
    many_questions_get_each_its_own_answer,
    only_the_asked_peers_answer_counts,
    an_answer_counts_once_and_only_in_time,
    a_question_fails_where_the_peer_leaves,
    at_most_1024_questions_are_open,
    only_a_question_can_be_answered,
)
