"""The form of every answer: JSON with its schema, and errors that say what to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from benchd.errors import (
    BenchdError,
    DocumentError,
    NeedsHuman,
    StoreError,
    StoreFull,
    Unreachable,
    UserError,
)


class Problem(BenchdError):
    """An answer that is not a success: HTTP status, what happened, what to do next."""

    def __init__(
        self, status: int, what: str, fix: str = "", extra: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(what)
        self.status = status
        self.what = what
        self.fix = fix
        self.extra = dict(extra or {})


def answer(thing: str, content: Mapping[str, object], status: int = 200) -> web.Response:
    """Return JSON with ``"schema": "benchd.<thing>/1"`` in front."""
    body = {"schema": f"benchd.{thing}/1", **content}
    text = json.dumps(body, ensure_ascii=False, allow_nan=False)
    return web.Response(text=text + "\n", status=status, content_type="application/json")


async def json_body(request: web.Request) -> Mapping[str, Any]:
    """Return the body as a JSON object; an empty body is an empty object."""
    try:
        body = json.loads(await request.read() or b"{}")
        json.dumps(body, ensure_ascii=False).encode()  # no halves of characters, such as \\ud800
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"the body is not JSON: {error}", "send a JSON object") from error
    if not isinstance(body, dict):
        raise Problem(400, "the body is not a JSON object", "send {...}")
    return body


def refusal(problem: Problem) -> web.Response:
    """Return the problem as JSON."""
    error = {"what": problem.what, "fix": problem.fix, **problem.extra}
    return answer("error", {"error": error}, problem.status)


_BY_KIND: tuple[tuple[type[BenchdError], int, str], ...] = (
    (UserError, 409, ""),
    (NeedsHuman, 502, ""),  # its message ends with the very command
    (Unreachable, 502, "the daemon keeps trying; see: benchctl status"),
    (StoreFull, 507, "free space under the state directory; nothing was lost"),
    (StoreError, 503, "ask again"),
)


def problem_of(error: BenchdError) -> Problem:
    """Translate an error by what the caller should do."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, DocumentError):
        mistakes = [
            {"line": m.line, "column": m.column, "path": m.path, "what": m.what}
            for m in error.mistakes
        ]
        fix = "correct the file and submit it again"
        return Problem(422, str(error), fix, {"mistakes": mistakes})
    for kind, status, fix in _BY_KIND:
        if isinstance(error, kind):
            return Problem(status, str(error), fix)
    return Problem(500, str(error), "see the daemon's log")


def problem_of_http(error: web.HTTPException) -> Problem:
    """Translate what aiohttp itself refuses: unknown path, wrong method, too large, malformed."""
    fixes = {
        404: "the routes are /v1/status, /v1/runs, /v1/jobs, /v1/results, /v1/clusters, /metrics",
        405: f"allowed here: {error.headers.get('Allow', 'another method')}",
        413: "a request may have 256 KiB",
    }
    what = {404: "there is no such route", 413: "the request is too large"}
    return Problem(error.status, what.get(error.status, error.reason), fixes.get(error.status, ""))
