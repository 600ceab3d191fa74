"""Relays, as a plugin uses them: bind to a target, and send through one of them."""

from __future__ import annotations

from typing import Protocol, Self, TypeAlias

from .delivery import DeliveryOptions, DeliveryOutcome, QoS, check_ttl
from .messages import Body, RelayBindAck, Text
from .payload import Payload
from .peers import PeerInfo

__all__ = ["Relay", "RelayBindBuilder", "RelayForwardBuilder", "RelayUser"]


class Relay(Protocol):
    """A node's way through relays."""

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
        """Ask a relay for a route to `target`, or with `"*"` for a mailbox of this node's own.

        What was granted is asked for again after every reconnect, until it expires.

        Args:
            relay: node id of a connected relay.
            target: node id.
            store_forward: whether frames are to be kept for a target that is away.
            qos: of frames that name none.
            ttl_seconds: how long the binding holds, at most `MOST_TTL_SECONDS`; as long as
                the node runs where None.
            timeout_seconds: how long to wait for the answer.

        Returns:
            The relay's answer; `ok` is False where it refused, or where it could not be asked,
            and `reason` says why: `timeout`, `peer_left` where there is no session with it,
            `capability_missing` where this node uses no relays.

        Raises:
            ValueError: `ttl_seconds` is out of bounds.
        """
        ...

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
        """Send a message through that relay, sealed for `to` unless the operator set sealing off.

        The route is opened first where it is not.

        Args:
            relay: node id of a connected relay.
            to: node id of whom it is for.
            body: a `Text`, `Extension`, `DataRequest` or `DataResponse`.
            payload: the data.
            sequence: a number for the frame, 0 to 2**63 - 1.
            options: what is asked of delivery.
            timeout_seconds: how long it may wait.

        Returns:
            How far it came; `REFUSED` where the route or the relay took it not, with the
            reason. Where the time is up first it says how far it had come by then, and a
            reliable message that is on its way goes on.

        Raises:
            PayloadTooLarge: over the frame limit.
            OutboxFull: no room in time.
            KindNotAllowed: a kind that belongs to the node.
            ValueError: `sequence` is out of bounds.
        """
        ...


class RelayUser(Protocol):
    """What a builder sends with; a `PluginContext` is one."""

    @property
    def node_id(self) -> str:
        """This node's id."""
        ...

    @property
    def relay(self) -> Relay:
        """Its way through relays."""
        ...


RelayId: TypeAlias = str | PeerInfo


class RelayBindBuilder:
    """Asks a relay for a route.

    ```python
    ack = await (
        RelayBindBuilder("me", "target")
        .store_forward(True).qos("reliable").ttl(3600)
        .send(ctx, relay)
    )
    ```

    Args:
        node_id: this node's id, `ctx.node_id`.
        target: whom to reach; `"*"` for a mailbox of this node's own.
    """

    def __init__(self, node_id: str, target: str) -> None:
        self._node_id = node_id
        self._target = target
        self._store_forward = False
        self._qos = QoS.HIGH_THROUGHPUT
        self._ttl: float | None = None

    def store_forward(self, wanted: bool = True, /) -> Self:
        """Have frames kept for a target that is away."""
        self._store_forward = wanted
        return self

    def qos(self, qos: QoS | str) -> Self:
        """Set how frames are treated that name no QoS of their own.

        Raises:
            ValueError: not one of `QoS`.
        """
        self._qos = QoS(qos)
        return self

    def ttl(self, seconds: float) -> Self:
        """Let the binding end by itself.

        Raises:
            ValueError: not more than 0, or more than `MOST_TTL_SECONDS`.
        """
        self._ttl = check_ttl(seconds)
        return self

    async def send(
        self, ctx: RelayUser, relay: RelayId, *, timeout_seconds: float = 10.0
    ) -> RelayBindAck:
        """Ask, and wait for the answer; see `Relay.bind`.

        Args:
            ctx: the plugin's context.
            relay: a connected relay, by its node id or as `ctx.peers` has it.
            timeout_seconds: how long to wait.

        Raises:
            ValueError: `node_id` is not this node's.
        """
        _check_own(self._node_id, ctx)
        return await ctx.relay.bind(
            _id_of(relay),
            self._target,
            store_forward=self._store_forward,
            qos=self._qos,
            ttl_seconds=self._ttl,
            timeout_seconds=timeout_seconds,
        )


class RelayForwardBuilder:
    """Sends one message through a relay.

    ```python
    outcome = await RelayForwardBuilder("me", "to").sequence(42).payload_text("hi").send(ctx, relay)
    ```

    Unless `body` says otherwise the target's plugins get a `Text` whose text is empty, with
    the payload.

    Args:
        node_id: this node's id, `ctx.node_id`.
        to: whom it is for.
    """

    def __init__(self, node_id: str, to: str) -> None:
        self._node_id = node_id
        self._to = to
        self._body: Body = Text("")
        self._payload: Payload | None = None
        self._sequence: int | None = None
        self._qos = QoS.HIGH_THROUGHPUT
        self._store = True
        self._ttl: float | None = None
        self._confirm = False

    def sequence(self, number: int) -> Self:
        """Number it; the target's plugins do not see the number.

        Raises:
            ValueError: not 0 to 2**63 - 1.
        """
        if not 0 <= number < 1 << 63:
            raise ValueError(f"sequence {number!r}: expected 0 to 2**63 - 1")
        self._sequence = number
        return self

    def body(self, body: Body) -> Self:
        """Send this kind: a `Text`, `Extension`, `DataRequest` or `DataResponse`."""
        self._body = body
        return self

    def payload_text(self, text: str) -> Self:
        """Carry text."""
        self._payload = Payload.text(text)
        return self

    def payload_json(self, value: object) -> Self:
        """Carry JSON of anything that msgspec encodes.

        Raises:
            TypeError: `value` has no JSON form.
        """
        self._payload = Payload.json(value)
        return self

    def payload_binary(self, data: bytes) -> Self:
        """Carry bytes."""
        self._payload = Payload.binary(data)
        return self

    def qos(self, qos: QoS | str) -> Self:
        """Set how the relay treats it.

        Raises:
            ValueError: not one of `QoS`.
        """
        self._qos = QoS(qos)
        return self

    def store_forward(self, wanted: bool = True, /) -> Self:
        """Have it kept for a target that is away; that is so unless it is set to False."""
        self._store = wanted
        return self

    def ttl(self, seconds: float) -> Self:
        """Let it expire.

        Raises:
            ValueError: not more than 0, or more than `MOST_TTL_SECONDS`.
        """
        self._ttl = check_ttl(seconds)
        return self

    def confirm(self, wanted: bool = True, /) -> Self:
        """Wait until the target's plugins had it; makes it reliable."""
        self._confirm = wanted
        if wanted:
            self._qos = QoS.RELIABLE
        return self

    async def send(
        self, ctx: RelayUser, relay: RelayId, *, timeout_seconds: float = 10.0
    ) -> DeliveryOutcome:
        """Send it, and wait until it is on its way; a reliable one, until it is stored.

        Args:
            ctx: the plugin's context.
            relay: a connected relay, by its node id or as `ctx.peers` has it.
            timeout_seconds: how long to wait.

        Raises:
            ValueError: `node_id` is not this node's, or `confirm` met a QoS other than
                `reliable`.
            SendError: as `Relay.forward`.
        """
        _check_own(self._node_id, ctx)
        options = DeliveryOptions(
            qos=self._qos, store=self._store, ttl_seconds=self._ttl, confirm=self._confirm
        )
        return await ctx.relay.forward(
            _id_of(relay),
            self._to,
            self._body,
            self._payload,
            sequence=self._sequence,
            options=options,
            timeout_seconds=timeout_seconds,
        )


def _check_own(node_id: str, ctx: RelayUser) -> None:
    if node_id != ctx.node_id:
        raise ValueError(
            f"{node_id!r} is not this node's id: a relay takes frames from {ctx.node_id} alone "
            "here; begin with ctx.node_id"
        )


def _id_of(relay: RelayId) -> str:
    return relay.node_id if isinstance(relay, PeerInfo) else relay
