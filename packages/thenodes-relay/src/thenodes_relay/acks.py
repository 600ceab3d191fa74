"""ACKs of targets: they end stored frames."""

from __future__ import annotations

from thenodes_plugin_api import Ack, Message, ServiceSession

from .causes import Cause
from .counters import Counter, Tally
from .delivery import Delivery
from .endings import Endings
from .flow import Flow

__all__ = ["Acks"]


class Acks:
    """Takes the ACKs that targets give for frames which this relay handed over.

    Args:
        flows: the targets.
        delivery: what they were handed.
        endings: tells the origin of an error.
        tally: counts.
    """

    def __init__(
        self, flows: dict[str, Flow], delivery: Delivery, endings: Endings, tally: Tally
    ) -> None:
        self._flows = flows
        self._delivery = delivery
        self._endings = endings
        self._tally = tally

    def take_ack(self, session: ServiceSession, message: Message) -> None:
        """Take an ACK; one for a frame that the session did not carry is passed over."""
        body = message.body
        if not isinstance(body, Ack):
            return
        status = body.status or "ok"
        flow = self._flows.get(session.peer.node_id)
        frame = None
        if flow is not None and flow.session is session and status in ("ok", "dup", "error"):
            named = body.sequence if body.message_id is None else body.message_id.bytes
            frame = self._delivery.acknowledge(flow, (body.to, named))
        if flow is None or frame is None:
            self._tally.add(Counter.ACKS_IGNORED)
            return
        if status != "error":
            self._tally.add(Counter.ACKED)
            return
        refused = Cause.TARGET_FAILED.refuse(target=flow.node)
        self._endings.end(frame.sender, frame.message_id, body.sequence, refused)
