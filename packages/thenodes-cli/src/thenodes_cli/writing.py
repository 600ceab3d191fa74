"""Writing past the buffers of streams, from threads that may wait."""

from __future__ import annotations

import os
import select

__all__ = ["write_all"]


def write_all(number: int, data: bytes) -> None:
    """Write all of it to a descriptor, however long that takes.

    Whoever shares a terminal or a pipe may have made it one that does not block.

    Raises:
        OSError: nobody reads it any more.
    """
    while data:
        try:
            data = data[os.write(number, data) :]
        except BlockingIOError:
            ready = select.poll()
            ready.register(number, select.POLLOUT)
            ready.poll()
