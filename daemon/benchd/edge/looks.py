"""Taking the look that a health check asks for: through the link, or from the login node.

Connections go through the login node without a port or a process on it. Where a site forbids
that, bash on the login node does the same with /dev/tcp, for looks only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from shlex import quote

from benchd.catalog import pages
from benchd.catalog.checks import (
    Answer,
    Command,
    Http,
    Log,
    Look,
    Mysql,
    NoAnswer,
    NotAsked,
    Postgres,
    Redis,
    Response,
    Tcp,
)
from benchd.edge import refusals
from benchd.edge.remote import Remote
from benchd.edge.shell import ForwardingForbidden, printable
from benchd.errors import Unreachable

_Server = Tcp | Http | Redis | Mysql | Postgres

# Bytes of an answer that are read: verdicts look at its first line.
_FIRST = 4096
# Seconds that a check from the login node gets on top of its own time, for the shell around it.
_SLACK = 10.0
# Part of a look's time in which a page is waited for that does not end: the rest is for the shell.
_SHARE = 0.8
# Exit status of our own bash when /dev/tcp does not connect; no bash builtin ends with it.
_REFUSED = 97


def _reading(look: _Server, seconds: float) -> str:
    """Return bash that reads what is judged of an answer; a server may keep the connection open."""
    if isinstance(look, Tcp):
        return ":"
    if isinstance(look, Mysql | Postgres):
        return f"dd bs={_FIRST} count=1 <&3 2>/dev/null"  # one packet, with whatever bytes in it
    if isinstance(look, Http) and look.expect:
        # Bytes, up to the end of the connection; of one that stays open, what came in most of the
        # time that there is.
        read = f'IFS= read -r -d "" -n {pages.PAGE} -t {_SHARE * seconds:g} l <&3'
        return f'LC_ALL=C; {read}; printf %s "$l"'
    return 'IFS= read -r -t "$2" l <&3; printf "%s\\n" "$l"'


class Looks:
    """Takes looks at the services of one cluster."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._forbidden_in = -1  # the connection in which forwarding was found forbidden

    async def take(self, look: Look, *, seconds: float, logs: Sequence[str]) -> Response:
        """Fetch what ``look`` asks for within so many seconds. ``logs``: the job's output files."""
        try:
            match look:
                case Command():
                    return await self._command(look, seconds)
                case Log():
                    return await self._log(look, logs, seconds)
                case Tcp() | Http() | Redis() | Mysql() | Postgres():
                    return await self._exchange(look, seconds)
        except Unreachable as error:
            return NotAsked(detail=str(error))

    async def _exchange(self, look: _Server, seconds: float) -> Response:
        shell = self._remote.shell
        if self._forbidden_in == shell.generation:
            return await self._from_there(look, seconds)
        place = f"{look.host}:{look.port}"
        try:
            async with asyncio.timeout(seconds):
                return Answer(data=await self._say(look, seconds))
        except ForwardingForbidden:
            self._forbidden_in = shell.generation
            return await self._from_there(look, seconds)
        except ConnectionRefusedError as error:
            return NoAnswer(detail=f"{place}: {error}")
        except TimeoutError:
            # Was it the service or our own link that was silent? Ask the login node.
            await self._remote.run("true", op="probe", timeout=_SLACK)
            return NoAnswer(detail=f"{place}: no answer within {seconds:g} s")
        except OSError as error:
            return NoAnswer(detail=f"{place}: {error}")

    async def _say(self, look: _Server, seconds: float) -> bytes:
        reader, writer = await self._remote.connect(look.host, look.port, seconds)
        try:
            if isinstance(look, Tcp):
                return b""
            if look.send:
                writer.write(look.send)
            data = await reader.read(_FIRST)
            if isinstance(look, Http) and look.expect:
                while not pages.is_whole(data) and (more := await reader.read(pages.PAGE)):
                    data += more
            return data[: pages.PAGE]
        finally:
            writer.close()

    async def _from_there(self, look: _Server, seconds: float) -> Response:
        target = quote(f"/dev/tcp/{look.host}/{look.port}")
        script = f'exec 3<>"$1" || exit {_REFUSED}; cat >&3; {_reading(look, seconds)}'
        done = await self._remote.run(
            f"timeout -k 1 {seconds:g} bash --norc -c {quote(script)} - {target} {seconds:g}",
            op="probe",
            stdin=look.send,
            timeout=seconds + _SLACK,
        )
        if done.status == 0:
            return Answer(data=done.stdout.strip(b"\n") and done.stdout)
        where = f"{look.host}:{look.port}"
        why = printable(done.stderr)[-200:] if done.status != 124 else "no answer in time"
        if done.status == _REFUSED:
            no = refusals.of_channel(self._remote.name, where, refusals.CONNECT_FAILED, why)
            if isinstance(no, Unreachable):
                raise no
        return NoAnswer(detail=f"{where}: {why}")

    async def _command(self, look: Command, seconds: float) -> Response:
        exports = "".join(f"export {name}={quote(value)}; " for name, value in look.env.items())
        done = await self._remote.run(
            f"{exports}timeout -k 1 {seconds:g} bash --norc -c {quote(look.text)} 2>&1",
            op="probe",
            timeout=seconds + _SLACK,
            limit=65536,
        )
        if done.status == 124:
            return NoAnswer(detail=f"the command did not end within {seconds:g} s")
        return Answer(data=done.stdout, status=done.status)

    async def _log(self, look: Log, logs: Sequence[str], seconds: float) -> Response:
        files = " ".join(quote(path) for path in logs)
        done = await self._remote.run(
            f"cat -- {files} 2>/dev/null | grep -E -m 1 -e {quote(look.pattern)}",
            op="probe",
            timeout=seconds + _SLACK,
            limit=65536,
        )
        return Answer(data=done.stdout or done.stderr, status=done.status)
