"""What went wrong with a connection, in words for people."""

from __future__ import annotations

import errno
import os
import ssl

__all__ = ["dial_problem", "listen_problem"]

_NOT_HERE = "not an address of this machine"


def listen_problem(host: str, port: int, error: OSError) -> str:
    """Why an address cannot be listened on."""
    match error.errno:
        case errno.EADDRINUSE:
            why = "the port is taken by another program; choose another with --port"
        case errno.EACCES:
            why = "not permitted; ports below 1024 need privileges"
        case errno.EADDRNOTAVAIL:
            why = _NOT_HERE
        case None if "could not bind" in str(error):
            # What newer versions of asyncio make of it.
            why = _NOT_HERE
        case _:
            why = error.strerror or str(error)
    return f"cannot listen on {host}:{port}: {why}"


def dial_problem(error: BaseException) -> str:
    """Why no connection came about; the error of either side."""
    match error:
        case TimeoutError():
            return "no answer in time"
        case ssl.SSLCertVerificationError():
            return f"TLS certificate refused: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS failed: {error.reason or error}".lower().replace("tls", "TLS")
        case OSError() if error.errno is not None and error.errno > 0:
            return os.strerror(error.errno).lower()
        case _:
            cause = error.__cause__
            return str(error) + (f": {cause}" if cause is not None else "")
