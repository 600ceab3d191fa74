"""What went wrong with a connection, in words for people."""

from __future__ import annotations

import errno
import os
import socket
import ssl

__all__ = ["dial_hint", "dial_problem", "listen_problem"]

_NOT_HERE = "not an address of this machine"
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"})
# Some systems have one number for a name without addresses, others a number of its own.
_UNKNOWN_HOST = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


def listen_problem(host: str, port: int, error: OSError, *, option: str = "--port") -> str:
    """Why an address cannot be listened on; `option` is what chooses another port."""
    match error.errno:
        case errno.EADDRINUSE:
            why = f"the port is taken by another program; choose another with {option}"
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
        case ConnectionResetError() if not error.args:
            # How asyncio tells it.
            return "the connection ended during the TLS handshake"
        case ssl.SSLError():
            return f"TLS failed: {error.reason or error}".lower().replace("tls", "TLS")
        case socket.gaierror() if error.errno in _UNKNOWN_HOST:
            return "unknown host"
        case socket.gaierror():
            return f"the host's name could not be looked up: {error.strerror}".lower()
        case OSError() if error.errno is not None and error.errno > 0:
            return os.strerror(error.errno).lower()
        case _:
            cause = error.__cause__
            return str(error) + (f": {cause}" if cause is not None else "")


def dial_hint(scheme: str, error: BaseException) -> str:
    """What may be the matter where a connection ended early; empty where that says nothing."""
    match scheme, error:
        case "ws", _ if isinstance(error.__cause__, EOFError):
            return "; perhaps only wss:// is taken there"
        case "wss", _ if isinstance(error.__cause__, EOFError):
            # In TLS 1.3 a server looks at a client's certificate when the client is done.
            return "; perhaps a certificate of a CA is asked for there (mtls)"
        case "wss", ConnectionResetError() if not error.args:
            return "; perhaps only ws:// is taken there"
        case "wss", ssl.SSLError() if error.reason in _NO_TLS:
            return "; perhaps only ws:// is taken there"
    return ""
