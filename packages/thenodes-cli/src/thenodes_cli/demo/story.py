"""What happens in the demo, step by step."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import msgspec

from .cast import Actor, Cast

__all__ = ["Step", "Story"]

_FIRST_WORDS = "is the coffee ready?"
_LATE_WORDS = "we are in the garden"


class Step(msgspec.Struct, frozen=True):
    """Something that happened.

    Attributes:
        text: for people.
        command: what was typed, where something was.
        answer: what came of it.
    """

    text: str = ""
    command: str = ""
    answer: str = ""


class Story:
    """A relay, two nodes behind it, and one that comes late.

    Args:
        folder: where their state directories go.
        tell: told of each step.
    """

    def __init__(self, folder: Path, tell: Callable[[Step], None]) -> None:
        self.cast = Cast()
        self._tell = tell
        port = _free_port()
        self.relay = self.cast.add(
            Actor(
                "relay",
                folder,
                f"--port={port}",
                environment={
                    "THENODES_NETWORK__RELAY__ENABLED": "true",
                    "THENODES_NETWORK__RELAY__STORE_FORWARD": "true",
                },
            )
        )
        use = {
            "THENODES_NETWORK__RELAY__USE": f"127.0.0.1:{port}",
            # Or ann and ben would find each other's addresses, and need no relay.
            "THENODES_DISCOVERY__ENABLED": "false",
        }
        self.ann, self.ben, self.cleo = (
            self.cast.add(Actor(name, folder, "--port=0", environment=use))
            for name in ("ann", "ben", "cleo")
        )

    async def run(self) -> None:
        """Tell it from the beginning to the end; the nodes run on."""
        await self._begin()
        await self._talk()
        await self._leave_word()
        await self._come_late()

    async def _begin(self) -> None:
        self._tell(Step("A relay starts. It carries messages, keeps some, and can read none."))
        await self.relay.start()
        self._tell(Step("Cleo looks in, so that the relay has a mailbox for her, and leaves."))
        await self.cleo.start()
        await self._mailbox(self.cleo)
        await self.cleo.stop()
        self._tell(Step("Ann and Ben start. All they know is the relay's address."))
        await self.ann.start()
        await self.ben.start()
        await self._mailbox(self.ann)
        await self._mailbox(self.ben)
        ids = "\n".join(f"{actor.name:<5} {actor.node_id}" for actor in self.cast)
        self._tell(Step("Each has made a key, and has its id from that.", answer=ids))

    async def _talk(self) -> None:
        self._tell(Step("Ann writes to Ben. They are not connected: the relay hands it on."))
        await self._type(self.ann, f'send {self.ben.node_id} "{_FIRST_WORDS}"')
        await self._heard(self.ben, _FIRST_WORDS)
        await self._type(self.ben, "peers")

    async def _leave_word(self) -> None:
        self._tell(Step("Ann writes to Cleo, who is away: the relay keeps it, on disk."))
        await self._type(self.ann, f'send {self.cleo.node_id} "{_LATE_WORDS}"')
        await self._type(self.relay, "relay queue")
        self._tell(
            Step("The relay is killed, without a chance to save anything, and starts again.")
        )
        await self.relay.kill()
        await self.relay.start()
        await self._type(self.relay, "relay queue")

    async def _come_late(self) -> None:
        self._tell(Step("Cleo comes late, and finds what was kept for her."))
        await self.cleo.start()
        await self._heard(self.cleo, _LATE_WORDS)

    async def _mailbox(self, actor: Actor) -> None:
        """Wait until the relay has a mailbox for it."""

        async def is_bound() -> bool:
            return actor.node_id in (await self.relay.say("relay bindings")).text

        await actor.until(is_bound, "to open its mailbox")

    async def _heard(self, actor: Actor, words: str) -> None:
        line = f'events --filter "{words}"'

        async def has_come() -> bool:
            return words in (await actor.say(line)).text

        await actor.until(has_come, "to hear of it")
        await self._type(actor, line)

    async def _type(self, actor: Actor, line: str) -> None:
        reply = await actor.say(line)
        self._tell(Step(command=f"{actor.name}> {line}", answer=reply.text))


def _free_port() -> int:
    """A port for the relay, which has to be the same after it was killed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
