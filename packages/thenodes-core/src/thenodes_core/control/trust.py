"""The commands of trust, for a running node and for one that is stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from ..errors import CommandError
from ..security.decision import Decision
from ..store.key_entry import KeyEntry
from ..store.trust_store import Moved
from ..text import printable
from .commands import CommandTable, Reply, Run

__all__ = ["TrustView", "add_trust_commands"]

_STORES = ("observed", "trusted", "rejected", "own")
_FINGERPRINT = "<fingerprint>"
_SHOWN_DIGITS = 16


class TrustView(Protocol):
    """What these commands act on."""

    def keys(self, store: str) -> Sequence[KeyEntry]:
        """The keys of `trusted`, `observed`, `rejected` or `own`."""
        ...

    def fingerprints(self, store: str) -> Sequence[str]:
        """Those of `trusted`, `observed` or `rejected`; quick."""
        ...

    def ids(self) -> Mapping[str, str]:
        """Ids and addresses, each with the fingerprint of the key it was met with."""
        ...

    def promote(self, prefix: str) -> Moved:
        """Trust a key."""
        ...

    def revoke(self, prefix: str) -> Moved:
        """Reject a key."""
        ...

    def forget(self, name: str) -> None:
        """Forget which key an id, or an address, was met with."""
        ...

    def explain(self, prefix: str) -> tuple[str, Decision]:
        """Judge a key without consequences."""
        ...

    def reload(self) -> Sequence[str]:
        """Read the keys on disk again; returns what is wrong with files."""
        ...


def add_trust_commands(table: CommandTable, view: TrustView) -> None:
    """Add `trust …`."""
    for store in _STORES:
        table.define(f"trust {store} list", _lister(view, store))

    async def promote(words: Sequence[str]) -> Reply:
        return _moved(view.promote(_only("promote", _FINGERPRINT, words)), "trusted")

    async def revoke(words: Sequence[str]) -> Reply:
        return _moved(view.revoke(_only("revoke", _FINGERPRINT, words)), "rejected")

    async def forget(words: Sequence[str]) -> Reply:
        name = _only("forget", "<id or address>", words)
        view.forget(name)
        return Reply(f"{name} may come with another key", {"forgotten": name})

    async def explain(words: Sequence[str]) -> Reply:
        key, decision = view.explain(_only("explain", _FINGERPRINT, words))
        return Reply(_explained(key, decision), {"fingerprint": key, "decision": decision})

    async def list_ids(words: Sequence[str]) -> Reply:
        _expect_none("ids list", words)
        ids = view.ids()
        lines = [f"{key[:_SHOWN_DIGITS]}…  {printable(name)}" for name, key in ids.items()]
        return Reply("\n".join(lines) or "no id or address is bound to a key", ids)

    async def reload(words: Sequence[str]) -> Reply:
        _expect_none("reload", words)
        problems = view.reload()
        return Reply("\n".join(problems) or "the keys on disk are read", {"problems": problems})

    def known(*stores: str) -> Callable[[], Sequence[str]]:
        return lambda: [key for store in stores for key in view.fingerprints(store)]

    every = known("observed", "trusted", "rejected")
    table.define("trust promote", promote, complete=known("observed", "rejected"))
    table.define("trust revoke", revoke, complete=known("trusted", "observed"))
    table.define("trust explain", explain, complete=every)
    table.define("trust ids list", list_ids)
    table.define("trust forget", forget, complete=lambda: list(view.ids()))
    table.define("trust reload", reload)


def _lister(view: TrustView, store: str) -> Run:
    async def show(words: Sequence[str]) -> Reply:
        _expect_none(f"{store} list", words)
        entries = view.keys(store)
        text = "\n".join(_entry_line(entry) for entry in entries)
        return Reply(text or f"no {store} keys", entries)

    return show


def _entry_line(entry: KeyEntry) -> str:
    parts = [entry.fingerprint, *entry.names]
    if entry.subject:
        parts.append(entry.subject)
    if entry.not_after is not None:
        parts.append(f"until {time.strftime('%Y-%m-%d', time.gmtime(entry.not_after))}")
    return printable("  ".join(parts))


def _moved(moved: Moved, state: str) -> Reply:
    key = moved.fingerprint
    text = f"{key} is {state}" if moved.changed else f"{key} was {state} already"
    return Reply(text, msgspec.structs.replace(moved, path=str(moved.path)))


def _explained(key: str, decision: Decision) -> str:
    verdict = "admitted" if decision.accepted else "refused"
    width = max(len(step.name) for step in decision.steps)
    lines = [
        f"  {step.outcome:<11} {step.name:<{width}}  {printable(step.text)}".rstrip()
        for step in decision.steps
    ]
    return "\n".join([f"{key} would be {verdict}: {decision.reason}", *lines])


def _only(name: str, usage: str, words: Sequence[str]) -> str:
    if len(words) != 1:
        got = " ".join(words) or "nothing"
        raise CommandError(f"trust {name} {usage}: expected one word, got {got!r}")
    return words[0]


def _expect_none(name: str, words: Sequence[str]) -> None:
    if words:
        raise CommandError(f"trust {name} takes no arguments, got {' '.join(words)!r}")
