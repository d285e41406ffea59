"""A real, private Slurm cluster with accounting and a login node, on this machine.

Everything it makes - keys, sockets, state, logs, process ids - lies below one directory, every port
is on loopback and was free when it was picked, and only processes that it started are ever
signalled. It works as root and as a plain user and needs only the standard library and Debian's
packages (see ``tests/install/system-packages.sh``). ``testbed.sh`` is its command line.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

from slurm import testbed_files as files
from slurm.testbed_files import Options, Plan

POLL_S = 0.03  # between two looks at a condition: a daemon is ready within 0.1 to 3 s
READY_S = 60.0  # until a daemon must answer: MariaDB took 10 s on a busy disk
END_S = 15.0  # until a daemon must have ended after SIGTERM; then it is killed
NEEDED = (
    *("munged", "munge", "slurmctld", "slurmd", "slurmdbd", "sbatch", "sacct", "scontrol"),
    *("mariadbd", "mariadb-install-db", "sshd", "ssh-keygen"),
)
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"  # a plain user's PATH often lacks them


class TestbedError(Exception):
    """The testbed cannot do what was asked; the message names the log to read."""

    __test__ = False


# --- processes -----------------------------------------------------------------------------------


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the command name; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return []


def started(pid: int) -> str | None:
    """Return the start time of a living process in ticks: with the pid, its identity."""
    fields = _stat(pid)
    return fields[19] if fields and fields[0] != "Z" else None


def descendants(pid: int) -> Iterator[int]:
    """Yield the living descendants of a process, nearest first."""
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            children += map(int, task.read_text().split())
    yield from children
    for child in children:
        yield from descendants(child)


def command_name(pid: int) -> str:
    """Return the kernel's name of a process; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    """Signal processes, some of which may already be gone."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def until(check: Callable[[], bool], seconds: float) -> bool:
    """Wait for a condition of real processes; False when it did not come true in time."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def answers(port: int) -> bool:
    """Somebody listens on this loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_ports(count: int) -> list[int]:
    """Pick loopback ports nobody listens on.

    Below Linux's ephemeral range (32768 and up), so that no outgoing connection takes one of them
    as its source between this look and the daemon's bind.
    """
    found: list[int] = []
    start = 15000 + int.from_bytes(os.urandom(2), "big") % 15000
    for port in range(start, 32000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise TestbedError(f"found no {count} free ports between {start} and 32000")


# --- the testbed ---------------------------------------------------------------------------------


class Testbed:
    """One cluster below one directory."""

    __test__ = False

    def __init__(self, home: Path) -> None:
        self.dir = home.resolve()
        try:
            told = json.loads((self.dir / "testbed.json").read_text())
        except FileNotFoundError:
            raise TestbedError(
                f"{home} holds no testbed; make one with: testbed.py start DIR"
            ) from None
        told["options"] = Options(**told["options"])
        self.plan = Plan(**told)

    @classmethod
    def create(cls, home: Path, options: Options | None = None) -> Testbed:
        """Pick ports and write every configuration file below a new or empty directory."""
        options = options or Options()
        path = f"{os.environ.get('PATH', '')}:{SBIN}"
        absent = [name for name in NEEDED if shutil.which(name, path=path) is None]
        if absent:
            raise TestbedError(
                f"not installed: {', '.join(absent)}; run tests/install/system-packages.sh"
            )
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o755)
        names = ["mariadbd", "slurmdbd", "slurmctld", "sshd"]
        names += [f"slurmd-n{i}" for i in range(1, options.nodes + 1)]
        names += ["slurmrestd"] if options.tokens else []
        plan = Plan(
            dir=str(home.resolve()),
            user=getpass.getuser(),
            host=socket.gethostname().split(".")[0],
            ports=dict(zip(names, free_ports(len(names)), strict=True)),
            options=options,
        )
        files.write(plan)
        (home / "testbed.json").write_text(json.dumps(asdict(plan), indent=1))
        return cls(home)

    @property
    def conf(self) -> Path:
        """The slurm.conf that every Slurm command needs in SLURM_CONF."""
        return self.dir / "slurm.conf"

    @property
    def env(self) -> dict[str, str]:
        """An environment for Slurm commands: ours, without the settings of another cluster."""
        ours = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SBATCH_"))}
        path = os.environ.get("PATH", "/usr/bin:/bin")
        return ours | {"SLURM_CONF": str(self.conf), "PATH": f"{path}:{SBIN}"}

    def run(self, *argv: str, timeout: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run a command against this cluster and return what it said, whatever its status."""
        return subprocess.run(
            argv, env=self.env, capture_output=True, text=True, timeout=timeout, check=False
        )

    # --- single daemons ---

    @property
    def doors(self) -> list[str]:
        """The further login nodes that were opened here (door.py)."""
        return sorted(path.name for path in self.dir.glob(f"{files.DOOR}*"))

    @property
    def daemons(self) -> list[str]:
        """All daemons, in the order in which they start."""
        return [*self.plan.daemons, *self.plan.extras, *self.doors]

    def port(self, name: str) -> int:
        """Return the port of a daemon."""
        if name in self.plan.ports:
            return self.plan.ports[name]
        return int((self.dir / name / "port").read_text())

    def pid(self, name: str) -> int | None:
        """Return the pid of a daemon that we started and that still runs."""
        try:
            pid, start = (self.dir / "pids" / name).read_text().split()
        except (OSError, ValueError):
            return None
        return int(pid) if started(int(pid)) == start else None

    def _check(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.daemons:
                known = " ".join(self.daemons)
                raise TestbedError(f"no daemon {name!r} here; there are: {known}")

    def _launch(self, name: str) -> None:
        if self.pid(name) is not None:
            return
        argv = files.command(self.plan, name)
        binary = shutil.which(argv[0], path=self.env["PATH"]) or argv[0]  # sshd wants a full path
        with (self.dir / "log" / f"{name}.out").open("ab") as log:
            process = subprocess.Popen(
                [binary, *argv[1:]],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.dir,
                start_new_session=True,
            )
        (self.dir / "pids" / name).write_text(f"{process.pid} {started(process.pid)}")
        _children.append(process)

    def _is_ready(self, name: str) -> bool:
        if name == "munged":
            credential = self.run("munge", "-n", "-S", str(self.dir / "munge" / "munge.sock"))
            return credential.returncode == 0
        if name == "slurmctld":
            return " is UP" in self.run("scontrol", "ping").stdout
        return answers(self.port(name))

    def _has_settled(self, name: str) -> bool:
        return self.pid(name) is None or self._is_ready(name)

    def up(self, *names: str) -> None:
        """Start daemons and wait until each one answers."""
        self._check(names)
        for name in names:
            self._launch(name)
        for name in names:
            if not until(partial(self._has_settled, name), READY_S):
                raise TestbedError(
                    f"{name} does not answer after {READY_S:.0f} s\n{self.tail(name)}"
                )
            if self.pid(name) is None:
                raise TestbedError(f"{name} ended while starting\n{self.tail(name)}")

    def sessions(self, name: str = "sshd") -> list[int]:
        """Return the processes of sshd's open sessions, without the commands that run in them."""
        pid = self.pid(name)
        below = list(descendants(pid)) if pid else []
        return [p for p in below if command_name(p).startswith("sshd")]

    def _with_sessions(self, name: str) -> list[int]:
        pid = self.pid(name)
        return [] if pid is None else [pid, *self._sessions_of(name)]

    def _sessions_of(self, name: str) -> list[int]:
        return self.sessions(name) if name == "sshd" or name.startswith(files.DOOR) else []

    def down(self, *names: str, by: signal.Signals = signal.SIGTERM) -> None:
        """End daemons, all at once, and wait until they are gone."""
        targets = [pid for name in names for pid in self._with_sessions(name)]
        alive = {pid: started(pid) for pid in targets}
        signal_all(targets, signal.SIGCONT)
        signal_all(targets, by)

        def left() -> list[int]:
            return [pid for pid, start in alive.items() if start and started(pid) == start]

        if not until(lambda: not left(), END_S):
            signal_all(left(), signal.SIGKILL)
            until(lambda: not left(), END_S)
        for name in names:
            (self.dir / "pids" / name).unlink(missing_ok=True)

    def ctl(self, action: str, *names: str) -> None:
        """Do one of the things in this file's first lines to some daemons."""
        self._check(names)
        pids = [pid for name in names for pid in self._with_sessions(name)]
        match action:
            case "up":
                self.up(*names)
            case "down":
                self.down(*names)
            case "kill":
                self.down(*names, by=signal.SIGKILL)
            case "pause":
                signal_all(pids, signal.SIGSTOP)
            case "resume":
                signal_all(pids, signal.SIGCONT)
            case "drop":
                signal_all([p for n in names for p in self._sessions_of(n)], signal.SIGKILL)
            case _:
                raise TestbedError(f"{action!r}: say down, up, pause, resume, kill or drop")

    def tail(self, name: str, lines: int = 12) -> str:
        """Return the end of a daemon's own log and of what it printed."""
        logs = [f"{name}.log", f"{name.replace('slurmd-', 'slurmd.')}.log", f"{name}.out"]
        told = []
        for path in (self.dir / "log" / log for log in dict.fromkeys(logs)):
            if path.exists():
                text = path.read_text(errors="replace").splitlines()[-lines:]
                told.append("\n".join([f"--- {path}", *text]))
        return "\n".join(told)

    # --- the whole cluster ---

    def start(self) -> None:
        """Bring everything up and wait until every node takes jobs."""
        self.up("munged", "sshd")
        if self.plan.options.accounting:
            files.install_database(self.plan, self.env)
            self.up("mariadbd")
            self.up("slurmdbd")
        self.up("slurmctld", *self.plan.slurmds)
        if not until(self._nodes_idle, READY_S):
            raise TestbedError(f"nodes do not come up\n{self.run('sinfo', '-N').stdout}")
        if self.plan.options.accounting:
            for what in (["account", "testbed"], ["user", self.plan.user, "account=testbed"]):
                self.run("sacctmgr", "-i", "-Q", "add", *what)

    def _nodes_idle(self) -> bool:
        states = self.run("sinfo", "-h", "-N", "-p", "debug", "-o", "%t").stdout.split()
        good = [s for s in states if s in {"idle", "mix", "alloc"}]
        return len(good) == self.plan.options.nodes

    def _step_daemons(self) -> list[int]:
        """Return the slurmstepd processes of this cluster: they hold a file below DIR open."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            if command_name(int(entry.name)) != "slurmstepd":
                continue
            with contextlib.suppress(OSError):
                links = [str(link.readlink()) for link in (entry / "fd").iterdir()]
                if any(link.startswith(f"{self.dir}/") for link in links):
                    found.append(int(entry.name))
        return found

    def end_jobs(self) -> None:
        """Cancel every job and wait for their ends; what hangs is killed with its processes."""
        signal_all([p for n in self.daemons if (p := self.pid(n))], signal.SIGCONT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self.pid("slurmctld") and self.pid("munged"):
                users = f"--user={self.plan.user}"
                self.run("scancel", "--quiet", "--full", users, timeout=15)
                until(lambda: not self.run("squeue", "-h", timeout=15).stdout.strip(), 8.0)
        steps = self._step_daemons()
        signal_all({q for p in steps for q in (p, *descendants(p))}, signal.SIGKILL)

    def stop(self, *, purge: bool = False) -> None:
        """End all jobs, then every daemon; with ``purge`` remove the directory as well."""
        self.end_jobs()
        self.down("sshd", *self.doors, *self.plan.extras, *self.plan.slurmds)
        signal_all([q for p in self._step_daemons() for q in (*descendants(p), p)], signal.SIGKILL)
        for name in ("slurmctld", "slurmdbd", "mariadbd", "munged"):
            self.down(name)
        if purge:
            shutil.rmtree(self.dir)

    def status(self) -> str:
        """Return one line per daemon and what Slurm says about its nodes."""
        lines = [f"{name:<12}{self.pid(name) or 'down'}" for name in self.daemons]
        return "\n".join([*lines, self.run("sinfo", timeout=15).stdout])


_children: list[subprocess.Popen[bytes]] = []  # kept so that ended daemons are reaped, not zombies
