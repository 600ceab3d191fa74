"""The template that comes with this program: a folder to render, and its history to update from.

Copier updates only from a git repository of the template's own. The history is a git bundle, a
file; git is told to read it where a project names the template's public address.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

__all__ = ["Packaged", "git_redirect", "packaged_template"]

_ADDRESS = "https://thenodes.invalid/templates/nep-plugin.git"
_NAME = "nep-plugin"
_TAG = re.compile(r"[0-9a-f]+ refs/tags/(v(\d+)\.(\d+)\.(\d+))")


class Packaged(msgspec.Struct, frozen=True):
    """A template on disk.

    Attributes:
        folder: what is rendered.
        bundle: the history of its released versions, as git bundles one.
        address: what a project records as its template, and updates from.
    """

    folder: Path
    bundle: Path
    address: str = _ADDRESS

    def newest(self) -> str:
        """Return the newest version, such as `"v1.0.0"`: what the folder holds.

        It is read from the bundle's header, so git is not needed.
        """
        with self.bundle.open("rb") as file:
            header = b"".join(iter(lambda: file.readline(1024).rstrip(b"\n") + b"\n", b"\n"))
        found = [match.groups() for match in _TAG.finditer(header.decode("ascii"))]
        return max(found, key=lambda tag: tuple(map(int, tag[1:])))[0]


def packaged_template() -> Packaged:
    """Return the template in this installation, or in the checkout that it is installed from."""
    package = Path(__file__).parent.parent
    folder = package / "_template"
    if not folder.is_dir():
        folder = package.parents[3] / "templates"
    return Packaged(folder / _NAME, folder / f"{_NAME}.bundle")


def git_redirect(packaged: Packaged, environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that let git read the bundle in the place of the template's address.

    They have to be set before Copier is imported, which keeps a copy of the environment.

    Args:
        packaged: the template.
        environment: what is set already; its own such variables are kept.
    """
    count = int(environment.get("GIT_CONFIG_COUNT") or 0)
    # git looks for a file of that name as it stands, so it has to be absolute.
    bundle = Path(os.path.abspath(packaged.bundle)).as_posix()
    return {
        f"GIT_CONFIG_KEY_{count}": f"url.{bundle}.insteadOf",
        f"GIT_CONFIG_VALUE_{count}": packaged.address,
        "GIT_CONFIG_COUNT": str(count + 1),
    }
