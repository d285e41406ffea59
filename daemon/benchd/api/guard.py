"""Who may ask, how long an answer may take, and how a mistake is answered."""

from __future__ import annotations

import asyncio
import hmac
import socket
import struct
from collections.abc import Awaitable, Callable
from urllib.parse import unquote_plus

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from benchd.access import NAMESPACE_FIX, UNNAMED, Access, Right
from benchd.api import upkeep
from benchd.api.answers import Problem, problem_of, problem_of_http, refusal
from benchd.api.control import Reads
from benchd.api.door import Door
from benchd.api.routes import UID
from benchd.api.sockets import is_loopback
from benchd.errors import BenchdError, StoreError
from benchd.log import printable
from benchd.secrecy import without_secrets

log = structlog.get_logger()

REQUEST_DEADLINE = 30.0  # seconds for most requests; reading a log over a slow link takes some
BODY_PATIENCE = 5.0  # seconds for the body to arrive; 256 KiB through a socket take milliseconds
_UCRED = struct.Struct("3i")  # pid, uid, gid: struct ucred of Linux
NOTE_LIMIT = 400  # characters of a command and of its answer that are kept

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]
Admission = Callable[[web.Request], int]
_ASKING = frozenset({"GET", "HEAD"})  # methods that change nothing


def gate(door: Door, admit: Admission) -> Middleware:
    """Return the outermost layer: admission, deadline, and an answer for every mistake."""

    @web.middleware
    async def layer(request: web.Request, handler: Answering) -> web.StreamResponse:
        transport = request.transport
        door.begins(transport)
        deadline = _deadline(request)
        try:
            async with asyncio.timeout(deadline):
                request[UID] = admit(request)
                await _arrived(request)
                return await handler(request)
        except TimeoutError:
            return refusal(Problem(504, f"no answer in {deadline:.0f} s", "ask again"))
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


def _deadline(request: web.Request) -> float:
    resource = request.match_info.route.resource
    is_patient = resource is not None and resource.canonical in upkeep.PATIENT
    return upkeep.DEADLINE if is_patient else REQUEST_DEADLINE


async def _arrived(request: web.Request) -> None:
    """Wait for the body, but not as long as for an answer; who reads it later finds it there."""
    if not request.body_exists:
        return
    try:
        async with asyncio.timeout(BODY_PATIENCE):
            await request.read()
    except TimeoutError:
        late = f"the request was not complete after {BODY_PATIENCE:g} s"
        raise Problem(408, late, "send it again at once") from None


def notebook(reads: Reads, clock: Callable[[], float]) -> Middleware:
    """Return the layer that writes down who wanted what; questions are not written down."""

    @web.middleware
    async def layer(request: web.Request, handler: Answering) -> web.StreamResponse:
        if request.method in _ASKING:
            return await handler(request)
        asked = without_secrets(unquote_plus(request.path_qs))  # --set may say a password
        line = f"{request.method} {printable(asked)}"[:NOTE_LIMIT]
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


def admit_local(access: Access) -> Admission:
    """Return the admission for the socket: by the right of the uid that the kernel tells."""

    def admit(request: web.Request) -> int:
        uid = peer_uid(request.transport)
        check(uid, access, Right.READ if request.method in _ASKING else Right.OPERATE)
        return uid

    return admit


def check(uid: int, access: Access, needed: Right) -> None:
    """Refuse who may not do this."""
    right = access.right_of(uid)
    if uid == access.shared:
        raise Problem(403, UNNAMED, f"ask its owner, uid {access.owner}, to {NAMESPACE_FIX}")
    if right is Right.NOTHING:
        what = f"this benchd belongs to uid {access.owner}, and you are uid {uid}"
        raise Problem(403, what, "ask its owner for access.read, or run your own benchd")
    if right < needed:
        what = f"uid {uid} may ask this benchd, and change nothing"
        raise Problem(403, what, f"ask its owner, uid {access.owner}, for access.operate")


def peer_uid(transport: asyncio.BaseTransport | None) -> int:
    """Return the uid at the other end of a Unix socket."""
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
