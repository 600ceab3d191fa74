"""Numbers of any length, which JSON has, in what a client says to a relay."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from thenodes_core.session.service import SessionService
from thenodes_plugin_api import DeliveryOptions, Payload, QoS, Text

from .place import Place, no_faults, place
from .town import town

LONG = "1" + "0" * 400
NUMBERS = (LONG, f"-{LONG}", "18446744073709551616", "9223372036854775808", "-1")


def say(there: Place, msg_type: object, number: str, **envelope: object) -> None:
    """Say something as mallory; the text N in it is the number."""
    said = {
        "from": there.mallory.id,
        "to": there.relay.id,
        "msg_type": msg_type,
        "payload": None,
        "realm": {"name": "default", "code": "default", "version": "1.0"},
        **envelope,
    }
    session = cast("SessionService", there.session)
    session._outbox.offer(json.dumps(said).replace('"N"', number).encode())


@pytest.mark.parametrize("number", NUMBERS)
async def test_binds_with_numbers_of_any_length_are_answered(tmp_path: Path, number: str) -> None:
    async with town(tmp_path) as made:
        made.network.subprotocol = "thenodes.v1.json"
        there = await place(made)
        before = len(there.heard.answers())
        for target in ("*", there.bob.node.id):
            for field in ("nonce", "expires_at"):
                bind = {"target": target, "want_store_forward": True, field: "N"}
                say(there, {"RELAY_BIND": bind}, number)
        await made.until(lambda: len(there.heard.answers()) == before + 4)
        await made.stop("mallory")
        await made.clock.advance(2)
        await made.stop("relay-a")
        relay = await made.relay(stores=True)
        await made.until(lambda: relay.counters.get("relay_bound") >= 2)

        assert no_faults(there.relay, relay)


@pytest.mark.parametrize("number", NUMBERS)
async def test_frames_and_acks_with_numbers_of_any_length_end(tmp_path: Path, number: str) -> None:
    async with town(tmp_path) as made:
        made.network.subprotocol = "thenodes.v1.json"
        there = await place(made)
        bob, me = there.bob.node.id, there.mallory.id
        forward = {"to": bob, "from": me, "sequence": 1, "qos": "reliable"}
        payload = {"type": "Sealed", "value": "AAAA"}
        delivery = {"message_id": "0190b8a0-0000-7000-8000-000000000001", "class": "reliable"}
        ack = {"to": me, "from": bob, "sequence": "N", "status": "ok"}
        said = [
            ({"ACK": ack}, {}),
            ({"RELAY_FWD": forward | {"sequence": "N"}}, {"payload": payload}),
            *(
                (
                    {"RELAY_FWD": forward},
                    {"payload": payload, "delivery": delivery | {field: "N"}},
                )
                for field in ("created_at", "expires_at", "ordering_sequence")
            ),
        ]
        for msg_type, envelope in said:
            await made.until(partial(_has_session, there))
            say(there, msg_type, number, **envelope)
            await made.clock.advance(1)

        await made.until(partial(_has_session, there))
        assert there.relay.counters.get("relay_acks_ignored") == 1
        assert await there.serves()
        assert no_faults(there.relay, there.bob.node)


def _has_session(there: Place) -> bool:
    return there.session is not None


async def test_users_that_speak_json_are_served_alike(tmp_path: Path) -> None:
    async with town(tmp_path) as made:
        made.network.subprotocol = "thenodes.v1.json"
        there = await place(made)
        for qos in QoS:
            options = DeliveryOptions(qos=qos)
            ctx, to = there.alice.inbox.ctx, there.bob.node.id
            await made.result(ctx.send(to, Text(""), Payload.text(qos), options=options))
        await made.until(lambda: len(there.bob.inbox.messages) == len(QoS))
        await made.until(lambda: there.relay.counters.get("relay_acked") == 1)

        assert sorted(there.bob.inbox.texts()) == sorted(QoS)
        assert there.relay.counters.get("relay_forwarded") == len(QoS) - 1
        assert await there.serves()
