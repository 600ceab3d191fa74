"""The limit of open files is raised by programs, and only told by the library."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from thenodes_core import Config, Node
from thenodes_core.descriptors import descriptor_limit, raise_descriptor_limit
from thenodes_core.limits import Limits
from thenodes_plugin_api import Event, Level, SystemEvent


@pytest.fixture(autouse=True)
def _limits() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def lower(soft: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_limit_is_raised_as_far_as_it_may() -> None:
    lower(256)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)

    assert raise_descriptor_limit() == descriptor_limit() == most


def test_a_limit_that_cannot_be_raised_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: int, limits: tuple[int, int]) -> None:
        raise ValueError("not allowed to raise maximum limit")

    lower(256)
    with monkeypatch.context() as patched:
        patched.setattr(resource, "setrlimit", refuse)

        assert raise_descriptor_limit() == 256


class Events:
    """Keeps what a node tells."""

    def __init__(self) -> None:
        self.told: list[SystemEvent] = []

    async def handle(self, event: Event) -> None:
        if isinstance(event, SystemEvent):
            self.told.append(event)


@pytest.mark.parametrize(("max_sessions", "told"), [(4096, True), (100, False)])
async def test_a_node_that_admits_more_peers_than_fit_tells_it(
    max_sessions: int, told: bool
) -> None:
    lower(512)
    events = Events()

    async with Node(Config(port=0, limits=Limits(max_sessions=max_sessions)), sinks=(events,)):
        assert descriptor_limit() == 512

    warnings = [e.detail for e in events.told if e.level is Level.WARNING]
    assert ("may open only 512 files" in "".join(warnings)) is told
