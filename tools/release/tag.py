"""Whether a tag names a release: the package, its version, and a changelog that tells of it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .bump import too_narrow
from .changelog import notes
from .workspace import Package, ReleaseError, parse_version

__all__ = ["released"]

_TAG = re.compile(r"(?P<name>thenodes-[a-z-]+)-v(?P<version>.+)")


def released(packages: Mapping[str, Package], tag: str) -> Package:
    """The package that a tag releases.

    Raises:
        ReleaseError: the tag is not one of a release, or the tree says otherwise.
    """
    match = _TAG.fullmatch(tag)
    if match is None or match["name"] not in packages:
        known = ", ".join(f"{name}-v…" for name in packages)
        raise ReleaseError(f"{tag!r} is not the tag of a release; expected one of {known}")
    package, version = packages[match["name"]], parse_version(match["version"])
    if package.version != version:
        raise ReleaseError(
            f"the tag says {version}, {package.version_file} says {package.version}; "
            f"tag the commit that has {version}, or use the tag {package.tag}"
        )
    notes(package, package.changelog.read_text())
    refused = too_narrow(packages, package.name, version)
    if refused:
        raise ReleaseError(f"nobody could install {package.tag}: {'; '.join(refused)}")
    return package
