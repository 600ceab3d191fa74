"""A node's configuration: its shape, where its values come from, and what is refused."""

from .checks import is_loopback, uses_tls, validate
from .environment import CONFIG_VARIABLE, read_environment, variable
from .parsing import parse_value, toml_or_text
from .paths import expand
from .presets import with_defaults
from .relay_checks import relay_addresses
from .sources import (
    Locks,
    Settings,
    Source,
    given_keys,
    keys_and_values,
    load_config,
    make_config,
    parse_file,
    read_file,
    settle,
)
from .tables import (
    Config,
    DiscoveryTable,
    EncryptionTable,
    HealthTable,
    LoggingTable,
    NetworkTable,
    NodeTable,
    PersistenceTable,
    PluginsTable,
    RealmAccessTable,
    RealmTable,
    RelayTable,
    TransportTable,
    TrustPolicyTable,
    setting_types,
)

__all__ = [
    "CONFIG_VARIABLE",
    "Config",
    "DiscoveryTable",
    "EncryptionTable",
    "HealthTable",
    "Locks",
    "LoggingTable",
    "NetworkTable",
    "NodeTable",
    "PersistenceTable",
    "PluginsTable",
    "RealmAccessTable",
    "RealmTable",
    "RelayTable",
    "Settings",
    "Source",
    "TransportTable",
    "TrustPolicyTable",
    "expand",
    "given_keys",
    "is_loopback",
    "keys_and_values",
    "load_config",
    "make_config",
    "parse_file",
    "parse_value",
    "read_environment",
    "read_file",
    "relay_addresses",
    "setting_types",
    "settle",
    "toml_or_text",
    "uses_tls",
    "validate",
    "variable",
    "with_defaults",
]
