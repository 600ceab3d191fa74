"""The carrier that a service offers, and what the node makes of its defects."""

from __future__ import annotations

import logging
from collections.abc import Callable

from thenodes_plugin_api import (
    Carrier,
    DeliveryOptions,
    NoRoute,
    QoS,
    Reason,
    RelayBindAck,
    Route,
)

from ..plugins.ground import Undo

__all__ = ["Carriers"]

_log = logging.getLogger("thenodes.node")

Fault = Callable[[str, BaseException], None]


class _NoCarrier:
    """In the place of a carrier where no service offers one."""

    def ready(self, to: str, options: DeliveryOptions) -> Route | None:
        raise NoRoute(
            Reason.CAPABILITY_MISSING,
            f"no session with {to}, and no way through a relay: this node uses none; "
            "[network.relay] use names some",
        )

    async def open(
        self, to: str, options: DeliveryOptions, *, relay: str | None, timeout_seconds: float
    ) -> Route:
        raise NoRoute(
            Reason.CAPABILITY_MISSING, "this node uses no relays; [network.relay] use names some"
        )

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
        return RelayBindAck(ok=False, reason=Reason.CAPABILITY_MISSING)


_NO_CARRIER = _NoCarrier()


class Carriers:
    """The carrier that is used, one at a time.

    Attributes:
        used: the carrier; it is always one, if only one that says that there is none. What
            it raises that it should not is to be given to `failed`.
    """

    def __init__(self) -> None:
        self.used: Carrier = _NO_CARRIER
        self._fault: Fault = _log_fault

    def use(self, carrier: Carrier, fault: Fault) -> Undo:
        """Send through this carrier from now on; returns what takes it back.

        Args:
            carrier: a service's.
            fault: told of what it raises that it should not.

        Raises:
            ValueError: another is used.
        """
        if self.used is not _NO_CARRIER:
            raise ValueError("another service carries this node's messages already")
        self.used, self._fault = carrier, fault

        def drop() -> None:
            if self.used is carrier:
                self.used, self._fault = _NO_CARRIER, _log_fault

        return drop

    def failed(self, to: str, error: BaseException) -> NoRoute:
        """Tell of a defect of the carrier's; returns what its caller is told."""
        self.told_of(error)
        return NoRoute(Reason.UNKNOWN, f"no way to {to}: the service that carries messages failed")

    def told_of(self, error: BaseException) -> None:
        """Tell of a defect of the carrier's."""
        self._fault("its carrier", error)


def _log_fault(where: str, error: BaseException) -> None:
    _log.error("%s raised", where, exc_info=error)
