"""Who can be reached here, and who may forward to whom: mailboxes and bindings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from thenodes_plugin_api import QoS

from .causes import Cause, Refused
from .deadlines import Deadlines
from .grants import MAILBOX, Binding, Bound, Ended, Mailbox, Notice, Opened
from .settings import Settings

__all__ = ["LONGEST_SECONDS", "STRANGER_ABSENCE_SECONDS", "Bindings"]

S = TypeVar("S")

LONGEST_SECONDS = 10 * 365 * 86_400.0
"""What is granted until a later time than this from now is granted until then."""

STRANGER_ABSENCE_SECONDS = 3600.0
"""How long the empty mailbox of an absent stranger is kept."""


class Bindings(Generic[S]):
    """The tables of mailboxes and bindings; pure.

    Every `now` is the wall clock's, in Unix seconds: what is granted outlives the process.
    A session is whatever the caller has one of for each session of a peer; it is compared by
    identity, and found again in `Binding.session` and `Mailbox.session`. A node is present
    while the session is there over which it last opened its mailbox: one that did not
    open it would not know what to do with a frame.

    A bind costs O(log n) of what can expire, and nothing by what is stored. A mailbox that is
    opened anew costs as much as there are bindings to it.

    Args:
        settings: limits, and whether anything is stored here.
        is_empty: whether nothing is stored or queued for a node.
    """

    def __init__(self, settings: Settings, is_empty: Callable[[str], bool]) -> None:
        self._settings = settings
        self._is_empty = is_empty
        self._mailboxes: dict[str, Mailbox[S]] = {}
        self._strangers = 0
        self._by_binder: dict[str, dict[str, Binding[S]]] = {}
        self._by_target: dict[str, dict[str, Binding[S]]] = {}
        self._deadlines: Deadlines[tuple[str, str]] = Deadlines()

    @property
    def next_deadline(self) -> float | None:
        """Unix seconds at which to call `expire`; None where nothing expires."""
        return self._deadlines.next

    @property
    def mailboxes(self) -> Iterable[Mailbox[S]]:
        """Every mailbox."""
        return self._mailboxes.values()

    @property
    def mailbox_count(self) -> int:
        """How many mailboxes there are."""
        return len(self._mailboxes)

    @property
    def stranger_count(self) -> int:
        """How many of them are strangers'."""
        return self._strangers

    @property
    def binding_count(self) -> int:
        """How many bindings to a named target there are."""
        return sum(map(len, self._by_binder.values()))

    def find(self, node: str, target: str) -> Binding[S] | None:
        """The binding by which `node` may forward to `target`."""
        routes = self._by_binder.get(node)
        return None if routes is None else routes.get(target)

    def mailbox(self, node: str) -> Mailbox[S] | None:
        """A node's mailbox."""
        return self._mailboxes.get(node)

    def bindings_of(self, node: str) -> Iterable[Binding[S]]:
        """The bindings by which a node may forward."""
        return self._by_binder.get(node, {}).values()

    def bindings_to(self, target: str) -> Iterable[Binding[S]]:
        """The bindings by which a node may be reached."""
        return self._by_target.get(target, {}).values()

    def __iter__(self) -> Iterator[Binding[S]]:
        for routes in self._by_binder.values():
            yield from routes.values()

    def open_mailbox(
        self,
        session: S,
        node: str,
        fingerprint: str,
        card: bytes | None,
        *,
        store: bool,
        stranger: bool,
        expires_at: float | None,
        nonce: int | None,
        now: float,
    ) -> Opened[S] | Refused:
        """Open a node's mailbox, or renew it; a refusal changes nothing.

        Args:
            session: of the owner.
            node: the owner.
            fingerprint: of its key, in hex.
            card: as it showed it.
            store: whether frames are to be kept for it while it is away.
            stranger: whether it is one.
            expires_at: Unix seconds; None for as long as it is there, and the retention time.
            nonce: repeated by a bind that was sent twice.
            now: Unix seconds.

        Returns:
            Refused for STORE_OFF, BAD_NONCE, EXPIRED_BIND, REPEATED_NONCE, MAILBOXES_FULL or
            STRANGERS_MAILBOXES_FULL.
        """
        old = self._mailboxes.get(node)
        if store and not self._settings.store_forward:
            return Cause.STORE_OFF.refuse()
        if refused := _check_numbers(expires_at, nonce, now):
            return refused
        if old is not None and old.session is session and _repeats(nonce, old.nonce):
            return Cause.REPEATED_NONCE.refuse(binding_id=old.binding_id)
        if refused := self._room_for_mailbox(old, stranger):
            return refused
        ended: Ended[S] = Ended()
        is_same = old is not None and old.fingerprint == fingerprint
        if old is not None and not is_same:
            self._close(old, ended, f"the mailbox of {node} is another key's now")
        if old is None or not is_same:
            mailbox = self._add(node, fingerprint, card, store, stranger)
        else:
            mailbox = old
            self._strangers += stranger - mailbox.stranger
            mailbox.card, mailbox.store, mailbox.stranger = card, store, stranger
        mailbox.session, mailbox.nonce = session, nonce
        mailbox.expires_at = mailbox.ends_at = _bounded(expires_at, now)
        self._deadlines.set((node, MAILBOX), mailbox.ends_at)
        return Opened(mailbox, not is_same, ended)

    def restore(
        self,
        node: str,
        fingerprint: str,
        card: bytes | None,
        *,
        store: bool,
        stranger: bool,
        ends_at: float | None,
        now: float,
    ) -> Mailbox[S]:
        """Take a mailbox that stood before a restart, its owner away; no limit is asked.

        Args:
            node: the owner.
            fingerprint: of its key, in hex.
            card: as it showed it.
            store: whether frames are kept for it.
            stranger: whether it was one.
            ends_at: as `Mailbox.ends_at` was.
            now: Unix seconds.
        """
        mailbox = self._add(node, fingerprint, card, store, stranger)
        mailbox.expires_at = ends_at
        self._leave(mailbox, now)
        return mailbox

    def bind(
        self,
        session: S,
        node: str,
        target: str,
        *,
        store: bool,
        qos: str | None,
        expires_at: float | None,
        nonce: int | None,
        now: float,
    ) -> Bound[S] | Refused:
        """Open a route to a named target, or renew it; a refusal changes nothing.

        Args:
            session: of the binder.
            node: the binder.
            target: whom it wants to reach.
            store: whether frames are to be kept for a target that is away.
            qos: of frames that name none; `high_throughput` where None.
            expires_at: Unix seconds; None for as long as the session.
            nonce: repeated by a bind that was sent twice.
            now: Unix seconds.

        Returns:
            Refused for NO_TARGET, SELF_TARGET, UNKNOWN_QOS, STORE_OFF, BAD_NONCE, EXPIRED_BIND,
            REPEATED_NONCE, NO_MAILBOX_TO_STORE or TOO_MANY_BINDINGS.
        """
        if not _NODE_ID.fullmatch(target):
            return Cause.NO_TARGET.refuse(target=target[:_SHOWN])
        if target == node:
            return Cause.SELF_TARGET.refuse(node=node)
        if qos is not None and qos not in _QOS:
            return Cause.UNKNOWN_QOS.refuse(wanted=qos[:_SHOWN])
        lane = QoS.HIGH_THROUGHPUT if qos is None else _QOS[qos]
        if (store or lane is QoS.RELIABLE) and not self._settings.store_forward:
            return Cause.STORE_OFF.refuse()
        if refused := _check_numbers(expires_at, nonce, now):
            return refused
        old, mailbox = self.find(node, target), self._mailboxes.get(target)
        if old is not None and old.session is session and _repeats(nonce, old.nonce):
            return Cause.REPEATED_NONCE.refuse(binding_id=old.binding_id)
        if store and mailbox is None:
            return Cause.NO_MAILBOX_TO_STORE.refuse(target=target)
        limit = self._settings.max_bindings_per_node
        if old is None and len(self._by_binder.get(node, ())) >= limit:
            return Cause.TOO_MANY_BINDINGS.refuse(limit=limit)
        binding = Binding(
            node=node,
            target=target,
            store=store,
            qos=lane,
            expires_at=_bounded(expires_at, now),
            session=session,
            nonce=nonce,
            mailbox=mailbox,
        )
        self._by_binder.setdefault(node, {})[target] = binding
        self._by_target.setdefault(target, {})[node] = binding
        self._deadlines.set((node, target), binding.expires_at)
        return Bound(binding, old is None)

    def unbind(self, node: str, binding_id: str) -> Ended[S]:
        """End what a node bound; nothing ends where it is none of its own.

        Args:
            node: who asks.
            binding_id: of a binding or of its mailbox.
        """
        ended: Ended[S] = Ended()
        mailbox = self._mailboxes.get(node)
        if mailbox is not None and mailbox.binding_id == binding_id:
            self._close(mailbox, ended, f"{node} closed its mailbox")
            return ended
        parts = binding_id.split(":")
        binding = self.find(node, parts[2]) if len(parts) == 4 else None
        if binding is not None and binding.binding_id == binding_id:
            self._end(binding, ended, f"{node} unbound")
        return ended

    def session_left(self, session: S, node: str, now: float) -> Ended[S]:
        """End what holds as long as a session; the node's mailbox stays, its owner away.

        Where the node opened its mailbox or a binding over a newer session already, that is
        not touched.

        Args:
            session: that ended.
            node: whose it was.
            now: Unix seconds.
        """
        ended: Ended[S] = Ended()
        for binding in tuple(self.bindings_of(node)):
            if binding.session is session:
                self._end(binding, ended, f"{node} left")
        mailbox = self._mailboxes.get(node)
        if mailbox is not None and mailbox.session is session:
            self._leave(mailbox, now)
            self._tell_binders(node, ended, f"{node} left")
        return ended

    def expire(self, now: float) -> Ended[S]:
        """End what is due.

        Args:
            now: Unix seconds.
        """
        ended: Ended[S] = Ended()
        for node, target in self._deadlines.due(now):
            if target != MAILBOX:
                binding = self._by_binder[node][target]
                _tell(binding.node, binding.session, binding.binding_id, ended, "it expired")
                self._end(binding, ended, "it expired")
                continue
            mailbox = self._mailboxes[node]
            if self._is_over(mailbox, now):
                if mailbox.session is not None:
                    _tell(node, mailbox.session, mailbox.binding_id, ended, "it expired")
                self._close(mailbox, ended, f"the mailbox of {node} expired")
            else:
                self._watch(mailbox, now)
        return ended

    def _room_for_mailbox(self, old: Mailbox[S] | None, stranger: bool) -> Refused | None:
        most = self._settings.mailboxes_max
        if old is None and len(self._mailboxes) >= most:
            return Cause.MAILBOXES_FULL.refuse(limit=most)
        is_one_more = stranger and not (old is not None and old.stranger)
        if is_one_more and self._strangers >= most // 2:
            return Cause.STRANGERS_MAILBOXES_FULL.refuse(limit=most // 2)
        return None

    def _add(
        self, node: str, fingerprint: str, card: bytes | None, store: bool, stranger: bool
    ) -> Mailbox[S]:
        mailbox: Mailbox[S] = Mailbox(
            node=node, fingerprint=fingerprint, card=card, store=store, stranger=stranger
        )
        self._mailboxes[node] = mailbox
        self._strangers += stranger
        for binding in self.bindings_to(node):
            binding.mailbox = mailbox
        return mailbox

    def _leave(self, mailbox: Mailbox[S], now: float) -> None:
        kept_until = now + self._settings.retention_secs
        mailbox.session = mailbox.nonce = None
        expires_at = mailbox.expires_at
        mailbox.ends_at = kept_until if expires_at is None else min(expires_at, kept_until)
        self._watch(mailbox, now)

    def _watch(self, mailbox: Mailbox[S], now: float) -> None:
        when = mailbox.ends_at
        if when is not None and mailbox.stranger and mailbox.session is None:
            when = min(when, now + STRANGER_ABSENCE_SECONDS)
        self._deadlines.set((mailbox.node, MAILBOX), when)

    def _is_over(self, mailbox: Mailbox[S], now: float) -> bool:
        if mailbox.ends_at is not None and mailbox.ends_at <= now:
            return True
        return mailbox.session is None and mailbox.stranger and self._is_empty(mailbox.node)

    def _close(self, mailbox: Mailbox[S], ended: Ended[S], detail: str) -> None:
        del self._mailboxes[mailbox.node]
        self._strangers -= mailbox.stranger
        self._deadlines.set((mailbox.node, MAILBOX), None)
        ended.mailboxes.append(mailbox)
        self._tell_binders(mailbox.node, ended, detail)
        for binding in self.bindings_to(mailbox.node):
            binding.mailbox = None

    def _end(self, binding: Binding[S], ended: Ended[S], detail: str) -> None:
        _take_out(self._by_binder, binding.node, binding.target)
        _take_out(self._by_target, binding.target, binding.node)
        self._deadlines.set((binding.node, binding.target), None)
        ended.bindings.append(binding)
        mailbox = binding.mailbox
        if mailbox is not None and mailbox.session is not None:
            _tell(binding.target, mailbox.session, binding.binding_id, ended, detail)

    def _tell_binders(self, target: str, ended: Ended[S], detail: str) -> None:
        for binding in self.bindings_to(target):
            _tell(binding.node, binding.session, binding.binding_id, ended, detail)


_NONCE_BOUND = 1 << 64
_NODE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_SHOWN = 32
_QOS = {qos.value: qos for qos in QoS}


def _check_numbers(expires_at: float | None, nonce: int | None, now: float) -> Refused | None:
    if nonce is not None and not -_NONCE_BOUND <= nonce < _NONCE_BOUND:
        return Cause.BAD_NONCE.refuse()
    if expires_at is not None and expires_at <= now:
        return Cause.EXPIRED_BIND.refuse(now=now)
    return None


def _bounded(expires_at: float | None, now: float) -> float | None:
    """A time that a store can hold, too."""
    return None if expires_at is None else float(min(expires_at, now + LONGEST_SECONDS))


def _repeats(nonce: int | None, earlier: int | None) -> bool:
    return nonce is not None and nonce == earlier


def _tell(node: str, session: S, binding_id: str, ended: Ended[S], detail: str) -> None:
    ended.notices.append(Notice(node, session, binding_id, detail))


def _take_out(table: dict[str, dict[str, Binding[S]]], first: str, second: str) -> None:
    inner = table[first]
    del inner[second]
    if not inner:
        del table[first]
