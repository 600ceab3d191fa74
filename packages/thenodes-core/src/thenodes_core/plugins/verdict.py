"""What the gates say of a plugin."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ..errors import PluginLoadError
from ..text import printable

__all__ = ["Fault", "Verdict", "was_run"]

# Codes of the gates from here on are found only by running the plugin.
_FIRST_CODE_AFTER_IMPORT = "TN-P060"

_CHARACTERS = 20_000


class Fault(msgspec.Struct, frozen=True):
    """One reason why a plugin is not loaded; see docs/plugins/codes.md.

    Attributes:
        code: of the gate, such as `TN-P010`.
        expected: what would have passed.
        received: what there is instead.
        fix: what to do about it.
    """

    code: str
    expected: str
    received: str
    fix: str

    def __str__(self) -> str:
        return str(self.error())

    def error(self) -> PluginLoadError:
        """The same as an exception."""
        return PluginLoadError(self.code, self.received, expected=self.expected, fix=self.fix)

    @classmethod
    def of(cls, error: PluginLoadError) -> Fault:
        """The fault that an exception tells of."""
        return cls(error.code, error.expected, error.received, error.fix)


class Verdict(msgspec.Struct, frozen=True):
    """Whether a plugin may be loaded, and if not, every reason.

    Attributes:
        origin: what the operator called it.
        id: from its manifest; None where that cannot be read.
        version: likewise.
        file: the wheel, or the folder.
        sha256: of the wheel, hex; None of anything else.
        faults: every reason against it, in the order of the codes.
        warnings: what speaks against it, but does not forbid it.
    """

    origin: str
    id: str | None
    version: str | None
    file: str
    sha256: str | None
    faults: tuple[Fault, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of its faults, each once."""
        return tuple(dict.fromkeys(fault.code for fault in self.faults))

    @property
    def accepted(self) -> bool:
        """True where nothing is against it."""
        return not self.faults

    def __str__(self) -> str:
        """A rejection in one line: what was rejected, every reason, and whether it was run."""
        where = "" if self.file == self.origin else f"{self.file}, "
        hashed = f"sha256 {self.sha256}" if self.sha256 else "no hash"
        version = f" {self.version}" if self.version else ""
        what = f"{self.id or 'unknown plugin'}{version} from {self.origin} ({where}{hashed})"
        reasons = "; ".join(str(fault) for fault in self.faults)
        unrun = "" if was_run(self.codes) else "; none of its code was run"
        # Names and versions are the plugin's own words.
        return printable(f"rejected {what}: {reasons}{unrun}", most=_CHARACTERS)


def was_run(codes: Iterable[str]) -> bool:
    """True where code of a plugin ran before the gate of one of these codes closed."""
    return any(code >= _FIRST_CODE_AFTER_IMPORT for code in codes)
