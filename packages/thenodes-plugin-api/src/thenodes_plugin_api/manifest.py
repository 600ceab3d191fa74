"""`thenodes-plugin.toml`: what a plugin says about itself, readable without running it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from .errors import ManifestError

__all__ = [
    "MANIFEST_NAME",
    "ConfigSection",
    "Manifest",
    "MessagesSection",
    "NetworkSection",
    "PluginSection",
    "PromptCommand",
    "PromptSection",
    "ServiceSection",
    "parse_manifest",
]

MANIFEST_NAME = "thenodes-plugin.toml"
"""Its file name, inside the import package."""

PluginId = Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z0-9_-]{0,63}\Z")]
Prefix = Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z0-9_-]{0,31}\Z")]
EntryPoint = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z_][\w.]*:[A-Za-z_]\w*\Z")]
Claim = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(\.\*)?\Z")]
ServiceKind = Literal[
    "RELAY_BIND", "RELAY_BIND_ACK", "RELAY_FWD", "RELAY_UNBIND", "RELAY_NOTIFY", "ACK"
]
Capability = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class _Section(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"
):
    pass


class PluginSection(_Section, frozen=True, kw_only=True):
    """`[plugin]`: who it is.

    Attributes:
        id: immutable; lowercase letters, digits, `-` and `_`.
        version: of the plugin.
        entry: `module:function`, called with the registrar.
        abi: the ABI generation it was written for.
        abi_revision: the revision it needs of that generation.
    """

    id: PluginId
    version: str
    entry: EntryPoint
    abi: int
    abi_revision: int = 0


class PromptCommand(_Section, frozen=True, kw_only=True):
    """A command of the plugin's shell, for help and completion."""

    name: str
    help: str = ""


class PromptSection(_Section, frozen=True, kw_only=True):
    """`[prompt]`: its shell."""

    prefix: Prefix | None = None
    commands: tuple[PromptCommand, ...] = ()


class MessagesSection(_Section, frozen=True, kw_only=True):
    """`[messages]`: what of messages is for the plugin.

    Attributes:
        handles: EXTENSION kinds that it claims, exact or ending in `.*`.
        text: whether TEXT reaches it. What reaches no plugin is shown to the operator.
    """

    handles: tuple[Claim, ...] = ()
    text: bool = True


class NetworkSection(_Section, frozen=True, kw_only=True):
    """`[network]`: capabilities that it may put into HELLO."""

    advertises: tuple[Capability, ...] = ()


class ServiceSection(_Section, frozen=True, kw_only=True):
    """`[service]`: the plugin carries other nodes' messages, and is given `ctx.service`.

    Attributes:
        kinds: what it handles in the place of plugins: `RELAY_BIND`, `RELAY_BIND_ACK`,
            `RELAY_FWD`, `RELAY_UNBIND`, `RELAY_NOTIFY`, `ACK`. One service a kind.
        table: the table of the node's configuration that it is given: `network.relay`.
        commands: first words of the commands that it adds.
    """

    kinds: tuple[ServiceKind, ...]
    table: Literal["network.relay"] | None = None
    commands: tuple[Prefix, ...] = ()


class ConfigSection(_Section, frozen=True, kw_only=True):
    """`[config]`: defaults of its own table in the node's configuration."""

    defaults: dict[str, object] = {}


class Manifest(_Section, frozen=True, kw_only=True):
    """A whole manifest; `manifest` is the format's version."""

    manifest: Annotated[int, msgspec.Meta(ge=1, le=1)]
    plugin: PluginSection
    prompt: PromptSection = PromptSection()
    messages: MessagesSection = MessagesSection()
    network: NetworkSection = NetworkSection()
    service: ServiceSection | None = None
    config: ConfigSection = ConfigSection()


def parse_manifest(text: str, *, source: str = MANIFEST_NAME) -> Manifest:
    """Read a manifest.

    Args:
        text: the file's content.
        source: the file's name, for errors.

    Raises:
        ManifestError: not TOML, or a key is missing, unknown or of the wrong type.
    """
    try:
        table: Mapping[str, object] = tomllib.loads(text)
        return msgspec.convert(table, Manifest)
    except msgspec.ValidationError as error:
        raise ManifestError(f"{source}: {error}") from error
    except (ValueError, RecursionError) as error:
        # What tomllib raises for a number of 5000 digits, or for endless nesting.
        raise ManifestError(f"{source}: not TOML: {error}") from error
