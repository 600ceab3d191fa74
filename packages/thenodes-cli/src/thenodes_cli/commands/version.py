"""`thenodes version`."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import click

from thenodes_plugin_api import PLUGIN_ABI_REVISION, PLUGIN_ABI_VERSION

from ..output import emit

__all__ = ["command"]

_PACKAGES = ("thenodes-cli", "thenodes-core", "thenodes-plugin-api", "thenodes-relay")


@click.command(epilog="Example: thenodes version --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """Show the versions of the installed packages and of the plugin ABI."""
    data: dict[str, object] = {package: _version(package) for package in _PACKAGES}
    data["plugin-abi"] = f"{PLUGIN_ABI_VERSION}.{PLUGIN_ABI_REVISION}"
    data["python"] = platform.python_version()
    emit("\n".join(f"{name:<20} {value}" for name, value in data.items()), data, as_json=as_json)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
