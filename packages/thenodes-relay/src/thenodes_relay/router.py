"""The fast path: frames of a session to the sessions of their targets, untouched."""

from __future__ import annotations

from collections.abc import Sequence

from thenodes_plugin_api import Clock, Frame, FrameHandler, QoS, RelayNotify, ServiceSession

from .admission import Rates
from .bindings import Bindings
from .causes import Cause, Refused
from .counters import Counter, Tally
from .endings import Endings
from .flow import Flow
from .grants import Binding
from .guests import Guest, Guests
from .intake import Intake
from .lanes import Lanes

__all__ = ["Router"]

_QOS = {qos.value: qos for qos in QoS}
_FIRE_AND_FORGET = "fire_and_forget"


class Router:
    """Takes the frames that sessions bring.

    A frame's body is never looked at, and its bytes are not changed. Frames of one batch that
    have target and QoS in common go on together, in their order.

    Args:
        node_id: this node; frames for it are `own`'s.
        guests: who may forward.
        bindings: to whom.
        flows: the targets, by id.
        rates: how fast.
        intake: stores what is to be stored.
        lanes: keeps what a present target does not take at once.
        endings: ends what is not taken.
        tally: counts.
        may_store: whether this relay keeps frames for anybody.
        own: takes frames for this node.
        clock: the node's.
    """

    def __init__(
        self,
        node_id: str,
        guests: Guests,
        bindings: Bindings[ServiceSession],
        flows: dict[str, Flow],
        rates: Rates,
        intake: Intake,
        lanes: Lanes,
        endings: Endings,
        tally: Tally,
        *,
        may_store: bool,
        own: FrameHandler,
        clock: Clock,
    ) -> None:
        self._node_id = node_id
        self._guests = guests
        self._bindings = bindings
        self._flows = flows
        self._rates = rates
        self._intake = intake
        self._lanes = lanes
        self._endings = endings
        self._tally = tally
        self._may_store = may_store
        self._own = own
        self._time = clock.time
        self._monotonic = clock.monotonic
        self.is_closed = False

    def take_frames(self, session: ServiceSession, frames: Sequence[Frame]) -> None:
        """Take the frames of one WebSocket message."""
        runs: dict[tuple[str, str | None], list[Frame]] = {}
        to: str | None = None
        qos: str | None = None
        run: list[Frame] = []
        for frame in frames:
            header = frame.header
            if header.to != to or header.qos != qos:
                to, qos = header.to, header.qos
                run = runs.setdefault((to, qos), [])
            run.append(frame)
        for target in [target for target in runs if target[0] == self._node_id]:
            self._own(session, runs.pop(target))
        if runs:
            self._forward(session, frames, runs)

    def _forward(
        self,
        session: ServiceSession,
        frames: Sequence[Frame],
        runs: dict[tuple[str, str | None], list[Frame]],
    ) -> None:
        guest = self._guests.of(session)
        if guest is None:
            self._reject(session, sum(map(len, runs.values())))
            return
        if self.is_closed:
            refused: Refused | None = Cause.RESTARTING.refuse()
        else:
            size = sum([len(frame.data) for frame in frames])
            refused = self._rates.take(guest.node, len(frames), size, self._monotonic())
        now_ms = int(self._time() * 1000)
        for (to, qos), run in runs.items():
            if refused is not None:
                self._endings.refuse(guest.node, run, refused)
            else:
                self._route(guest, to, qos, run, now_ms)

    def _route(
        self, guest: Guest, to: str, named: str | None, run: list[Frame], now_ms: int
    ) -> None:
        binding = self._bindings.find(guest.node, to)
        if binding is None:
            self._endings.refuse(guest.node, run, Cause.NOT_BOUND.refuse(target=to))
            return
        qos = binding.qos if named is None else _QOS.get(named)
        if qos is None:
            problem = f"qos {named!r} is not one of {', '.join(_QOS)}"
            self._endings.refuse(guest.node, run, Cause.BAD_FRAME.refuse(problem=problem))
            return
        run = self._checked(guest, qos, run, now_ms)
        flow = self._flows.get(to)
        if flow is None:
            self._refuse(binding, run, Cause.NO_MAILBOX.refuse(target=to))
        elif qos is QoS.RELIABLE:
            self._store_first(guest, binding, flow, run)
        elif flow.session is None:
            self._to_absent(guest, binding, flow, qos, run)
        elif qos is not QoS.LOW_LATENCY and flow.has_plain_backlog and binding.stores:
            self._intake.put(guest, flow, qos, run)
        elif flow.queue:
            self._lanes.put(guest, flow, qos, run)
        else:
            taken = flow.session.offer([frame.data for frame in run])
            if taken:
                self._tally.add(Counter.FORWARDED, taken)
            if taken < len(run):
                self._lanes.put(guest, flow, qos, run[taken:])

    def _checked(self, guest: Guest, qos: QoS, run: list[Frame], now_ms: int) -> list[Frame]:
        """The frames that are in order; the others are refused."""
        node = guest.node
        may_be_reliable = qos is QoS.RELIABLE
        bad: list[Frame] = []
        for frame in run:
            header = frame.header
            delivery = header.delivery
            if header.sender != node or (
                delivery is not None
                and (
                    (delivery.expires_at is not None and delivery.expires_at <= now_ms)
                    or (delivery.delivery_class != _FIRE_AND_FORGET and not may_be_reliable)
                )
            ):
                bad.append(frame)
        if not bad:
            return run
        for frame in bad:
            self._endings.refuse(node, (frame,), _what_is_wrong(guest, frame, now_ms))
        refused = set(map(id, bad))
        return [frame for frame in run if id(frame) not in refused]

    def _store_first(
        self, guest: Guest, binding: Binding[ServiceSession], flow: Flow, run: list[Frame]
    ) -> None:
        if binding.stores:
            self._intake.put(guest, flow, QoS.RELIABLE, run)
        else:
            cause = Cause.NO_STORE if self._may_store else Cause.STORES_NOTHING
            self._refuse(binding, run, cause.refuse(target=flow.node))

    def _to_absent(
        self,
        guest: Guest,
        binding: Binding[ServiceSession],
        flow: Flow,
        qos: QoS,
        run: list[Frame],
    ) -> None:
        if qos is not QoS.LOW_LATENCY and binding.stores:
            self._intake.put(guest, flow, qos, run)
        else:
            self._refuse(binding, run, Cause.ABSENT.refuse(target=flow.node))

    def _refuse(self, binding: Binding[ServiceSession], run: list[Frame], refused: Refused) -> None:
        self._endings.refuse(binding.node, run, refused, binding_id=binding.binding_id)

    def _reject(self, session: ServiceSession, count: int) -> None:
        """Refuse the frames of a session without proof: one word for all of them."""
        refused = Cause.UNPROVEN_SENDER.refuse()
        self._tally.add(Counter.DROPPED, count, refused.reason)
        session.send(RelayNotify(refused.reason, detail=refused.detail))


def _what_is_wrong(guest: Guest, frame: Frame, now_ms: int) -> Refused:
    header = frame.header
    if header.sender != guest.node:
        return Cause.FORGED_SENDER.refuse(sender=header.sender, node=guest.node)
    delivery = header.delivery
    if delivery is not None and delivery.expires_at is not None and delivery.expires_at <= now_ms:
        return Cause.EXPIRED.refuse(target=header.to)
    problem = "a frame of a reliable class needs qos reliable"
    return Cause.BAD_FRAME.refuse(problem=problem)
