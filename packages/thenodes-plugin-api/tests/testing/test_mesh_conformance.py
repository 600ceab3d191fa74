"""The mesh does what every host does; the core runs the same suite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from thenodes_plugin_api.testing import Mesh
from thenodes_plugin_api.testing.conformance import BEHAVIOURS, Behaviour, MeshRig


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[MeshRig]:
    async with Mesh(directory=tmp_path) as mesh:
        yield MeshRig(mesh)


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: behaviour.__name__)
async def test_the_mesh_behaves_as_a_host(behaviour: Behaviour, rig: MeshRig) -> None:
    await behaviour(rig)
