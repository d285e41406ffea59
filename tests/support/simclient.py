"""An SSH client of the embedded cluster, for tests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh

from benchd.sim import EmbeddedCluster

PATIENCE = 10.0  # seconds a test waits for a real process before it fails
FIELDS = r"'JobArrayID:\x1f,Name:\x1f,State:\x1f,RestartCnt:\x1f,exit_code:\x1f,Reason:\x1f'"
QUEUE = f"SLURM_TIME_FORMAT=%s squeue --me -h -t all -O ${FIELDS}"
SACCT = "sacct -X -n -P --name={} --format=JobIDRaw,State,ExitCode -S now-1hours"


class Client:
    """An SSH client of the cluster."""

    def __init__(self, cluster: EmbeddedCluster) -> None:
        self.cluster = cluster
        self.connection: asyncssh.SSHClientConnection

    async def connect(self) -> None:
        """Log in."""
        self.connection = await asyncssh.connect(
            self.cluster.host,
            self.cluster.port,
            username=self.cluster.user,
            client_keys=[str(self.cluster.key)],
            known_hosts=str(self.cluster.known_hosts),
            config=None,
            agent_path=None,
        )

    async def run(self, command: str, stdin: bytes = b"") -> tuple[int | None, str, str]:
        """Return exit status, output and errors of a command."""
        done = await self.connection.run(command, input=stdin, encoding=None)
        return done.exit_status, _text(done.stdout), _text(done.stderr)

    async def out(self, command: str, stdin: bytes = b"") -> str:
        """Return the output of a command that has to succeed and be silent on stderr."""
        status, out, err = await self.run(command, stdin)
        assert (0, "") == (status, err), command
        return out.strip()

    async def submit(self, name: str, body: str, options: str = "") -> int:
        """Submit a script through stdin; return the job's id."""
        work = self.cluster.workdir
        command = f"cd {work} && sbatch --parsable --job-name={name} --output=%j.out {options}"
        return int(await self.out(command, f"#!/bin/bash\n{body}\n".encode()))

    async def row(self, job_id: int) -> dict[str, str]:
        """Return what squeue says about a job."""
        lines = (await self.out(QUEUE)).split("\n")
        names = ("id", "name", "state", "restarts", "exit", "reason")
        rows = [dict(zip(names, line.split("\x1f"), strict=False)) for line in lines if line]
        return next(row for row in rows if row["id"] == str(job_id))

    async def until(self, job_id: int, state: str) -> dict[str, str]:
        """Return squeue's row once the job is in this state."""
        deadline = time.monotonic() + PATIENCE
        while (row := await self.row(job_id))["state"] != state:
            assert time.monotonic() < deadline, f"still {row} after {PATIENCE} s, not {state}"
        return row


def _text(data: object) -> str:
    assert isinstance(data, bytes)
    return data.decode()


async def eventually(what: Callable[[], bool]) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, "not within the test's patience"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def connected(directory: Path, **options: object) -> AsyncIterator[Client]:
    """Return a client that is logged in to a new cluster."""
    async with EmbeddedCluster(directory, **options) as cluster:  # type: ignore[arg-type] # passed on
        client = Client(cluster)
        await client.connect()
        async with client.connection:
            yield client
