"""What operators do about trust: files and policy together, and who is told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from msgspec import structs

from thenodes_core import ConfigError, EncryptionTable, ManualClock, TrustPolicyTable
from thenodes_core.clock import settle
from thenodes_core.control.commands import CommandTable
from thenodes_core.control.completion import candidates
from thenodes_core.control.trust import add_trust_commands
from thenodes_core.errors import TrustError
from thenodes_core.peers.trust_keeper import TrustKeeper
from thenodes_core.security.certificates import make_certificate, pem
from thenodes_core.security.identity import Identity
from thenodes_core.store.trust_store import ISSUERS_DIR, TRUSTED_DIR
from thenodes_plugin_api import Event, PromotionEvent, Realm, SystemEvent

REALM = Realm("Home", "home", "1")
OTHER_KEY = "0" * 64


class Bench:
    """A keeper over a folder, and what it tells."""

    def __init__(self, folder: Path, policy: TrustPolicyTable | None = None) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.events: list[Event] = []
        self.changes = 0
        table = EncryptionTable(trust_policy=policy or TrustPolicyTable())
        self.keeper = TrustKeeper(folder, table, REALM, self.events.append, self.clock)
        self.keeper.on_change(self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def observe(self) -> str:
        identity = Identity.generate()
        certificate = make_certificate(identity, node_id="peer", realm=REALM, now=self.clock.time())
        self.keeper.store.observe(identity.fingerprint, pem(certificate.der))
        return identity.fingerprint

    def add_authority(self) -> None:
        identity = Identity.generate()
        made = make_certificate(identity, node_id="ca", realm=REALM, now=self.clock.time(), ca=True)
        path = self.folder / ISSUERS_DIR / "ca.pem"
        path.parent.mkdir(parents=True)
        path.write_bytes(pem(made.der))

    @property
    def actions(self) -> list[str]:
        return [event.action for event in self.events if isinstance(event, SystemEvent)]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    bench.keeper.load()
    return bench


def test_a_promotion_is_an_event_with_who_did_it_and_tells_of_the_change(bench: Bench) -> None:
    key = bench.observe()

    moved = bench.keeper.promote(key[:8])

    (event,) = bench.events
    assert isinstance(event, PromotionEvent)
    assert (event.fingerprint, event.from_store, event.to_store) == (key, "observed", "trusted")
    assert (event.success, bool(event.operator), bench.changes) == (True, True, 1)
    assert moved.changed


def test_a_promotion_that_changes_nothing_is_told_to_nobody(bench: Bench) -> None:
    key = bench.observe()
    bench.keeper.promote(key)
    bench.events.clear()

    assert not bench.keeper.promote(key).changed

    assert (bench.events, bench.changes) == ([], 1)


def test_a_revoked_key_is_listed_as_rejected(bench: Bench) -> None:
    key = bench.observe()

    bench.keeper.revoke(key)

    (entry,) = bench.keeper.keys("rejected")
    assert (entry.fingerprint, entry.subject) == (key, "CN=peer,O=home")
    assert bench.keeper.keys("observed") == []


def test_a_key_is_trusted_that_the_operator_trusts_until_it_is_rejected(bench: Bench) -> None:
    key = bench.observe()
    assert not bench.keeper.is_trusted(key)

    bench.keeper.promote(key)
    assert bench.keeper.is_trusted(key)

    bench.keeper.revoke(key)
    assert not bench.keeper.is_trusted(key)


def test_a_key_that_is_pinned_is_trusted_unless_it_is_rejected(tmp_path: Path) -> None:
    key = Bench(tmp_path).observe()
    bench = Bench(tmp_path, TrustPolicyTable(pin_fingerprints=(key,)))
    bench.keeper.load()
    assert (bench.keeper.is_trusted(key), bench.keeper.is_trusted(OTHER_KEY)) == (True, False)

    bench.keeper.revoke(key)

    assert not bench.keeper.is_trusted(key)


def test_the_standing_of_a_key_is_the_strongest_word_on_it(tmp_path: Path) -> None:
    key = Bench(tmp_path).observe()
    bench = Bench(tmp_path, TrustPolicyTable(pin_fingerprints=(OTHER_KEY,)))
    bench.keeper.load()
    standing = bench.keeper.standing
    assert [standing(name) for name in (None, "1" * 64, key)] == ["no key", "unknown", "observed"]

    bench.keeper.promote(key)
    assert (standing(key), standing(OTHER_KEY)) == ("trusted", "pinned")

    bench.keeper.revoke(key)
    bench.keeper.revoke(OTHER_KEY)
    assert (standing(key), standing(OTHER_KEY)) == ("rejected", "rejected")


def test_a_key_is_listed_with_the_ids_that_came_with_it(bench: Bench) -> None:
    key = bench.observe()
    bench.keeper.known.bind("hub", key, bench.clock.time())

    (entry,) = bench.keeper.keys("observed")

    assert entry.names == ("hub",)
    assert bench.keeper.ids() == {"hub": key}


def test_what_is_offered_while_one_types_reads_no_file(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = sorted(bench.observe() for _ in range(3))
    table = CommandTable()
    add_trust_commands(table, bench.keeper)
    monkeypatch.setattr(bench.keeper.store, "block", None)

    for command in ("trust promote ", "trust revoke ", "trust explain "):
        assert [line for line, _ in candidates(table, command)] == [command + key for key in keys]


def test_what_is_forgotten_may_come_with_another_key(bench: Bench) -> None:
    bench.keeper.known.bind("hub", OTHER_KEY, bench.clock.time())

    bench.keeper.forget("hub")

    assert bench.keeper.known.fingerprint_of("hub") is None
    assert bench.actions == ["key_forgotten"]
    assert bench.changes == 1


def test_what_is_not_known_cannot_be_forgotten(bench: Bench) -> None:
    with pytest.raises(TrustError, match="hub is not known here"):
        bench.keeper.forget("hub")

    assert bench.events == []


def test_an_explanation_has_no_consequences(bench: Bench) -> None:
    bench.keeper.use(EncryptionTable(trust_policy=TrustPolicyTable(mode="allowlist")))
    key = bench.observe()

    explained, decision = bench.keeper.explain(key[:6])

    assert (explained, decision.accepted, decision.reason) == (key, False, "not-in-trusted")
    assert bench.events == []


@pytest.mark.parametrize(
    "policy",
    [TrustPolicyTable(mode="ca"), TrustPolicyTable(enforce_ca_chain=True)],
    ids=["mode ca", "enforce_ca_chain"],
)
def test_a_policy_that_needs_a_ca_is_refused_where_there_is_none(
    tmp_path: Path, policy: TrustPolicyTable
) -> None:
    bench = Bench(tmp_path, policy)
    with pytest.raises(ConfigError, match="needs the certificate of a CA"):
        bench.keeper.load()

    bench.add_authority()
    bench.keeper.load()

    assert len(bench.keeper.authorities) == 1


def test_a_policy_that_cannot_work_replaces_none_that_does(bench: Bench) -> None:
    key = bench.observe()
    table = EncryptionTable(trust_policy=TrustPolicyTable(mode="ca"))

    with pytest.raises(ConfigError):
        bench.keeper.use(table)

    assert bench.keeper.explain(key)[1].reason == "open-policy"
    assert bench.changes == 0


def test_pins_can_be_changed_while_a_node_runs(bench: Bench) -> None:
    key = bench.observe()
    policy = TrustPolicyTable(pin_fingerprints=(OTHER_KEY,))

    bench.keeper.use(EncryptionTable(trust_policy=policy))
    refused = bench.keeper.explain(key)[1]
    bench.keeper.use(EncryptionTable(trust_policy=structs.replace(policy, pin_fingerprints=(key,))))

    assert refused.reason == "fp-pin-mismatch"
    assert bench.keeper.explain(key)[1].accepted
    assert bench.changes == 2


async def test_a_file_that_somebody_puts_there_is_noticed(bench: Bench) -> None:
    key = bench.observe()
    source = bench.keeper.store.observed[key]
    watching = asyncio.get_running_loop().create_task(bench.keeper.watch())
    await settle()
    target = bench.folder / TRUSTED_DIR / "whatever.pem"
    target.parent.mkdir(parents=True)
    target.write_bytes(source.read_bytes())

    await bench.clock.advance(2.0)
    watching.cancel()

    assert bench.keeper.store.is_trusted(key)
    assert bench.changes == 1


def test_a_file_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for folder in (TRUSTED_DIR, ISSUERS_DIR):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "bad.pem").write_text("hello")

    bench.keeper.load()

    assert bench.actions == ["trust_file_unusable"] * 2


def test_a_key_that_is_in_no_store_is_revoked_by_its_whole_fingerprint(bench: Bench) -> None:
    with pytest.raises(TrustError, match="begins so"):
        bench.keeper.revoke(OTHER_KEY[:32])

    moved = bench.keeper.revoke(OTHER_KEY)
    again = bench.keeper.revoke(OTHER_KEY)
    bench.keeper.reload()

    assert (moved.from_store, moved.to_store, moved.changed) == ("unknown", "rejected", True)
    assert not again.changed
    assert bench.keeper.store.is_rejected(OTHER_KEY)
    assert [entry.fingerprint for entry in bench.keeper.keys("rejected")] == [OTHER_KEY]
