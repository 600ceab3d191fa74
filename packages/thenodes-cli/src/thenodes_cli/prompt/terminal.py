"""The prompt on a terminal: completion, history, toolbar, and events above the input line."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO, cast

from prompt_toolkit import PromptSession
from prompt_toolkit.application import create_app_session, get_app, run_in_terminal
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.filters import Always, Condition, has_focus
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import Output, create_output
from prompt_toolkit.patch_stdout import StdoutProxy
from prompt_toolkit.styles import Style

from thenodes_core.control.access import Access
from thenodes_core.control.commands import Reply

from ..console import Console
from .above import LinesAbove
from .completer import PromptCompleter
from .conversation import Conversation
from .history import open_history
from .screen import Screen
from .shell import Mode, PromptShell
from .show import show
from .toolbar import Glances, fit

__all__ = ["Terminal"]

_TYPED_CHARACTERS = 16 * 1024
_MENU_ROWS = 6
_ROWS_WITH_TOOLBAR = 5

_STYLE = Style.from_dict(
    {
        "prompt": "bold ansicyan",
        "bottom-toolbar": "reverse noinherit",
        "bottom-toolbar.id": "bold",
        "bottom-toolbar.errors": "bold bg:ansired",
        "completion-menu.completion.current": "reverse",
    }
)


class Terminal:
    """A prompt on a terminal.

    Args:
        access: the node's commands.
        shell: what lines mean.
        talk: answers them.
        console: where events come from, which go above the input line.
        history: the file that keeps what was typed, if any.
        source: the keyboard; standard input's by default.
        output: the screen; standard output's by default.
    """

    def __init__(
        self,
        access: Access,
        shell: PromptShell,
        talk: Conversation,
        console: Console,
        history: Path | None,
        *,
        source: Input | None = None,
        output: Output | None = None,
    ) -> None:
        self._shell = shell
        self._talk = talk
        self._console = console
        self._loop = asyncio.get_running_loop()
        # One of a test's has no file to write to.
        self._screen = Screen(sys.stdout, self._draw_again) if output is None else None
        # While a line is typed, print goes above it.
        self._answers = cast("TextIO", self._screen) if self._screen else sys.stdout
        self.session: PromptSession[str] = PromptSession(
            self._label,
            history=open_history(history),
            completer=PromptCompleter(access, shell),
            complete_while_typing=True,
            key_bindings=_bindings(talk),
            style=_STYLE,
            input=source,
            output=output or create_output(self._answers),
        )
        buffer = self.session.default_buffer
        # The session's own switch for it would end completion while typing.
        buffer.enable_history_search = Always()
        buffer.on_text_insert += _keep_short
        self._app = self.session.app
        self._app.before_render += lambda _: self._fit_rows()
        self._glances = Glances(access, self._app.invalidate)

    async def run(self) -> None:
        """Take lines until the operator leaves; see `_run`."""
        output = self.session.output
        try:
            with (
                create_app_session(self.session.input, output),
                contextlib.redirect_stdout(self._answers),
            ):
                await self._run()
        finally:
            if self._screen is not None:
                self._screen.close()

    async def _run(self) -> None:
        """Take lines until the operator leaves.

        Raises:
            NoNode: the node is gone.
        """
        above = LinesAbove(self._talk, self._show_above)
        tasks = [asyncio.ensure_future(run()) for run in (above.run, self._glances.run)]
        self._console.redirect(above.put)
        try:
            while self._shell.mode is not Mode.DONE:
                line = await self._read()
                if line is not None:
                    await self._talk.say(line)
        except KeyboardInterrupt:
            await show(Reply(self._shell.leave()))
        finally:
            self._console.redirect(None)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._answers.write(above.take())

    async def _read(self) -> str | None:
        """A line; None where the operator ended the input instead."""
        try:
            with _printing_above():
                return await self.session.prompt_async(handle_sigint=False)
        except EOFError:
            said = self._shell.end_of_input()
            if said:
                await show(Reply(said))
            return None

    def _label(self) -> str:
        return self._shell.label(self.session.output.get_size().columns)

    def _fit_rows(self) -> None:
        """Give menu and toolbar the room that there is."""
        rows = self.session.output.get_size().rows
        self.session.reserve_space_for_menu = max(0, min(_MENU_ROWS, rows - _ROWS_WITH_TOOLBAR))
        has_room = rows >= _ROWS_WITH_TOOLBAR and self._glances.last is not None
        self.session.bottom_toolbar = self._toolbar if has_room else None

    def _toolbar(self) -> StyleAndTextTuples:
        glance = self._glances.last
        if glance is None:
            return []
        shown: StyleAndTextTuples = [("", " ")]
        for name, text in fit(glance, self.session.output.get_size().columns):
            if len(shown) > 1:
                shown.append(("", "  "))
            shown.append((f"class:bottom-toolbar.{name}", text))
        return shown

    async def _show_above(self, text: str) -> None:
        def write() -> None:
            self._answers.write(text)
            self._answers.flush()

        if self._app.is_running:
            await run_in_terminal(write)
        else:
            write()

    def _draw_again(self) -> None:
        """Draw the line anew, since a part of what was drawn is missing."""

        def draw() -> None:
            if self._app.is_running:
                self._app.renderer.clear()
                self._app.invalidate()

        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(draw)


@contextlib.contextmanager
def _printing_above() -> Iterator[None]:
    """Let what code of plugins prints go above the input line, too."""
    with (
        StdoutProxy(raw=True) as proxy,
        contextlib.redirect_stdout(proxy),
        contextlib.redirect_stderr(proxy),
    ):
        yield


def _keep_short(buffer: Buffer) -> None:
    """Take no more than can be drawn again at every key."""
    if len(buffer.text) > _TYPED_CHARACTERS:
        buffer.text = buffer.text[:_TYPED_CHARACTERS]


def _bindings(talk: Conversation) -> KeyBindings:
    keys = KeyBindings()

    @Condition
    def menu_is_only_shown() -> bool:
        state = get_app().current_buffer.complete_state
        return state is not None and state.complete_index is None

    in_line = has_focus("DEFAULT_BUFFER")

    @keys.add("up", filter=in_line & menu_is_only_shown)
    def _(event: KeyPressEvent) -> None:
        """Lines from before that begin so; Tab and the down arrow go into the menu."""
        event.current_buffer.cancel_completion()
        event.current_buffer.history_backward()

    @keys.add("c-c", filter=in_line)
    def _(event: KeyPressEvent) -> None:
        """Give up the line that was begun; without one, what is interrupted is the prompt."""
        if event.current_buffer.text:
            event.current_buffer.reset()
        elif not talk.interrupt():
            event.app.exit(exception=KeyboardInterrupt, style="class:aborting")

    return keys
