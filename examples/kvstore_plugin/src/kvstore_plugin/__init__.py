"""A key-value store that every connected node shares.

`put` sends the entry to every connected peer; a peer that joins later asks for
what it missed. The newest put wins on each node; there is no further agreement.
"""

from __future__ import annotations

import msgspec

from thenodes_plugin_api import (
    ConfigDefaults,
    Extension,
    Message,
    Payload,
    PayloadError,
    PeerJoined,
    PeerLeft,
    Plugin,
    PluginContext,
    PluginRegistrarApi,
    RequestError,
    SendError,
)

__all__ = ["KvStorePlugin", "register_plugin"]

PUT = "kvstore.put"
GET = "kvstore.get"
LIST = "kvstore.list"

USAGE = "put KEY VALUE | get KEY | list"

ENTRY_BYTES = 16 * 1024
"""The longest key and value together, in UTF-8. Larger ones are not stored."""

PAGE_BYTES = 64 * 1024
"""A page of entries ends once it is this long, well below what a frame holds."""


class Entry(msgspec.Struct, frozen=True):
    """The payload of `kvstore.put`, and the answer to `kvstore.get`."""

    key: str
    value: str | None


class Key(msgspec.Struct, frozen=True):
    """The payload of `kvstore.get`."""

    key: str


class Page(msgspec.Struct, frozen=True):
    """The payload of `kvstore.list`: the entries whose keys come after `after`."""

    after: str = ""


class Entries(msgspec.Struct, frozen=True):
    """The answer to `kvstore.list`; `more` where another page follows."""

    entries: list[Entry]
    more: bool = False


class KvStorePlugin(Plugin):
    """The store."""

    abi = 1
    prompt_prefix = "kvstore"

    def __init__(self) -> None:
        self._entries: dict[str, str] = {}
        self._max_entries = 10_000

    def early_config_defaults(self) -> ConfigDefaults:
        return ConfigDefaults(capabilities=("kvstore/1",))

    async def on_start(self, ctx: PluginContext) -> None:
        self._max_entries = msgspec.convert(ctx.config["max_entries"], int)

    async def on_peer(self, event: PeerJoined | PeerLeft, ctx: PluginContext) -> None:
        if isinstance(event, PeerJoined) and "kvstore/1" in event.peer.capabilities:
            ctx.spawn(self._catch_up(event.peer.node_id, ctx))

    async def on_message(self, message: Message, ctx: PluginContext) -> None:
        if not isinstance(message.body, Extension) or message.payload is None:
            return
        match message.body.kind:
            case "kvstore.put":
                entry = message.payload.as_json(Entry)
                if problem := self._store(entry):
                    ctx.logger.warning("%s put %s: %s", message.sender, entry.key, problem)
                else:
                    ctx.logger.debug("%s put %s", message.sender, entry.key)
            case "kvstore.get":
                key = message.payload.as_json(Key).key
                if message.body.request_id is not None:
                    answer = Entry(key, self._entries.get(key))
                    await ctx.reply(message, Payload.json(answer))
            case "kvstore.list":
                page = message.payload.as_json(Page)
                if message.body.request_id is not None:
                    await ctx.reply(message, Payload.json(self._page(page.after)))

    async def on_prompt(self, line: str, ctx: PluginContext) -> str | None:
        match line.split(maxsplit=2):
            case ["put", key, value]:
                return await self._put(Entry(key, value), ctx)
            case ["get", key]:
                found = self._entries.get(key)
                return f"no entry {key}" if found is None else f"{key} = {found}"
            case ["list"]:
                lines = [f"{key} = {value}" for key, value in sorted(self._entries.items())]
                return "\n".join(lines) or "no entries"
        return f"usage: {USAGE}"

    async def _put(self, entry: Entry, ctx: PluginContext) -> str:
        if problem := self._store(entry):
            return f"not stored: {problem}"
        peers = await ctx.broadcast(Extension(PUT), Payload.json(entry))
        return (
            f"stored {entry.key} = {entry.value}, sent to {peers} peer{'' if peers == 1 else 's'}"
        )

    async def _catch_up(self, peer: str, ctx: PluginContext) -> None:
        """Ask a peer for its entries, page by page; what is already here stays as it is."""
        after, count = "", 0
        try:
            while page := await self._ask_page(peer, after, ctx):
                new = [entry for entry in page.entries if entry.key not in self._entries]
                count += sum(self._store(entry) == "" for entry in new)
                last = max(entry.key for entry in page.entries)
                if not page.more or last <= after:
                    break
                after = last
        except (RequestError, SendError, PayloadError) as error:
            ctx.logger.warning("no entries from %s: %s", peer, error)
        if count:
            ctx.logger.info("got what was missing from %s: %d", peer, count)

    async def _ask_page(self, peer: str, after: str, ctx: PluginContext) -> Entries | None:
        answer = await ctx.request(peer, LIST, Payload.json(Page(after)))
        page = answer.payload.as_json(Entries) if answer.payload is not None else Entries([])
        return page if page.entries else None

    def _page(self, after: str) -> Entries:
        entries: list[Entry] = []
        size = 0
        for key in sorted(key for key in self._entries if key > after):
            if size >= PAGE_BYTES:
                return Entries(entries, more=True)
            entries.append(Entry(key, self._entries[key]))
            size += _size(entries[-1])
        return Entries(entries)

    def _store(self, entry: Entry) -> str:
        """Store an entry; returns why not, or an empty string."""
        if entry.value is None or not entry.key:
            return "a key and a value are needed"
        if _size(entry) > ENTRY_BYTES:
            return f"key and value have {_size(entry)} bytes, at most {ENTRY_BYTES} are allowed"
        if len(self._entries) >= self._max_entries and entry.key not in self._entries:
            return f"there are {self._max_entries} entries already"
        self._entries[entry.key] = entry.value
        return ""


def _size(entry: Entry) -> int:
    return len(entry.key.encode()) + len((entry.value or "").encode())


def register_plugin(api: PluginRegistrarApi) -> None:
    """Called by the host once, at load."""
    api.register_plugin(KvStorePlugin())
