"""Talks to the daemon: HTTP over its Unix socket, with nothing but the standard library."""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from benchd.core.places import sockets

OK, NO, USAGE, NO_DAEMON, REFUSED = 0, 1, 2, 3, 4  # exit statuses
PATIENCE = 35.0  # seconds for an answer; the daemon itself gives up after 30

_BY_STATUS = {400: USAGE, 404: NO, 405: NO_DAEMON, 500: NO, 502: NO, 503: NO_DAEMON, 504: NO_DAEMON}


class Stop(Exception):
    """Ends the command with a message on stderr and an exit status."""

    def __init__(self, message: str, status: int, answer: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.answer = answer


class _Connection(http.client.HTTPConnection):
    """An HTTP connection through a Unix socket."""

    def __init__(self, path: str, patience: float) -> None:
        super().__init__("benchd", timeout=patience)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Daemon:
    """The daemon behind a socket; every method is one request."""

    def __init__(self, path: str | None) -> None:
        self._places = (path,) if path else default_sockets()
        self.patience = PATIENCE  # seconds; who asks again and again gives up sooner

    def get(self, path: str, **query: object) -> dict[str, Any]:
        """Ask, and return the answer."""
        return self._json("GET", _with(path, query))

    def post(self, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Want something, and return the answer."""
        data = json.dumps(body or {}).encode()
        return self._json("POST", path, data, "application/json")

    def submit(self, name: str, data: bytes, overrides: list[str]) -> dict[str, Any]:
        """Hand a recipe in as it is, byte by byte."""
        path = _with("/v1/runs", {"name": name, "set": overrides})
        return self._json("POST", path, data, "application/yaml")

    def text(self, path: str, **query: object) -> str:
        """Ask for something that is not JSON."""
        status, raw = self._send("GET", _with(path, query), b"", "")
        if status >= 400:
            raise _stop(status, _object(raw))
        return raw.decode(errors="replace")

    def _json(self, method: str, path: str, data: bytes = b"", kind: str = "") -> dict[str, Any]:
        status, raw = self._send(method, path, data, kind)
        answer = _object(raw)
        if status >= 400:
            raise _stop(status, answer)
        return answer

    def _send(self, method: str, path: str, data: bytes, kind: str) -> tuple[int, bytes]:
        place = self._place()
        connection = _Connection(place, self.patience)
        try:
            connection.request(method, path, data or None, {"Content-Type": kind} if kind else {})
            response = connection.getresponse()
            return response.status, response.read()
        except TimeoutError as error:
            raise Stop(
                f"no answer from {place} in {self.patience:.0f} s: see its log", NO_DAEMON
            ) from error
        except PermissionError as error:
            raise Stop(
                f"you may not open {place}: ask the owner of this benchd", REFUSED
            ) from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise Stop(
                f"cannot reach benchd at {place}: {reason}: start it with `benchd run`; one that "
                "has a `--config` of its own is named by --socket PATH or $BENCHD_SOCKET",
                NO_DAEMON,
            ) from error
        finally:
            connection.close()

    def _place(self) -> str:
        """Return the first place where there is a socket, else the first."""
        return next((p for p in self._places if Path(p).exists()), self._places[0])


def default_sockets() -> tuple[str, ...]:
    """Return where the socket of this user's or of the system's daemon is."""
    return sockets(os.environ, str(Path.home()))


def segment(word: str) -> str:
    """Return a word safe as one part of a path."""
    return quote(word, safe="")


def _with(path: str, query: Mapping[str, object]) -> str:
    given = {key: value for key, value in query.items() if value is not None}
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


def _object(raw: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(raw)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise Stop(f"benchd answered something else than JSON: {raw[:80]!r}", NO_DAEMON)
    return answer


def _stop(status: int, answer: Mapping[str, Any]) -> Stop:
    error = answer.get("error") or {}
    what, fix = str(error.get("what") or f"status {status}"), str(error.get("fix") or "")
    code = USAGE if error.get("ambiguous") else _BY_STATUS.get(status, REFUSED)
    return Stop(f"{what}: {fix}" if fix else what, code, answer)
