"""Requests to slurmrestd, with everything that protects it: gate, circuit breaker, budget, token.

Each request has a connection of its own. At a few requests a minute that costs nothing, and it
leaves no doubt: what could not be connected was not sent, while an old connection that breaks may
have delivered. It is closed from here: asked to do so, slurmrestd 22.05 adds a header behind its
answer, which makes it none.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable, Mapping
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from benchd.config import ClusterSettings, RestSettings
from benchd.core import slurm_rest
from benchd.core.slurm_rest import Answer
from benchd.edge import login
from benchd.edge.breaker import Breaker
from benchd.edge.budget import Urgency
from benchd.edge.jwt import Token
from benchd.edge.local import LocalShell
from benchd.edge.remote import Remote, is_limited
from benchd.edge.shell import LoginRefused, printable
from benchd.errors import NeedsHuman, Unreachable
from benchd.metrics import Metrics

# Seconds until a connection must stand; slurmrestd is near, or away.
_CONNECT = 10.0
# Seconds for a question to the books: a dead slurmdbd lets slurmrestd wait for 45.
BOOKS_TIMEOUT = 60.0
# Bytes of one answer. 22.05 lists the jobs of all users, with 3.1 kB each: 20,000 of them.
_LIMIT = 64 * 1024 * 1024
_CHUNK = 65536
_UNIX = "unix:"


def rest_link(
    remote: Remote,
    settings: ClusterSettings,
    *,
    metrics: Metrics,
    clock: Callable[[], float],
    breaker: Breaker,
) -> RestLink:
    """Return the way to the slurmrestd of a cluster whose settings name one."""
    assert settings.rest is not None  # noqa: S101 - for the type checker: who asks has looked
    user = settings.rest.user or (login.user(settings.ssh) if settings.ssh else getpass.getuser())
    here = LocalShell(remote.name, metrics=metrics)
    token = Token(remote.name, settings.rest, shell=here, clock=clock)
    return RestLink(remote, settings.rest, user=user, token=token, breaker=breaker)


class RestLink:
    """The way to one slurmrestd."""

    def __init__(
        self,
        remote: Remote,
        settings: RestSettings,
        *,
        user: str,
        token: Token,
        breaker: Breaker,
    ) -> None:
        self.name = remote.name
        self.breaker = breaker
        self._remote = remote
        self._settings = settings
        self.user = user
        self.token = token
        self._probed: str | None = None

    async def version(self) -> str:
        """Return the version of the interface to speak: as configured, or the best that we know."""
        if self._settings.version != "auto":
            return self._settings.version
        if self._probed is None:
            answer = await self.ask("rest:openapi", "GET", "/openapi/v3", op="open")
            if not answer.is_good:
                raise self.failed(answer)
            offered = slurm_rest.offered(answer)
            self._probed = slurm_rest.best(offered)
            if self._probed is None:
                error = NeedsHuman(
                    f"{self.name}: slurmrestd speaks {', '.join(offered) or 'no version'}, and "
                    f"benchd {', '.join(slurm_rest.VERSIONS)}: reach this cluster without rest:"
                )
                await self._remote.gate.close(error)
                raise error
        return self._probed

    async def ask(
        self,
        program: str,
        method: str,
        path: str,
        *,
        op: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        urgency: Urgency = Urgency.QUEUED,
        timeout: float | None = None,  # noqa: ASYNC109 - what was sent must be told apart
    ) -> Answer:
        """Return an answer, whatever it says; ``Unreachable`` when there was none.

        What may have been refused for its token is asked again once, if there is another one. A
        submission only when it was surely refused: else it might be sent twice.
        """
        target = path + (f"?{urlencode(query)}" if query else "")
        request = (method, target, body, timeout or self._settings.timeout)
        answer, token = await self._once(program, op, urgency, request)
        unauthorized = answer.status == 401
        if unauthorized or (method != "POST" and (answer.is_refused or answer.is_doubtful)):
            if await self.token.other_than(token):
                answer, token = await self._once(program, op, urgency, request)
            if answer.status == 401 or (method != "POST" and answer.is_refused):
                await self._refused(answer)
        if answer.status == 404 and path.startswith("/slurm/"):
            self._probed = None  # it was upgraded, perhaps
        return answer

    async def require_token(self) -> None:
        """Raise ``NeedsHuman`` if the token is refused, after an answer that leaves it in doubt.

        Only the books say so; what they say otherwise is of no interest here.
        """
        version = await self.version()
        await self.ask(
            "rest:accounting",
            "GET",
            f"/slurmdb/{version}/jobs",
            op="account",
            query={"job_name": "-", "submit_time": "now"},
            timeout=BOOKS_TIMEOUT,
        )

    def failed(self, answer: Answer) -> Unreachable:
        """Return what to raise about an answer that is none."""
        return Unreachable(f"{self.name}: slurmrestd: {answer.said()}")

    async def _refused(self, answer: Answer) -> None:
        user = self.user
        error = LoginRefused(
            f"{self.name}: slurmrestd refuses the token of {user} ({answer.said()}): renew what "
            f"rest.token_file or rest.token_command gives (`scontrol token username={user}`), and "
            "compare rest.user"
        )
        await self._remote.gate.close(error)
        raise error

    async def _once(
        self,
        program: str,
        op: str,
        urgency: Urgency,
        request: tuple[str, str, Mapping[str, object] | None, float],
    ) -> tuple[Answer, str]:
        """Make one request within the budget; return the answer, and the token that was shown."""
        purse = self._remote.purse
        self._remote.gate.check(self.name)
        self.breaker.check(op)
        token = await self.token.get()
        is_paid = program == "rest:submit"
        paid = None if is_paid else await purse.spend(program, urgency=urgency)
        began = purse.clock()
        try:
            with self.breaker.guard(op):
                status, data = await self._send(token, *request)
        except Unreachable as error:
            if error.sent:
                purse.made(program, "lost", purse.clock() - began)
            elif not is_paid:
                purse.unspent(program, paid)
            raise
        answer = slurm_rest.read(status, data)
        outcome = "ok" if answer.is_good else "error"
        limited = not answer.is_good and is_limited(answer.said())
        purse.made(program, outcome, purse.clock() - began, limited=limited)
        return answer, token

    async def _send(
        self,
        token: str,
        method: str,
        target: str,
        body: Mapping[str, object] | None,
        seconds: float,
    ) -> tuple[int, bytes]:
        headers = {"X-SLURM-USER-NAME": self.user, "Accept": "application/json"}
        if token:
            headers["X-SLURM-USER-TOKEN"] = token
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=min(_CONNECT, seconds))
        try:
            async with (
                aiohttp.ClientSession(connector=self._connector(), timeout=timeout) as session,
                session.request(
                    method, self._url(target), json=body, headers=headers, allow_redirects=False
                ) as response,
            ):
                return response.status, await self._bounded(response)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            why = printable(str(error)) or type(error).__name__
            raise Unreachable(f"{self.name}: no connection to slurmrestd: {why}", sent=False) from (
                error
            )
        except TimeoutError as error:
            raise Unreachable(f"{self.name}: slurmrestd: no answer in {seconds:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            why = printable(str(error)) or type(error).__name__
            raise Unreachable(f"{self.name}: slurmrestd: {why}") from error

    def _connector(self) -> aiohttp.BaseConnector:
        url = self._settings.url
        if url.startswith(_UNIX):
            return aiohttp.UnixConnector(url.removeprefix(_UNIX))
        return aiohttp.TCPConnector()

    def _url(self, target: str) -> URL:
        url = self._settings.url
        base = "http://localhost" if url.startswith(_UNIX) else url.rstrip("/")
        return URL(base + target, encoded=True)  # slurmrestd takes no bare comma

    async def _bounded(self, response: aiohttp.ClientResponse) -> bytes:
        data = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK):
            data += chunk
            if len(data) > _LIMIT:
                raise Unreachable(
                    f"{self.name}: slurmrestd's answer is larger than {_LIMIT >> 20} MiB: it lists "
                    "the jobs of all users; reach this cluster without rest:"
                )
        return bytes(data)
