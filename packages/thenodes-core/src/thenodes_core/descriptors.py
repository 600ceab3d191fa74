"""How many files and sockets this process may have open."""

from __future__ import annotations

import contextlib
import resource

__all__ = ["descriptor_limit", "raise_descriptor_limit"]

_MOST = 65_536


def descriptor_limit() -> int:
    """The soft limit; `_MOST` where there is none."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if soft == resource.RLIM_INFINITY else soft


def raise_descriptor_limit() -> int:
    """Raise the soft limit as far as the hard one lets it, at most to 65,536.

    For a program to call about itself; a library leaves the process as it is.

    Returns:
        The soft limit, raised or not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # macOS says "infinity" and refuses more than the kernel's own bound.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return descriptor_limit()
