"""What it means when a connection to a compute node is not opened. Pure.

Only the node's own refusal is a verdict about what should listen there. A name that the login node
cannot resolve, or a login node out of sockets, says nothing about the service.
"""

from __future__ import annotations

import errno
import os
import re
import socket

from benchd.edge.shell import ForwardingForbidden, printable
from benchd.errors import Unreachable

# Reason codes of SSH_MSG_CHANNEL_OPEN_FAILURE (RFC 4254, 5.1).
PROHIBITED, CONNECT_FAILED, UNKNOWN_TYPE, SHORTAGE = 1, 2, 3, 4

# sshd's words are those of strerror(3), other servers' are like them.
_REFUSED = re.compile(r"refused", re.IGNORECASE)
_SILENT = re.compile(r"timed out|time-?out", re.IGNORECASE)
_SHORT = {CONNECT_FAILED: "", SHORTAGE: "it is short of resources: "}


def of_channel(where: str, target: str, code: int, reason: str) -> Exception:
    """Return what to raise when ``where`` opened no channel to ``target``."""
    said = printable(reason) or "no reason given"
    if code in (PROHIBITED, UNKNOWN_TYPE):  # a server without forwarding does not know the type
        return ForwardingForbidden(f"{where} forwards no connections ({said})")
    if code == CONNECT_FAILED and _REFUSED.search(said):
        return ConnectionRefusedError(said)
    if code == CONNECT_FAILED and _SILENT.search(said):
        return TimeoutError(said)
    return Unreachable(f"{where} opens no connection to {target}: {_SHORT.get(code, '')}{said}")


def of_error(where: str, target: str, error: OSError) -> Exception:
    """Return what to raise when this host itself could not connect."""
    # asyncio's own text repeats the address instead of the reason.
    said = os.strerror(error.errno) if error.errno else str(error)
    if isinstance(error, socket.gaierror):
        said = error.strerror or str(error)
    elif error.errno == errno.ECONNREFUSED:
        return ConnectionRefusedError(said)
    elif error.errno == errno.ETIMEDOUT:
        return TimeoutError(said)
    return Unreachable(f"{where} opens no connection to {target}: {said}")
