"""What the gates say of plugins, for people and for machines."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from thenodes_core.control.builtin import BUILTIN_COMMANDS
from thenodes_core.errors import PluginLoadError
from thenodes_core.plugins.find import candidates
from thenodes_core.plugins.gates import Scan, scan
from thenodes_core.plugins.loader import load
from thenodes_core.plugins.policy import GatePolicy, make_policy
from thenodes_core.plugins.source import Source
from thenodes_core.plugins.verdict import Fault, Verdict, was_run
from thenodes_plugin_api import Manifest

from ..node_files import NodeFiles

__all__ = ["Judged", "describe", "judge", "judged", "policy_of"]

# The first words of the node's own commands and of the prompt's, as in a node.
_RESERVED = BUILTIN_COMMANDS | {"exit", "quit"}


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict, as `thenodes plugin check --json` prints it.

    Attributes:
        origin: what the operator called it.
        id: from its manifest; None where that cannot be read.
        version: likewise.
        abi: the ABI generation that it was written for; None of a rejected one.
        abi_revision: the revision that it needs of that generation.
        file: the wheel, or the folder.
        sha256: of a wheel, hex.
        accepted: whether a node would load it.
        loaded: whether its code was run, to see whether it registers.
        faults: every reason against it.
        warnings: what speaks against it, but does not forbid it.
    """

    origin: str
    id: str | None
    version: str | None
    abi: int | None = None
    abi_revision: int | None = None
    file: str
    sha256: str | None
    accepted: bool
    loaded: bool = False
    faults: tuple[Fault, ...] = ()
    warnings: tuple[str, ...] = ()


def policy_of(files: NodeFiles | None) -> GatePolicy:
    """The policy of a node; without one, that of a node for which nothing is set.

    Raises:
        StateDirError: `plugins.lock` cannot be read.
    """
    if files is None:
        return GatePolicy(reserved=_RESERVED)
    return make_policy(files.config.plugins, state_dir=files.state_dir, reserved=_RESERVED)


def judge(paths: Sequence[Path], policy: GatePolicy, *, run: bool = False) -> Sequence[Judged]:
    """Judge plugins as a node would.

    Args:
        paths: wheels, source trees, or directories of both.
        policy: what they are measured by.
        run: also import those that pass and let them register, in this process.
    """
    if not run:
        return judged(scan(candidates(paths, None, ()), policy))
    with tempfile.TemporaryDirectory(prefix="thenodes-check-") as folder:
        policy = msgspec.structs.replace(policy, cache=Path(folder))
        found = scan(candidates(paths, None, ()), policy)
        tried = {source.candidate.path: _try(source) for source in found.accepted}
        verdicts = [
            msgspec.structs.replace(v, faults=v.faults or tried.get(Path(v.file), ()))
            for v in found.verdicts
        ]
        return judged(Scan(found.accepted, verdicts), run=True)


def _try(source: Source) -> tuple[Fault, ...]:
    # What a plugin prints is not this command's answer.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            load(source)
        except PluginLoadError as error:
            return (Fault.of(error),)
    return ()


def judged(found: Scan, *, run: bool = False) -> Sequence[Judged]:
    """What a scan found, as it is told."""
    manifests = {str(source.candidate.path): source.manifest for source in found.accepted}
    return [_one(verdict, manifests.get(verdict.file), run=run) for verdict in found.verdicts]


def _one(verdict: Verdict, manifest: Manifest | None, *, run: bool) -> Judged:
    passed = manifest if verdict.accepted else None
    return Judged(
        origin=verdict.origin,
        id=verdict.id,
        version=verdict.version,
        abi=passed.plugin.abi if passed else None,
        abi_revision=passed.plugin.abi_revision if passed else None,
        file=verdict.file,
        sha256=verdict.sha256,
        accepted=verdict.accepted,
        loaded=run and verdict.accepted,
        faults=verdict.faults,
        warnings=verdict.warnings,
    )


def describe(each: Judged) -> str:
    """A verdict in lines."""
    what = " ".join(filter(None, (each.id or "unknown plugin", each.version)))
    abi = "" if each.abi is None else f", ABI {each.abi}.{each.abi_revision or 0}"
    told = "loads" if each.loaded else "passes every gate before import"
    head = f"{what}: {told}{abi}" if each.accepted else f"{what}: rejected"
    rows = [head, f"  source   {each.origin}"]
    if each.file not in (each.origin, ""):
        rows.append(f"  file     {each.file}")
    if each.sha256:
        rows.append(f"  sha256   {each.sha256}")
    rows += [f"  warning  {warning}" for warning in each.warnings]
    for fault in each.faults:
        rows += [
            f"  {fault.code}  expected {fault.expected}",
            f"           received {fault.received}",
            f"           fix      {fault.fix}",
        ]
    if each.faults and not was_run(fault.code for fault in each.faults):
        rows.append("  no code from this plugin was executed")
    return "\n".join(rows)
