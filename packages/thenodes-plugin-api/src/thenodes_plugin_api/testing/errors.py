"""Everything that the test kit raises on purpose.

```
TheNodesError
├── RegistrationError    a manifest or what it registers would be refused by a host
└── PromptFailed         a line typed at the prompt got no answer
AssertionError
└── NonConformance       `check_plugin` found faults
```
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import TheNodesError

__all__ = ["NonConformance", "PromptFailed", "RegistrationError"]


class RegistrationError(TheNodesError):
    """A host would refuse this plugin."""


class PromptFailed(TheNodesError):
    """The plugin is not running, has no shell, or `on_prompt` raised (see `__cause__`)."""


class NonConformance(AssertionError):
    """A plugin does what a host would hold against it.

    Attributes:
        faults: one sentence each.
    """

    def __init__(self, plugin_id: str, faults: Sequence[str]) -> None:
        lines = "".join(f"\n  * {fault}" for fault in faults)
        super().__init__(f"plugin {plugin_id} does not conform:{lines}")
        self.faults = tuple(faults)
