"""The sealing keys' files: renewed, kept for a while, and the dates of cards."""

from __future__ import annotations

import json
import stat
import tempfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from thenodes_core.errors import StateDirError
from thenodes_core.security.identity import Identity, write_identity
from thenodes_core.security.sealing import CARD_FILE, SEALING_FILE, SealingKeys

NOW = 1_800_000_000
NOW_MS = NOW * 1000
DAY = 86_400


def raw(keys: SealingKeys) -> list[bytes]:
    return [key.public_key().public_bytes_raw() for key in keys.private_keys]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def pem(key: X25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def test_the_first_run_makes_a_key_that_later_runs_use(tmp_path: Path) -> None:
    keys = SealingKeys.load(tmp_path, NOW)

    assert len(keys.public_key) == 32
    assert raw(keys) == [keys.public_key]
    assert SealingKeys.load(tmp_path, NOW + 1).public_key == keys.public_key
    assert names(tmp_path) == [CARD_FILE, SEALING_FILE]
    assert keys.problem == ""


def test_every_file_is_its_owners_alone(tmp_path: Path) -> None:
    keys = SealingKeys.load(tmp_path, NOW)
    keys.renew_if_due(NOW + 30 * DAY)

    assert len(names(tmp_path)) == 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_the_file_is_the_x25519_key_in_pkcs8(tmp_path: Path) -> None:
    keys = SealingKeys.load(tmp_path, NOW)
    content = (tmp_path / SEALING_FILE).read_bytes()

    key = serialization.load_pem_private_key(content, password=None)

    assert isinstance(key, X25519PrivateKey)
    assert key.public_key().public_bytes_raw() == keys.public_key
    assert content.startswith(b"-----BEGIN PRIVATE KEY-----")


def test_a_key_is_renewed_at_30_days(tmp_path: Path) -> None:
    keys = SealingKeys.load(tmp_path, NOW)
    first = keys.public_key

    assert not keys.renew_if_due(NOW + 30 * DAY - 1)
    assert keys.public_key == first
    assert keys.renew_if_due(NOW + 30 * DAY)
    assert not keys.renew_if_due(NOW + 30 * DAY)
    assert raw(keys) == [keys.public_key, first]
    assert keys.public_key != first
    assert f"sealing-{NOW + 30 * DAY}.pem" in names(tmp_path)


def test_a_key_that_grew_old_while_the_node_was_off_is_renewed_at_the_start(
    tmp_path: Path,
) -> None:
    first = SealingKeys.load(tmp_path, NOW).public_key

    keys = SealingKeys.load(tmp_path, NOW + 45 * DAY)

    assert raw(keys) == [keys.public_key, first]
    assert keys.public_key != first


def test_predecessors_are_kept_for_31_days_by_file_and_in_memory(tmp_path: Path) -> None:
    keys = SealingKeys.load(tmp_path, NOW)
    first = keys.public_key
    retired = NOW + 30 * DAY
    keys.renew_if_due(retired)

    keys.renew_if_due(retired + 31 * DAY)
    assert first in raw(keys)
    assert first in raw(SealingKeys.load(tmp_path, retired + 31 * DAY))

    keys.renew_if_due(retired + 31 * DAY + 1)
    assert first not in raw(keys)
    assert f"sealing-{retired}.pem" not in names(tmp_path)


def test_a_predecessor_that_expired_while_the_node_was_off_is_removed(tmp_path: Path) -> None:
    SealingKeys.load(tmp_path, NOW).renew_if_due(NOW + 30 * DAY)

    keys = SealingKeys.load(tmp_path, NOW + 90 * DAY)

    assert names(tmp_path) == [CARD_FILE, f"sealing-{NOW + 90 * DAY}.pem", SEALING_FILE]
    assert len(raw(keys)) == 2


def test_the_last_retired_key_comes_first_after_the_current_one(tmp_path: Path) -> None:
    keys = SealingKeys.load(tmp_path, NOW)
    order = [keys.public_key]
    for renewal in (1, 2):
        keys.renew_if_due(NOW + renewal * 30 * DAY)
        order.insert(0, keys.public_key)

    assert raw(keys) == order
    assert raw(SealingKeys.load(tmp_path, NOW + 60 * DAY)) == order


def test_a_key_of_a_clock_that_was_ahead_is_renewed(tmp_path: Path) -> None:
    ahead = SealingKeys.load(tmp_path, NOW + 400 * DAY)
    first = ahead.public_key

    keys = SealingKeys.load(tmp_path, NOW)

    assert raw(keys) == [keys.public_key, first]
    assert not keys.renew_if_due(NOW)


def test_renewals_within_one_second_lose_no_key(tmp_path: Path) -> None:
    keys = SealingKeys.load(tmp_path, NOW)
    first = keys.public_key
    (tmp_path / f"sealing-{NOW + 30 * DAY}.pem").write_bytes(b"of someone else")

    keys.renew_if_due(NOW + 30 * DAY)

    assert (tmp_path / f"sealing-{NOW + 30 * DAY}.pem").read_bytes() == b"of someone else"
    assert first in raw(SealingKeys.load(tmp_path, NOW + 30 * DAY))


def test_a_renewal_cut_short_before_the_new_key_leaves_one_key(tmp_path: Path) -> None:
    keys = SealingKeys.load(tmp_path, NOW)
    (tmp_path / f"sealing-{NOW}.pem").write_bytes((tmp_path / SEALING_FILE).read_bytes())
    (tmp_path / f"sealing-{NOW}.pem").chmod(0o600)

    assert raw(SealingKeys.load(tmp_path, NOW)) == [keys.public_key]


def test_a_renewal_cut_short_before_its_date_is_written_loses_no_key(tmp_path: Path) -> None:
    keys = SealingKeys.load(tmp_path, NOW)
    before = (tmp_path / CARD_FILE).read_bytes()
    keys.renew_if_due(NOW + 30 * DAY)
    (tmp_path / CARD_FILE).write_bytes(before)

    again = SealingKeys.load(tmp_path, NOW + 30 * DAY + 5)

    assert set(raw(keys)) < set(raw(again))


def test_without_a_date_a_keys_age_counts_from_now(tmp_path: Path) -> None:
    keys = SealingKeys.load(tmp_path, NOW)
    (tmp_path / CARD_FILE).unlink()

    again = SealingKeys.load(tmp_path, NOW + 29 * DAY)

    assert again.public_key == keys.public_key
    assert not again.renew_if_due(NOW + 58 * DAY)
    assert again.renew_if_due(NOW + 59 * DAY)


def test_without_a_key_the_dates_of_cards_go_on(tmp_path: Path) -> None:
    SealingKeys.load(tmp_path, NOW).next_issued_at(NOW_MS + 5000)
    (tmp_path / SEALING_FILE).unlink()

    assert SealingKeys.load(tmp_path, NOW).next_issued_at(NOW_MS) == NOW_MS + 5001


def test_a_card_is_dated_now_or_just_after_the_last_one(tmp_path: Path) -> None:
    keys = SealingKeys.load(tmp_path, NOW)

    assert keys.next_issued_at(NOW_MS) == NOW_MS
    assert keys.next_issued_at(NOW_MS) == NOW_MS + 1
    assert keys.next_issued_at(NOW_MS - 1000) == NOW_MS + 2
    assert keys.next_issued_at(NOW_MS + 1000) == NOW_MS + 1000


def test_the_date_of_the_last_card_outlives_a_restart_and_a_renewal(tmp_path: Path) -> None:
    keys = SealingKeys.load(tmp_path, NOW)
    keys.next_issued_at(NOW_MS)
    keys.renew_if_due(NOW + 30 * DAY)

    assert SealingKeys.load(tmp_path, NOW + 30 * DAY).next_issued_at(NOW_MS) == NOW_MS + 1


def test_a_date_that_no_peer_would_take_is_forgotten(tmp_path: Path) -> None:
    keys = SealingKeys.load(tmp_path, NOW)
    keys.next_issued_at(NOW_MS + 400 * DAY * 1000)

    assert keys.next_issued_at(NOW_MS) == NOW_MS
    assert keys.next_issued_at(NOW_MS) == NOW_MS + 1


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"born": "x"}', b'{"born": -1}', b"\xff", b"[" * 4000, b" " * 5000],
    ids=["empty", "half", "array", "text", "negative", "no text", "nested", "long"],
)
def test_a_damaged_state_is_set_aside_and_told_and_the_key_stays(
    tmp_path: Path, content: bytes
) -> None:
    key = SealingKeys.load(tmp_path, NOW).public_key
    (tmp_path / CARD_FILE).write_bytes(content)

    keys = SealingKeys.load(tmp_path, NOW)

    aside = tmp_path / f"{CARD_FILE}.damaged-1"
    assert keys.public_key == key
    assert f"{CARD_FILE}: not the state of a card" in keys.problem
    assert keys.problem.endswith(f"kept as {aside}")
    assert aside.read_bytes() == content
    assert SealingKeys.load(tmp_path, NOW).problem == ""


def test_damaged_states_do_not_replace_each_other(tmp_path: Path) -> None:
    for content in ("{1", "{2"):
        (tmp_path / CARD_FILE).write_text(content)
        SealingKeys.load(tmp_path, NOW)

    assert (tmp_path / f"{CARD_FILE}.damaged-1").read_text() == "{1"
    assert (tmp_path / f"{CARD_FILE}.damaged-2").read_text() == "{2"


@settings(deadline=None)
@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
        lambda inner: st.dictionaries(st.sampled_from(["born", "issued_at"]), inner),
    ).map(lambda value: json.dumps(value).encode())
)
def test_with_any_state_the_node_goes_on(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / CARD_FILE).write_bytes(content)
        keys = SealingKeys.load(path, NOW)

        assert abs(keys.next_issued_at(NOW_MS) - NOW_MS) <= DAY * 1000
        assert SealingKeys.load(path, NOW).public_key == keys.public_key


@pytest.mark.parametrize("content", [b"", b"nonsense"])
def test_a_damaged_key_is_an_error_that_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    (tmp_path / SEALING_FILE).write_bytes(content)
    (tmp_path / SEALING_FILE).chmod(0o600)

    with pytest.raises(StateDirError, match=r"sealing\.pem: not an unencrypted X25519.*move it"):
        SealingKeys.load(tmp_path, NOW)

    assert (tmp_path / SEALING_FILE).read_bytes() == content


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    write_identity(tmp_path / SEALING_FILE, Identity.generate())

    with pytest.raises(StateDirError, match="not an unencrypted X25519 key"):
        SealingKeys.load(tmp_path, NOW)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    SealingKeys.load(tmp_path, NOW)
    (tmp_path / SEALING_FILE).chmod(0o644)

    with pytest.raises(StateDirError, match=r"sealing\.pem: others can read"):
        SealingKeys.load(tmp_path, NOW)


def test_a_predecessor_that_cannot_be_used_is_told_and_passed_over(tmp_path: Path) -> None:
    damaged, wide = tmp_path / f"sealing-{NOW}.pem", tmp_path / f"sealing-{NOW + 1}.pem"
    damaged.write_bytes(b"nonsense")
    damaged.chmod(0o600)
    wide.write_bytes(pem(X25519PrivateKey.generate()))
    wide.chmod(0o644)

    keys = SealingKeys.load(tmp_path, NOW)

    assert len(keys.private_keys) == 1
    assert f"{damaged}: not an unencrypted X25519 key" in keys.problem
    assert f"{wide}: others can read" in keys.problem


def test_files_that_are_not_called_like_a_predecessor_are_left_alone(tmp_path: Path) -> None:
    others = ["sealing-.pem", "sealing-007.pem", "sealing-x.pem", "sealing-1.pem.bak"]
    for name in others:
        (tmp_path / name).write_bytes(b"nonsense")

    assert SealingKeys.load(tmp_path, NOW).problem == ""
    assert set(others) < set(names(tmp_path))


def test_a_folder_that_is_not_there_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(StateDirError, match=r"none/sealing\.pem: cannot write the sealing key"):
        SealingKeys.load(tmp_path / "none", NOW)


def test_a_state_that_cannot_be_written_is_an_error_and_changes_nothing(tmp_path: Path) -> None:
    keys = SealingKeys.load(tmp_path, NOW)
    keys.next_issued_at(NOW_MS)
    (tmp_path / CARD_FILE).unlink()
    (tmp_path / CARD_FILE).mkdir()

    with pytest.raises(StateDirError, match=r"card\.json: cannot be written"):
        keys.next_issued_at(NOW_MS)

    (tmp_path / CARD_FILE).rmdir()
    assert keys.next_issued_at(NOW_MS) == NOW_MS + 1
