"""Every gate: a plugin that it stops is told by its code, and none of its code was run."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from thenodes_core.config import PluginsTable
from thenodes_core.config.tables import BlockTable
from thenodes_core.plugins.find import candidates
from thenodes_core.plugins.gates import Scan, scan
from thenodes_core.plugins.lock import Locked, read_lock, write_lock
from thenodes_core.plugins.policy import GatePolicy, make_policy
from thenodes_core.plugins.signing import SIGNATURE_SUFFIX, sign_wheel
from thenodes_core.plugins.verdict import Verdict
from thenodes_core.security.identity import Identity

MakeWheel = Callable[..., Path]
WritePlugin = Callable[..., Path]
Files = dict[str, bytes]

MANIFEST = "thenodes-plugin.toml"


def judge(*paths: Path, policy: GatePolicy | None = None) -> Scan:
    return scan(candidates(paths, None, ()), policy or GatePolicy())


def verdict(path: Path, policy: GatePolicy | None = None) -> Verdict:
    (found,) = judge(path, policy=policy).verdicts
    return found


def name_of(files: Files, end: str) -> str:
    (name,) = (name for name in files if name.endswith(end))
    return name


def edit(end: str, old: str, new: str) -> Callable[[Files], object]:
    """Replaces text in the file whose name ends so."""

    def change(files: Files) -> None:
        name = name_of(files, end)
        assert old.encode() in files[name]
        files[name] = files[name].replace(old.encode(), new.encode())

    return change


def put(name: str, content: str = "") -> Callable[[Files], object]:
    return lambda files: files.update({name: content.encode()})


def take(end: str) -> Callable[[Files], object]:
    return lambda files: files.pop(name_of(files, end))


def rename(old: str, new: str) -> Callable[[Files], object]:
    """Moves all below a folder, or one file, elsewhere."""

    def change(files: Files) -> None:
        for name in [name for name in files if old in name]:
            files[name.replace(old, new)] = files.pop(name)

    return change


def test_a_sound_wheel_passes_all_gates(make_wheel: MakeWheel, canary: Path) -> None:
    path = make_wheel()

    found = judge(path)

    assert found.verdicts[0].faults == ()
    assert (found.verdicts[0].id, found.verdicts[0].version) == ("my", "0.1.0")
    assert found.accepted[0].sha256 == found.verdicts[0].sha256
    assert not canary.exists()


def test_libraries_of_compiled_modules_may_lie_beside_the_package(make_wheel: MakeWheel) -> None:
    assert verdict(make_wheel(change=put("thenodes_my.libs/libx.so"))).accepted


BROKEN: dict[str, tuple[str, dict[str, object]]] = {
    "a path above": ("TN-P002", {"spoil": put("../above.py")}),
    "an absolute path": ("TN-P002", {"spoil": put("/etc/cron.d/evil")}),
    "a drive": ("TN-P002", {"spoil": put("C:/evil.py")}),
    "a backslash": ("TN-P002", {"spoil": put("a\\..\\evil.py")}),
    "a device of Windows": ("TN-P002", {"spoil": put("pkg/nul.py")}),
    "a control character": ("TN-P002", {"spoil": put("pkg/a\nb.py")}),
    "names that differ in case": ("TN-P002", {"change": put("Readme"), "spoil": put("README")}),
    "a file below a file": ("TN-P002", {"change": put("a"), "spoil": put("a/b.py")}),
    "a bomb": ("TN-P002", {"change": put("bomb.bin", "0" * 3_000_000)}),
    "another name": ("TN-P002", {"file_name": "other-0.1.0-py3-none-any.whl"}),
    "another version": ("TN-P002", {"file_name": "thenodes_my-0.2.0-py3-none-any.whl"}),
    "no name of a wheel": ("TN-P002", {"file_name": "my.whl"}),
    "no METADATA": ("TN-P002", {"change": take("/METADATA")}),
    "METADATA of nobody": ("TN-P002", {"change": edit("/METADATA", "Name: ", "Other: ")}),
    "METADATA that is no text": (
        "TN-P002",
        {"change": lambda files: files.update({name_of(files, "/METADATA"): b"\xff"})},
    ),
    "two .dist-info": ("TN-P002", {"change": put("other-1.dist-info/METADATA")}),
    "no RECORD": ("TN-P002", {"spoil": take("/RECORD")}),
    "an edited file": ("TN-P003", {"spoil": edit("__init__.py", "class", "class ")}),
    "a file that RECORD does not list": (
        "TN-P003",
        {"spoil": put("thenodes_my-0.1.0.dist-info/more")},
    ),
    "a file that is gone": ("TN-P003", {"spoil": take("entry_points.txt")}),
    "a weak hash": ("TN-P003", {"spoil": edit("/RECORD", "sha256=", "md5=")}),
    "no manifest": ("TN-P010", {"change": take(MANIFEST)}),
    "two manifests": ("TN-P010", {"change": put(f"other/{MANIFEST}")}),
    "a wrong manifest": ("TN-P010", {"extra": "[no-such-section]"}),
    "a manifest that is no TOML": ("TN-P010", {"extra": "= ="}),
    "a manifest at the top": (
        "TN-P010",
        {"change": lambda files: files.update({MANIFEST: files.pop(name_of(files, MANIFEST))})},
    ),
    "another version in the manifest": (
        "TN-P010",
        {"change": edit(MANIFEST, 'version = "0.1.0"', 'version = "0.1.1"')},
    ),
    "another entry in the entry points": (
        "TN-P010",
        {"change": edit("entry_points.txt", "register_plugin", "start")},
    ),
    "a second package": ("TN-P010", {"change": put("tests_of_it/__init__.py")}),
    "a module beside the package": ("TN-P010", {"change": put("beside.py")}),
    "files that would have to be installed": (
        "TN-P010",
        {"change": put("thenodes_my-0.1.0.data/purelib/x.py")},
    ),
    "an older ABI": ("TN-P011", {"abi": "0", "requires": ("thenodes-plugin-api>=0.0,<1",)}),
    "a future ABI": ("TN-P011", {"abi": "2", "requires": ("thenodes-plugin-api>=2.0,<3",)}),
    "an ABI of very many digits": ("TN-P011", {"abi": "0x" + "f" * 10_000}),
    "a version of very many digits": (
        "TN-P002",
        {"change": edit("/METADATA", "Version: 0.1.0", "Version: " + "9" * 5000)},
    ),
    "a manifest of a future ABI": (
        "TN-P011",
        {"abi": '2\nneeds = "more"', "requires": ("thenodes-plugin-api>=2.0,<3",)},
    ),
    "another folder": (
        "TN-P002",
        {"change": rename("thenodes_my-0.1.0.dist-info", "thenodes_my-0.2.0.dist-info")},
    ),
    "a future revision": (
        "TN-P011",
        {"abi": "1\nabi-revision = 999", "requires": ("thenodes-plugin-api>=1.999,<2",)},
    ),
    "requirements of another ABI": ("TN-P012", {"requires": ("thenodes-plugin-api>=2.0,<3",)}),
    "requirements of any later ABI": ("TN-P012", {"requires": ("thenodes-plugin-api>=1.0",)}),
    "requirements of any earlier ABI": ("TN-P012", {"requires": ("thenodes-plugin-api<2",)}),
    "no word of the ABI": ("TN-P012", {"requires": ()}),
    "another Python": ("TN-P014", {"requires_python": ">=4.7"}),
    "no version of Python": ("TN-P014", {"requires_python": "three"}),
    "another platform": ("TN-P014", {"tag": "cp311-cp311-win_amd64"}),
    "a requirement that the host lacks": (
        "TN-P020",
        {"requires": ("thenodes-plugin-api>=1.0,<2", "no-such-distribution")},
    ),
    "a requirement at another version": (
        "TN-P020",
        {"requires": ("thenodes-plugin-api>=1.0,<2", "msgspec>=999")},
    ),
    "no requirement at all": (
        "TN-P020",
        {"requires": ("thenodes-plugin-api>=1.0,<2", "a requirement")},
    ),
    "a requirement of the core": (
        "TN-P020",
        {"requires": ("thenodes-plugin-api>=1.0,<2", "TheNodes_Core")},
    ),
    "the plugin API inside it": (
        "TN-P020",
        {
            "package": "thenodes_bundling",
            "change": put("thenodes_bundling/_vendor/thenodes_plugin_api/__init__.py"),
        },
    ),
    "a module of the standard library": ("TN-P030", {"package": "antigravity"}),
    "a module of the host": ("TN-P030", {"package": "msgspec"}),
}


@pytest.mark.parametrize(("code", "how"), BROKEN.values(), ids=BROKEN)
def test_a_broken_wheel_is_stopped_by_its_gate_before_any_of_its_code_runs(
    make_wheel: MakeWheel, canary: Path, code: str, how: dict[str, object]
) -> None:
    path = make_wheel(**how)

    found = judge(path)

    assert found.accepted == []
    assert code in found.verdicts[0].codes
    assert all(f.expected and f.received and f.fix for f in found.verdicts[0].faults)
    assert "none of its code was run" in str(found.verdicts[0])
    assert not canary.exists()


@pytest.mark.parametrize(
    "name", sorted(name for name, (code, _) in BROKEN.items() if code != "TN-P002")
)
def test_a_wheel_that_is_broken_in_one_way_is_told_of_no_other(
    make_wheel: MakeWheel, name: str
) -> None:
    code, how = BROKEN[name]

    assert verdict(make_wheel(**how)).codes == (code,)


def test_all_faults_of_all_plugins_are_told_not_the_first_alone(make_wheel: MakeWheel) -> None:
    one = make_wheel("one", abi="2", requires_python=">=4", requires=("nothing-such",))
    other = make_wheel("other", spoil=put("more.py"), extra="[no-section]")
    good = make_wheel("zoe")

    found = judge(one, other, good)

    codes = {v.origin: v.codes for v in found.verdicts}
    assert codes == {
        str(good): (),
        str(one): ("TN-P011", "TN-P012", "TN-P014", "TN-P020"),
        str(other): ("TN-P003", "TN-P010"),
    }
    assert [source.manifest.plugin.id for source in found.accepted] == ["zoe"]


def test_of_very_many_faults_some_are_told_and_the_others_counted(make_wheel: MakeWheel) -> None:
    def spoil(files: Files) -> None:
        files.update({f"thenodes_my-0.1.0.dist-info/{number}": b"" for number in range(500)})

    found = verdict(make_wheel(spoil=spoil))

    assert len(found.faults) == 11
    assert found.faults[-1].received == "490 more faults of this kind"


def test_what_a_plugin_says_of_itself_cannot_command_a_terminal(make_wheel: MakeWheel) -> None:
    path = make_wheel(extra="[no-section]", change=edit("/METADATA", "0.1.0", "0.1.0\x1b[2J"))

    assert "\x1b" not in str(verdict(path))


def test_accepted_plugins_come_in_the_order_of_their_ids(make_wheel: MakeWheel) -> None:
    found = judge(make_wheel("c"), make_wheel("a"), make_wheel("b"))

    assert [source.manifest.plugin.id for source in found.accepted] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "clash",
    [
        {"plugin_id": "a"},
        {"extra": '[prompt]\nprefix = "p"\n[messages]\nhandles = ["x"]'},
        {"extra": '[messages]\nhandles = ["kind.put"]'},
        {"package": "thenodes_wheel_of_two"},
    ],
    ids=["id", "prefix", "claim", "module"],
)
def test_what_a_plugin_took_is_refused_to_the_next(
    make_wheel: MakeWheel, canary: Path, tmp_path: Path, clash: dict[str, str]
) -> None:
    first = make_wheel(
        "a",
        package="thenodes_wheel_of_two",
        extra='[prompt]\nprefix = "p"\n[messages]\nhandles = ["kind.*"]',
    )
    second = make_wheel(**{"plugin_id": "b", **clash}, under=tmp_path / "second")

    found = judge(first, second)

    assert [source.origin for source in found.accepted] == [str(first)]
    assert found.verdicts[1].codes == ("TN-P030",)
    assert not canary.exists()


def test_a_plugin_that_is_stopped_takes_no_name_from_a_sound_one(make_wheel: MakeWheel) -> None:
    extra = '[prompt]\nprefix = "p"'
    broken = make_wheel("a", extra=extra, requires_python=">=4")
    sound = make_wheel("b", extra=extra)

    found = judge(broken, sound)

    assert [source.origin for source in found.accepted] == [str(sound)]
    assert found.verdicts[1].codes == ("TN-P014", "TN-P030")


def test_of_plugins_that_contradict_each_other_the_other_is_named(make_wheel: MakeWheel) -> None:
    api = "thenodes-plugin-api>=1.0,<2"
    one = make_wheel("one", requires=(api, "no-such-distribution<2"))
    other = make_wheel("other", requires=(api, "no-such-distribution>=2"))

    found = judge(one, other)

    assert [v.codes for v in found.verdicts] == [("TN-P020",), ("TN-P020",)]
    assert "plugin other needs no-such-distribution>=2" in found.verdicts[0].faults[0].fix


@pytest.mark.parametrize("requires", ["x; extra == 'more'", "x; python_version < '3'"])
def test_a_requirement_that_does_not_apply_is_not_asked_for(
    make_wheel: MakeWheel, requires: str
) -> None:
    path = make_wheel(requires=("thenodes-plugin-api>=1.0,<2", requires))

    assert verdict(path).accepted


def test_only_what_is_on_the_allowlist_passes(make_wheel: MakeWheel, canary: Path) -> None:
    path = make_wheel()

    assert verdict(path, GatePolicy(allowed=frozenset({"my"}))).accepted
    assert verdict(path, GatePolicy(allowed=frozenset())).codes == ("TN-P001",)
    assert not canary.exists()


def test_a_plugin_in_a_directory_that_others_can_write_is_stopped(
    make_wheel: MakeWheel, canary: Path, tmp_path: Path
) -> None:
    make_wheel(under=tmp_path / "plugins")
    (tmp_path / "plugins").chmod(0o777)

    found = scan(candidates((), tmp_path / "plugins", ()), GatePolicy())

    assert found.verdicts[0].codes == ("TN-P001",)
    assert f"chmod go-w {tmp_path / 'plugins'}" in found.verdicts[0].faults[0].fix
    assert not canary.exists()


def test_a_wheel_that_others_can_write_is_stopped_in_the_plugins_directory(
    make_wheel: MakeWheel, tmp_path: Path
) -> None:
    make_wheel(under=tmp_path / "plugins").chmod(0o666)

    found = scan(candidates((), tmp_path / "plugins", ()), GatePolicy())

    assert found.verdicts[0].codes == ("TN-P001",)


def test_of_a_path_that_the_operator_named_it_is_only_told_that_others_can_write_it(
    make_wheel: MakeWheel,
) -> None:
    path = make_wheel()
    path.chmod(0o666)

    found = verdict(path)

    assert found.accepted
    assert found.warnings == (f"{path}: others can write it (mode 0666)",)


@pytest.mark.parametrize(
    ("versions", "stopped"), [("", True), ("<1", True), (">=1", False), ("not a range", True)]
)
def test_a_blocked_plugin_is_stopped_in_the_versions_that_are_named(
    make_wheel: MakeWheel, canary: Path, versions: str, stopped: bool
) -> None:
    block = BlockTable(id="my", versions=versions, reason="it loses data")

    found = verdict(make_wheel(), GatePolicy(blocked=(block,)))

    assert found.codes == (("TN-P050",) if stopped else ())
    assert not stopped or "it loses data" in str(found)
    assert not canary.exists()


def test_another_file_than_the_locked_one_is_stopped(
    make_wheel: MakeWheel, canary: Path, tmp_path: Path
) -> None:
    path = make_wheel()
    sha256 = verdict(path).sha256
    assert sha256 is not None
    write_lock(tmp_path, {"my": Locked(id="my", version="1", file=path.name, sha256=sha256)})
    policy = make_policy(PluginsTable(), state_dir=tmp_path)

    assert verdict(path, policy).accepted
    assert verdict(make_wheel(code="pass"), policy).codes == ("TN-P003",)
    assert not canary.exists()


def test_a_tree_does_not_stand_in_for_a_locked_wheel(write_plugin: WritePlugin) -> None:
    locked = Locked(id="my", version="1", file="x.whl", sha256="0" * 64)

    found = verdict(write_plugin("my"), GatePolicy(lock={"my": locked}))

    assert found.codes == ("TN-P003",)


def test_the_lock_is_read_as_it_was_written(tmp_path: Path) -> None:
    locked = {"my": Locked(id="my", version="1", file="x.whl", sha256="0" * 64)}

    write_lock(tmp_path, locked)

    assert read_lock(tmp_path) == locked


SIGNER, STRANGER = Identity.generate(), Identity.generate()


def sign(path: Path, identity: Identity, content: bytes | None = None) -> Path:
    content = path.read_bytes() if content is None else content
    signature = sign_wheel(identity.key, identity.public_key, content)
    path.with_name(path.name + SIGNATURE_SUFFIX).write_bytes(signature)
    return path


REQUIRED = GatePolicy(signers=frozenset({SIGNER.fingerprint}), verify_signatures=True)
WANTED = GatePolicy(signers=frozenset({SIGNER.fingerprint}))


def test_a_signature_by_a_named_key_passes(make_wheel: MakeWheel) -> None:
    assert verdict(sign(make_wheel(), SIGNER), REQUIRED).accepted


@pytest.mark.parametrize("policy", [REQUIRED, WANTED])
def test_a_signature_by_another_key_is_stopped(
    make_wheel: MakeWheel, canary: Path, policy: GatePolicy
) -> None:
    found = verdict(sign(make_wheel(), STRANGER), policy)

    assert found.codes == ("TN-P004",)
    assert STRANGER.fingerprint in found.faults[0].received
    assert not canary.exists()


def test_a_signature_is_asked_for_only_where_it_is_required(make_wheel: MakeWheel) -> None:
    path = make_wheel()

    assert verdict(path, WANTED).accepted
    assert verdict(path, REQUIRED).codes == ("TN-P004",)


@pytest.mark.parametrize("content", [b"another wheel", b""])
@pytest.mark.parametrize("policy", [REQUIRED, WANTED, GatePolicy()])
def test_a_signature_of_something_else_is_stopped_whatever_is_set(
    make_wheel: MakeWheel, canary: Path, policy: GatePolicy, content: bytes
) -> None:
    assert verdict(sign(make_wheel(), SIGNER, content), policy).codes == ("TN-P004",)
    assert not canary.exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"public_key":"AA==","signature":""}'])
def test_what_is_no_signature_is_stopped_whatever_is_set(
    make_wheel: MakeWheel, content: bytes
) -> None:
    path = make_wheel()
    path.with_name(path.name + SIGNATURE_SUFFIX).write_bytes(content)

    assert verdict(path).codes == ("TN-P004",)


def test_a_wheel_that_was_changed_after_it_was_signed_is_stopped(
    make_wheel: MakeWheel, tmp_path: Path
) -> None:
    path = sign(make_wheel(), SIGNER)
    changed = make_wheel(code="pass", under=tmp_path / "changed")
    shutil.copyfile(changed, path)

    assert verdict(path, WANTED).codes == ("TN-P004",)


def test_a_tree_cannot_pass_for_something_signed(write_plugin: WritePlugin) -> None:
    assert verdict(write_plugin("my"), REQUIRED).codes == ("TN-P004",)


@pytest.mark.parametrize("size", [0, 1, 22, 500])
def test_a_wheel_that_was_cut_is_stopped(make_wheel: MakeWheel, size: int) -> None:
    path = make_wheel()
    path.write_bytes(path.read_bytes()[:size])

    assert verdict(path).codes == ("TN-P002",)


@pytest.mark.parametrize(("before", "behind"), [(b"#!/bin/sh\n", b""), (b"", b"x")])
def test_an_archive_with_something_around_it_is_stopped(
    make_wheel: MakeWheel, before: bytes, behind: bytes
) -> None:
    path = make_wheel()
    path.write_bytes(before + path.read_bytes() + behind)

    assert verdict(path).codes == ("TN-P002",)


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
def test_a_wheel_that_cannot_be_read_is_stopped(tmp_path: Path) -> None:
    path = tmp_path / "thenodes_my-1-py3-none-any.whl"
    path.symlink_to(tmp_path / "nowhere")

    assert verdict(path).codes == ("TN-P010",)


def test_scanning_imports_nothing(make_wheel: MakeWheel, write_plugin: WritePlugin) -> None:
    paths = [make_wheel(), write_plugin("tree")]
    before = set(sys.modules)

    judge(*paths)

    assert {name for name in set(sys.modules) - before if "thenodes_" in name} == set()


def test_an_installed_plugin_is_measured_by_its_distribution() -> None:
    (found,) = scan(candidates((), None, ["relay"]), GatePolicy()).verdicts

    assert (found.id, found.faults) == ("relay", ())


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ({}, ()),
        ({"entry": "thenodes_put_there:start"}, ("TN-P010",)),
        ({"version": "0.2.0"}, ("TN-P010",)),
        ({"requires": "thenodes-plugin-api>=2,<3"}, ("TN-P012",)),
        ({"requires": "thenodes-plugin-api>=1.0,<2\nRequires-Dist: none-such"}, ("TN-P020",)),
    ],
)
def test_what_is_installed_passes_the_same_gates(
    write_plugin: WritePlugin,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, str],
    codes: tuple[str, ...],
) -> None:
    tree = write_plugin("there", package="thenodes_put_there")
    values = {
        "entry": "thenodes_put_there:register_plugin",
        "version": "0.1.0",
        "requires": "thenodes-plugin-api>=1.0,<2",
        **changes,
    }
    info = tree / "src" / "thenodes_there-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: thenodes-there\nVersion: {values['version']}\n"
        f"Requires-Dist: {values['requires']}\n\n"
    )
    (info / "entry_points.txt").write_text(f"[thenodes.plugins]\nthere = {values['entry']}\n")
    monkeypatch.syspath_prepend(tree / "src")

    (found,) = scan(candidates((), None, ["there"]), GatePolicy()).verdicts

    assert found.codes == codes
    assert "thenodes_put_there" not in sys.modules


PYPROJECT = """\
[project]
name = "thenodes-my"
version = "{version}"
requires-python = "{python}"
dependencies = ["thenodes-plugin-api{api}"]
"""


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        ({}, ()),
        ({"version": "7"}, ("TN-P010",)),
        ({"python": ">=4"}, ("TN-P014",)),
        ({"api": ">=2,<3"}, ("TN-P012",)),
        ({"python": ">=4", "version": "7"}, ("TN-P010", "TN-P014")),
    ],
)
def test_a_source_tree_is_measured_by_its_pyproject(
    write_plugin: WritePlugin, values: dict[str, str], codes: tuple[str, ...]
) -> None:
    tree = write_plugin("my")
    values = {"version": "0.1.0", "python": ">=3.11", "api": ">=1.0,<2", **values}
    (tree / "pyproject.toml").write_text(PYPROJECT.format(**values))

    assert verdict(tree).codes == codes


@pytest.mark.parametrize("text", ["=", "project = 1", "[project]\nversion = 1\ndynamic = 1"])
def test_a_wrong_pyproject_is_told_or_passed_over_never_raised(
    write_plugin: WritePlugin, text: str
) -> None:
    tree = write_plugin("my")
    (tree / "pyproject.toml").write_text(text)

    assert set(verdict(tree).codes) <= {"TN-P010", "TN-P012"}
