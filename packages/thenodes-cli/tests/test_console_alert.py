"""Where events and log records are shown."""

from __future__ import annotations

import io

from thenodes_cli.console import Console
from thenodes_plugin_api import Level


def test_an_alert_goes_past_a_prompt_that_has_the_console() -> None:
    stream, prompt = io.StringIO(), list[str]()
    console = Console(stream)
    console.redirect(prompt.append)

    console.write("an event", Level.INFO)
    console.alert("held", Level.ERROR)
    console.close()

    assert prompt == ["an event"]
    assert stream.getvalue() == "\r\nheld\n"


def test_without_a_prompt_an_alert_is_left_to_the_log() -> None:
    stream = io.StringIO()
    console = Console(stream)

    console.alert("held", Level.ERROR)
    console.close()

    assert stream.getvalue() == ""
