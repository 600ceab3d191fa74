"""Relays that answer what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..delivery import DeliveryOptions, DeliveryOutcome, DeliveryStatus, QoS, check_ttl
from ..errors import SendError
from ..messages import Body, Reason, RelayBindAck
from ..payload import Payload
from .records import Bound, Forwarded
from .sendable import check_size

__all__ = ["ScriptedRelay"]

_NO_RELAYS = DeliveryOutcome(
    DeliveryStatus.REFUSED,
    reason=Reason.CAPABILITY_MISSING,
    detail="this node uses no relays: script them with context.relay.answer_forward(outcome)",
)


class ScriptedRelay:
    """A node's `Relay` that remembers its use, and answers what the test says.

    Until the test says anything it is that of a node which uses no relays: it refuses with
    `capability_missing`.

    ```python
    context.relay.answer_bind(RelayBindAck(ok=True, peer_present=False))
    context.relay.answer_forward(DeliveryOutcome(DeliveryStatus.STORED, relay="relay"))
    ```

    Args:
        check_kind: raises KindNotAllowed for kinds that belong to the node.

    Attributes:
        binds: what `bind` asked for, in order.
        forwards: what `forward` was given, in order, refused or not.
    """

    def __init__(self, check_kind: Callable[[Body], None]) -> None:
        self.binds: list[Bound] = []
        self.forwards: list[Forwarded] = []
        self._check_kind = check_kind
        self._acks: dict[str | None, RelayBindAck] = {}
        self._outcomes: dict[str | None, DeliveryOutcome | SendError] = {}

    def answer_bind(self, ack: RelayBindAck, *, relay: str | None = None) -> None:
        """Say what `bind` gets from now on: of that relay, or of every other where None."""
        self._acks[relay] = ack

    def answer_forward(
        self, outcome: DeliveryOutcome | SendError, *, relay: str | None = None
    ) -> None:
        """Say what becomes of `forward` from now on: through that relay, or every other."""
        self._outcomes[relay] = outcome

    async def bind(
        self,
        relay: str,
        target: str,
        *,
        store_forward: bool = False,
        qos: QoS = QoS.HIGH_THROUGHPUT,
        ttl_seconds: float | None = None,
        timeout_seconds: float = 10.0,
    ) -> RelayBindAck:
        """Note what is asked for, and return the scripted answer."""
        if ttl_seconds is not None:
            check_ttl(ttl_seconds)
        self.binds.append(Bound(relay, target, store_forward, QoS(qos), ttl_seconds))
        await asyncio.sleep(0)
        refused = RelayBindAck(ok=False, reason=Reason.CAPABILITY_MISSING)
        return self._acks.get(relay) or self._acks.get(None) or refused

    async def forward(
        self,
        relay: str,
        to: str,
        body: Body,
        payload: Payload | None = None,
        *,
        sequence: int | None = None,
        options: DeliveryOptions | None = None,
        timeout_seconds: float = 10.0,
    ) -> DeliveryOutcome:
        """Note the message, and return the scripted outcome, or raise it."""
        self._check_kind(body)
        if sequence is not None and not 0 <= sequence < 1 << 63:
            raise ValueError(f"sequence {sequence!r}: expected 0 to 2**63 - 1")
        check_size(body, payload)
        self.forwards.append(Forwarded(relay, to, body, payload, sequence, options))
        await asyncio.sleep(0)
        outcome = self._outcomes.get(relay) or self._outcomes.get(None) or _NO_RELAYS
        if isinstance(outcome, SendError):
            raise outcome
        return outcome
