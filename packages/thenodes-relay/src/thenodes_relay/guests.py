"""Who is connected, and may use the relay."""

from __future__ import annotations

from collections import deque

from thenodes_plugin_api import Ack, Reason, ServiceSession

from .causes import Refused

__all__ = ["ACKS_MAX", "Guest", "Guests"]

ACKS_MAX = 65_536
"""ACKs that wait for one origin; a session that has more of them waiting is ended."""


class Guest:
    """One session of a node that proved its key.

    Attributes:
        node: its id.
        session: the session.
        fingerprint: of its key, in hex.
        stranger: whether its operator is unknown here.
        kept_out: why it may not bind, if so.
    """

    __slots__ = ("_acks", "fingerprint", "kept_out", "node", "session", "stranger")

    def __init__(
        self,
        session: ServiceSession,
        fingerprint: str,
        kept_out: Refused | None = None,
        *,
        stranger: bool,
    ) -> None:
        self.node = session.peer.node_id
        self.session = session
        self.fingerprint = fingerprint
        self.stranger = stranger
        self.kept_out = kept_out
        self._acks: deque[Ack] = deque()

    def acknowledge(self, ack: Ack) -> None:
        """Give the origin an ACK, now or when it takes it."""
        if not self._acks and self.session.send(ack):
            return
        if not self.session.is_open:
            return
        if len(self._acks) >= ACKS_MAX:
            self._acks.clear()
            self.session.end(Reason.OVERLOAD, f"you have not taken {ACKS_MAX} ACKs")
            return
        self._acks.append(ack)
        if len(self._acks) == 1:
            self.session.on_room(self._flush)

    def _flush(self) -> None:
        while self._acks:
            if not self.session.send(self._acks[0]):
                self.session.on_room(self._flush)
                return
            self._acks.popleft()


class Guests:
    """The sessions of nodes that proved their keys: the newest of each node."""

    def __init__(self) -> None:
        self._by_session: dict[ServiceSession, Guest] = {}
        self._by_node: dict[str, Guest] = {}

    def __len__(self) -> int:
        return len(self._by_node)

    def add(self, guest: Guest) -> None:
        """Take a session."""
        self._by_session[guest.session] = guest
        self._by_node[guest.node] = guest

    def remove(self, session: ServiceSession) -> Guest | None:
        """Forget a session."""
        guest = self._by_session.pop(session, None)
        if guest is not None and self._by_node.get(guest.node) is guest:
            del self._by_node[guest.node]
        return guest

    def of(self, session: ServiceSession) -> Guest | None:
        """Who has that session; None where it proved no key."""
        return self._by_session.get(session)

    def session(self, node: str) -> ServiceSession | None:
        """The session with a node."""
        guest = self._by_node.get(node)
        return None if guest is None else guest.session

    def all(self) -> list[Guest]:
        """Everybody."""
        return list(self._by_node.values())
