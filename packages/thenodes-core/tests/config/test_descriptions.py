"""What is said of settings is said of every one."""

from __future__ import annotations

from thenodes_core.config import setting_types
from thenodes_core.config.descriptions import setting_tables


def test_every_setting_is_described_and_belongs_to_one_table() -> None:
    described = [setting.key for table in setting_tables() for setting in table.settings]

    assert sorted(described) == sorted(key for key, _ in setting_types() if key != "plugin")
    for table in setting_tables():
        assert table.text, table.name
        for setting in table.settings:
            assert setting.text.endswith("."), setting.key


def test_a_description_of_several_lines_is_one_line_without_its_table() -> None:
    realm = next(table for table in setting_tables() if table.name == "realm")

    assert realm.text == "the network; nodes of different realms refuse each other."
    assert realm.settings[2].name == "version"
    assert realm.settings[2].default == "1.0"
