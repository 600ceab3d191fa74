"""Puts the plugin template into what is built: as a folder, and its history as a git bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_NAMES = ("nep-plugin", "nep-plugin.bundle")


class TemplateHook(BuildHookInterface[Any]):
    """In a checkout the template lies beside the packages, in a source distribution in this one."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the template; an editable installation reads it in the checkout."""
        if version == "editable":
            return
        root = Path(self.root)
        templates = root / "templates"
        if not templates.is_dir():
            templates = root.parents[1] / "templates"
        target = "templates" if self.target_name == "sdist" else "thenodes_cli/_template"
        for name in _NAMES:
            build_data["force_include"][str(templates / name)] = f"{target}/{name}"
