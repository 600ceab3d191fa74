"""How a plugin's messages reach nodes with whom there is no session."""

from __future__ import annotations

from typing import Protocol

from thenodes_plugin_api import (
    Body,
    DataRequest,
    DataResponse,
    DeliveryOptions,
    DeliveryOutcome,
    DeliveryStatus,
    Extension,
    KindNotAllowed,
    NoRoute,
    Payload,
    QoS,
    Reason,
    RelayBindAck,
    Text,
)
from thenodes_plugin_api.delivery import check_ttl

__all__ = ["ALLOWED", "Begun", "Delivery", "NoRelays", "PluginRelay", "not_allowed"]

ALLOWED = frozenset({Text, Extension, DataRequest, DataResponse})
"""Kinds that a plugin may send."""

_NO_RELAYS = "this node uses no relays: [network.relay] names none"


class Begun(Protocol):
    """A message that could not be sent at once."""

    async def finish(self, timeout_seconds: float) -> DeliveryOutcome:
        """Send it.

        Raises:
            SendError: as `PluginContext.send`.
        """
        ...


class Delivery(Protocol):
    """Sends where no session leads, and waits for the word of who was to have it."""

    def begin(
        self,
        to: str,
        body: Body,
        payload: Payload | None = None,
        options: DeliveryOptions | None = None,
    ) -> DeliveryOutcome | Begun:
        """Send through a relay if that takes no waiting; else returns what does.

        Raises:
            NoRoute: there is no way.
            SendError: as `PluginContext.send`.
        """
        ...

    async def send(
        self,
        to: str,
        body: Body,
        payload: Payload | None = None,
        *,
        options: DeliveryOptions | None = None,
        timeout_seconds: float,
    ) -> DeliveryOutcome:
        """Send through a relay.

        Raises:
            NoRoute: there is no way.
            SendError: as `PluginContext.send`.
        """
        ...

    async def send_confirmed(
        self,
        to: str,
        body: Body,
        payload: Payload | None,
        *,
        options: DeliveryOptions,
        timeout_seconds: float,
    ) -> DeliveryOutcome:
        """Send over the session, if there is one, and wait until the peer's plugins had it.

        Raises:
            SendError: as `PluginContext.send`.
        """
        ...

    async def answer(self, to: str, body: Body, payload: Payload | None) -> None:
        """Send through a relay without waiting, not even for a route.

        Raises:
            SendError: as `PluginContext.send`.
        """
        ...

    async def bind(
        self,
        relay: str,
        target: str,
        *,
        store_forward: bool,
        qos: QoS,
        ttl_seconds: float | None,
        timeout_seconds: float,
    ) -> RelayBindAck:
        """As `Relay.bind`."""
        ...

    async def forward(
        self,
        relay: str,
        to: str,
        body: Body,
        payload: Payload | None,
        *,
        sequence: int | None,
        options: DeliveryOptions,
        timeout_seconds: float,
    ) -> DeliveryOutcome:
        """As `Relay.forward`."""
        ...


class NoRelays:
    """The delivery of a node that uses no relays."""

    def begin(
        self,
        to: str,
        body: Body,
        payload: Payload | None = None,
        options: DeliveryOptions | None = None,
    ) -> DeliveryOutcome:
        """There is no way."""
        raise NoRoute(Reason.CAPABILITY_MISSING, f"no session with {to}, and {_NO_RELAYS}")

    async def send(
        self,
        to: str,
        body: Body,
        payload: Payload | None = None,
        *,
        options: DeliveryOptions | None = None,
        timeout_seconds: float,
    ) -> DeliveryOutcome:
        """There is no way."""
        return self.begin(to, body, payload, options)

    async def send_confirmed(
        self,
        to: str,
        body: Body,
        payload: Payload | None,
        *,
        options: DeliveryOptions,
        timeout_seconds: float,
    ) -> DeliveryOutcome:
        """There is no way."""
        return self.begin(to, body, payload, options)

    async def answer(self, to: str, body: Body, payload: Payload | None) -> None:
        """There is no way."""
        self.begin(to, body, payload)

    async def bind(
        self,
        relay: str,
        target: str,
        *,
        store_forward: bool,
        qos: QoS,
        ttl_seconds: float | None,
        timeout_seconds: float,
    ) -> RelayBindAck:
        """No relay is asked."""
        return RelayBindAck(ok=False, reason=Reason.CAPABILITY_MISSING)

    async def forward(
        self,
        relay: str,
        to: str,
        body: Body,
        payload: Payload | None,
        *,
        sequence: int | None,
        options: DeliveryOptions,
        timeout_seconds: float,
    ) -> DeliveryOutcome:
        """No relay takes it."""
        return DeliveryOutcome(
            DeliveryStatus.REFUSED,
            relay=relay,
            reason=Reason.CAPABILITY_MISSING,
            detail=_NO_RELAYS,
        )


class PluginRelay:
    """A plugin's `Relay`; see there for what each method promises.

    Args:
        delivery: the node's.
    """

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery

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
        """Ask a relay for a route."""
        if ttl_seconds is not None:
            check_ttl(ttl_seconds)
        return await self._delivery.bind(
            relay,
            target,
            store_forward=store_forward,
            qos=QoS(qos),
            ttl_seconds=ttl_seconds,
            timeout_seconds=timeout_seconds,
        )

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
        """Send a message through that relay."""
        if type(body) not in ALLOWED:
            raise not_allowed(body)
        if sequence is not None and not 0 <= sequence < 1 << 63:
            raise ValueError(f"sequence {sequence!r}: expected 0 to 2**63 - 1")
        return await self._delivery.forward(
            relay,
            to,
            body,
            payload,
            sequence=sequence,
            options=options or DeliveryOptions(),
            timeout_seconds=timeout_seconds,
        )


def not_allowed(body: Body) -> KindNotAllowed:
    """The error of a kind that plugins may not send."""
    return KindNotAllowed(
        f"plugins may not send {body.token}: only TEXT, EXTENSION, DATA_REQUEST, DATA_RESPONSE"
    )
