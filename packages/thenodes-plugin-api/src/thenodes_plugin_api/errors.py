"""Everything that the plugin API raises on purpose.

```
TheNodesError
├── PluginApiError             the registrar refused a plugin
│   ├── NullApiError           no registrar was handed over
│   ├── AbiVersionMismatch     written for a generation that this host does not serve
│   ├── MissingHandlerError    what was registered is not a plugin
│   └── NullContextError       used after the host took it away
├── SendError                  a message did not leave this node (a local fault)
│   ├── NotConnected           no session with that peer
│   │   └── NoRoute            and no way through a relay
│   ├── PayloadTooLarge        over a limit that the peer would refuse
│   ├── OutboxFull             the peer takes no more before the deadline
│   └── KindNotAllowed         that kind belongs to the node, not to plugins
├── RequestError               a question got no answer
│   ├── RequestTimeout         none before the deadline
│   ├── PeerGone               the peer left first
│   └── TooManyRequests        the plugin has too many open questions
├── NotAService                the manifest has no section [service]
├── CardRefused                an identity card that proves nothing (a remote fault)
├── PayloadError               a peer's payload is not of the expected form (a remote fault)
└── ManifestError              a thenodes-plugin.toml that cannot be used
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # The payload of a message needs these errors.
    from .messages import Reason

__all__ = [
    "AbiVersionMismatch",
    "CardRefused",
    "KindNotAllowed",
    "ManifestError",
    "MissingHandlerError",
    "NoRoute",
    "NotAService",
    "NotConnected",
    "NullApiError",
    "NullContextError",
    "OutboxFull",
    "PayloadError",
    "PayloadTooLarge",
    "PeerGone",
    "PluginApiError",
    "RequestError",
    "RequestTimeout",
    "SendError",
    "TheNodesError",
    "TooManyRequests",
]


class TheNodesError(Exception):
    """Base of every error that TheNodes raises on purpose."""


class PluginApiError(TheNodesError):
    """The registrar refused a plugin."""


class NullApiError(PluginApiError):
    """`register_plugin` was called without a registrar."""


class AbiVersionMismatch(PluginApiError):
    """The plugin was written for an ABI generation that the host does not serve.

    Attributes:
        expected: the generations that the host serves, such as `"1"` or `"1 to 2"`.
        received: what the plugin declares.
    """

    def __init__(self, expected: str, received: object) -> None:
        super().__init__(f"plugin ABI {received!r} is not served here: expected {expected}")
        self.expected = expected
        self.received = received


class MissingHandlerError(PluginApiError):
    """What was registered is not a `Plugin`."""


class NullContextError(PluginApiError):
    """Registrar or context were used too late: registration is over, or the plugin stopped."""


class SendError(TheNodesError):
    """A message did not leave this node."""


class NotConnected(SendError):
    """There is no session with that peer."""


class NoRoute(NotConnected):
    """There is neither a session with that node nor a way to it through a relay.

    Attributes:
        reason: why there is no way.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class PayloadTooLarge(SendError):
    """The message exceeds a limit that every peer enforces, so it was not sent."""


class OutboxFull(SendError):
    """The peer's outbound queue had no room before the deadline."""


class KindNotAllowed(SendError):
    """Session control and relay frames belong to the node; a plugin may not send them."""


class RequestError(TheNodesError):
    """A question got no answer."""


class RequestTimeout(RequestError):
    """The peer did not reply before the deadline."""


class PeerGone(RequestError):
    """The peer's session ended before it replied."""


class TooManyRequests(RequestError):
    """The plugin has as many open questions as it may have."""


class NotAService(TheNodesError):
    """The plugin's manifest has no section `[service]`, so it has no such door."""


class CardRefused(TheNodesError):
    """An identity card proves nothing: forged, damaged, expired, or of another node."""


class PayloadError(TheNodesError):
    """A payload is not of the form or type that was asked for.

    Let it escape from `on_message` where the payload came from a peer: the host
    counts it against the peer's message, not against the plugin.
    """


class ManifestError(TheNodesError):
    """A plugin manifest is missing, unreadable or wrong."""
