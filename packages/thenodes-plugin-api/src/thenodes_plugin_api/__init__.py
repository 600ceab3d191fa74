"""Everything a TheNodes plugin may import.

```python
from thenodes_plugin_api import Message, Plugin, PluginContext, PluginRegistrarApi

class MyPlugin(Plugin):
    abi = 1
    prompt_prefix = "my"

    async def on_message(self, message: Message, ctx: PluginContext) -> None:
        ctx.logger.info("from %s: %r", message.sender, message.body)

def register_plugin(api: PluginRegistrarApi) -> None:
    api.register_plugin(MyPlugin())
```
"""

from . import (
    abi,
    config,
    context,
    delivery,
    errors,
    events,
    manifest,
    messages,
    payload,
    peers,
    relay,
    service,
)
from ._version import __version__
from .abi import *  # noqa: F403 - each module's __all__ is its public surface
from .config import *  # noqa: F403
from .context import *  # noqa: F403
from .delivery import *  # noqa: F403
from .errors import *  # noqa: F403
from .events import *  # noqa: F403
from .manifest import *  # noqa: F403
from .messages import *  # noqa: F403
from .payload import *  # noqa: F403
from .peers import *  # noqa: F403
from .plugin import Plugin
from .realm import Realm
from .registrar import PluginRegistrarApi
from .relay import *  # noqa: F403
from .service import *  # noqa: F403

__all__ = ["Plugin", "PluginRegistrarApi", "Realm", "__version__"]
__all__ += abi.__all__
__all__ += config.__all__
__all__ += context.__all__
__all__ += delivery.__all__
__all__ += errors.__all__
__all__ += events.__all__
__all__ += manifest.__all__
__all__ += messages.__all__
__all__ += payload.__all__
__all__ += peers.__all__
__all__ += relay.__all__
__all__ += service.__all__
