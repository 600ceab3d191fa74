"""The trust store: observe, promote, revoke; each key in one place, each step whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from thenodes_core.errors import CredentialError, StateDirError, TrustError
from thenodes_core.security.certificates import make_certificate, pem
from thenodes_core.security.identity import Identity
from thenodes_core.store.trust_store import OBSERVED_DIR, REJECTED_DIR, TRUSTED_DIR, TrustStore
from thenodes_plugin_api import Realm

KEYS = [Identity.generate() for _ in range(3)]
A, B, C = (key.fingerprint for key in KEYS)
PEM_A, PEM_B, PEM_C = (
    pem(make_certificate(key, node_id="kitchen", realm=Realm(), now=1_800_000_000.0).der)
    for key in KEYS
)


def opened(state_dir: Path) -> TrustStore:
    store = TrustStore(state_dir / TRUSTED_DIR, state_dir / OBSERVED_DIR, state_dir / REJECTED_DIR)
    assert store.load() == []
    return store


def put(directory: Path, name: str, content: bytes) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_bytes(content)
    return path


def places(state_dir: Path) -> dict[str, list[str]]:
    """The keys by store, as a fresh reading finds them."""
    store = opened(state_dir)
    stores = {"trusted": store.trusted, "observed": store.observed, "rejected": store.rejected}
    return {name: sorted(keys) for name, keys in stores.items() if keys}


def test_an_empty_store_makes_no_directory(tmp_path: Path) -> None:
    store = opened(tmp_path)

    assert not store.is_trusted(A)
    assert not store.is_observed(A)
    assert not store.is_rejected(A)
    assert list(tmp_path.iterdir()) == []


def test_the_directories_are_the_reference_s(tmp_path: Path) -> None:
    put(tmp_path / "pki/trusted/certs", "a.pem", PEM_A)
    put(tmp_path / "pki/observed/certs", "b.pem", PEM_B)
    put(tmp_path / "pki/rejected", "c.pem", PEM_C)

    store = opened(tmp_path)

    assert store.is_trusted(A)
    assert store.is_observed(B)
    assert store.is_rejected(C)


def test_a_key_that_is_met_is_recorded_once(tmp_path: Path) -> None:
    store = opened(tmp_path)

    path = store.observe(A, PEM_A)

    assert path == tmp_path / OBSERVED_DIR / f"{A}.pem"
    assert path.read_bytes() == PEM_A
    assert store.observe(A, PEM_A) is None
    assert store.is_observed(A)
    assert not store.changed()


@pytest.mark.parametrize("directory", [TRUSTED_DIR, OBSERVED_DIR, REJECTED_DIR])
def test_a_key_that_is_known_is_not_recorded(tmp_path: Path, directory: Path) -> None:
    put(tmp_path / directory, "a.pem", PEM_A)
    store = opened(tmp_path)
    before = places(tmp_path)

    assert store.observe(A, PEM_A) is None
    assert places(tmp_path) == before


@pytest.mark.parametrize(
    "content", [PEM_B, PEM_A + PEM_B, b"", b"\xff"], ids=["another", "two", "none", "binary"]
)
def test_only_the_key_itself_is_recorded(tmp_path: Path, content: bytes) -> None:
    store = opened(tmp_path)

    with pytest.raises(CredentialError, match=f"of the key {A} and no other"):
        store.observe(A, content)
    assert places(tmp_path) == {}


def test_a_full_directory_takes_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thenodes_core.store.key_directory.MOST_KEYS", 1)
    store = opened(tmp_path)

    assert store.observe(A, PEM_A)
    assert store.observe(B, PEM_B) is None
    assert places(tmp_path) == {"observed": [A]}


def test_files_that_do_not_count_fill_the_directory_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thenodes_core.store.key_directory.MOST_KEYS", 1)
    put(tmp_path / OBSERVED_DIR, "bad.pem", b"")
    store = TrustStore(tmp_path / TRUSTED_DIR, tmp_path / OBSERVED_DIR, tmp_path / REJECTED_DIR)
    store.load()

    assert store.observe(A, PEM_A) is None


def test_a_key_that_cannot_be_recorded_is_an_error_with_the_directory(tmp_path: Path) -> None:
    store = opened(tmp_path)
    (tmp_path / "pki").write_bytes(b"")

    with pytest.raises(StateDirError, match="observed/certs: the key"):
        store.observe(A, PEM_A)


def test_promoting_moves_a_key_to_trusted(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.observe(A, PEM_A)
    store.observe(B, PEM_B)

    moved = store.promote(A[:8])

    assert (moved.fingerprint, moved.from_store, moved.to_store) == (A, "observed", "trusted")
    assert moved.changed
    assert moved.path == tmp_path / TRUSTED_DIR / f"{A}.pem"
    assert moved.path.read_bytes() == PEM_A
    assert places(tmp_path) == {"trusted": [A], "observed": [B]}
    assert store.is_trusted(A)
    assert not store.is_observed(A)
    assert not store.changed()


def test_promoting_again_changes_nothing(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.observe(A, PEM_A)
    store.promote(A)
    before = (tmp_path / TRUSTED_DIR / f"{A}.pem").stat()

    moved = store.promote(A)

    assert not moved.changed
    assert (moved.from_store, moved.to_store) == ("trusted", "trusted")
    assert (tmp_path / TRUSTED_DIR / f"{A}.pem").stat() == before


def test_promoting_takes_one_key_of_a_file_and_leaves_the_others(tmp_path: Path) -> None:
    put(tmp_path / OBSERVED_DIR, "all.pem", PEM_A + PEM_B)
    store = opened(tmp_path)

    store.promote(A)

    assert places(tmp_path) == {"trusted": [A], "observed": [B]}


def test_promoting_takes_a_revocation_back(tmp_path: Path) -> None:
    put(tmp_path / OBSERVED_DIR, "a.pem", PEM_A)
    put(tmp_path / REJECTED_DIR, "a.pem", PEM_A)

    moved = opened(tmp_path).promote(A)

    assert (moved.from_store, moved.changed) == ("rejected", True)
    assert places(tmp_path) == {"trusted": [A]}


def test_promoting_a_key_that_is_trusted_and_revoked_takes_the_revocation_back(
    tmp_path: Path,
) -> None:
    put(tmp_path / TRUSTED_DIR, "a.pem", PEM_A)
    put(tmp_path / REJECTED_DIR, "a.pem", PEM_A)

    assert opened(tmp_path).promote(A).changed
    assert places(tmp_path) == {"trusted": [A]}


@pytest.mark.parametrize("directory", [TRUSTED_DIR, OBSERVED_DIR])
def test_revoking_moves_a_key_to_rejected(tmp_path: Path, directory: Path) -> None:
    put(tmp_path / directory, "a.pem", PEM_A + PEM_B)
    put(tmp_path / OBSERVED_DIR, "again.crt", PEM_A)
    store = opened(tmp_path)

    moved = store.revoke(A)

    assert moved.changed
    assert moved.from_store == ("trusted" if directory == TRUSTED_DIR else "observed")
    assert (moved.to_store, moved.path) == ("rejected", tmp_path / REJECTED_DIR / f"{A}.pem")
    after = places(tmp_path)
    assert after["rejected"] == [A]
    assert A not in after.get("trusted", []) + after.get("observed", [])
    assert not store.revoke(A).changed


def test_a_rejected_file_counts_by_its_name_where_it_holds_no_key(tmp_path: Path) -> None:
    put(tmp_path / REJECTED_DIR, f"{A}.pem", b"")
    store = TrustStore(tmp_path / TRUSTED_DIR, tmp_path / OBSERVED_DIR, tmp_path / REJECTED_DIR)

    assert "left out" in store.load()[0]
    assert store.is_rejected(A)
    with pytest.raises(TrustError, match="but does not hold it; put its certificate there"):
        store.promote(A)


def test_a_key_rejected_by_name_is_promoted_from_where_it_was_observed(tmp_path: Path) -> None:
    put(tmp_path / REJECTED_DIR, f"{A}.pem", b"")
    put(tmp_path / OBSERVED_DIR, "a.pem", PEM_A)
    store = TrustStore(tmp_path / TRUSTED_DIR, tmp_path / OBSERVED_DIR, tmp_path / REJECTED_DIR)
    store.load()

    store.promote(A)

    assert places(tmp_path) == {"trusted": [A]}


@pytest.mark.parametrize(("verb", "digits"), [("promote", 64), ("promote", 8), ("revoke", 63)])
def test_a_key_that_nobody_knows_is_an_error(tmp_path: Path, verb: str, digits: int) -> None:
    with pytest.raises(TrustError, match="no trusted, observed or rejected key"):
        getattr(opened(tmp_path), verb)(A[:digits])


@pytest.mark.parametrize(
    "prefix", ["", "abc", "ghij", "../../..", "0" * 65, "*", "\x1b[2J", "x" * 10_000]
)
def test_what_is_no_prefix_is_an_error(tmp_path: Path, prefix: str) -> None:
    with pytest.raises(TrustError, match="expected 4 to 64 hexadecimal digits") as caught:
        opened(tmp_path).find(prefix)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 250


def test_a_prefix_may_have_colons_capitals_and_space_around_it(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.observe(A, PEM_A)

    typed = ":".join(A[i : i + 2] for i in range(0, 64, 2)).upper()

    assert store.find(f" {typed}\n") == A
    assert store.find(A[:4]) == A


def test_a_prefix_of_several_keys_lists_some_of_them(tmp_path: Path) -> None:
    for number in range(10):
        put(tmp_path / REJECTED_DIR, f"abcd{number:060}.pem", b"")
    store = TrustStore(tmp_path / TRUSTED_DIR, tmp_path / OBSERVED_DIR, tmp_path / REJECTED_DIR)
    store.load()

    with pytest.raises(TrustError, match=r"abcd: 10 keys begin so: abcd0.* and 2 more; give more"):
        store.find("abcd")
    assert store.find(f"abcd{7:060}") == f"abcd{7:060}"


def test_a_full_store_is_an_error_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thenodes_core.store.key_directory.MOST_KEYS", 1)
    put(tmp_path / TRUSTED_DIR, "a.pem", PEM_A)
    put(tmp_path / OBSERVED_DIR, "b.pem", PEM_B)

    with pytest.raises(TrustError, match="trusted/certs: full"):
        opened(tmp_path).promote(B)
    assert places(tmp_path) == {"trusted": [A], "observed": [B]}


def test_a_promotion_that_cannot_be_written_leaves_all_as_it_was(tmp_path: Path) -> None:
    put(tmp_path / OBSERVED_DIR, "a.pem", PEM_A)
    store = opened(tmp_path)
    (tmp_path / "pki/trusted").write_bytes(b"")

    with pytest.raises(TrustError, match=f"the key {A} cannot be written"):
        store.promote(A)
    assert (tmp_path / OBSERVED_DIR / "a.pem").read_bytes() == PEM_A


def test_an_interrupted_promotion_is_whole_after_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path)
    store.observe(A, PEM_A)

    def fails(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".pem":
            raise OSError(5, "Input/output error")
        if path.exists():
            os.unlink(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", fails)
        with pytest.raises(TrustError, match="is trusted now, but cannot be taken out of"):
            store.promote(A)
    assert places(tmp_path) == {"trusted": [A], "observed": [A]}

    assert store.promote(A).changed
    assert places(tmp_path) == {"trusted": [A]}


def test_an_interrupted_revocation_holds_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / TRUSTED_DIR, "a.pem", PEM_A + PEM_B)
    store = opened(tmp_path)

    def fails(self: object, key: str) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("thenodes_core.store.key_directory.KeyDirectory.remove", fails)
        with pytest.raises(TrustError, match="is rejected now, but cannot be taken out of"):
            store.revoke(A)

    assert opened(tmp_path).is_rejected(A)


def test_what_a_stopped_writer_left_does_not_count_and_is_replaced(tmp_path: Path) -> None:
    put(tmp_path / TRUSTED_DIR, f"{A}.pem.new", PEM_B)
    put(tmp_path / OBSERVED_DIR, "a.pem", PEM_A)
    store = opened(tmp_path)
    assert not store.is_trusted(B)

    store.promote(A)

    assert [path.name for path in (tmp_path / TRUSTED_DIR).iterdir()] == [f"{A}.pem"]


def test_a_promotion_sees_what_others_put_there_meanwhile(tmp_path: Path) -> None:
    store = opened(tmp_path)
    put(tmp_path / OBSERVED_DIR, "a.pem", PEM_A)

    assert store.promote(A).changed


def test_who_watches_still_learns_what_a_promotion_took_up(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.observe(A, PEM_A)
    put(tmp_path / REJECTED_DIR, "b.pem", PEM_B)

    store.promote(A)

    assert store.is_rejected(B)
    assert store.changed()
    store.load()
    assert not store.changed()


def test_the_text_of_a_key_is_found_wherever_it_is(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.observe(A, PEM_A)
    put(tmp_path / REJECTED_DIR, "all.pem", PEM_B + PEM_C)
    store.load()

    assert store.block(A) == PEM_A.strip()
    assert store.block(C) == PEM_C.strip()
    (tmp_path / REJECTED_DIR / "all.pem").unlink()
    assert store.block(C) is None
    assert store.block("0" * 64) is None


def test_of_many_problems_the_first_are_told(tmp_path: Path) -> None:
    for number in range(30):
        put(tmp_path / TRUSTED_DIR, f"{number:02}.pem", b"")
    store = TrustStore(tmp_path / TRUSTED_DIR, tmp_path / OBSERVED_DIR, tmp_path / REJECTED_DIR)

    problems = store.load()

    assert len(problems) == 21
    assert problems[-1] == "10 more problems of trusted keys"
