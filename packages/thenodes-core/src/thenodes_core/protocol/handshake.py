"""The handshake of one session, sans-I/O.

The accepting side speaks first. Messages go in, messages to send come out; the
checks run in a fixed order and the first that fails decides the close code.

```
            START ──opened──▶ EXPECT_HELLO ──HELLO──▶ ESTABLISHED
                                   │ anything else, or a check fails
                                   ▼
                                 REFUSED
```

AUTH is a legal input of no state yet: proofs arrive with the identity work,
whose state stands between EXPECT_HELLO and ESTABLISHED. Until then a peer's id
is what it claims, and `Message.verified` says so.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from thenodes_plugin_api import Auth, Body, Hello, Realm, Verified

from ..node_id import derive_node_id
from .close import CloseCode, Ending

__all__ = ["PROTOCOL", "VERSION", "Handshake", "LocalNode", "Refused", "Role", "Screen", "State"]

PROTOCOL = "TheNodes"
VERSION = "1"
_DERIVED_ID = re.compile(r"[a-z2-7]{32}")


class Role(enum.Enum):
    """Which side of the connection this is."""

    ACCEPTOR = "acceptor"
    DIALER = "dialer"


class State(enum.Enum):
    """Where a handshake stands."""

    START = "start"
    EXPECT_HELLO = "expect hello"
    ESTABLISHED = "established"
    REFUSED = "refused"


class Input(enum.Enum):
    """What can happen to it."""

    OPENED = "the connection is open"
    HELLO = "HELLO"
    AUTH = "AUTH"
    OTHER = "any other message"


TRANSITIONS: dict[tuple[State, Input], State] = {
    (State.START, Input.OPENED): State.EXPECT_HELLO,
    (State.EXPECT_HELLO, Input.HELLO): State.ESTABLISHED,
}


class LocalNode(msgspec.Struct, frozen=True, kw_only=True):
    """What this node says of itself, and whom it admits.

    Attributes:
        node_id: this node's id.
        realm: its realm.
        instance: 16 random bytes of this process.
        public_key: SubjectPublicKeyInfo, DER.
        node_type: its type in the realm.
        capabilities: what it advertises.
        listen_addr: where it can be dialled, or None.
        allowed_node_types: admitted types, or None for all.
    """

    node_id: str
    realm: Realm
    instance: bytes
    public_key: bytes
    node_type: str | None = None
    capabilities: tuple[str, ...] = ()
    listen_addr: str | None = None
    allowed_node_types: frozenset[str] | None = None

    def hello(self, nonce: bytes) -> Hello:
        """This node's HELLO for one session."""
        return Hello(
            node_id=self.node_id,
            listen_addr=self.listen_addr,
            protocol=PROTOCOL,
            version=VERSION,
            node_type=self.node_type,
            capabilities=self.capabilities or None,
            realm=self.realm,
            public_key=self.public_key,
            nonce=nonce,
            instance=self.instance,
        )


Screen: TypeAlias = Callable[[Hello], Ending | None]
"""A check of one's own of the peer's HELLO; a dialling side has said nothing of itself by then."""


class Refused(Exception):
    """The peer is not admitted; `ending` is what it is told."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(str(ending))
        self.ending = ending


class Handshake:
    """One side of one session's handshake.

    Args:
        role: which side this is.
        local: this node.
        nonce: 32 random bytes of this session.
        screen: a check that comes after all others.
    """

    def __init__(
        self, role: Role, local: LocalNode, nonce: bytes, screen: Screen | None = None
    ) -> None:
        self._role = role
        self._local = local
        self._nonce = nonce
        self._screen = screen
        self._state = State.START
        self._peer: Hello | None = None

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._state

    @property
    def peer(self) -> Hello:
        """The peer's HELLO, once established."""
        if self._peer is None or self._state is not State.ESTABLISHED:
            raise ValueError(f"no peer while the handshake is in state {self._state.value!r}")
        return self._peer

    @property
    def verified(self) -> Verified:
        """How the peer's id was proven."""
        return Verified.NONE

    def open(self) -> list[Body]:
        """Start; returns what to send at once."""
        self._move(Input.OPENED)
        return [self._local.hello(self._nonce)] if self._role is Role.ACCEPTOR else []

    def receive(self, body: Body) -> list[Body]:
        """Take the peer's next message; returns what to send.

        Raises:
            Refused: the message is not expected, or a check failed.
        """
        match body:
            case Hello():
                self._move(Input.HELLO)
                self._check(body)
                self._peer = body
                return [self._local.hello(self._nonce)] if self._role is Role.DIALER else []
            case Auth():
                self._move(Input.AUTH, got=body.token)
            case _:
                self._move(Input.OTHER, got=body.token)
        return []

    def _move(self, event: Input, *, got: str = "") -> None:
        following = TRANSITIONS.get((self._state, event))
        if following is None:
            state, self._state = self._state, State.REFUSED
            what = f"{got or event.value} in state {state.value!r}"
            raise Refused(Ending.here(CloseCode.PROTOCOL, f"unexpected {what}"))
        self._state = following

    def _check(self, hello: Hello) -> None:
        for check in CHECKS:
            self._heed(check(self._local, hello))
        if self._screen is not None:
            self._heed(self._screen(hello))

    def _heed(self, ending: Ending | None) -> None:
        if ending is not None:
            self._state = State.REFUSED
            raise Refused(ending)


def _check_version(local: LocalNode, hello: Hello) -> Ending | None:
    protocol, version = hello.protocol or PROTOCOL, hello.version or VERSION
    if (protocol, version) == (PROTOCOL, VERSION):
        return None
    return Ending.here(
        CloseCode.VERSION, f"expected {PROTOCOL} {VERSION}, got {protocol[:64]} {version[:64]}"
    )


def _check_realm(local: LocalNode, hello: Hello) -> Ending | None:
    theirs = hello.realm
    if theirs and (theirs.code, theirs.version) == (local.realm.code, local.realm.version):
        return None
    got = "none" if theirs is None else f"{theirs.code[:128]}/{theirs.version[:64]}"
    return Ending.here(CloseCode.REALM, f"expected realm {local.realm}, got {got}")


def _check_self(local: LocalNode, hello: Hello) -> Ending | None:
    if hello.node_id != local.node_id:
        return None
    return Ending.here(CloseCode.SELF, f"{hello.node_id} is this node's own id")


def _check_node_type(local: LocalNode, hello: Hello) -> Ending | None:
    allowed = local.allowed_node_types
    if allowed is None or hello.node_type in allowed:
        return None
    got = "none" if hello.node_type is None else hello.node_type[:64]
    return Ending.here(
        CloseCode.NODE_TYPE, f"node type {got} is not admitted: {', '.join(sorted(allowed))}"
    )


def _check_id_belongs_to_key(local: LocalNode, hello: Hello) -> Ending | None:
    if not _DERIVED_ID.fullmatch(hello.node_id):
        return None
    if hello.public_key is not None and derive_node_id(hello.public_key) == hello.node_id:
        return None
    return Ending.here(
        CloseCode.IDENTITY, f"{hello.node_id} does not derive from the key presented"
    )


# In this order (design: wire.md, Handshake); the manager's check for duplicates comes last.
CHECKS: tuple[Callable[[LocalNode, Hello], Ending | None], ...] = (
    _check_version,
    _check_realm,
    _check_self,
    _check_node_type,
    _check_id_belongs_to_key,
)
