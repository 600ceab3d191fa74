"""Everything that the core raises on purpose.

```
TheNodesError                  (thenodes_plugin_api)
├── ConfigError                a configuration value or file cannot be used
├── StartError                 the node cannot start
│   ├── StateDirError          its state directory cannot be used
│   │   ├── StateDirInUse      another node runs on it
│   │   └── NoNode             none does
│   ├── ListenError            the address cannot be listened on
│   └── PluginsRejected        a plugin was rejected, and plugins.strict is set
├── PluginLoadError            one plugin cannot be loaded; the node goes on
├── CommandError               a command typed at the prompt or control socket is wrong
│   └── CommandFailed          it was right, and failed
│       └── TrustError         no such key, or more than one fits
├── CredentialError            a key, certificate or card cannot be used
├── ProtocolError              the peer broke the wire protocol (a remote fault)
└── LinkError
    ├── DialError              no connection to that address
    └── LinkClosed             the connection ended; with code, reason and who ended it
```
"""

from __future__ import annotations

from thenodes_plugin_api import TheNodesError

__all__ = [
    "CommandError",
    "CommandFailed",
    "ConfigError",
    "CredentialError",
    "DialError",
    "LinkClosed",
    "LinkError",
    "ListenError",
    "NoNode",
    "PluginLoadError",
    "PluginsRejected",
    "ProtocolError",
    "StartError",
    "StateDirError",
    "StateDirInUse",
    "TrustError",
]


class ConfigError(TheNodesError):
    """A configuration value or file cannot be used. The text names file, key and way out."""


class StartError(TheNodesError):
    """The node cannot start."""


class StateDirError(StartError):
    """The state directory, or a file in it, cannot be used."""


class NoNode(StateDirError):
    """No node runs on this state directory."""


class StateDirInUse(StateDirError):
    """Another node runs on this state directory.

    Attributes:
        pid: the other node's process id, or None where it cannot be read.
    """

    def __init__(self, message: str, pid: int | None) -> None:
        super().__init__(message)
        self.pid = pid


class ListenError(StartError):
    """The address cannot be listened on."""


class PluginsRejected(StartError):
    """Plugins were rejected, and the operator wants all or nothing (`plugins.strict`)."""


class PluginLoadError(TheNodesError):
    """A plugin cannot be loaded. The node and the other plugins are not concerned.

    Attributes:
        code: the gate's code, such as `"TN-P010"`.
        received: what is wrong.
        expected: what would have been right.
        fix: what to do about it.
    """

    def __init__(self, code: str, received: str, *, expected: str = "", fix: str = "") -> None:
        told = [received, f"expected {expected}" if expected else "", fix]
        super().__init__(f"{code}: {'; '.join(part for part in told if part)}")
        self.code = code
        self.received = received
        self.expected = expected
        self.fix = fix


class CommandError(TheNodesError):
    """A command is unknown or its arguments are wrong. The text is for the operator."""


class CommandFailed(CommandError):
    """A command was understood and failed: a plugin raised, is not running, or is too slow."""


class TrustError(CommandFailed):
    """A trust command names no key, or more than one. The text is for the operator."""


class CredentialError(TheNodesError):
    """A key, certificate or card cannot be used, whoever it is from. The text says why."""


class ProtocolError(TheNodesError):
    """The peer sent something that the wire protocol does not allow."""


class LinkError(TheNodesError):
    """A connection failed."""


class DialError(LinkError):
    """No connection could be made to an address."""


class LinkClosed(LinkError):
    """The connection ended.

    Attributes:
        code: the WebSocket close code, 1006 where there was none.
        reason: the close reason's text.
        by_peer: True where the other side ended it.
    """

    def __init__(self, code: int = 1006, reason: str = "", *, by_peer: bool = True) -> None:
        super().__init__(f"connection closed ({code}{' ' + reason if reason else ''})")
        self.code = code
        self.reason = reason
        self.by_peer = by_peer
