"""Talking to systemd (sd_notify): a datagram to the socket it named; nothing without it."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

import structlog

log = structlog.get_logger()


def send(message: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Send one message; False without a socket or an answer. Never waits, never raises."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):  # the abstract name space
        address = "\0" + address[1:]
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    try:
        with socket.socket(socket.AF_UNIX, kind) as channel:
            channel.sendto(message.encode("utf-8", "backslashreplace"), address)
    except OSError as error:
        log.warning("systemd.unreachable", error=str(error))
        return False
    return True


def ready() -> bool:
    """Say that the daemon works."""
    return send("READY=1")


def stopping() -> bool:
    """Say that the daemon is about to end."""
    return send("STOPPING=1")


def watchdog() -> bool:
    """Say that the loop made progress."""
    return send("WATCHDOG=1")


def status(text: str) -> bool:
    """Set the line that ``systemctl status`` shows."""
    return send(f"STATUS={' '.join(text.split())}")  # a line break would start another field


def watchdog_interval(environ: Mapping[str, str] = os.environ) -> float | None:
    """Return how often (seconds) to call ``watchdog``: a third of the time systemd allows us.

    None when systemd does not watch this process.
    """
    try:
        allowed = int(environ["WATCHDOG_USEC"])
        watched = int(environ.get("WATCHDOG_PID") or os.getpid())
    except (KeyError, ValueError):
        return None
    return allowed / 3e6 if allowed > 0 and watched == os.getpid() else None
