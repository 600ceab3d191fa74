"""Asks an address by a real handshake, which is ended in order."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import msgspec

from thenodes_plugin_api import Direction, Hello, Message, Reason

from ..address import Address, parse_address
from ..clock import Clock
from ..errors import CredentialError, DialError
from ..limits import Limits
from ..protocol.card import read_card
from ..protocol.close import CloseCode, Ending
from ..protocol.codec import Codec
from ..protocol.codec_bin import BinaryCodec
from ..protocol.codec_json import JsonCodec
from ..protocol.handshake import Handshake, LocalNode, Role
from ..protocol.proof import Channel, dialled_bindings
from ..security.certificates import parse_certificate
from ..security.decision import Subject
from ..security.trust import TrustPolicy
from ..session.session import Session
from ..text import printable
from ..transport.base import Link, Transport
from .clock import Dated, card
from .finding import Finding, ok, problem, warning

__all__ = ["Met", "Prober", "dates_of", "judge_met"]

_SECONDS = 6.0
_HANDSHAKE_SECONDS = 4.0
_CLOSE_SECONDS = 0.5


class Met(msgspec.Struct):
    """What came of asking an address.

    Attributes:
        seconds: until it was known.
        hello: what the peer said of itself, where it passed the checks of that.
        ending: how it ended; None where no connection came about.
        problem: why none did.
        looked: it was ended after the peer's HELLO, which is all that was wanted.
    """

    seconds: float = 0.0
    hello: Hello | None = None
    ending: Ending | None = None
    problem: str = ""
    looked: bool = False


class Prober:
    """Shakes hands as the node would, without being it: nothing is remembered.

    Args:
        local: what the node says of itself.
        transport: dials.
        limits: the node's.
        clock: times it.
        policy: the node's trust policy; None judges nobody.
        scheme: of addresses that are `host:port`.
        connected: whether the node has a session with an id, which another would replace.
        only_look: end every handshake after the peer's HELLO: the key is not the node's, or
            the node may be running.
    """

    def __init__(
        self,
        local: LocalNode,
        transport: Transport,
        limits: Limits,
        clock: Clock,
        policy: TrustPolicy | None,
        *,
        scheme: str,
        connected: Callable[[str], bool] = lambda _: False,
        only_look: bool = False,
    ) -> None:
        self._local = local
        self._transport = transport
        self._limits = msgspec.structs.replace(
            limits,
            handshake_seconds=min(limits.handshake_seconds, _HANDSHAKE_SECONDS),
            close_seconds=min(limits.close_seconds, _CLOSE_SECONDS),
        )
        codecs: list[Codec] = [BinaryCodec(self._limits), JsonCodec(self._limits)]
        self._codecs = {codec.subprotocol: codec for codec in codecs}
        self._clock = clock
        self._policy = policy
        self._scheme = scheme
        self._connected = connected
        self._only_look = only_look

    async def ask(self, text: str, *, most_seconds: float = _SECONDS) -> Met:
        """Dial, shake hands, and part."""
        met, started = Met(), self._clock.monotonic()
        try:
            address = parse_address(text, scheme=self._scheme)
            async with asyncio.timeout(most_seconds):
                link = await self._transport.dial(address.url)
                try:
                    met.ending = await self._shake_hands(link, address, met, started)
                finally:
                    link.abort()
        except ValueError as error:
            met.problem = str(error)
        except DialError as error:
            met.problem = str(error).removeprefix(f"{address.url}: ")
        except TimeoutError:
            met.problem = f"no answer within {most_seconds:g} s"
        met.seconds = met.seconds or self._clock.monotonic() - started
        return met

    async def _shake_hands(self, link: Link, address: Address, met: Met, started: float) -> Ending:
        def screen(hello: Hello) -> Ending | None:
            met.hello = hello
            if not self._only_look and not self._connected(hello.node_id):
                return None
            met.looked = True
            return _PARTING

        codec = self._codecs[link.subprotocol]
        handshake = Handshake(
            Role.DIALER,
            self._local,
            os.urandom(32),
            Channel(
                link.subprotocol,
                dialled_bindings(
                    encrypted=link.encrypted,
                    certificate_digest=link.certificate_digest,
                    verified_host=link.verified_host,
                ),
            ),
            lambda body: codec.encode(Message(body, sender="TheNodes", to=link.remote)),
            judge=_Judge(self._policy, self._local, link.remote, address, self._clock),
            screen=screen,
            expected_id=address.node_id,
        )
        session = Session(
            link, Role.DIALER, handshake, codec, limits=self._limits, clock=self._clock
        )
        ending = await session.establish()
        met.seconds = self._clock.monotonic() - started
        return ending or await session.refuse(_PARTING)


_PARTING = Ending.here(CloseCode.NORMAL, "only looked whether somebody is there")


class _Judge:
    """Applies the trust policy, and writes nothing down."""

    def __init__(
        self,
        policy: TrustPolicy | None,
        local: LocalNode,
        remote: str,
        dialled: Address,
        clock: Clock,
    ) -> None:
        self._policy = policy
        self._local = local
        self._remote = remote
        self._dialled = dialled
        self._clock = clock

    def knows(self, hello: Hello) -> Ending | None:
        return None

    def reads(self, hello: Hello) -> Ending | None:
        return None

    def admits(self, hello: Hello) -> Ending | None:
        if self._policy is None:
            return None
        try:
            shown = hello.certificate
            certificate = None if shown is None else parse_certificate(shown)
        except CredentialError as error:
            return Ending.here(CloseCode.IDENTITY, str(error))
        subject = Subject(
            node_id=hello.node_id,
            public_key=hello.public_key,
            certificate=certificate,
            role=Direction.OUTBOUND,
            address=self._remote,
            dialled=self._dialled.text,
            realm=self._local.realm,
        )
        decision = self._policy.judge(subject, self._clock.time(), explain=False)
        if decision.accepted:
            return None
        detail = f"not trusted here: {decision.reason}"
        return Ending.here(CloseCode.IDENTITY, detail, reason=Reason.POLICY_DENIED)

    def met(self, hello: Hello) -> Ending | None:
        return None


_FIXES = {
    CloseCode.REALM: "set realm.name and realm.version as there, or take the address out",
    CloseCode.NODE_TYPE: "set node.node_type, or realm_access.allowed_node_types on that side",
    CloseCode.VERSION: "bring both sides to the same version of the protocol",
    CloseCode.OVERLOADED: "it is full: name another address beside it",
    CloseCode.RATE_LIMITED: "wait a moment, and try again",
    CloseCode.RESTARTING: "wait a moment, and try again",
    CloseCode.TIMEOUT: "look whether that is a node, and how busy it is",
    CloseCode.PROTOCOL: "look whether that is a node of this version",
}
_UNREACHABLE = "look whether a node listens there, and whether a firewall is in the way"


def judge_met(check: str, text: str, met: Met) -> Finding:
    """What operators are told of an address that was asked."""
    if met.ending is None:
        return problem(check, met.problem, _UNREACHABLE, subject=text)
    if met.ending is _PARTING and met.hello is not None:
        realm = f", realm {met.hello.realm}" if met.hello.realm else ""
        said = "answers with its HELLO" if met.looked else "admits this node"
        about = printable(f"{met.hello.node_id}{realm}", most=300)
        return ok(check, f"{said}: {about}", subject=text, seconds=met.seconds)
    if met.ending.code == CloseCode.SELF:
        fix = "take the address out: nobody else is there"
        return warning(check, "this node's own address", fix, subject=text)
    return problem(check, str(met.ending), _fix(met.ending), subject=text)


def _fix(ending: Ending) -> str:
    if ending.code != CloseCode.IDENTITY:
        known = ending.code in _FIXES
        return _FIXES[CloseCode(ending.code)] if known else "look into the log of that node"
    if ending.by_peer:
        return "let its operator promote this node's key: thenodes trust observed, trust promote"
    return "look at its key (thenodes trust explain), and trust it if that is right"


def dates_of(met: Met) -> list[Dated]:
    """What the peer dated: its card, signed anew each day."""
    if met.hello is None or met.hello.card is None:
        return []
    try:
        opened = read_card(met.hello.card)
    except CredentialError:
        return []
    return [card(met.hello.node_id, opened.issued_at / 1000)]
