"""What operators and strangers do to a node's trust, from beginning to end."""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec import structs

from thenodes_core.protocol.proof import Role, proof_content
from thenodes_core.security.certificates import make_certificate
from thenodes_core.security.identity import Identity, load_identity, write_identity
from thenodes_core.security.key_files import public_key_pem
from thenodes_plugin_api import Auth, Binding, Body, Disconnect, Heartbeat, Hello, Message

from .conftest import StartNode
from .interceptor import put_credentials
from .nodes import RunningNode, fails, stop_all, wait_until, with_config
from .stranger import BINARY, CODEC, PLAIN, REALM, Stranger, body_of, dial, ending, received

ALONE = "[discovery]\nenabled = false\n"
AT_ONCE_SECONDS = 3.0


def policy(mode: str, more: str = "") -> str:
    return f'{ALONE}\n[encryption.trust_policy]\nmode = "{mode}"\n{more}\n'


RECORDING = policy("allowlist", 'store_new_certs = "observed"')


def fingerprints(node: RunningNode, store: str) -> list[str]:
    return [entry["fingerprint"] for entry in node.ask(f"trust {store} list")]


def decided(node: RunningNode, *reasons: str) -> bool:
    """Whether the reasons of the last decisions that a node logged are these."""
    logged = node.logged(len(reasons), type="trust_decision")
    return [event["reason"] for event in logged[-len(reasons) :]] == [*reasons]


def seconds_until(condition: Callable[[], object], what: str) -> float:
    begin = time.monotonic()
    wait_until(condition, what)
    return time.monotonic() - begin


class Pair:
    """A node that judges, and a peer that it has refused."""

    def __init__(
        self, start_node: StartNode, folder: Path, *, config: str = RECORDING, judge_dials: bool
    ) -> None:
        self._start, self._folder, self._judge_dials = start_node, folder, judge_dials
        self._options = {
            "judge": with_config(folder / "judge.toml", config),
            "peer": with_config(folder / "peer.toml", ALONE),
        }
        first, second = ("peer", "judge") if judge_dials else ("judge", "peer")
        nodes = {first: start_node(first, *self._options[first])}
        self.address = f"ws://127.0.0.1:{nodes[first].port}"
        nodes[second] = start_node(second, *self._options[second], "--bootstrap", self.address)
        self.judge, self.peer, self._dialer = nodes["judge"], nodes["peer"], nodes[second]
        self.key = self.peer.fingerprint

    def was_refused(self, reason: str) -> None:
        """Wait until the judge has refused, and the dialling side knows why."""
        wait_until(lambda: reason in self._dialer.dial_problem(), "the refusal")
        assert decided(self.judge, reason)
        assert self.judge.connected() == []

    @property
    def is_connected(self) -> bool:
        return self.judge.connected() == [self.peer.node_id]

    def promote_by_command(self) -> None:
        said = self.judge.exec("trust", "promote", self.key[:8])
        assert said == f"{self.key} is trusted"

    def promote_by_file(self) -> None:
        trusted = self.judge.state_dir / "pki" / "trusted" / "certs"
        trusted.mkdir(parents=True, mode=0o700)
        observed = self.judge.state_dir / "pki" / "observed" / "certs" / f"{self.key}.pem"
        (trusted / "a friend.crt").write_bytes(observed.read_bytes())

    def restart_judge(self) -> None:
        """Stop the judge and start it again, where it was."""
        port = self.judge.port
        self.judge.stop()
        more = ("--bootstrap", self.address) if self._judge_dials else ()
        self.judge = self._start("judge", *self._options["judge"], *more, port=port)


@pytest.mark.parametrize("judge_dials", [False, True], ids=["the peer dials", "the judge dials"])
@pytest.mark.parametrize("how", ["command", "file"])
def test_who_was_refused_is_recorded_promoted_and_connected_at_once(
    start_node: StartNode, tmp_path: Path, how: str, judge_dials: bool
) -> None:
    pair = Pair(start_node, tmp_path, judge_dials=judge_dials)
    pair.was_refused("not-in-trusted")
    assert fingerprints(pair.judge, "observed") == [pair.key]
    assert pair.key in pair.judge.exec("trust", "observed", "list")

    pair.promote_by_command() if how == "command" else pair.promote_by_file()
    # A dialling side that was refused would ask again after 10 s at the soonest.
    assert seconds_until(lambda: pair.is_connected, "the session") < AT_ONCE_SECONDS

    assert fingerprints(pair.judge, "trusted") == [pair.key]
    assert decided(pair.judge, "not-in-trusted", "present-in-trusted")


def test_a_refusal_a_promotion_and_a_revocation_are_in_the_log_with_every_fact(
    start_node: StartNode, tmp_path: Path
) -> None:
    begin = time.time()
    pair = Pair(start_node, tmp_path, judge_dials=False)
    pair.was_refused("not-in-trusted")
    pair.promote_by_command()
    wait_until(lambda: pair.is_connected, "the session")
    pair.judge.exec("trust", "promote", pair.key)
    pair.judge.exec("trust", "revoke", pair.key)
    promotions = pair.judge.logged(2, type="promotion")

    refusal = pair.judge.logged(type="trust_decision")[0]
    at, address = refusal.pop("at"), refusal.pop("peer_addr")
    assert begin < at < time.time()
    assert address.startswith("127.0.0.1:")
    observed = tmp_path / "judge" / "pki" / "observed" / "certs"
    assert refusal == {
        "type": "trust_decision",
        "level": "warning",
        "role": "inbound",
        "decision": "reject",
        "reason": "not-in-trusted",
        "mode": "allowlist",
        "fingerprint": pair.key,
        "pinned_fingerprint_match": None,
        "pinned_subject_match": None,
        "realm_binding": "not_applied",
        "chain_valid": None,
        "chain_reason": None,
        "time_valid": None,
        "time_reason": None,
        "stored": str(observed / f"{pair.key}.pem"),
        "realm": "default",
        "dry_run": False,
        "override_action": None,
    }
    assert pair.judge.counter("trust_decisions.not-in-trusted") == 1
    # To promote again what is trusted changes nothing, and is no event.
    assert [
        (e["fingerprint"], e["from_store"], e["to_store"], e["operator"], e["success"], e["level"])
        for e in promotions
    ] == [
        (pair.key, "observed", "trusted", getpass.getuser(), True, "info"),
        (pair.key, "trusted", "rejected", getpass.getuser(), True, "info"),
    ]


def test_a_revocation_ends_the_session_at_once_and_for_good(
    start_node: StartNode, tmp_path: Path
) -> None:
    pair = Pair(start_node, tmp_path, judge_dials=False)
    pair.was_refused("not-in-trusted")
    pair.promote_by_command()
    wait_until(lambda: pair.is_connected, "the session")

    assert pair.judge.exec("trust", "revoke", pair.key[:8]) == f"{pair.key} is rejected"
    assert seconds_until(lambda: not pair.is_connected, "the end") < AT_ONCE_SECONDS

    assert pair.judge.logged(action="peer_left")[-1]["detail"] == (
        f"{pair.peer.node_id} left: identity (here): not trusted here: revoked"
    )
    assert pair.peer.logged(action="peer_left")[-1]["detail"] == (
        f"{pair.judge.node_id} left: identity (peer): not trusted here: revoked"
    )
    assert (fingerprints(pair.judge, "trusted"), fingerprints(pair.judge, "rejected")) == (
        [],
        [pair.key],
    )
    pair.restart_judge()
    again = Stranger(identity=load_identity(tmp_path / "peer" / "identity.pem"))
    assert answer(pair.judge, again) == "not trusted here: revoked"


def test_a_file_in_rejected_ends_a_session_in_any_mode(
    start_node: StartNode, tmp_path: Path
) -> None:
    pair = Pair(start_node, tmp_path, config=policy("open"), judge_dials=False)
    wait_until(lambda: pair.is_connected, "the session")

    rejected = tmp_path / "judge" / "pki" / "rejected"
    rejected.mkdir(parents=True, mode=0o700)
    (rejected / "thief.pem").write_bytes((tmp_path / "peer" / "identity.crt").read_bytes())

    assert seconds_until(lambda: not pair.is_connected, "the end") < AT_ONCE_SECONDS
    assert decided(pair.judge, "open-policy", "revoked")


def test_observe_records_strangers_and_admits_only_whom_it_is_told_to(
    start_node: StartNode, tmp_path: Path
) -> None:
    pair = Pair(start_node, tmp_path, config=policy("observe"), judge_dials=False)
    pair.was_refused("observe-only")
    assert fingerprints(pair.judge, "observed") == [pair.key]

    pair.promote_by_command()

    wait_until(lambda: pair.is_connected, "the session")
    assert fingerprints(pair.judge, "observed") == []


def test_tofu_refuses_a_changed_key_until_the_address_is_forgotten(
    start_node: StartNode, tmp_path: Path
) -> None:
    pair = Pair(start_node, tmp_path, config=policy("tofu"), judge_dials=True)
    wait_until(lambda: pair.is_connected, "the first session")
    port, first_key = pair.peer.port, pair.key
    pair.peer.stop()
    write_identity(tmp_path / "peer" / "identity.pem", Identity.generate())
    changed = start_node("peer", *with_config(tmp_path / "peer.toml", ALONE), port=port)

    wait_until(lambda: "changed-key" in pair.judge.dial_problem(), "the refusal")
    assert changed.fingerprint != first_key
    assert pair.judge.connected() == []
    assert pair.judge.ask("trust ids list") == {pair.address: first_key}
    assert decided(pair.judge, "new-tofu", "changed-key")

    said = pair.judge.exec("trust", "forget", pair.address)
    assert said == f"{pair.address} may come with another key"
    elapsed = seconds_until(
        lambda: pair.judge.connected() == [changed.node_id], "the session with the new key"
    )
    assert elapsed < AT_ONCE_SECONDS
    # It was met, and recorded, when it was refused.
    assert decided(pair.judge, "new-tofu", "changed-key", "seen-before")


def test_a_restart_keeps_what_was_learned_and_decided(
    start_node: StartNode, tmp_path: Path
) -> None:
    pair = Pair(start_node, tmp_path, config=policy("tofu"), judge_dials=True)
    wait_until(lambda: pair.is_connected, "the first session")
    with dial(pair.judge.port) as connection:
        assert isinstance(Stranger("kitchen").join(connection), Auth)
    thief = Stranger()
    with dial(pair.judge.port) as connection:
        assert isinstance(thief.join(connection), Auth)
    pair.judge.exec("trust", "revoke", thief.identity.fingerprint)
    pair.judge.exec("trust", "promote", pair.key)
    before = {store: fingerprints(pair.judge, store) for store in ("observed", "trusted")}
    ids, own = pair.judge.ask("trust ids list"), pair.judge.node_id

    pair.restart_judge()
    wait_until(lambda: pair.is_connected, "the session again")

    assert pair.judge.node_id == own
    assert pair.judge.ask("trust ids list") == ids
    assert set(ids) == {"kitchen", pair.address}
    after = {store: fingerprints(pair.judge, store) for store in ("observed", "trusted")}
    assert after == before
    assert fingerprints(pair.judge, "rejected") == [thief.identity.fingerprint]
    assert answer(pair.judge, Stranger("kitchen")).startswith("kitchen is known here with the key")
    assert answer(pair.judge, thief) == "not trusted here: revoked"


def answer(node: RunningNode, stranger: Stranger) -> str:
    """What a stranger is told that is refused."""
    with dial(node.port) as connection:
        body = stranger.join(connection)
        assert isinstance(body, Disconnect)
        assert ending(connection)[0] == 4002
    return body.detail or ""


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """A node that admits anybody, even those without a key."""
    folder = tmp_path_factory.mktemp("hall")
    config = with_config(folder / "hall.toml", policy("open", "require_identity = false"))
    node = RunningNode(folder / "hall", *config)
    try:
        yield node
        assert node.counter("internal_errors") == 0
        assert "Traceback" not in node.stop()[1]
    finally:
        stop_all([node])


def test_an_id_that_somebody_chose_stays_with_its_key_until_it_is_forgotten(
    hall: RunningNode,
) -> None:
    owner, second = Stranger("cellar"), Stranger("cellar")
    with dial(hall.port) as connection:
        assert isinstance(owner.join(connection), Auth)

    known, came = owner.identity.fingerprint[:16], second.identity.fingerprint[:16]
    assert answer(hall, second) == (
        f"cellar is known here with the key {known}…, and came with {came}…; "
        "if it has a new one: thenodes trust forget cellar"
    )
    assert hall.ask("trust ids list")["cellar"] == owner.identity.fingerprint

    assert hall.exec("trust", "forget", "cellar") == "cellar may come with another key"
    with dial(hall.port) as connection:
        assert isinstance(second.join(connection), Auth)
    assert answer(hall, owner).startswith("cellar is known here with the key")


def test_a_peer_without_a_key_may_not_use_an_id_that_came_with_one(hall: RunningNode) -> None:
    with dial(hall.port) as connection:
        assert isinstance(Stranger("attic").join(connection), Auth)

    assert keyless(hall, "attic") == "attic is known here with a key, and shows none"
    assert keyless(hall, "garden") == ""


def test_a_peer_without_a_key_may_not_use_an_id_that_derives_from_one(hall: RunningNode) -> None:
    derived = Identity.generate().node_id

    assert keyless(hall, derived) == f"{derived} does not derive from the key presented"


def keyless(node: RunningNode, node_id: str) -> str:
    """What somebody without a key is told; empty where it is admitted."""
    with dial(node.port) as connection:
        received(connection)
        connection.send(Stranger(node_id).hello(keyed=False))
        body = body_of(received(connection))
        if isinstance(body, Heartbeat):
            return ""
        assert isinstance(body, Disconnect)
        assert ending(connection)[0] == 4002
    return body.detail or ""


class Recording:
    """What a peer said in a session that was admitted."""

    def __init__(self, node: RunningNode, stranger: Stranger) -> None:
        self.stranger = stranger
        with dial(node.port) as connection:
            theirs, self.hello = received(connection), stranger.hello()
            self.proof = stranger.proof(theirs, self.hello)
            connection.send(self.hello)
            connection.send(self.proof)
            assert isinstance(body_of(received(connection)), Auth)
        wait_until(lambda: stranger.node_id not in node.connected(), "the end of the session")


def test_a_hello_and_a_proof_that_were_heard_cannot_be_used_again(hall: RunningNode) -> None:
    heard = Recording(hall, Stranger())

    with dial(hall.port) as connection:
        received(connection)
        connection.send(heard.hello)
        connection.send(heard.proof)

        assert ending(connection) == (4002, not_proven(heard.stranger))
    assert heard.stranger.node_id not in hall.connected()


def test_a_proof_that_was_heard_does_not_fit_another_hello(hall: RunningNode) -> None:
    heard = Recording(hall, Stranger())

    with dial(hall.port) as connection:
        received(connection)
        connection.send(heard.stranger.hello())
        connection.send(heard.proof)

        assert ending(connection) == (4002, not_proven(heard.stranger))


def test_a_hello_that_was_heard_is_nothing_without_its_key(hall: RunningNode) -> None:
    heard, thief = Recording(hall, Stranger()), Stranger()

    with dial(hall.port) as connection:
        theirs = received(connection)
        connection.send(heard.hello)
        connection.send(thief.proof(theirs, heard.hello))

        assert ending(connection) == (4002, not_proven(heard.stranger))


@pytest.mark.parametrize(
    ("role", "purpose", "subprotocol", "binding"),
    [
        (Role.ACCEPTOR, Role.DIALER, BINARY, PLAIN),
        (Role.DIALER, Role.ACCEPTOR, BINARY, PLAIN),
        (Role.DIALER, Role.DIALER, "thenodes.v1.json", PLAIN),
        (Role.DIALER, Role.DIALER, BINARY, Binding("tls", bytes(32))),
        (Role.DIALER, Role.DIALER, BINARY, Binding("plain", b"\0")),
    ],
    ids=["role", "purpose", "subprotocol", "mode", "value"],
)
def test_a_proof_of_anything_else_is_refused(
    hall: RunningNode, role: Role, purpose: Role, subprotocol: str, binding: Binding
) -> None:
    stranger = Stranger()
    with dial(hall.port) as connection:
        theirs, own = received(connection), stranger.hello()
        content = proof_content(role, subprotocol, binding, theirs, own)
        connection.send(own)
        connection.send(encoded(Auth(stranger.identity.sign(purpose.purpose, content))))

        assert ending(connection) == (4002, not_proven(stranger))


@pytest.mark.parametrize("field", ["capabilities", "node_type", "listen_addr", "instance"])
def test_a_hello_that_was_changed_on_its_way_is_refused(hall: RunningNode, field: str) -> None:
    stranger = Stranger()
    values = {
        "capabilities": ("relay",),
        "node_type": "admin",
        "listen_addr": "127.0.0.1:1",
        "instance": bytes(16),
    }
    with dial(hall.port) as connection:
        theirs, own = received(connection), stranger.hello()
        said = body_of(own)
        assert isinstance(said, Hello)
        connection.send(encoded(structs.replace(said, **{field: values[field]})))
        connection.send(stranger.proof(theirs, own))

        assert ending(connection) == (4002, not_proven(stranger))


def test_a_certificate_of_somebody_else_in_a_hello_is_refused(
    hall: RunningNode,
) -> None:
    stranger, other = Stranger(), Identity.generate()
    certificate = make_certificate(
        other, node_id=stranger.node_id, realm=REALM, now=time.time()
    ).der
    with dial(hall.port) as connection:
        theirs, own = received(connection), stranger.hello(certificate=certificate)
        connection.send(own)
        connection.send(stranger.proof(theirs, own))

        why = f"{stranger.node_id}: the certificate is of another key than the HELLO"
        assert ending(connection) == (4002, why)


def test_a_proof_without_a_hello_is_refused(hall: RunningNode) -> None:
    stranger = Stranger()
    with dial(hall.port) as connection:
        theirs = received(connection)
        connection.send(stranger.proof(theirs, stranger.hello()))

        assert ending(connection) == (4000, "unexpected AUTH in state 'expect hello'")


def encoded(body: Body) -> bytes:
    return CODEC.encode(Message(body))


def not_proven(stranger: Stranger) -> str:
    return f"the proof of {stranger.node_id} is not of its key and this connection"


def test_a_key_that_others_can_read_keeps_the_node_from_starting(tmp_path: Path) -> None:
    put_credentials(tmp_path / "node", Identity.generate(), None)
    key = tmp_path / "node" / "identity.pem"
    key.chmod(0o640)

    code, error = fails("run", "--port", "0", "--state-dir", str(tmp_path / "node"))

    assert code == 1
    assert f"{key}: others can read this private key (mode 0640, expected 0600)" in error
    assert f"chmod 600 {key}" in error


def test_an_id_that_is_another_keys_keeps_the_node_from_starting(tmp_path: Path) -> None:
    claimed = Identity.generate().node_id
    config = with_config(tmp_path / "node.toml", f'[node]\nid = "{claimed}"\n')

    code, error = fails("run", *config, "--port", "0", "--state-dir", str(tmp_path / "node"))

    assert code == 2
    assert f"node.id: {claimed} looks like the id of a key" in error


def test_a_file_in_trusted_that_cannot_be_read_is_told_and_the_others_count(
    start_node: StartNode, tmp_path: Path
) -> None:
    friend = Stranger()
    trusted = tmp_path / "node" / "pki" / "trusted" / "certs"
    trusted.mkdir(parents=True)
    (tmp_path / "node").chmod(0o700)
    (trusted / "a garbled one.pem").write_text(
        "-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n"
    )
    (trusted / "friend.pem").write_text(public_key_pem(friend.identity.public_key))
    node = start_node("node", *with_config(tmp_path / "node.toml", policy("allowlist")))

    with dial(node.port) as connection:
        assert isinstance(friend.join(connection), Auth)
    assert answer(node, Stranger()) == "not trusted here: not-in-trusted"

    (told,) = node.logged(action="trust_file_unusable")
    assert told["detail"] == (
        f"{trusted}/a garbled one.pem: 1 of 1 certificates or keys in it are damaged"
    )
    assert told["level"] == "warning"


def test_known_ids_that_are_damaged_are_set_aside_and_the_node_runs(
    start_node: StartNode, tmp_path: Path
) -> None:
    options = with_config(tmp_path / "node.toml", policy("open"))
    node = start_node("node", *options)
    with dial(node.port) as connection:
        assert isinstance(Stranger("kitchen").join(connection), Auth)
    node.stop()
    file = tmp_path / "node" / "known_ids.json"
    assert file.stat().st_mode & 0o777 == 0o600
    damaged = file.read_bytes()[:-20]
    file.write_bytes(damaged)

    again = start_node("node", *options)
    with dial(again.port) as connection:
        assert isinstance(Stranger("kitchen").join(connection), Auth)
    again.stop()

    (kept,) = tmp_path.glob("node/known_ids.json.damaged*")
    assert kept.read_bytes() == damaged
    (told,) = again.logged(action="trust_file_unusable")
    assert told["detail"].startswith(f"{file}: damaged (")
    assert f"it is kept as {kept}" in told["detail"]
    assert "kitchen" in file.read_text()
