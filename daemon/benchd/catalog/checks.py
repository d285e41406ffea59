"""Health checks: what to look at, and what the answer means. Fetching it is the edge's part.

``request`` says what to fetch, ``verdict`` judges what came back. For tcp, http and redis the
look carries the bytes to send; the first line of the answer is all that the verdict needs. Of a
database server it needs the first packet, and of a page that must contain something the body.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from benchd.catalog import greetings, pages
from benchd.core.model import Endpoint, Verdict
from benchd.core.spec import HealthCheck

# Names by which a recipe may call the service's own node in a URL.
_SELF = frozenset({"localhost", "127.0.0.1", "0.0.0.0", "[::1]", "::1"})  # noqa: S104 - compared, not bound
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?: ([^\r\n]*))?")
# What older recipes for Chroma ask, and what it has answered since 1.0.
_OLD_CHROMA = ("/api/v1/heartbeat", 410)
# Characters of an answer that are shown to the user.
_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Tcp:
    """Connect; nothing is sent."""

    host: str
    port: int
    send: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """Ask for a page; any status from 200 to 399 is good, if the page has what is expected."""

    host: str
    port: int
    path: str
    expect: str = ""

    @property
    def send(self) -> bytes:
        """Return the request."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        lines = (
            f"GET {self.path} HTTP/1.1",
            f"Host: {name}:{self.port}",
            "User-Agent: benchd",
            "Accept: */*",
            "Connection: close",
            "\r\n",
        )
        return "\r\n".join(lines).encode("ascii", "replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Redis:
    """Say PING."""

    host: str
    port: int
    send: bytes = b"PING\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mysql:
    """Listen: the server speaks first."""

    host: str
    port: int
    send: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """Begin to log in."""

    host: str
    port: int
    send: bytes = greetings.POSTGRES_HELLO


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Run a shell command on the login node; status 0 is good."""

    text: str
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """Search the job's output with ``grep -E``; its exit status is the answer."""

    pattern: str


Look = Tcp | Http | Redis | Mysql | Postgres | Command | Log
_PORT_ONLY: Mapping[str, type[Tcp | Redis | Mysql | Postgres]] = {
    "tcp": Tcp,
    "redis": Redis,
    "mysql": Mysql,
    "postgres": Postgres,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """It answered: the first bytes it said, or exit status and output of a command."""

    data: bytes = b""
    status: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAnswer:
    """It did not: refused, closed, or silent until the time was over. ``detail`` says which."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAsked:
    """Our own trouble (link down, forwarding forbidden): nothing was learned about the service."""

    detail: str


# Seconds: of a pause that is one, and in which a node can be reached at all.
_LEAST = (
    ("interval", 0.05, "the service would be asked without a pause"),
    ("timeout", 0.01, "nobody answers in so short a time"),
)
Response = Answer | NoAnswer | NotAsked


def _split(endpoint: str | None) -> tuple[str | None, int | None, str, str]:
    """Return host, port, path and scheme of an http endpoint as a user writes it."""
    if not endpoint:
        return None, None, "/", ""
    if "://" not in endpoint:
        return None, None, endpoint if endpoint.startswith("/") else f"/{endpoint}", ""
    url = urlsplit(endpoint)
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    return url.hostname, url.port, path, url.scheme


def complaints(
    wanted: HealthCheck, usual: HealthCheck
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield what is wrong with a health check, with paths relative to the service.

    ``usual`` is the kind's own check, whose type holds where the recipe names none.
    """
    at = ("health_check", "endpoint")
    check = wanted
    if "type" not in wanted.model_fields_set:
        check = usual.model_copy(update=wanted.model_dump(exclude_unset=True))
    if check.type in ("command", "log") and not check.endpoint:
        what = "the shell command" if check.type == "command" else "the regular expression"
        yield (at, f"missing: a check of type {check.type} needs {what} here")
    if check.type in _PORT_ONLY and wanted.endpoint:
        what = f"a check of type {check.type} asks the service's first port: remove this"
        yield (at, what if "type" in wanted.model_fields_set else f"{what}, or say `type: http`")
    if check.expect and check.type != "http":
        what = f"a check of type {check.type} reads no page: remove this, or say `type: http`"
        yield (("health_check", "expect"), what)
    if check.type == "http" and check.endpoint:
        yield from ((at, what) for what in _http_complaints(check.endpoint))
    if check.type == "log" and check.endpoint and (wrong := _pattern_complaint(check.endpoint)):
        yield at, wrong
    for key, least, why in _LEAST:
        if getattr(check, key) < least:
            yield ("health_check", key), f"{why}: at least {least:g} s"


def _pattern_complaint(pattern: str) -> str | None:
    """Return what no program that searches can read; other dialects than Python's are let be."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # [[:alpha:]] is fine where it is used
        try:
            re.compile(pattern)
        except re.error as error:
            if any(word in error.msg for word in ("unterminated", "unbalanced", "missing )")):
                return f"{pattern!r} is no regular expression: {error.msg}"
    return None


def foreign_port(
    check: HealthCheck, ports: tuple[int | Literal["auto"], ...]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield that an http check asks a port that is none of a service that listens on its own."""
    if check.type != "http" or not check.endpoint:
        return
    with suppress(ValueError):
        port = _split(check.endpoint)[1]
        if port is not None and port not in ports:
            what = f"port {port} is none of the service's ports: write only the path, or ports: "
            yield (("health_check", "endpoint"), f"{what}[{port}]")


def _http_complaints(endpoint: str) -> Iterator[str]:
    try:
        host, _, path, scheme = _split(endpoint)
    except ValueError as error:
        yield f"{endpoint!r} is no URL: {error}"
        return
    if scheme not in ("", "http"):
        yield f"{scheme}:// is not supported: write http://localhost/path or only the path"
    if host is not None and host not in _SELF:
        yield f"a check asks the service itself, not {host!r}: write only the path"
    if not re.fullmatch(r"[!-~]+", path):
        yield f"{path!r} has characters that a URL cannot have: write them as %XX"


def request(check: HealthCheck, endpoint: Endpoint) -> Look | None:
    """Return what to fetch, or None when the service has no port that could be asked."""
    if check.type == "log":
        return Log(pattern=check.endpoint or "")
    host, ports = endpoint.host, endpoint.ports
    if check.type == "command":
        env = {"BENCHD_HOST": host}
        env |= {"BENCHD_PORT": str(ports[0])} if ports else {}
        env |= {f"BENCHD_PORT_{i}": str(port) for i, port in enumerate(ports)}
        return Command(text=check.endpoint or "", env=env)
    if check.type == "http":
        _, port, path, _ = _split(check.endpoint)
        if port is None and not ports:
            return None
        return Http(host=host, port=port or ports[0], path=path, expect=check.expect or "")
    if not ports:
        return None
    return _PORT_ONLY[check.type](host=host, port=ports[0])


def verdict(look: Look, response: Response) -> tuple[Verdict, str]:
    """Return what the response says about the service, and a sentence for the user."""
    if isinstance(response, NotAsked):
        return Verdict.NONE, response.detail
    if isinstance(response, NoAnswer):
        return Verdict.BAD, response.detail
    return _judge(look, response)


def _judge(look: Look, response: Answer) -> tuple[Verdict, str]:
    match look:
        case Tcp(port=port):
            return Verdict.GOOD, f"port {port} accepts connections"
        case Http():
            return _http(look, response.data)
        case Redis():
            return _redis(response.data)
        case Mysql():
            return greetings.mysql(response.data)
        case Postgres():
            return greetings.postgres(response.data)
        case Command():
            return _command(response)
        case Log(pattern=pattern):
            return _log(pattern, response)


def _text(data: bytes) -> str:
    first = data.split(b"\n", 1)[0].strip()[:_SHOWN].decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "?" for c in first)


def _http(look: Http, data: bytes) -> tuple[Verdict, str]:
    path = look.path
    match = _STATUS_LINE.match(data)
    if match is None:
        said = f"it said {_text(data)!r}" if data else "it closed the connection without a word"
        return Verdict.BAD, f"GET {path}: not an HTTP server: {said}"
    status = int(match[1])
    detail = f"GET {path}: {status} {_text(match[2] or b'')}".rstrip()
    if (path, status) == _OLD_CHROMA:
        return Verdict.GOOD, f"{detail}: Chroma is up, and since 1.0 answers at /api/v2/heartbeat"
    if not 200 <= status < 400:
        return Verdict.BAD, detail
    if not look.expect:
        return Verdict.GOOD, detail
    body = pages.body(data)
    if look.expect.encode() in body:
        return Verdict.GOOD, f"{detail}, with {look.expect!r} in it"
    read = f"the first {pages.PAGE} bytes" if len(data) >= pages.PAGE else f"{len(body)} bytes"
    return Verdict.BAD, f"{detail}, but {look.expect!r} is not in it ({read} read)"


def _redis(data: bytes) -> tuple[Verdict, str]:
    said = _text(data)
    if data.startswith(b"+PONG"):
        return Verdict.GOOD, "PONG"
    if data.startswith(b"-NOAUTH"):
        return Verdict.GOOD, "up, but it wants a password (NOAUTH)"
    if data.startswith(b"-LOADING"):
        return Verdict.BAD, "loading its data set from disk"
    if data.startswith(b"-DENIED"):
        return Verdict.BAD, "protected mode refuses other nodes: start it with --protected-mode no"
    if not data:
        return Verdict.BAD, "it closed the connection without a word"
    return Verdict.BAD, f"no PONG but {said!r}"


def _command(answer: Answer) -> tuple[Verdict, str]:
    lines = answer.data.strip().split(b"\n")
    detail = f"exit status {answer.status}" + (f": {_text(lines[-1])}" if lines[-1] else "")
    return (Verdict.GOOD if answer.status == 0 else Verdict.BAD), detail


def _log(pattern: str, answer: Answer) -> tuple[Verdict, str]:
    if answer.status == 0:
        return Verdict.GOOD, f"the output has a line that matches {pattern!r}"
    if answer.status == 1:
        return Verdict.BAD, f"no line of the output matches {pattern!r} yet"
    return Verdict.BAD, f"cannot search for {pattern!r}: {_text(answer.data)}"
