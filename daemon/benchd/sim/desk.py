"""The Unix socket where the shims ask: reads requests, lets faults act, runs the command."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from pathlib import Path
from typing import Protocol

from benchd.sim.call import Answer, Call, answer
from benchd.sim.clock import TimeSource
from benchd.sim.commands import COMMANDS
from benchd.sim.faults import Faults
from benchd.sim.outage import NO_CONTROLLER, TIMED_OUT, unreachable
from benchd.sim.sbatch import takes_stdin
from benchd.sim.slurmctld import Slurmctld

LOGIN = "BENCHD_SIM_LOGIN"  # in the environment of a login shell: the number of its connection
NO_DATABASE = (
    "sacct: error: slurm_persist_conn_open_without_init: failed to open persistent connection to"
    " host:127.0.0.1:6819: Connection refused\n"
    "sacct: error: Sending PersistInit msg: Connection refused\n"
    "sacct: error: Problem talking to the database: Connection refused\n"
)
NO_ACCOUNTING = "Slurm accounting storage is disabled\n"


class Site(Protocol):
    """What the desk needs of the cluster around it."""

    model: Slurmctld
    faults: Faults
    clock: TimeSource
    user: str

    def drop_connection(self, number: int) -> None:
        """Cut one SSH connection."""
        ...

    def kill_session(self, session: int) -> None:
        """Kill every process of one login session."""
        ...

    def carry_out(self) -> None:
        """Do what the model ordered."""
        ...


class _Gone(Exception):
    """The asker is dead: there is nobody to answer."""


class Desk:
    """Answers the shims."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.stalled_until = 0.0  # on the event loop's clock
        self.counts: dict[str, int] = dict.fromkeys(COMMANDS, 0)

    async def open(self, path: Path) -> None:
        """Listen."""
        self._server = await asyncio.start_unix_server(self._serve, path)

    async def close(self) -> None:
        """Stop listening; who still waits for an answer does not get one."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def stall(self, seconds: float) -> None:
        """Have slurmctld hang for so long."""
        self.stalled_until = asyncio.get_running_loop().time() + seconds

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._own(asyncio.current_task())
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, _Gone):
            given = await self._ask(reader, writer)
            out = given.out.encode("utf-8", "surrogateescape")
            err = given.err.encode("utf-8", "surrogateescape")
            head = f"A{given.status:03}{len(out):010}{len(err):010}"
            writer.write(head.encode() + out + err)
            await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    def _own(self, task: asyncio.Task[None] | None) -> None:
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answer:
        length = int(await reader.readuntil(b"\n"))
        fields = (await reader.readexactly(length)).decode("utf-8", "surrogateescape").split("\0")
        name, cwd, count, *rest = fields
        argv = tuple(rest[: int(count)])
        environment = dict(entry.split("=", 1) for entry in rest[int(count) :] if "=" in entry)
        self.counts[name] += 1
        faults = self._site.faults
        if faults.take("slow"):
            await asyncio.sleep(float(faults.value("slow")))
        script = b""
        if name == "sbatch" and takes_stdin(argv):
            writer.write(b"I")
            script = await reader.read()

        def read_script(path: str | None) -> bytes:
            return script if path is None else (Path(cwd) / path).read_bytes()

        call = Call(
            model=self._site.model,
            argv=argv,
            clock=self._site.clock,
            cwd=cwd,
            environment=environment,
            user=self._site.user,
            uid=os.getuid(),
            script=read_script,
            accounting=not faults.is_on("sacct-off"),
        )
        before = await self._fault_before(name, call)
        if before is not None:
            return before
        submitted = call.model.counts["submitted"]
        given = self._do(name, call)
        if given.status == 0 and call.model.counts["submitted"] > submitted:
            return self._fault_after(given, environment, writer)
        return given

    def _do(self, name: str, call: Call) -> Answer:
        given = answer(COMMANDS[name], call)
        self._site.carry_out()
        return given

    async def _do_later(self, name: str, call: Call, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._do(name, call)

    async def _fault_before(self, name: str, call: Call) -> Answer | None:
        """Return the answer of a command that does not reach its daemon, or not in time."""
        faults, config = self._site.faults, call.model.config
        left = self.stalled_until - asyncio.get_running_loop().time()
        if left > 0 and name != "sacct":
            await asyncio.sleep(min(left, config.message_timeout))
            if left > config.message_timeout:
                later = self._do_later(name, call, left - config.message_timeout)
                self._own(asyncio.create_task(later, name=f"sim-stalled-{name}"))
                return unreachable(name, call.argv, TIMED_OUT, host=config.host)
        error = name in {"sbatch", "squeue"} and faults.take(f"{name}-error")
        if error or (name != "sacct" and faults.is_on("slurmctld-down")):
            return unreachable(name, call.argv, NO_CONTROLLER, host=config.host)
        if name == "sacct" and faults.take("sacct-off"):
            return Answer(1, "", NO_ACCOUNTING)
        if name == "sacct" and faults.take("sacct-down"):
            return Answer(1, "", NO_DATABASE)
        return None

    def _fault_after(
        self, given: Answer, environment: dict[str, str], writer: asyncio.StreamWriter
    ) -> Answer:
        """Let something happen to the answer of an sbatch that queued a job."""
        faults, site = self._site.faults, self._site
        connection = int(environment.get(LOGIN, "0"))
        if faults.take("socket-timeout"):
            return unreachable("sbatch", (), TIMED_OUT, host="")
        if faults.take("answer-lost"):
            site.drop_connection(connection)
        if faults.take("login-killed"):
            peer = writer.get_extra_info("socket").getsockopt(
                socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
            )
            pid, _, _ = struct.unpack("3i", peer)
            site.drop_connection(connection)
            site.kill_session(os.getsid(pid))
            raise _Gone
        return given
