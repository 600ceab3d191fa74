"""A context without a node: its peers and their answers are what the test says."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from ..delivery import DeliveryOutcome, DeliveryStatus
from ..errors import NoRoute, PeerGone, RequestError, RequestTimeout, SendError
from ..messages import Body, Extension, Message, Reason, Verified
from ..payload import Payload
from ..peers import PeerInfo
from ..realm import Realm
from ..service import ServiceDoor
from .clock import ManualClock
from .node_context import NodeContext
from .peer import make_peer
from .sendable import check_size

__all__ = ["Answer", "RecordingContext"]

_SENT = DeliveryOutcome(DeliveryStatus.SENT)
_STORED = DeliveryOutcome(DeliveryStatus.STORED, relay="relay")

Answer: TypeAlias = (
    Payload
    | RequestError
    | SendError
    | Callable[[Payload | None], Payload | Awaitable[Payload | None] | None]
    | None
)
"""What a question gets: a payload, no payload, an error, or what a function makes of
the question's payload."""


class RecordingContext(NodeContext):
    """A `PluginContext` for a plugin's hooks, called by the test itself.

    ```python
    context = RecordingContext("my", config={"greeting": "hello"})
    context.connect("bob")
    await plugin.on_message(context.message("bob", Text("hi")), context)
    assert context.sent == [Sent("bob", Text("hello"))]
    ```

    Use it inside a running event loop. Nobody is connected before `connect` says so,
    and no question has an answer before `answer` gave one.

    Args:
        plugin_id: the plugin's id.
        config: its table, the manifest's defaults included.
        node_id: the id of its node.
        realm: its realm.
        data_dir: its directory; a temporary one where there is none.
        clock: time; one of its own where there is none.
        service: what `ctx.service` is; without it, as for a plugin that is no service.
    """

    def __init__(
        self,
        plugin_id: str = "my",
        *,
        config: Mapping[str, object] | None = None,
        node_id: str = "here",
        realm: Realm | None = None,
        data_dir: Path | None = None,
        clock: ManualClock | None = None,
        service: ServiceDoor | None = None,
    ) -> None:
        self._said = _Said()
        super().__init__(
            plugin_id,
            self._said,
            config=config,
            node_id=node_id,
            realm=realm,
            data_dir=data_dir,
            clock=clock,
            service=service,
        )

    def connect(self, peer: str | PeerInfo, *, capabilities: Sequence[str] = ()) -> PeerInfo:
        """Let a peer be connected; returns what the plugin sees of it.

        Hooks are the test's to call: `await plugin.on_peer(PeerJoined(peer), context)`.
        """
        if isinstance(peer, str):
            peer = make_peer(peer, capabilities=capabilities, connected_at=self.clock.time())
        self._said.peers[peer.node_id] = peer
        return peer

    def disconnect(self, node_id: str) -> None:
        """Let a peer be gone, and no longer be reached through a relay."""
        self._said.peers.pop(node_id, None)
        self._said.reached.pop(node_id, None)

    def reach(self, node_id: str, outcome: DeliveryOutcome = _STORED) -> None:
        """Let a node be reached that is not connected: through a relay, with this outcome."""
        self._said.reached[node_id] = outcome

    def answer(self, kind: str, answer: Answer, *, peer: str | None = None) -> None:
        """Say what a question of this kind gets from now on.

        Args:
            kind: the question's.
            answer: see `Answer`.
            peer: whose answer it is; everybody's where None.
        """
        self._said.answers[kind, peer] = answer

    def message(
        self,
        sender: str,
        body: Body,
        payload: Payload | None = None,
        *,
        verified: Verified = Verified.SESSION,
    ) -> Message:
        """Make a message as a plugin gets it from a connected peer."""
        return Message(body, payload, sender=sender, verified=verified)

    def question(self, sender: str, kind: str, payload: Payload | None = None) -> Message:
        """Make a message that may be answered with `reply`."""
        self._said.asked += 1
        return self.message(sender, Extension(kind, f"question-{self._said.asked}"), payload)


class _Said:
    """A wire of what the test says."""

    def __init__(self) -> None:
        self.peers: dict[str, PeerInfo] = {}
        self.reached: dict[str, DeliveryOutcome] = {}
        self.answers: dict[tuple[str, str | None], Answer] = {}
        self.asked = 0

    def all(self) -> Sequence[PeerInfo]:
        return [peer for _, peer in sorted(self.peers.items())]

    def get(self, node_id: str) -> PeerInfo | None:
        return self.peers.get(node_id)

    def reaches(self, node_id: str) -> bool:
        return node_id in self.peers or node_id in self.reached

    def send(
        self,
        to: str,
        body: Body,
        payload: Payload | None,
        had: Callable[[], object] | None = None,
    ) -> DeliveryOutcome:
        if not self.reaches(to):
            raise NoRoute(
                Reason.CAPABILITY_MISSING,
                f"no session with {to}, and no way that the test gave: context.reach({to!r})",
            )
        check_size(body, payload)
        if to not in self.peers:
            return self.reached[to]
        if had is not None:
            had()
        return _SENT

    def broadcast(
        self, body: Body, payload: Payload | None, passed_over: Collection[str] = ()
    ) -> int:
        return len(self.peers.keys() - set(passed_over))

    async def ask(
        self, plugin_id: str, peer: str, kind: str, payload: Payload | None, seconds: float
    ) -> Message:
        self.send(peer, Extension(kind), payload)
        key = (kind, peer) if (kind, peer) in self.answers else (kind, None)
        if key not in self.answers:
            raise RequestTimeout(
                f"no answer to {kind} was scripted: context.answer({kind!r}, payload)"
            )
        answer = self.answers[key]
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            made = answer(payload)
            answer = await made if inspect.isawaitable(made) else made
        if not self.reaches(peer):
            raise PeerGone(f"{peer} left before it answered")
        self.asked += 1
        body = Extension(kind, reply_to=f"question-{self.asked}")
        verified = Verified.SESSION if peer in self.peers else Verified.SEAL
        return Message(body, answer, sender=peer, verified=verified)
