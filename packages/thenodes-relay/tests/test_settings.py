"""The relay's table as the node hands it over."""

from __future__ import annotations

import msgspec

from thenodes_core import RelayTable
from thenodes_relay.settings import Settings, read_settings


def test_every_limit_has_the_default_that_the_node_documents() -> None:
    table = msgspec.to_builtins(RelayTable())
    settings = msgspec.to_builtins(Settings())

    assert settings == {key: table[key] for key in settings}


def test_the_path_of_the_store_is_taken_from_the_table() -> None:
    assert read_settings({"store_path": "/var/lib/frames"}).store_path == "/var/lib/frames"
