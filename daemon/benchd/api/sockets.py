"""Places to listen on: the Unix socket with its permissions, and TCP on loopback."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import stat
import tempfile
from pathlib import Path

from benchd.config import HttpSettings
from benchd.edge import login
from benchd.errors import UserError

PATH_LIMIT = 107  # bytes: what fits into the kernel's sun_path with its terminating zero
TEMPORARY = 12  # bytes that the name while binding may be longer than the directory's
BACKLOG = 128  # connections that may wait to be accepted; Linux's usual somaxconn allows more
ANSWER_PATIENCE = 1.0  # seconds for a daemon that may be there to accept a connection


def bind_unix(path: Path) -> socket.socket:
    """Listen on a Unix socket that only owner and group may open.

    It is bound under another name in a private directory, given its mode and then moved into
    place, so that it is never open to others for a moment and no process-wide umask is touched.
    """
    longest = max(len(os.fsencode(path)), len(os.fsencode(path.parent)) + TEMPORARY)
    if longest > PATH_LIMIT:
        raise UserError(
            f"the socket path {path} is too long for the kernel ({PATH_LIMIT} bytes): "
            "set `socket:` in the configuration to a shorter one"
        )
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.parent.chmod(0o750)
        _make_room(path)
        return _bind_at(path)
    except OSError as error:
        raise UserError(
            f"cannot listen on {path}: {error.strerror}: "
            "set `socket:` in the configuration to a place this user may write to"
        ) from error


def _bind_at(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as private:
        first = Path(private) / "s"
        try:
            listening.bind(str(first))
            first.chmod(0o660)
            listening.listen(BACKLOG)
            listening.setblocking(False)
            first.replace(path)
        except BaseException:
            listening.close()
            raise
    return listening


def _make_room(path: Path) -> None:
    """Remove a socket that nobody answers; leave anything else alone."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise UserError(f"{path} exists and is not a socket: move it away, or set `socket:`")
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as trial:
        trial.settimeout(ANSWER_PATIENCE)
        try:
            trial.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError as error:
            raise UserError(
                f"cannot tell who listens on {path} ({error.strerror or error}): remove it if no "
                "benchd runs"
            ) from error
    raise UserError(f"another benchd answers on {path}: stop it first, or set `socket:`")


def bind_tcp(settings: HttpSettings, *, has_token: bool) -> socket.socket:
    """Listen on ``host:port``; off loopback only when a token is asked for."""
    host, colon, port = settings.listen.rpartition(":")
    host = host.strip("[]")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise UserError(
            f"http.listen: {settings.listen!r} is not HOST:PORT; write 127.0.0.1:9469, or null"
        )
    if not is_loopback(host) and not has_token:
        raise UserError(
            f"http.listen: {host} can be reached from other machines: set http.token_file, "
            "or listen on 127.0.0.1"
        )
    try:
        family, kind, proto, _name, address = socket.getaddrinfo(
            host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, proto)
    except OSError as error:
        raise UserError(f"http.listen: {settings.listen}: {error.strerror or error}") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise UserError(
            f"http.listen: cannot listen on {settings.listen}: {error.strerror}: another program "
            "has the port? set http.listen to a free one, or to null"
        ) from error
    return listening


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address means this machine and nothing else."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_token(settings: HttpSettings) -> str | None:
    """Return the token that TCP clients must show, if one is configured."""
    if settings.token_file is None:
        return None
    path = Path(login.path(settings.token_file))
    try:
        mode = path.stat().st_mode
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"http.token_file: cannot read {path}: {error}") from error
    if login.is_open(path, mode):
        raise UserError(f"http.token_file: {path} can be read by others: chmod 600 {path}")
    if len(token) < 16:  # a shorter one can be guessed
        raise UserError(
            f"http.token_file: {path} holds fewer than 16 characters: "
            "write a longer one, for example with `openssl rand -hex 24`"
        )
    return token
