"""What both encodings offer, and what they share."""

from __future__ import annotations

from typing import Protocol, TypeAlias

import msgspec

from thenodes_plugin_api import KINDS, Body, Frame, Message, PayloadTooLarge, PeerList, Verified

__all__ = ["BY_TOKEN", "Codec", "Part", "UnknownKind", "check_counts"]

BY_TOKEN: dict[str, type[Body]] = {kind.token: kind for kind in KINDS}


class UnknownKind(msgspec.Struct, frozen=True):
    """A well-formed message of a kind that this version does not know."""

    kind: str
    body: None = None


Part: TypeAlias = list[Frame] | list[Message | UnknownKind]
"""RELAY_FWD frames that follow each other, or messages of other kinds that do."""


class Codec(Protocol):
    """One of the two encodings."""

    @property
    def subprotocol(self) -> str:
        """The WebSocket subprotocol that selects it."""
        ...

    @property
    def name(self) -> str:
        """For people: `binary` or `json`."""
        ...

    @property
    def coalesces(self) -> bool:
        """True where one WebSocket message may carry several messages."""
        ...

    def encode(self, message: Message) -> bytes:
        """Return the message's bytes.

        Raises:
            PayloadTooLarge: over a limit that the receiver enforces.
            PayloadError: the payload has no form in this encoding.
        """
        ...

    def decode(
        self, data: bytes, *, sender: str = "", verified: Verified = Verified.NONE
    ) -> list[Message | UnknownKind]:
        """Return the messages of one WebSocket message.

        Args:
            data: the WebSocket message.
            sender: the session's node id; what the message itself says of its
                sender is not believed.
            verified: how that id was proven.

        Raises:
            ProtocolError: anything that is not allowed.
        """
        ...

    def code_of(self, encoded: bytes) -> int:
        """The code of the kind of a message that `encode` made; 0 where it is unknown."""
        ...

    def read(
        self, data: bytes, *, sender: str = "", verified: Verified = Verified.NONE
    ) -> list[Part]:
        """As `decode`, with RELAY_FWD left as frames for a relay or an endpoint to open."""
        ...


def check_counts(body: Body) -> None:
    """Raise PayloadTooLarge where a body holds more than every reader refuses."""
    if isinstance(body, PeerList) and len(body.peers) > PeerList.most:
        raise PayloadTooLarge(f"{body.token} of {len(body.peers)}: at most {PeerList.most}")
