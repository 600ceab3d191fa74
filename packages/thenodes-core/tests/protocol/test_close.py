"""Tests of close codes and endings."""

from __future__ import annotations

import pytest

from thenodes_core.protocol.close import CloseCode, Ending
from thenodes_plugin_api import Disconnect, Reason


def test_the_close_codes_are_those_of_the_wire_protocol() -> None:
    assert {code.value: code.word for code in CloseCode} == {
        1000: "normal",
        4000: "protocol",
        4001: "realm",
        4002: "identity",
        4003: "node-type",
        4004: "replaced",
        4005: "self",
        4006: "overloaded",
        4007: "version",
        4008: "rate-limited",
        4009: "restarting",
        4010: "timeout",
    }


@pytest.mark.parametrize("code", CloseCode)
def test_every_close_code_has_a_word_without_spaces(code: CloseCode) -> None:
    assert len(code.word.split()) == 1


@pytest.mark.parametrize("code", CloseCode)
def test_every_close_code_has_a_reason_that_may_be_sent(code: CloseCode) -> None:
    assert code.reason is not Reason.UNKNOWN


def test_an_ending_decided_here_takes_the_reason_of_its_code() -> None:
    ending = Ending.here(CloseCode.RATE_LIMITED, "too many", retry_after=5)

    assert ending.disconnect() == Disconnect(Reason.RATE_LIMITED, "too many", 5)


def test_an_empty_detail_is_not_sent() -> None:
    assert Ending.here(CloseCode.NORMAL, "").disconnect().detail is None


def test_an_ending_decided_here_is_not_the_peers() -> None:
    assert not Ending.here(CloseCode.NORMAL, "").by_peer


def test_a_foreign_close_code_has_its_number_for_a_word() -> None:
    assert Ending(code=1011).word == "1011"


def test_an_ending_prints_its_word_who_ended_and_why() -> None:
    assert str(Ending(code=4001, detail="other realm", by_peer=True)) == "realm (peer): other realm"


def test_an_ending_without_detail_prints_without_one() -> None:
    assert str(Ending.here(CloseCode.RESTARTING, "")) == "restarting (here)"
