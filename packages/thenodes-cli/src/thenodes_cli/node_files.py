"""A node's key, certificate and trust on disk, whether it runs or not."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import msgspec

from thenodes_core import Config
from thenodes_core.config import expand, validate
from thenodes_core.errors import StateDirError
from thenodes_core.protocol.realm import make_realm
from thenodes_core.security.certificates import CERTIFICATE_FILE
from thenodes_core.security.identity import IDENTITY_FILE, Identity, load_identity
from thenodes_core.store.state_dir import StateDir
from thenodes_plugin_api import Realm

from .commands.target import DEFAULT_STATE_DIR, read_settings

__all__ = ["NodeFiles", "read_node_files"]


class NodeFiles(msgspec.Struct, frozen=True):
    """Where a node keeps what proves it; nothing is read or made by looking.

    Attributes:
        config: its settings.
        state_dir: its state directory.
        options: the options that lead here, for the ways out that errors name.
    """

    config: Config
    state_dir: Path
    options: str

    @property
    def realm(self) -> Realm:
        """The node's realm."""
        table = self.config.realm
        return make_realm(table.name, table.version, table.code)

    @property
    def key(self) -> Path:
        """The file of the node key."""
        named = self.config.encryption.paths.own_private_key
        return expand(named) if named else self.state_dir / IDENTITY_FILE

    @property
    def certificate(self) -> Path:
        """The file of the node's certificate."""
        named = self.config.encryption.paths.own_certificate
        return expand(named) if named else self.state_dir / CERTIFICATE_FILE

    def read_identity(self) -> Identity:
        """Read the node key.

        Raises:
            StateDirError: there is none, or it cannot be used.
        """
        if self.config.encryption.paths.own_private_key is None and self._has_no_key():
            raise StateDirError(
                f"{self.state_dir} holds no identity yet. "
                f"To make one: thenodes identity new {self.options}"
            )
        return load_identity(self.key)

    def _has_no_key(self) -> bool:
        try:
            self.key.lstat()
        except FileNotFoundError:
            return True
        except OSError:
            return False  # Whoever reads it tells why that fails.
        return False

    def chosen_id(self) -> str | None:
        """The id that the operator chose; None where it derives from the key.

        Raises:
            StateDirError: a file holds it, and cannot be used.
        """
        node = self.config.node
        return node.id or StateDir(self.state_dir).read_node_id(node.id_file)


def read_node_files(
    config_file: Path | None, state_dir: Path | None, *, realm: str | None = None
) -> NodeFiles:
    """The files of the node that `thenodes run` would start with the same options.

    Raises:
        ConfigError: the settings cannot be used.
    """
    options: dict[str, Any] = {}
    if state_dir is not None:
        options["node"] = {"state_dir": str(state_dir)}
    if realm is not None:
        # With the code of the file it would go on being the file's realm.
        options["realm"] = {"name": realm, "code": None}
    settings = read_settings(config_file, options)
    validate(settings.config, settings.origins)
    directory = expand(settings.config.node.state_dir or DEFAULT_STATE_DIR)
    words = [] if config_file is None else ["--config", str(config_file)]
    if state_dir is not None or config_file is None:
        words += ["--state-dir", str(directory)]
    return NodeFiles(settings.config, directory, shlex.join(words))
