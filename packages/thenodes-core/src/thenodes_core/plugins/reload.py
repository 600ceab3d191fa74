"""Changes plugins while the node runs: reload, enable, disable."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import ModuleType

import msgspec

from thenodes_plugin_api import Level

from ..errors import CommandFailed, PluginLoadError
from .loader import Loaded
from .modules import put_back, release, set_aside, users, using
from .roster import Roster
from .slot import Slot
from .source import Source

__all__ = ["PluginChanges"]

Reread = Callable[[Source], Source]
Load = Callable[[Source], Loaded]
Advertised = Callable[[Loaded], tuple[str, ...]]
Change = Callable[[Slot], Awaitable[str]]


class _Anew(msgspec.Struct, frozen=True):
    """A plugin that was loaded anew, and the modules that it had before."""

    loaded: Loaded
    source: Source | None
    modules: Mapping[str, ModuleType]


class PluginChanges:
    """Stops, loads and starts single plugins; one change at a time, each to its end.

    Args:
        roster: the plugins.
        reread: judges a plugin's source by the gates again; raises PluginLoadError.
        load: imports a plugin and lets it register; raises PluginLoadError.
        advertised: asks a plugin which capabilities it advertises.
    """

    def __init__(self, roster: Roster, reread: Reread, load: Load, advertised: Advertised) -> None:
        self._roster = roster
        self._reread = reread
        self._load = load
        self._advertised = advertised
        self._one_at_a_time = asyncio.Lock()
        self._tasks: set[asyncio.Task[str]] = set()
        self._closed = False

    def hold_modules(self) -> None:
        """Let other nodes of this process know which packages are in use here."""
        for slot in self._roster:
            if slot.source is not None:
                using(slot.top, self)

    def close(self) -> None:
        """Make no further change, and break off what is under way: the node stops."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        for slot in self._roster:
            if slot.source is not None:
                release(slot.top, self)

    async def reload(self, plugin_id: str) -> str:
        """Load a plugin anew and run it in the place of the one that runs.

        What comes for it meanwhile is held, and given to the new one in order. Where
        the new one cannot be loaded or started, the old one is started again.

        Returns:
            What was done, for the operator.

        Raises:
            CommandFailed: nothing was changed, or the old one runs again, or neither.
        """
        return await self._apart(plugin_id, self._reload)

    async def enable(self, plugin_id: str) -> str:
        """Load and start a plugin that is disabled, in quarantine, or has failed.

        Raises:
            CommandFailed: it runs, or cannot be loaded or started.
        """

        async def enable(slot: Slot) -> str:
            if slot.is_up:
                raise CommandFailed(f"plugin {slot.plugin_id} is {slot.state} already")
            return await self._reload(slot)

        return await self._apart(plugin_id, enable)

    async def disable(self, plugin_id: str) -> str:
        """Stop a plugin; it keeps its names, and what is for it is dropped and counted.

        Raises:
            CommandFailed: it is disabled.
        """
        return await self._apart(plugin_id, self._disable)

    async def _apart(self, plugin_id: str, change: Change) -> str:
        # Whoever asked may leave: the change still goes on to its end.
        task = asyncio.ensure_future(self._do(plugin_id, change))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _do(self, plugin_id: str, change: Change) -> str:
        async with self._one_at_a_time:
            if self._closed:
                raise CommandFailed("the node is stopping")
            slot = self._roster.find(plugin_id)
            try:
                return await change(slot)
            finally:
                self._roster.changed()

    async def _disable(self, slot: Slot) -> str:
        if slot.disabled:
            raise CommandFailed(f"plugin {slot.plugin_id} is disabled already")
        ended = await slot.end(hold=False)
        slot.disabled = True
        done = f"is disabled{_left_behind(ended=ended)}"
        self._roster.tell(slot.plugin_id, "disabled", done)
        return f"plugin {slot.plugin_id} {done}; plugin enable {slot.plugin_id} brings it back"

    async def _reload(self, slot: Slot) -> str:
        source = await self._judge(slot)
        was_up, was_disabled = slot.is_up, slot.disabled
        ended = await slot.end(hold=was_up)
        try:
            anew = await asyncio.to_thread(self._load_anew, slot, source)
        except PluginLoadError as error:
            raise await self._go_back(slot, str(error), was_up=was_up) from error
        slot.disabled = False
        if not await slot.renew(anew.loaded):
            why = slot.why
            await slot.end(hold=True)
            _forget(slot, anew)
            slot.disabled = was_disabled
            raise await self._go_back(slot, why, was_up=was_up)
        self._adopt(slot, anew)
        plugin = slot.loaded.manifest.plugin
        done = f"{plugin.id} {plugin.version} runs anew{_left_behind(ended=ended)}"
        self._roster.tell(plugin.id, "reloaded", f"🔌 Reloaded plugin: {done}")
        return f"plugin {done}"

    async def _judge(self, slot: Slot) -> Source | None:
        if slot.source is None:
            return None
        others = users(slot.top, self)
        if others:
            raise CommandFailed(
                f"plugin {slot.plugin_id} cannot be reloaded: {', '.join(sorted(set(others)))} "
                f"uses its package {slot.top} too; restart the node"
            )
        try:
            return await asyncio.to_thread(self._reread, slot.source)
        except PluginLoadError as error:
            left = f"it is {slot.state} as before"
            self._fail(slot, f"is not loaded anew, {left}: {error}")
            raise CommandFailed(
                f"plugin {slot.plugin_id} is not loaded anew, {left}: {error}"
            ) from error

    def _load_anew(self, slot: Slot, source: Source | None) -> _Anew:
        if source is None:
            return _Anew(slot.loaded, None, {})
        modules = set_aside(slot.top)
        try:
            return _Anew(self._load(source), source, modules)
        except BaseException:
            put_back(slot.top, modules)
            raise

    def _adopt(self, slot: Slot, anew: _Anew) -> None:
        slot.loaded, slot.source, slot.reason = anew.loaded, anew.source, ""
        slot.capabilities = self._advertised(anew.loaded)
        if slot.source is not None:
            using(slot.top, self)

    async def _go_back(self, slot: Slot, why: str, *, was_up: bool) -> CommandFailed:
        """Start the old one again, where it ran; returns what is to be raised."""
        slot.reason = why
        if not was_up:
            # No other will serve what is held for it.
            slot.runtime.retire()
            left = f"it is {slot.state}"
        elif await slot.renew(slot.loaded):
            left = "the one from before runs again"
        else:
            left = f"the one from before does not start again: {slot.runtime.reason}"
        self._fail(slot, f"could not be loaded anew, {left}: {why}")
        return CommandFailed(f"plugin {slot.plugin_id} could not be loaded anew, {left}: {why}")

    def _fail(self, slot: Slot, detail: str) -> None:
        self._roster.tell(slot.plugin_id, "reload_failed", detail, level=Level.ERROR)


def _forget(slot: Slot, anew: _Anew) -> None:
    """Take back the modules of an instance that did not start."""
    if anew.source is not None:
        put_back(anew.source.package.name, {})
        put_back(slot.top, anew.modules)


def _left_behind(*, ended: bool) -> str:
    return "" if ended else ", and what ran before is left behind: it does not end"
