"""The compute nodes: starts job scripts as local processes, and leaves none behind.

Run as ``python -ISE slurmd.py`` by the cluster, with which it talks in JSON lines over standard
input and output. It is a process of its own so that jobs end with the cluster even when that is
killed: end of input means "kill everything". Every job gets its own session; whatever leaves that
session is found again because this process is the subreaper of all of them and SLURM_JOB_ID is in
their environment. Should this process be killed itself, the scripts die by PR_SET_PDEATHSIG.

Requests: {"op": "start", "key", "argv", "cwd", "env", "out", "err", "append", "node"},
{"op": "end", "key", "why", "wait"}, {"op": "watch", "pid"}, {"op": "forget", "pid"}.
Reports: {"ev": "end", "key", "raw"} once all processes of a job are gone, {"ev": "failed", "key"}.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

PR_SET_PDEATHSIG = 1  # from linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36
LINGER = 0.02  # seconds between two looks whether what was killed is gone
FAREWELL = 5.0  # seconds to wait at the end for what was killed
_LIBC = ctypes.CDLL(None)


class Process(NamedTuple):
    """What /proc says about one process; ``start`` tells two with the same pid apart."""

    parent: int
    group: int
    session: int
    start: int


Table = dict[int, Process]


def processes() -> Table:
    """Return every process of this machine that is no zombie."""
    found = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - 200 Path objects 50 times a second cost
        if not name.isdigit():
            continue
        try:
            stat = Path(f"/proc/{name}/stat").read_text()
        except OSError:
            continue
        fields = stat.rpartition(")")[2].split()
        if fields[0] not in "ZX":
            found[int(name)] = Process(*(int(fields[i]) for i in (1, 2, 3, 19)))
    return found


def below(root: int, table: Table) -> set[int]:
    """Return the pids that descend from ``root``."""
    found = {root}
    grew = True
    while grew:
        more = {pid for pid, each in table.items() if each.parent in found} - found
        found |= more
        grew = bool(more)
    return found - {root}


def kill(pids: set[int], number: int) -> None:
    """Send a signal; who is gone is gone."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


class Running:
    """One job's processes."""

    def __init__(self, key: str, pid: int, errors: int, node: str) -> None:
        self.key = key
        self.pid = pid
        self.errors = errors
        self.node = node
        self.raw: int | None = None
        self.kill_at: float | None = None
        self.mark = f"SLURM_JOB_ID={key.partition('.')[0]}".encode()

    def members(self, table: Table) -> set[int]:
        """Return its processes: the session, and descendants of ours that carry its mark."""
        found = {pid for pid, each in table.items() if each.session == self.pid}
        for pid in below(os.getpid(), table) - found:
            try:
                environment = Path(f"/proc/{pid}/environ").read_bytes()
            except OSError:
                continue
            if self.mark in environment.split(b"\0"):
                found.add(pid)
        return found


class Slurmd:
    """Starts, ends and reaps."""

    def __init__(self) -> None:
        self.jobs: dict[str, Running] = {}
        self.watched: dict[int, int] = {}  # session leader -> its start time

    def report(self, **fields: Any) -> None:
        """Tell the cluster."""
        try:
            os.write(1, json.dumps(fields).encode() + b"\n")
        except BrokenPipeError:
            return  # end of input follows

    def start(self, request: dict[str, Any]) -> None:
        """Run a script in a session of its own."""
        mode = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if request["append"] else os.O_TRUNC)
        try:
            out = os.open(request["out"], mode, 0o644)
            same = request["err"] == request["out"]
            err = os.dup(out) if same else os.open(request["err"], mode, 0o644)
        except OSError:
            self.report(ev="failed", key=request["key"])
            return
        cwd = request["cwd"]
        if not Path(cwd).is_dir():
            text = f"couldn't chdir to `{cwd}': No such file or directory: going to /tmp instead"
            os.write(err, f"slurmstepd-{request['node']}: error: {text}\n".encode())
            cwd = "/tmp"  # noqa: S108 - this is where Slurm goes
        ready, started = os.pipe2(os.O_CLOEXEC)  # closes in the child when the script is executed
        pid = os.fork()
        if pid == 0:
            self._become(request, cwd, out, err)
        os.close(started)
        os.read(ready, 1)  # before that, the session does not exist and no signal would find it
        os.close(ready)
        os.close(out)
        self.jobs[request["key"]] = Running(request["key"], pid, err, request["node"])

    def _become(self, request: dict[str, Any], cwd: str, out: int, err: int) -> None:
        """Turn the forked child into the job. Never returns."""
        try:
            os.setsid()
            _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(out, 1)
            os.dup2(err, 2)
            os.chdir(cwd)
            os.execve(  # noqa: S606 - the job's script, which has no shell around it
                request["argv"][0], request["argv"], request["env"]
            )
        except OSError as wrong:
            text = f"slurmstepd-{request['node']}: error: execve(): {wrong.strerror}\n"
            os.write(2, text.encode())
        os._exit(2)

    def end(self, request: dict[str, Any]) -> None:
        """Say why in the job's output, then SIGCONT, SIGTERM and after ``wait`` seconds SIGKILL."""
        job = self.jobs.get(request["key"])
        if job is None:
            return
        at = time.strftime("%Y-%m-%dT%H:%M:%S")
        number = job.key.partition(".")[0]
        text = f"*** JOB {number} ON {job.node} CANCELLED AT {at}{request['why']} ***"
        os.write(job.errors, f"slurmstepd-{job.node}: error: {text}\n".encode())
        table = processes()
        members = job.members(table)
        kill(members, signal.SIGCONT)
        # The whole group at once: were the script's child to die first, the script would go on.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGTERM)
        kill({pid for pid in members if table[pid].group != job.pid}, signal.SIGTERM)
        job.kill_at = time.monotonic() + request["wait"]

    def handle(self, request: dict[str, Any]) -> None:
        """Do what the cluster says."""
        if request["op"] == "start":
            self.start(request)
        elif request["op"] == "end":
            self.end(request)
        elif request["op"] == "watch":
            entry = processes().get(request["pid"])
            if entry is not None:
                self.watched[request["pid"]] = entry.start
        elif request["op"] == "forget":
            self.watched.pop(request["pid"], None)

    def reap(self) -> None:
        """Collect the dead, finish off jobs whose script or time is over, report who is gone."""
        while True:
            try:
                pid, raw = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            for job in self.jobs.values():
                if job.pid == pid:
                    job.raw = raw
        now = time.monotonic()
        due = [
            job
            for job in self.jobs.values()
            if job.raw is not None or (job.kill_at is not None and now >= job.kill_at)
        ]
        table = processes() if due else {}
        for job in due:
            members = job.members(table)
            kill(members, signal.SIGKILL)
            if job.raw is not None and not members:
                os.close(job.errors)
                del self.jobs[job.key]
                self.report(ev="end", key=job.key, raw=job.raw)

    def wait_seconds(self) -> float | None:
        """Return how long nothing has to be looked at."""
        if any(job.raw is not None for job in self.jobs.values()):
            return LINGER
        times = [job.kill_at for job in self.jobs.values() if job.kill_at is not None]
        return max(LINGER, min(times) - time.monotonic()) if times else None

    def farewell(self) -> None:
        """Kill every job, every login session, and everything that descends from us."""
        deadline = time.monotonic() + FAREWELL
        while time.monotonic() < deadline:
            table = processes()
            sessions = {job.pid for job in self.jobs.values()}
            sessions |= {
                pid
                for pid, start in self.watched.items()
                if pid not in table or table[pid].start == start
            }
            left = {pid for pid, each in table.items() if each.session in sessions}
            left |= below(os.getpid(), table)
            if not left:
                return
            kill(left, signal.SIGKILL)
            self.reap()
            time.sleep(LINGER)


def main() -> None:
    """Serve until the cluster closes our standard input."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    _LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1)
    wake, alarm = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
    slurmd = Slurmd()
    pending = b""
    while True:
        ready, _, _ = select.select([0, wake], [], [], slurmd.wait_seconds())
        if wake in ready:
            os.read(wake, 4096)
        if 0 in ready:
            data = os.read(0, 65536)
            if not data:
                break
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                slurmd.handle(json.loads(line))
        slurmd.reap()
    slurmd.farewell()


if __name__ == "__main__":
    main()
    sys.exit(0)
