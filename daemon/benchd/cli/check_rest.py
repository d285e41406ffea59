"""The looks of ``benchd check`` at a slurmrestd: its token, its version, and a tiny job by it."""

from __future__ import annotations

import time
from datetime import datetime, timezone

from benchd.cli.findings import Finding
from benchd.config import ClusterSettings
from benchd.core import slurm_rest
from benchd.core.slurm_rest_submit import request
from benchd.edge.breaker import Breaker
from benchd.edge.budget import Purse
from benchd.edge.jwt import claims, end_of
from benchd.edge.remote import Gate, Remote
from benchd.edge.rest import Rest
from benchd.edge.rest_link import rest_link
from benchd.edge.shell import Shell, printable
from benchd.errors import Unreachable
from benchd.metrics import Metrics

_ANSWER = 30.0  # seconds for one command
# What the tiny job's name begins with.
INSTANCE = "benchd-check"


class RestLook:
    """One slurmrestd as ``benchd check`` sees it."""

    def __init__(
        self, name: str, settings: ClusterSettings, shell: Shell, metrics: Metrics
    ) -> None:
        purse = Purse(name, settings.budget, metrics=metrics, clock=time.monotonic)
        ways = [Breaker(name, metrics=metrics, clock=time.monotonic) for _ in range(2)]
        remote = Remote(name, shell, gate=Gate(), purse=purse, breaker=ways[0])
        self._link = rest_link(remote, settings, metrics=metrics, clock=time.time, breaker=ways[1])
        self._rest = Rest(self._link, remote, instance=INSTANCE, clock=time.time)
        self._shell = shell

    async def token(self) -> Finding | None:
        """Look at the token: whose it is, when it ends, and whether the files are that user's."""
        try:
            token = await self._link.token.get()
        except Unreachable as error:
            return Finding("fail", "token", str(error))
        user, end = self._link.user, end_of(token)
        if not token:
            return Finding("ok", "token", f"none; the socket is to tell slurmrestd of {user}")
        whose = printable(str(claims(token).get("sun", user)))
        done = await self._shell.run("id -un", op="check", timeout=_ANSWER)
        owner = printable(done.stdout)
        if whose != user:
            fix = f"the token is of {whose} and rest.user is {user}: make them the same"
            return Finding("fail", "token", fix)
        if whose != owner:
            fix = f"jobs would run as {whose}, and files are {owner}'s: both must be one user"
            return Finding("fail", "token", fix)
        until = datetime.fromtimestamp(end or 0.0, timezone.utc)
        ends = f"until {until:%Y-%m-%d %H:%M} UTC" if end else "without an end"
        return Finding("ok", "token", f"of {whose}, {ends}")

    async def slurmrestd(self) -> Finding | None:
        """Look for the version to speak, and whether slurmctld answers."""
        started = time.monotonic()
        try:
            version = await self._link.version()
            path = f"/slurm/{version}/ping"
            answer = await self._link.ask("rest:ping", "GET", path, op="poll")
            if not answer.is_good:
                fix = "does slurmctld run, and does it accept the token?"
                return Finding("fail", "slurmrestd", f"{self._link.failed(answer)}: {fix}")
            await self._rest.everything()  # Slurm 24.11 answers a ping whatever the token is
        except Unreachable as error:
            return Finding("fail", "slurmrestd", str(error))
        text = f"{version}, slurmctld answers, {time.monotonic() - started:.2f} s"
        if version in slurm_rest.RUN:
            return Finding("ok", "slurmrestd", text)
        return Finding("warn", "slurmrestd", f"{text}; benchd's tests have not run this version")

    async def submit(self, directory: str, name: str, script: str) -> str:
        """Submit the tiny job; return why it was refused."""
        version = await self._link.version()
        try:
            body = request(version=version, script=script, token=name, job_dir=directory, k=0)
        except ValueError as error:
            return str(error)
        path = f"/slurm/{version}/job/submit"
        answer = await self._link.ask("rest:submit", "POST", path, op="submit", body=body)
        said = slurm_rest.sent(answer)
        return "" if said.rc == 0 else said.words

    async def seen(self, name: str) -> str:
        """Return state and reason of the tiny job; nothing when it is not known."""
        rows = await self._rest.named(name)
        return f"{rows[0].word} {rows[0].reason}" if rows else ""

    async def end(self, name: str) -> None:
        """End the tiny job."""
        await self._rest.end_names([name])
