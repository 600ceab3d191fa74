"""Wheels that an operator adds to a node and removes from it: copied, and written into its lock."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from thenodes_core.config import expand
from thenodes_core.errors import CommandFailed, CredentialError
from thenodes_core.files import write_private
from thenodes_core.plugins.find import candidates
from thenodes_core.plugins.gates import Scan, scan
from thenodes_core.plugins.lock import Locked, read_lock, write_lock
from thenodes_core.plugins.policy import GatePolicy
from thenodes_core.plugins.signing import signer_of
from thenodes_core.plugins.source import Candidate, Kind
from thenodes_core.relayed.plugin import relay_plugins
from thenodes_plugin_api import Manifest

from ..commands.target import ADDED_WHEELS
from ..node_files import NodeFiles
from .judging import describe, judged, policy_of
from .signed import read_signature, read_wheel_file, signature_path

__all__ = ["Offer", "Removed", "accept", "offer", "plugins_directory", "remove"]


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A wheel that may be added, and what an operator has to know of it.

    Attributes:
        id: from its manifest.
        version: likewise.
        abi: the ABI generation that it was written for.
        abi_revision: the revision that it needs of that generation.
        source: the wheel's file.
        sha256: of the wheel, hex.
        signer: fingerprint of the key that signed it; None where nobody did.
        prefix: the word that it claims at the prompt.
        handles: the kinds of messages that it claims.
        advertises: the capabilities that it may tell peers of.
        target: the file that it becomes.
        replaces: what is agreed to under its id so far.
        is_other_file: True where that has the same version and another content.
    """

    id: str
    version: str
    abi: int
    abi_revision: int
    source: str
    sha256: str
    signer: str | None
    prefix: str | None
    handles: tuple[str, ...]
    advertises: tuple[str, ...]
    target: str
    replaces: Locked | None = None
    is_other_file: bool = False

    def __str__(self) -> str:
        """What is asked about, in lines."""
        rows = [
            ("plugin", f"{self.id} {self.version}"),
            ("ABI", f"{self.abi}.{self.abi_revision}"),
            ("source", self.source),
            ("sha256", self.sha256),
            ("signer", self.signer or "nobody"),
            ("prefix", self.prefix or "none"),
            ("handles", ", ".join(self.handles) or "nothing"),
            ("advertises", ", ".join(self.advertises) or "nothing"),
            ("becomes", self.target),
        ]
        if self.replaces is not None:
            same = ", the same version with another content" if self.is_other_file else ""
            old = f"{self.replaces.version}, sha256 {self.replaces.sha256}{same}"
            rows.append(("replaces", old))
        return "\n".join(f"{name:<12}{value}" for name, value in rows)


class Removed(msgspec.Struct, frozen=True):
    """What was removed.

    Attributes:
        id: of the plugin.
        files: the files that are gone.
    """

    id: str
    files: tuple[str, ...]


def plugins_directory(files: NodeFiles) -> Path:
    """Where a node's wheels are: `[plugins] directory`, or `wheels` in its state directory."""
    named = files.config.plugins.directory
    return expand(named) if named else files.state_dir / ADDED_WHEELS


def offer(wheel: Path, files: NodeFiles) -> Offer:
    """Judge a wheel as the node would that it is for; nothing is changed.

    Raises:
        CommandError: it is not called a wheel.
        CommandFailed: it cannot be read, or the gates reject it. The text has every reason.
        StateDirError: `plugins.lock` cannot be read.
    """
    content, signature = read_wheel_file(wheel), read_signature(wheel)
    policy = policy_of(files)
    found = _scan_one(wheel, GatePolicy())
    plugin_id = found.verdicts[0].id or ""
    # The lock is what this command is about to change.
    lock = {key: value for key, value in policy.lock.items() if key != plugin_id}
    taken = _others(files, policy, plugin_id)
    found = _scan_one(wheel, msgspec.structs.replace(policy, lock=lock, taken=taken))
    (verdict,) = found.verdicts
    if not found.accepted:
        raise CommandFailed(f"{wheel} was not added.\n{describe(judged(found)[0])}")
    sha256 = hashlib.sha256(content).hexdigest()
    if verdict.sha256 != sha256:
        raise CommandFailed(f"{wheel}: it changed while it was read; try again")
    return _offer(wheel, found.accepted[0].manifest, sha256, _signer(content, signature), files)


def accept(offered: Offer, wheel: Path, files: NodeFiles) -> None:
    """Copy a wheel and its signature to the node, and lock its id to it.

    Raises:
        CommandFailed: it is not the wheel that was offered any more, cannot be written, or
            is where the gates let nothing through, such as a folder that others can write.
        StateDirError: the lock cannot be read or written.
    """
    content, signature = read_wheel_file(wheel), read_signature(wheel)
    if hashlib.sha256(content).hexdigest() != offered.sha256:
        raise CommandFailed(f"{wheel}: it changed since it was shown; nothing was added")
    lock = read_lock(files.state_dir)
    old = _wheels_of(offered.id, files)
    target = Path(offered.target)
    try:
        for folder in (files.state_dir, target.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if target.resolve() != wheel.resolve():
            _put_signature(target, signature)
            write_private(target, content)
    except OSError as error:
        raise CommandFailed(f"{error.filename or target}: {error.strerror or error}") from error
    locked = Locked(id=offered.id, version=offered.version, file=target.name, sha256=offered.sha256)
    write_lock(files.state_dir, {**lock, offered.id: locked})
    kept = (target.resolve(), wheel.resolve())
    _unlink([path for path in old if path.resolve() not in kept])
    for each in judged(_existing(files, policy_of(files))):
        if each.file == str(target.absolute()) and not each.accepted:
            raise CommandFailed(f"{target} was added, but is not loaded.\n{describe(each)}")


def remove(plugin_id: str, files: NodeFiles) -> Removed:
    """Take a plugin's wheels from the node's directory of plugins, and its id from the lock.

    Raises:
        CommandFailed: there is no such plugin, or a file cannot be removed.
        StateDirError: the lock cannot be read or written.
    """
    lock = read_lock(files.state_dir)
    wheels = _wheels_of(plugin_id, files)
    if plugin_id not in lock and not wheels:
        known = ", ".join(sorted({*lock, *_ids(files)})) or "none"
        raise CommandFailed(
            f"no plugin {plugin_id!r} was added to {plugins_directory(files)}; there are: {known}"
        )
    gone = _unlink(wheels)
    if plugin_id in lock:
        write_lock(files.state_dir, {key: lock[key] for key in lock if key != plugin_id})
    return Removed(plugin_id, gone)


def _offer(
    wheel: Path, manifest: Manifest, sha256: str, signer: str | None, files: NodeFiles
) -> Offer:
    plugin = manifest.plugin
    locked = read_lock(files.state_dir).get(plugin.id)
    replaces = None if locked is None or locked.sha256 == sha256 else locked
    return Offer(
        id=plugin.id,
        version=plugin.version,
        abi=plugin.abi,
        abi_revision=plugin.abi_revision,
        source=str(wheel),
        sha256=sha256,
        signer=signer,
        prefix=manifest.prompt.prefix,
        handles=manifest.messages.handles,
        advertises=manifest.network.advertises,
        target=str(plugins_directory(files) / wheel.name),
        replaces=replaces,
        is_other_file=replaces is not None and replaces.version == plugin.version,
    )


def _scan_one(wheel: Path, policy: GatePolicy) -> Scan:
    return scan(candidates([wheel], None, ()), policy)


def _existing(files: NodeFiles, policy: GatePolicy) -> Scan:
    table, directory = files.config.plugins, plugins_directory(files)
    paths = [expand(path) for path in table.paths]
    where = directory if directory.is_dir() else None
    defaults = relay_plugins(files.config.network.relay)
    return scan(candidates(paths, where, table.installed, defaults), policy)


def _others(files: NodeFiles, policy: GatePolicy, plugin_id: str) -> Sequence[Manifest]:
    """The plugins that the node has already, but for those whose place the wheel takes."""
    return [
        source.manifest
        for source in _existing(files, policy).accepted
        if source.manifest.plugin.id != plugin_id
        or not (source.candidate.is_default or _is_wheel_in_directory(source.candidate))
    ]


def _is_wheel_in_directory(candidate: Candidate) -> bool:
    return candidate.directory is not None and candidate.kind is Kind.WHEEL


def _wheels_of(plugin_id: str, files: NodeFiles) -> Sequence[Path]:
    directory = plugins_directory(files)
    found = _in_directory(directory)
    wheels = [Path(v.file) for v in found.verdicts if v.id == plugin_id]
    return [path for path in wheels if path.suffix == ".whl" and path.is_file()]


def _ids(files: NodeFiles) -> set[str]:
    return {v.id for v in _in_directory(plugins_directory(files)).verdicts if v.id}


def _in_directory(directory: Path) -> Scan:
    return scan(candidates([], directory if directory.is_dir() else None, ()), GatePolicy())


def _signer(content: bytes, signature: bytes | None) -> str | None:
    try:
        return None if signature is None else signer_of(content, signature)
    except CredentialError as error:
        raise CommandFailed(f"TN-P004: {error}") from error


def _put_signature(target: Path, signature: bytes | None) -> None:
    path = signature_path(target)
    if signature is not None:
        write_private(path, signature)
    else:
        path.unlink(missing_ok=True)


def _unlink(wheels: Sequence[Path]) -> tuple[str, ...]:
    gone = []
    for path in (each for wheel in wheels for each in (wheel, signature_path(wheel))):
        try:
            path.unlink()
            gone.append(str(path))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise CommandFailed(f"{path}: {error.strerror}; remove it by hand") from error
    return tuple(gone)
