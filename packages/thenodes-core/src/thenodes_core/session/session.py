"""One peer's session: messages both ways, from the handshake until either side ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from thenodes_plugin_api import (
    Body,
    Disconnect,
    Heartbeat,
    Hello,
    Message,
    NotConnected,
    OutboxFull,
    PeerInfo,
    PeerList,
    PeerRequest,
    Verified,
)

from ..clock import Clock, timeout
from ..errors import LinkClosed, ProtocolError
from ..limits import Limits
from ..protocol.close import CloseCode, Ending
from ..protocol.codec import Codec, Part, UnknownKind
from ..protocol.handshake import Handshake, Role
from ..transport.base import Link
from .farewell import Farewell
from .intake import Intake, Receiver, TooManyControlMessages
from .liveness import Liveness, Verdict
from .opening import Opening
from .outbox import Lane, Outbox
from .round_trip import RoundTrip
from .takers import Takers
from .tally import UNKNOWN, Tally

__all__ = ["Receiver", "Session"]

# A heartbeat needs no answer where something was sent as lately as this.
_ANSWERED_BY_TRAFFIC_SECONDS = 1.0

_RATE_LIMITED_RETRY_SECONDS = 30.0


class Session:
    """A session over one link. `establish` first, then `run` until it ends.

    Args:
        link: the connection; owned by the session from here on.
        role: which side this is.
        handshake: not yet opened.
        codec: the encoding of the link's subprotocol.
        limits: the bounds.
        clock: times the deadlines.
        takers: services that take what plugins do not get.
        tally: counts what goes and comes.

    Attributes:
        round_trip: how long the peer's connection takes to answer.
    """

    def __init__(
        self,
        link: Link,
        role: Role,
        handshake: Handshake,
        codec: Codec,
        *,
        limits: Limits,
        clock: Clock,
        takers: Takers | None = None,
        tally: Tally | None = None,
    ) -> None:
        self.role = role
        self.codec = codec
        self.tally = tally or Tally()
        self.outbox = Outbox(
            limits,
            coalesces=codec.coalesces,
            send_now=self._send_frame_now,
            flow=self.tally.sent,
        )
        self.round_trip = RoundTrip(link, clock)
        self._farewell = Farewell(link, codec, self._send_all, limits=limits, clock=clock)
        self._link = link
        self._handshake = handshake
        self._limits = limits
        self._clock = clock
        self._takers = takers or Takers()
        self._ending: Ending | None = None
        self._early: list[Part] = []
        self._last_sent = 0.0
        self._sent_messages = 0
        self._sending = False
        self._asked = False
        self._confirmed = False
        self._plugins_due = False
        self._unfit: Exception | None = None
        self._interval_seconds = limits.heartbeat_seconds
        self._liveness: Liveness | None = None
        self._info: PeerInfo | None = None

    @property
    def remote(self) -> str:
        """The other end's address."""
        return self._link.remote

    @property
    def hello(self) -> Hello:
        """What the peer said of itself, once established."""
        return self._handshake.peer

    @property
    def info(self) -> PeerInfo:
        """The peer, as plugins see it; once established."""
        if self._info is None:
            raise ValueError("no peer before the handshake is complete")
        return self._info

    @property
    def node_id(self) -> str:
        """The peer's id, once established."""
        return self.info.node_id

    @property
    def claimed_id(self) -> str | None:
        """The id that the peer's HELLO names, proven or not; None before a HELLO."""
        return self._handshake.claimed_id

    @property
    def verified(self) -> Verified:
        """How the peer's id was proven."""
        return self._handshake.verified

    async def establish(self) -> Ending | None:
        """Shake hands, within the limits of bytes and time.

        Returns:
            None once established, or how the session ended instead; then the
            peer has been told and the link is closed.
        """
        opening = Opening(
            self._link,
            self.role,
            self._handshake,
            self.codec,
            self._farewell,
            send=self._send_all,
            read=self._parts,
            limits=self._limits,
            clock=self._clock,
            flow=self.tally.received,
        )
        ending = await opening.establish(self._introduce)
        self._early = opening.early
        return ending

    async def refuse(self, ending: Ending) -> Ending:
        """Tell the peer why it is not admitted, and close. Instead of `run`; returns `ending`."""
        return await self._farewell.refuse(ending)

    def confirm(self) -> None:
        """Tell the dialling side at once that it is admitted; else `run` does, as its first."""
        if self.role is Role.ACCEPTOR:
            data = self._handshake.confirmation()
            self._confirmed = self._link.send_now(data)
            if self._confirmed:
                self.tally.sent.add_apart(self.codec.code_of(data), len(data))

    def admit(self) -> Ending | None:
        """Let the judge have the last word on the peer; None where it is admitted."""
        return self._handshake.admit()

    def judge_again(self) -> Ending | None:
        """Apply the trust policy again; None where the peer is still admitted."""
        return self._handshake.judge_again()

    async def run(self, receiver: Receiver) -> Ending:
        """Carry messages until the session ends; returns how it did."""
        now = self._clock.monotonic()
        self._liveness = Liveness(
            self._limits,
            now,
            received=self._link.received_bytes,
            interval_seconds=self._interval_seconds,
        )
        intake = Intake(
            self,
            receiver,
            self._takers,
            self._handle,
            limits=self._limits,
            clock=self._clock,
            flow=self.tally.received,
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(self._write(), name="session writer")
                ending = await self._read(intake)
                writer.cancel()
        finally:
            self.outbox.close()
            self.round_trip.end()
            self._link.abort()
        return ending

    async def send(self, frame: bytes, code: int = UNKNOWN, *, timeout_seconds: float) -> None:
        """Queue an encoded frame of that kind; where the outbox is full, wait for room.

        Raises:
            OutboxFull: no room in time.
            NotConnected: the session ended.
        """
        if self.outbox.offer(frame, code):
            return
        if timeout_seconds <= 0 and not self.outbox.closed:
            raise OutboxFull(f"{self.node_id} has {len(self.outbox)} frames waiting already")
        try:
            async with timeout(self._clock, timeout_seconds):
                while not self.outbox.offer(frame, code):
                    if self.outbox.closed:
                        raise NotConnected(f"the session with {self.node_id} has ended")
                    await self.outbox.wait_for_room()
        except TimeoutError as error:
            raise OutboxFull(
                f"{self.node_id} took nothing for {timeout_seconds:g} s: "
                f"{len(self.outbox)} frames, {self.outbox.size_bytes} bytes wait"
            ) from error

    def control(self, body: Body) -> bool:
        """Queue a message of the node's own, ahead of all data."""
        return self.outbox.offer(self.codec.encode(Message(body)), body.code, Lane.CONTROL)

    def end(self, ending: Ending) -> None:
        """End the session: what is queued is sent, then the peer is told why.

        Returns at once; `run` returns when it is done, at the latest after
        `limits.close_seconds`, and then cuts. Before the handshake is complete
        the connection is cut without a word.
        """
        if self._info is None:
            self._link.abort()
        elif self._ending is None:
            self._ending = ending
            self.outbox.close()
            self._clock.call_later(self._limits.close_seconds, self._link.abort)

    def abort(self) -> None:
        """End the session now, without a word."""
        self._link.abort()

    def watch_closely(self, interval_seconds: float) -> None:
        """Ask for a sign of life after so much silence, if that is sooner than usual."""
        self._interval_seconds = min(self._interval_seconds, interval_seconds)
        if self._liveness is not None:
            self._liveness.interval_seconds = self._interval_seconds

    def look(self) -> None:
        """See whether the peer is alive; to be called about every second while it runs.

        Asks a silent peer for a sign of life, and cuts one that stays silent or
        takes nothing of what is queued for it.
        """
        liveness = self._liveness
        if liveness is None or self._ending is not None:
            return
        unsent = self._link.unsent_bytes
        verdict = liveness.look(
            self._clock.monotonic(),
            received=self._link.received_bytes,
            written=(self._sent_messages, unsent),
            waiting=self._sending or unsent > 0 or len(self.outbox) > 0,
        )
        limits = self._limits
        match verdict:
            case Verdict.ASK:
                self._asked = True
                self.control(Heartbeat())
            case Verdict.SILENT:
                self._cut(f"no sign of life for {liveness.patience_seconds:g} s")
            case Verdict.STUCK:
                waits = f"{len(self.outbox)} messages and {unsent} bytes wait"
                self._cut(f"took nothing for {limits.progress_seconds:g} s: {waits}")

    def settle(self) -> None:
        """Bring the totals by kind up to date."""
        self.outbox.settle()
        self.tally.received.settle()

    def _introduce(self, peer: PeerInfo) -> None:
        self._info = peer

    def _cut(self, detail: str) -> None:
        self._ending = Ending.here(CloseCode.TIMEOUT, detail)
        self.outbox.close()
        self._link.abort()

    async def _read(self, intake: Intake) -> Ending:
        try:
            early, self._early = self._early, []
            intake.take(early)
            while True:
                data = await self._link.receive(lambda data: self._take_now(data, intake))
                if self._unfit is not None:
                    raise self._unfit
                self._plugins_due = False
                if intake.take(self._parts(data), data):
                    await asyncio.sleep(0)
        except LinkClosed as error:
            return self._ending or self._farewell.ending_of(error)
        except ProtocolError as error:
            return await self._end_here(Ending.here(CloseCode.PROTOCOL, str(error)))
        except TooManyControlMessages:
            detail = f"more than {self._limits.control_per_second} control messages a second"
            return await self._end_here(
                Ending.here(CloseCode.RATE_LIMITED, detail, retry_after=_RATE_LIMITED_RETRY_SECONDS)
            )

    def _take_now(self, data: bytes, intake: Intake) -> bool:
        """Take a message where it comes in, which saves a turn of the event loop.

        False where plugins need their turn first, and where it ends the session: the
        reader raises why, so that nothing reaches the library's callback.
        """
        if self._plugins_due or self._unfit is not None:
            return False
        try:
            self._plugins_due = intake.take(self._parts(data), data)
        except Exception as error:
            self._unfit = error
            return False
        return True

    async def _end_here(self, ending: Ending) -> Ending:
        self.end(ending)
        await self._until_closed()
        return self._ending or ending

    def _decode(self, data: bytes) -> list[Message | UnknownKind]:
        sender = self._handshake.peer.node_id
        return self.codec.decode(data, sender=sender, verified=self.verified)

    def _parts(self, data: bytes) -> list[Part]:
        if self._takers.frames is None:
            return [self._decode(data)]
        return self.codec.read(data, sender=self._handshake.peer.node_id, verified=self.verified)

    def _handle(self, message: Message, receiver: Receiver) -> None:
        body = message.body
        match body:
            case Heartbeat():
                self._answer_heartbeat()
            case Disconnect():
                self._farewell.heard = body
            case PeerRequest() | PeerList():
                receiver.control(self, message)
            case _:
                raise ProtocolError(f"{body.token} in an established session")

    def _answer_heartbeat(self) -> None:
        # The answer to this side's own is not answered, or two far nodes would never end.
        asked, self._asked = self._asked, False
        now = self._clock.monotonic()
        if not asked and now - self._last_sent >= _ANSWERED_BY_TRAFFIC_SECONDS:
            self._last_sent = now
            self.control(Heartbeat())

    async def _write(self) -> None:
        try:
            if self.role is Role.ACCEPTOR and not self._confirmed:
                await self._send_all([self._handshake.confirmation()])
            while (data := await self.outbox.take()) is not None:
                self._last_sent = self._clock.monotonic()
                self._sending = True
                await self._link.send(data)
                self._sending = False
                self._sent_messages += 1
            if self._ending is not None:
                await self._farewell.say(self._ending)
        except LinkClosed:
            # The reader sees the same end and says how it came about.
            self.outbox.close()

    def _send_frame_now(self, frame: bytes) -> bool:
        if not self._link.send_now(frame):
            return False
        self._last_sent = self._clock.monotonic()
        self._sent_messages += 1
        return True

    async def _until_closed(self) -> None:
        try:
            while True:
                await self._link.receive()
        except LinkClosed:
            return

    async def _send_all(self, messages: Sequence[bytes]) -> None:
        if not messages:
            return
        self._last_sent = self._clock.monotonic()
        for data in messages:
            self.tally.sent.add_apart(self.codec.code_of(data), len(data))
        if not self._link.send_now(*messages):
            for data in messages:
                await self._link.send(data)
