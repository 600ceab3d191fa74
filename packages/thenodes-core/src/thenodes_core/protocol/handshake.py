"""The handshake of one session, sans-I/O.

The accepting side speaks first. Messages go in, bytes to send come out; the checks run
in a fixed order and the first that fails decides the close code.

```
START ──opened──▶ EXPECT_HELLO ──HELLO, keys on both sides──▶ EXPECT_AUTH
                       │                                          │
                       │ HELLO, a side without a key              │ AUTH
                       └────────────────▶ ESTABLISHED ◀───────────┘

anything else, or a check that fails: REFUSED
```

The dialling side sends its proof with its HELLO. The accepting side sends its own,
`confirmation`, when the session is admitted: what is proven to whom has no gap.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Protocol, TypeAlias

import msgspec

from thenodes_plugin_api import Auth, Body, Heartbeat, Hello, Verified

from ..signatures import verify
from .close import CloseCode, Ending
from .hello import CHECKS, PROTOCOL, VERSION, LocalNode
from .proof import Channel, Role, proof_content

__all__ = [
    "ANYBODY",
    "PROTOCOL",
    "VERSION",
    "Handshake",
    "Judge",
    "LocalNode",
    "Refused",
    "Role",
    "Screen",
    "State",
]

_NONCE_BYTES = 32


class State(enum.Enum):
    """Where a handshake stands."""

    START = "start"
    EXPECT_HELLO = "expect hello"
    EXPECT_AUTH = "expect auth"
    ESTABLISHED = "established"
    REFUSED = "refused"


class Input(enum.Enum):
    """What can happen to it."""

    OPENED = "the connection is open"
    KEYED_HELLO = "HELLO, keys on both sides"
    KEYLESS_HELLO = "HELLO, a side without a key"
    AUTH = "AUTH"
    OTHER = "any other message"


TRANSITIONS: dict[tuple[State, Input], State] = {
    (State.START, Input.OPENED): State.EXPECT_HELLO,
    (State.EXPECT_HELLO, Input.KEYED_HELLO): State.EXPECT_AUTH,
    (State.EXPECT_HELLO, Input.KEYLESS_HELLO): State.ESTABLISHED,
    (State.EXPECT_AUTH, Input.AUTH): State.ESTABLISHED,
}

Screen: TypeAlias = Callable[[Hello], Ending | None]
"""A check of one's own of the peer's HELLO; a dialling side has said nothing of itself by then."""


class Judge(Protocol):
    """Decides, for one session, what the handshake itself cannot know."""

    def knows(self, hello: Hello) -> Ending | None:
        """Check what a HELLO says against what is known of its id and key; nothing is proven."""
        ...

    def reads(self, hello: Hello) -> Ending | None:
        """Read the certificate and the card that a peer with a key shows."""
        ...

    def admits(self, hello: Hello) -> Ending | None:
        """Apply the trust policy to a peer that has proven what its HELLO says."""
        ...

    def met(self, hello: Hello) -> Ending | None:
        """Remember a peer that passed every check; the last word."""
        ...


class _Anybody:
    def knows(self, hello: Hello) -> Ending | None:
        return None

    def reads(self, hello: Hello) -> Ending | None:
        return None

    def admits(self, hello: Hello) -> Ending | None:
        return None

    def met(self, hello: Hello) -> Ending | None:
        return None


ANYBODY: Judge = _Anybody()
"""A judge that has nothing against anybody."""


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
        channel: the connection.
        encode: makes the bytes of a message.
        judge: knows ids and decides on trust.
        screen: a check of the peer's HELLO that comes after those of what it says.
        expected_id: whom the dialled address names, if it does.
    """

    def __init__(
        self,
        role: Role,
        local: LocalNode,
        nonce: bytes,
        channel: Channel,
        encode: Callable[[Body], bytes],
        *,
        judge: Judge = ANYBODY,
        screen: Screen | None = None,
        expected_id: str | None = None,
    ) -> None:
        self._role = role
        self._local = local
        self._nonce = nonce
        self._channel = channel
        self._encode = encode
        self._judge = judge
        self._screen = screen
        self._expected_id = expected_id
        self._state = State.START
        self._claimed_id: str | None = None
        self._peer: Hello | None = None
        self._is_read = False
        self._verified = Verified.NONE
        self._own: Hello | None = None
        # Both HELLOs exactly as sent, by the side that sent them.
        self._sent: dict[Role, bytes] = {}
        self._confirmation: bytes | None = None

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._state

    @property
    def is_established(self) -> bool:
        """True once every check and proof is passed."""
        return self._state is State.ESTABLISHED

    @property
    def claimed_id(self) -> str | None:
        """The id that the peer's HELLO names, proven or not; None before a HELLO."""
        return self._claimed_id

    @property
    def peer(self) -> Hello:
        """The peer's HELLO, once established."""
        if self._peer is None or self._state is not State.ESTABLISHED:
            raise ValueError(f"no peer while the handshake is in state {self._state.value!r}")
        return self._peer

    @property
    def verified(self) -> Verified:
        """How the peer's id was proven."""
        return self._verified

    def open(self) -> list[bytes]:
        """Start; returns what to send at once."""
        self._state = self._require(Input.OPENED, Input.OPENED.value)
        if self._role is Role.DIALER:
            return []
        hello = self._local.hello(self._nonce)
        if self._local.sign is not None:
            hello = msgspec.structs.replace(hello, binding=self._channel.offer)
        return [self._say(hello)]

    def receive(self, body: Body, data: bytes) -> list[bytes]:
        """Take the peer's next message; returns what to send.

        Args:
            body: the message.
            data: the WebSocket message that held it, and a HELLO alone.

        Raises:
            Refused: the message is not expected, or a check failed.
        """
        answer: list[bytes] = []
        event = Input.OTHER
        match body:
            case Hello():
                event = Input.KEYED_HELLO if self._is_keyed(body) else Input.KEYLESS_HELLO
            case Auth():
                event = Input.AUTH
        # Checked before the state changes: established means that nothing is left to check.
        self._require(event, body.token)
        if isinstance(body, Hello):
            answer = self._take_hello(body, data)
        elif isinstance(body, Auth):
            self._take_proof(body)
        self._state = self._require(event, body.token)
        return answer

    def read_ahead(self) -> None:
        """Let the judge read what the peer showed while its proof is on the way.

        For the dialling side, which would only wait. An accepting side reads nothing of
        a stranger's that has not proven its key.

        Raises:
            Refused: something of it cannot be used.
        """
        if self._state is State.EXPECT_AUTH and self._role is Role.DIALER:
            self._read()

    def confirmation(self) -> bytes:
        """What tells the peer that it is admitted: an acceptor's first message."""
        if self._verified is Verified.NONE:
            return self._encode(Heartbeat())
        if self._confirmation is None:
            self._confirmation = self._encode(self._prove())
            # Nothing is left to prove, and many sessions are kept for long.
            self._sent.clear()
        return self._confirmation

    def admit(self) -> Ending | None:
        """The judge's last word, once the node's own checks are passed too."""
        return self._judge.met(self.peer)

    def judge_again(self) -> Ending | None:
        """The judge's trust policy, applied once more."""
        return self._judge.admits(self.peer)

    def _is_keyed(self, hello: Hello) -> bool:
        return hello.public_key is not None and self._local.sign is not None

    def _take_hello(self, hello: Hello, data: bytes) -> list[bytes]:
        keyed = self._is_keyed(hello)
        self._claimed_id = hello.node_id
        self._check(hello)
        if keyed:
            self._heed(self._check_binding(hello))
        else:
            # No proof will come: nothing that a key would stand for is believed.
            hello = msgspec.structs.replace(hello, public_key=None, certificate=None, card=None)
            self._heed(self._judge.admits(hello))
        self._peer = hello
        self._sent[self._role.other] = data
        if self._role is Role.ACCEPTOR:
            return []
        own = self._local.hello(self._nonce)
        if not keyed:
            return [self._say(own)]
        own = msgspec.structs.replace(own, binding=self._channel.answer(hello.binding))
        return [self._say(own), self._encode(self._prove())]

    def _say(self, own: Hello) -> bytes:
        self._own = own
        self._sent[self._role] = data = self._encode(own)
        return data

    def _prove(self) -> Auth:
        sign = self._local.sign
        if sign is None:
            raise ValueError("a node without a key proves nothing")
        return Auth(sign(self._role.purpose, self._covered(self._role)))

    def _take_proof(self, auth: Auth) -> None:
        hello, role = self._peer, self._role.other
        if hello is None or hello.public_key is None:
            raise ValueError("no proof is expected of a peer without a key")
        if not verify(hello.public_key, role.purpose, self._covered(role), auth.proof):
            detail = f"the proof of {hello.node_id} is not of its key and this connection"
            self._heed(Ending.here(CloseCode.IDENTITY, detail))
        self._read()
        self._heed(self._judge.admits(hello))
        self._verified = Verified.SESSION
        if self._role is Role.DIALER:
            self._sent.clear()

    def _read(self) -> None:
        if self._peer is not None and not self._is_read:
            self._is_read = True
            self._heed(self._judge.reads(self._peer))

    def _covered(self, role: Role) -> bytes:
        dialling = self._own if self._role is Role.DIALER else self._peer
        if dialling is None or dialling.binding is None:
            raise ValueError("no binding before both HELLOs")
        hellos = self._sent[Role.ACCEPTOR], self._sent[Role.DIALER]
        return proof_content(role, self._channel.subprotocol, dialling.binding, *hellos)

    def _check_binding(self, hello: Hello) -> Ending | None:
        channel = self._channel
        if hello.nonce is None or len(hello.nonce) != _NONCE_BYTES:
            return Ending.here(CloseCode.IDENTITY, f"expected a nonce of {_NONCE_BYTES} bytes")
        if self._role is Role.ACCEPTOR:
            fits = channel.takes(hello.binding)
        else:
            fits = channel.answer(hello.binding) is not None
        if fits:
            return None
        expected = " or ".join(channel.bindings) or "none that this connection has"
        got = "none" if hello.binding is None else hello.binding.mode[:16]
        detail = f"expected a proof bound to {expected} as this side sees it, got {got}"
        if got == "proxy" and self._role is Role.DIALER:
            detail += "; a node behind a proxy needs a certificate of a public CA for its name"
        return Ending.here(CloseCode.IDENTITY, detail)

    def _require(self, event: Input, got: str) -> State:
        following = TRANSITIONS.get((self._state, event))
        if following is None:
            state, self._state = self._state, State.REFUSED
            detail = f"unexpected {got} in state {state.value!r}"
            raise Refused(Ending.here(CloseCode.PROTOCOL, detail))
        return following

    def _check(self, hello: Hello) -> None:
        for check in CHECKS:
            self._heed(check(self._local, hello))
        self._heed(self._check_expected(hello))
        self._heed(self._judge.knows(hello))
        if self._screen is not None:
            self._heed(self._screen(hello))

    def _check_expected(self, hello: Hello) -> Ending | None:
        expected = self._expected_id
        if expected is None or hello.node_id == expected:
            return None
        detail = f"the address is of {expected}, but {hello.node_id} answered"
        return Ending.here(CloseCode.IDENTITY, detail)

    def _heed(self, ending: Ending | None) -> None:
        if ending is not None:
            self._state = State.REFUSED
            raise Refused(ending)
