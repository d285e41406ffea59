"""Who may ask, how long an answer may take, and how a mistake is answered."""

from __future__ import annotations

import asyncio
import hmac
import os
import socket
import struct
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from benchd.api.answers import Problem, problem_of, problem_of_http, refusal
from benchd.api.control import Reads
from benchd.api.door import Door
from benchd.api.routes import UID
from benchd.api.sockets import is_loopback
from benchd.errors import BenchdError, StoreError

log = structlog.get_logger()

REQUEST_DEADLINE = 30.0  # seconds for a whole request; reading a log over a slow link takes some
_UCRED = struct.Struct("3i")  # pid, uid, gid: struct ucred of Linux
ROOT = 0  # uid
NOTE_LIMIT = 400  # characters of a command and of its answer that are kept

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]
Admission = Callable[[web.Request], int]


def gate(door: Door, admit: Admission) -> Middleware:
    """Return the outermost layer: admission, deadline, and an answer for every mistake."""

    @web.middleware
    async def layer(request: web.Request, handler: Answering) -> web.StreamResponse:
        transport = request.transport
        door.begins(transport)
        try:
            async with asyncio.timeout(REQUEST_DEADLINE):
                request[UID] = admit(request)
                return await handler(request)
        except TimeoutError:
            return refusal(Problem(504, f"no answer in {REQUEST_DEADLINE:.0f} s", "ask again"))
        except web.HTTPException as error:
            return refusal(problem_of_http(error))
        except BenchdError as error:
            return refusal(problem_of(error))
        except Exception:  # one failed answer must not end the connection's task
            log.exception("request.failed", method=request.method, path=request.path)
            return refusal(Problem(500, "benchd made a mistake", "see the daemon's log"))
        finally:
            door.ends(transport)

    return layer


def notebook(reads: Reads, clock: Callable[[], float]) -> Middleware:
    """Return the layer that writes down who wanted what; questions are not written down."""

    @web.middleware
    async def layer(request: web.Request, handler: Answering) -> web.StreamResponse:
        if request.method in {"GET", "HEAD"}:
            return await handler(request)
        line = f"{request.method} {request.path_qs}"[:NOTE_LIMIT]
        try:
            response = await handler(request)
        except BenchdError as error:
            await _note(reads, request[UID], line, ok=False, answer=str(error), now=clock())
            raise
        text = response.text or "" if isinstance(response, web.Response) else ""
        await _note(reads, request[UID], line, ok=True, answer=text.strip(), now=clock())
        return response

    return layer


async def _note(reads: Reads, uid: int, line: str, *, ok: bool, answer: str, now: float) -> None:
    try:
        await reads.note_command(uid, line, ok, answer[:NOTE_LIMIT], now)
    except StoreError as error:  # the wish itself was heard, or was refused with the same error
        log.warning("command.not_noted", line=line, error=str(error))


def admit_local(request: web.Request) -> int:
    """Return the uid of the peer, as the kernel knows it; refuse strangers."""
    uid = _peer_uid(request.transport)
    check_uid(uid, os.getuid())
    return uid


def check_uid(uid: int, owner: int) -> None:
    """Refuse everybody but the owner of the daemon and root."""
    if uid not in {ROOT, owner}:
        raise Problem(
            403,
            f"this benchd belongs to uid {owner}, and you are uid {uid}",
            "ask its owner, or run your own benchd",
        )


def _peer_uid(transport: asyncio.Transport | None) -> int:
    peer = transport.get_extra_info("socket") if transport is not None else None
    if peer is None:
        raise Problem(403, "the connection is gone")
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    _pid, uid, _gid = _UCRED.unpack(raw)
    return int(uid)


def admit_remote(token: str | None, *, loopback: bool) -> Admission:
    """Return the admission for TCP: the token if there is one, else only this machine's names."""

    def admit(request: web.Request) -> int:
        if token is not None:
            shown = request.headers.get("Authorization", "").removeprefix("Bearer ").encode()
            if not hmac.compare_digest(shown, token.encode()):
                raise Problem(401, "the token is missing or wrong", "send Authorization: Bearer …")
        elif loopback and not is_loopback(_host(request.host)):
            # A web page may resolve its own name to 127.0.0.1 and read what we answer.
            raise Problem(403, f"{request.host!r} is not this machine", "use http://127.0.0.1")
        return -1  # nobody: TCP knows no users, and its routes change nothing

    return admit


def _host(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]
