"""The fixtures of the test kit, for pytest with pytest-asyncio.

They are about the project that the test file belongs to: the nearest
`thenodes-plugin.toml` in it, or in `src/*/` of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ..errors import ManifestError
from ..plugin import Plugin
from .clock import ManualClock
from .loading import Registered, find_manifest, make_config, register
from .mesh import Mesh
from .recording import RecordingContext

try:
    from pytest_asyncio import fixture as async_fixture
except ImportError:
    # This module is loaded in every run of pytest beside this package, also without the extra.
    async_fixture = pytest.fixture  # type: ignore[assignment]

__all__ = ["clock", "context", "mesh", "plugin", "registered_plugin"]


@pytest.fixture
def registered_plugin(request: pytest.FixtureRequest) -> Registered:
    """The project's manifest, and what it registered, anew for each test."""
    return register(request.path)


@pytest.fixture
def plugin(registered_plugin: Registered) -> Plugin:
    """The project's plugin, anew for each test; no hook was called."""
    return registered_plugin.plugin


@pytest.fixture
def clock() -> ManualClock:
    """The clock of `context` and `mesh`."""
    return ManualClock()


@async_fixture
async def context(
    request: pytest.FixtureRequest, clock: ManualClock, tmp_path: Path
) -> AsyncIterator[RecordingContext]:
    """A recording context with the project's id and configuration defaults."""
    plugin_id, config = "my", {}
    if _has_project(request):
        registered: Registered = request.getfixturevalue("registered_plugin")
        plugin_id, config = registered.id, make_config(registered)
    made = RecordingContext(plugin_id, config=config, clock=clock, data_dir=tmp_path / "plugin")
    yield made
    await made.close()


@async_fixture
async def mesh(
    request: pytest.FixtureRequest, clock: ManualClock, tmp_path: Path
) -> AsyncIterator[Mesh]:
    """A mesh without nodes, whose nodes run the project's plugin by default."""
    project = request.path if _has_project(request) else None
    async with Mesh(project, clock=clock, directory=tmp_path / "mesh") as made:
        yield made


def _has_project(request: pytest.FixtureRequest) -> bool:
    try:
        find_manifest(request.path)
    except ManifestError:
        return False
    return True
