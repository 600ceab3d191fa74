"""Completion while one types: the node's commands, and what the prompt itself understands."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from thenodes_core.control.access import Access
from thenodes_core.text import printable
from thenodes_plugin_api import TheNodesError

from .shell import Mode, PromptShell

__all__ = ["PromptCompleter"]

_OFFERED = 300
_SHOWN = 80


class PromptCompleter(Completer):
    """Offers what may be typed next, with what is said of it.

    The node is asked without holding up who types, be it in another process; one that
    does not answer has nothing to offer.

    Args:
        access: the node's commands.
        shell: knows whose shell it is in.
    """

    def __init__(self, access: Access, shell: PromptShell) -> None:
        self._access = access
        self._shell = shell

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
        """Nothing: see `get_completions_async`."""
        return ()

    async def get_completions_async(
        self, document: Document, event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        """Offer what fits the text before the cursor, the word that is typed first."""
        typed = document.text_before_cursor.lstrip()
        done = len(typed[: typed.rfind(" ") + 1])
        for line, told in await self._candidates(typed):
            word = line[done:]
            yield Completion(
                word,
                start_position=done - len(typed),
                display=printable(word, most=_SHOWN),
                display_meta=printable(told),
            )

    async def _candidates(self, typed: str) -> list[tuple[str, str]]:
        shell = self._shell
        if shell.mode is Mode.CONFIRM:
            return []
        try:
            found = list(await self._access.complete(typed, shell.prefix))
        except TheNodesError:
            found = []
        # In a plugin's shell, `/` leads to the root commands, but `exit` leaves the shell.
        own = [(word, told) for word, told in shell.own_words if word.startswith(typed)]
        return sorted({line: told for line, told in [*found, *own] if line != typed}.items())[
            :_OFFERED
        ]
