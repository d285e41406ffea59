"""The processes of one job on this node, as the kernel tells of them in /proc."""

import os
from typing import Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from .exposition import Value

# Programs that are told apart; the rest of a job that starts very many is counted together.
_PROGRAMS = 20
_OTHERS = "(others)"


class Process(NamedTuple):
    """One process: times in seconds, sizes in bytes."""

    pid: int
    parent: int
    program: str
    user: float
    system: float
    waited_user: float  # by the children that it waited for
    waited_system: float
    threads: int
    resident: int


class Processes:
    """Looks at a job's processes, and never lets a counter fall when one of them ends."""

    def __init__(self, proc: str, root: int, job: str, own: int) -> None:
        """Take the pid from which the job descends, and its Slurm id; ``own``: not counted."""
        self.proc = proc
        self.root = root
        self.job = job
        self.own = own
        self.ticks = float(os.sysconf("SC_CLK_TCK"))
        self.page = os.sysconf("SC_PAGE_SIZE")
        self._named: Dict[int, bool] = {}  # pid -> its environment names the job
        self._highest: Dict[Tuple[str, ...], float] = {}

    def values(self) -> Iterator[Value]:
        """Look now."""
        job = self._job()
        yield Value("benchd_job_processes", len(job))
        yield Value("benchd_job_threads", sum(process.threads for process in job))
        user = sum(process.user + process.waited_user for process in job)
        system = sum(process.system + process.waited_system for process in job)
        for mode, seconds in (("user", user), ("system", system)):
            yield self._counter("benchd_job_cpu_seconds_total", seconds, mode=mode)
        by_program: Dict[str, List[Process]] = {}
        for process in job:
            by_program.setdefault(process.program, []).append(process)
        largest = sorted(by_program, key=lambda name: -sum(p.resident for p in by_program[name]))
        for name in largest[_PROGRAMS:]:
            by_program.setdefault(_OTHERS, []).extend(by_program.pop(name))
        for name, some in sorted(by_program.items()):
            seconds = sum(process.user + process.system for process in some)
            yield self._counter("benchd_job_program_cpu_seconds_total", seconds, program=name)
            resident = sum(process.resident for process in some)
            yield Value("benchd_job_program_resident_memory_bytes", resident, {"program": name})
        for value in self._io(job):
            yield value

    def _counter(self, family: str, number: float, **labels: str) -> Value:
        """Return a counter: what an ended process had counted is not taken back."""
        key = (family,) + tuple(sorted(labels.values()))
        self._highest[key] = max(number, self._highest.get(key, 0.0))
        return Value(family, self._highest[key], labels)

    def _io(self, job: List[Process]) -> Iterator[Value]:
        names = {"rchar": ("read", "calls"), "wchar": ("write", "calls")}
        names.update({"read_bytes": ("read", "storage"), "write_bytes": ("write", "storage")})
        sums = dict.fromkeys(names, 0)
        for process in job:
            for line in self._read("%d/io" % process.pid).splitlines():
                name, _, number = line.partition(": ")
                if name in sums and number.isdigit():
                    sums[name] += int(number)
        for name, (direction, layer) in sorted(names.items()):
            yield self._counter(
                "benchd_job_io_bytes_total", sums[name], direction=direction, layer=layer
            )

    # --- which they are ---------------------------------------------------------------------------

    def _job(self) -> List[Process]:
        """Return what descends from the root, and what says in its environment that it belongs.

        The second finds the steps that srun starts and what has put itself in the background; the
        first finds programs in containers with a clean environment.
        """
        everything = {process.pid: process for process in self._everything()}
        children: Dict[int, List[int]] = {}
        for process in everything.values():
            children.setdefault(process.parent, []).append(process.pid)
        self._named = {pid: known for pid, known in self._named.items() if pid in everything}
        todo = [self.root] + [pid for pid in everything if self._names_job(pid)]
        found: Set[int] = set()
        while todo:
            pid = todo.pop()
            if pid not in found:
                found.add(pid)
                todo += children.get(pid, [])
        found.discard(self.own)
        return [everything[pid] for pid in sorted(found) if pid in everything]

    def _names_job(self, pid: int) -> bool:
        if pid not in self._named:
            word = "SLURM_JOB_ID=%s" % self.job
            environment = self._read("%d/environ" % pid)
            self._named[pid] = bool(self.job) and word in environment.split("\0")
        return self._named[pid]

    def _everything(self) -> Iterator[Process]:
        for name in os.listdir(self.proc):
            process = self._process(int(name)) if name.isdigit() else None
            if process is not None:
                yield process

    def _process(self, pid: int) -> Optional[Process]:
        """Return a process, or None when it has ended meanwhile."""
        head, _, rest = self._read("%d/stat" % pid).rpartition(")")
        fields = rest.split()
        if len(fields) < 22:
            return None
        times = [int(field) / self.ticks for field in fields[11:15]]
        return Process(
            pid=pid,
            parent=int(fields[1]),
            program=head.partition("(")[2],
            user=times[0],
            system=times[1],
            waited_user=times[2],
            waited_system=times[3],
            threads=int(fields[17]),
            resident=int(fields[21]) * self.page,
        )

    def _read(self, name: str) -> str:
        """Return a file of /proc; nothing when its process has ended or is somebody else's."""
        try:
            with open(os.path.join(self.proc, name), encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return ""
