"""The embedded cluster: the model, the login node and the compute nodes, put together."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shlex
import shutil
import signal
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import asyncssh

from benchd.sim.agent import Agent, interpreter
from benchd.sim.clock import Clock, TimeSource, WallClock
from benchd.sim.commands import COMMANDS
from benchd.sim.desk import Desk
from benchd.sim.environment import expand, job_environment
from benchd.sim.faults import Faults, parse
from benchd.sim.nouns import Config, End, Job, Launch, Node, Partition
from benchd.sim.server import MAX_SESSIONS, LoginNode
from benchd.sim.slurmctld import LAUNCH_FAILURE, Slurmctld

TICK = 0.05  # seconds of real time between two looks of the model at the clock
SOCKET_PATH_LIMIT = 100  # bytes; the kernel takes 107
NODE_MEMORY_MB = 16000  # what every node claims to have
NODE_GPUS = 2  # likewise
DEFAULT_MINUTES = 60  # DefaultTime of the partitions `debug` and `gpu`
SHORT_MINUTES = 5  # MaxTime of the partition `short`


def build_model(
    config: Config, *, nodes: int, cpus: int, memory_mb: int = NODE_MEMORY_MB, first_id: int = 1
) -> Slurmctld:
    """Return a cluster with the partitions debug (default), gpu, short and down."""
    machines = [
        Node(name=f"n{i + 1}", cpus=cpus, memory_mb=memory_mb, gpus=NODE_GPUS) for i in range(nodes)
    ]
    names = tuple(machine.name for machine in machines)
    partitions = [
        Partition(name="debug", nodes=names, default=True, default_minutes=DEFAULT_MINUTES),
        Partition(name="gpu", nodes=names, default_minutes=DEFAULT_MINUTES),
        Partition(name="short", nodes=names[:1], max_minutes=SHORT_MINUTES),
        Partition(name="down", nodes=names[:1], up=False),
    ]
    return Slurmctld(config, machines, partitions, first_id=first_id)


class EmbeddedCluster:
    """A Slurm cluster behind an SSH login node, in this process and below one directory.

    ``async with EmbeddedCluster(dir) as cluster``: then ``host``, ``port``, ``user``, ``key``,
    ``known_hosts`` and ``workdir`` are what a client needs; ``model`` is slurmctld's memory.
    """

    def __init__(
        self,
        dir: Path,  # noqa: A002 - the word of the command line
        *,
        nodes: int = 4,
        cpus: int = 8,
        memory_mb: int = NODE_MEMORY_MB,
        clock: TimeSource | None = None,
        faults: Sequence[str] = (),
        port: int = 0,
        config: Config | None = None,
        max_sessions: int = MAX_SESSIONS,
    ) -> None:
        self.dir = dir.absolute()
        self.host = "127.0.0.1"
        self.port = port
        self.user = _user_name()
        self.key = self.dir / "ssh" / "id_ed25519"
        self.known_hosts = self.dir / "ssh" / "known_hosts"
        self.home = self.dir / "home"
        self.workdir = self.dir / "scratch"
        self.clock = clock or WallClock()
        self.faults = Faults()
        self.config = config or Config(host=socket.gethostname())
        self._ids = self.dir / "next_job_id"
        self.model = build_model(
            self.config,
            nodes=nodes,
            cpus=cpus,
            memory_mb=memory_mb,
            first_id=int(self._ids.read_text()) if self._ids.exists() else 1,
        )
        self._saved_id = self.model.next_id
        self.login_environment = self._fresh_environment()
        self._given_faults = faults
        self._max_sessions = max_sessions
        self._agent = Agent(self._ended)
        self._desk = Desk(self)
        self._login: LoginNode | None = None
        self._host_key: asyncssh.SSHKey | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._socket_dir: Path | None = None
        self._socket = self.dir / "slurmctld.sock"

    # --- starting and stopping ---

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self._close()
            raise
        return self

    async def _open(self) -> None:
        for path in (self.dir / "ssh", self.home, self.workdir, self.dir / "spool"):
            path.mkdir(parents=True, exist_ok=True)
        (self.dir / "ssh").chmod(0o700)
        client_key = _key(self.key)
        self._host_key = _key(self.dir / "ssh" / "host_ed25519")
        self._socket = self._socket_path()
        shims = self._write_shims(self._socket)
        await self._agent.start()
        await self._desk.open(self._socket)
        self.login_environment["PATH"] = f"{shims}:{os.environ['PATH']}"
        self._login = LoginNode(
            user=self.user,
            client_key=client_key,
            home=self.home,
            environment=self.login_environment,
            agent=self._agent,
            faults=self.faults,
            max_sessions=self._max_sessions,
        )
        self.port = await self._login.open(self.port, self._host_key)
        public = self._host_key.export_public_key().decode().split()
        self.known_hosts.write_text(f"[{self.host}]:{self.port} {public[0]} {public[1]}\n")
        if isinstance(self.clock, Clock):
            self.clock.on_advance(self.tick)
        self._ticker = asyncio.create_task(self._tick_on(), name="sim-ticker")
        for fault in self._given_faults:
            self.inject(*parse(fault))

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
        if self._login is not None:
            await self._login.stop_listening()
        await self._desk.close()
        await self._agent.close()
        if self._login is not None:
            await self._login.close()
        self._socket.unlink(missing_ok=True)
        if self._socket_dir is not None:
            shutil.rmtree(self._socket_dir, ignore_errors=True)

    def _socket_path(self) -> Path:
        """Return where the shims ask: below the directory unless the kernel finds that too long."""
        path = self._socket
        if len(os.fsencode(path)) > SOCKET_PATH_LIMIT:
            self._socket_dir = Path(tempfile.mkdtemp(prefix="benchd-sim-"))
            path = self._socket_dir / "slurmctld.sock"
        path.unlink(missing_ok=True)
        return path

    def _write_shims(self, desk: Path) -> Path:
        """Write sbatch and the others, and return the directory they are in."""
        shims = self.dir / "bin"
        shims.mkdir(exist_ok=True)
        asks = {name: ["shim.py", name, str(desk)] for name in COMMANDS}
        for name, (file, *more) in {**asks, "srun": ["srun.py"]}.items():
            program = str(Path(__file__).with_name(file))
            words = shlex.join([interpreter(), "-ISE", program, *more])
            path = shims / name
            path.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
            path.chmod(0o755)
        return shims

    def _fresh_environment(self) -> dict[str, str]:
        """Return what a fresh login of the user has."""
        return {
            "HOME": str(self.home),
            "LANG": os.environ.get("LANG", "C.UTF-8"),
            "LOGNAME": self.user,
            "PATH": os.environ["PATH"],
            "SHELL": "/bin/bash",
            "SHLVL": "1",
            "USER": self.user,
        }

    # --- for tests and the command line ---

    def inject(self, name: str, value: str | float | None = None) -> None:
        """Switch a fault on; see ``benchd.sim.faults.KINDS``. ``name`` may be ``name=value``."""
        if value is None:
            name, value = parse(name)
        self.faults.arm(name, value)
        if name == "auth":
            self.drop_connections()
        elif name == "host-key" and self._login is not None:
            self._login.show_host_key(asyncssh.generate_private_key("ssh-ed25519"))
            self.drop_connections()
        elif name == "drop" and not self.faults.value("drop"):
            self.faults.clear("drop")
            self.drop_connections()
        elif name == "sacct-lag":
            self.model.accounting_lag = float(self.faults.value("sacct-lag") or 0)
        elif name == "stall":
            self._desk.stall(float(self.faults.value("stall") or 0))
        elif name == "purge":
            self.model.min_job_age = 0.0
        self.tick()

    def heal(self, name: str | None = None) -> None:
        """Switch one fault off, or all."""
        self.faults.clear(name)
        if name in {None, "purge"}:
            self.model.min_job_age = self.config.min_job_age
        if name in {None, "sacct-lag"}:
            self.model.accounting_lag = self.config.accounting_lag
        if name in {None, "stall"}:
            self._desk.stalled_until = 0.0
        if name in {None, "host-key"} and self._login is not None and self._host_key is not None:
            self._login.show_host_key(self._host_key)
        if name in {None, "node-fail"}:
            for node in self.model.nodes:
                self.model.node_up(node)

    def drop_connections(self) -> None:
        """Cut every SSH connection now."""
        if self._login is not None:
            self._login.drop_all()

    def jobs(self, name: str | None = None) -> list[Job]:
        """Return the jobs slurmctld still knows, oldest first; of one name, if given."""
        found = [job for job in self.model.jobs.values() if name in {None, job.request.name}]
        return sorted(found, key=lambda job: job.id)

    @property
    def logins(self) -> int:
        """How many connections were ever opened."""
        return self._login.logins if self._login is not None else 0

    @property
    def calls(self) -> dict[str, int]:
        """How often each Slurm command was called."""
        return dict(self._desk.counts)

    # --- the machinery ---

    async def _tick_on(self) -> None:
        waited = 0.0
        while True:
            await asyncio.sleep(TICK)
            waited += TICK
            if self.faults.is_on("drop") and waited >= float(self.faults.value("drop")):
                waited = 0.0
                self.drop_connections()
            self.tick()

    def tick(self) -> None:
        """Let the model look at the clock, and do what it orders."""
        self.model.tick(self.clock.now())
        self._strike()
        self.carry_out()

    def _strike(self) -> None:
        """Let the faults that wait for a running job act."""
        for name in ("requeue", "preempt", "oom", "node-fail"):
            if not self.faults.is_on(name):
                continue
            wanted = self.faults.value(name)
            for job in self.jobs():
                alive = job.base == "RUNNING" and job.has_processes and not job.completing
                if not alive or wanted not in {"", "next", job.request.name, *job.nodes}:
                    continue
                self.faults.clear(name)
                self._hit(name, job)
                break

    def _hit(self, name: str, job: Job) -> None:
        now = self.clock.now()
        if name == "requeue":
            self.model.requeue(job.id, now)
        elif name == "preempt":
            self.model.preempt(job.id, now)
        elif name == "oom":
            self.model.end(job.id, "OUT_OF_MEMORY", now=now, reason="OutOfMemory")
        else:
            self.model.node_down(job.nodes[0], now)

    def carry_out(self) -> None:
        """Start and end processes as the model ordered."""
        if self.model.next_id != self._saved_id:  # ids are not used again after a restart
            self._saved_id = self.model.next_id
            self._ids.write_text(str(self._saved_id))
        for order in self.model.take_orders():
            key = f"{order.job_id}.{order.restarts}"
            if isinstance(order, Launch):
                self._launch(self.model.jobs[order.job_id], key)
            elif isinstance(order, End):
                wait = self.config.kill_wait if order.grace else 0.0
                self._agent.end(key, why=order.why, wait=wait)

    def _launch(self, job: Job, key: str) -> None:
        node = job.nodes[0]
        spool = self.dir / "spool" / node / f"job{job.id:05}"
        spool.mkdir(parents=True, exist_ok=True)
        script = spool / "slurm_script"
        script.write_bytes(job.request.script)
        script.chmod(0o700)
        out = expand(job.request.output or "slurm-%j.out", job)
        self._agent.launch(
            key,
            [str(script), *job.request.arguments],
            cwd=job.request.chdir,
            environment=job_environment(job, self.config, self.login_environment, gid=os.getgid()),
            out=out,
            err=expand(job.request.error, job) if job.request.error else out,
            append=job.request.append,
            node=node,
        )

    def _ended(self, key: str, raw: int | None) -> None:
        job_id, _, _ = key.partition(".")
        now = self.clock.now()
        self.model.ended(int(job_id), LAUNCH_FAILURE if raw is None else raw, now)

    def drop_connection(self, number: int) -> None:
        """Cut one SSH connection."""
        if self._login is not None:
            self._login.drop(number)

    def kill_session(self, session: int) -> None:
        """Kill every process of one login session."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if os.getsid(int(entry.name)) == session:
                        os.kill(int(entry.name), signal.SIGKILL)


def _user_name() -> str:
    """Return our name, or our number where nobody gave us a name."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _key(path: Path) -> asyncssh.SSHKey:
    """Return the key in the file; make one if there is none."""
    if path.exists():
        return asyncssh.read_private_key(path)
    key = asyncssh.generate_private_key("ssh-ed25519")
    path.touch(0o600)
    key.write_private_key(path)
    return key
