"""The node around the job, and the cgroup in which Slurm has put it."""

import os
import re
from typing import Iterator, Optional, Tuple

from .exposition import Value

_MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
# Values from which on a limit means that there is none: v1 says 2^63 rounded down to a page.
_NO_LIMIT = 1 << 60


def _read(*path: str) -> str:
    try:
        with open(os.path.join(*path), encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


class Node:
    """Reads /proc and /sys."""

    def __init__(self, proc: str, sys: str, job: str) -> None:
        self.proc = proc
        self.sys = sys
        self.job = job
        self.ticks = float(os.sysconf("SC_CLK_TCK"))

    def values(self) -> Iterator[Value]:
        """Look now."""
        for look in (self._cpu, self._memory, self._network, self._cgroup):
            for value in look():
                yield value

    def _cpu(self) -> Iterator[Value]:
        first = _read(self.proc, "stat").split("\n", 1)[0].split()
        for mode, ticks in enumerate(first[1 : len(_MODES) + 1]):
            yield Value(
                "benchd_node_cpu_seconds_total", int(ticks) / self.ticks, {"mode": _MODES[mode]}
            )
        load = _read(self.proc, "loadavg").split()
        if load:
            yield Value("benchd_node_load1", float(load[0]))

    def _memory(self) -> Iterator[Value]:
        names = {"MemTotal": "benchd_node_memory_bytes"}
        names["MemAvailable"] = "benchd_node_memory_available_bytes"
        for line in _read(self.proc, "meminfo").splitlines():
            name, _, size = line.partition(":")
            if name in names:
                yield Value(names[name], int(size.split()[0]) * 1024)

    def _network(self) -> Iterator[Value]:
        for line in _read(self.proc, "net", "dev").splitlines()[2:]:
            name, _, numbers = line.partition(":")
            fields, device = numbers.split(), {"device": name.strip()}
            if len(fields) >= 9 and device["device"] != "lo":
                yield Value("benchd_node_network_receive_bytes_total", int(fields[0]), device)
                yield Value("benchd_node_network_transmit_bytes_total", int(fields[8]), device)

    # --- the cgroup -------------------------------------------------------------------------------

    def _cgroup(self) -> Iterator[Value]:
        unified = self._place("")
        if unified is not None:
            for value in self._v2(os.path.join(self.sys, "fs/cgroup", unified)):
                yield value
            return
        cpu, memory = self._place("cpuacct"), self._place("memory")
        if cpu is not None:
            used = _read(self.sys, "fs/cgroup/cpuacct", cpu, "cpuacct.usage").strip()
            if used.isdigit():
                yield Value("benchd_job_cgroup_cpu_seconds_total", int(used) / 1e9)
        if memory is not None:
            for value in self._sizes(
                os.path.join(self.sys, "fs/cgroup/memory", memory),
                ("memory.usage_in_bytes", "memory.limit_in_bytes"),
            ):
                yield value

    def _v2(self, place: str) -> Iterator[Value]:
        used = re.search(r"^usage_usec (\d+)", _read(place, "cpu.stat"), re.MULTILINE)
        if used:
            yield Value("benchd_job_cgroup_cpu_seconds_total", int(used.group(1)) / 1e6)
        for value in self._sizes(place, ("memory.current", "memory.max")):
            yield value

    def _sizes(self, place: str, files: Tuple[str, str]) -> Iterator[Value]:
        used, limit = (_read(place, name).strip() for name in files)
        if used.isdigit():
            yield Value("benchd_job_cgroup_memory_bytes", int(used))
        if limit.isdigit() and int(limit) < _NO_LIMIT:
            yield Value("benchd_job_cgroup_memory_limit_bytes", int(limit))

    def _place(self, controller: str) -> Optional[str]:
        """Return the job's own group below the controller's mount, or None: Slurm made none."""
        for line in _read(self.proc, "self/cgroup").splitlines():
            _, controllers, path = (line.split(":", 2) + ["", ""])[:3]
            found = re.match(r"/?(.*?/?job_%s)(?:/|$)" % re.escape(self.job or "-"), path)
            if found and controller in controllers.split(","):
                return found.group(1)
        return None
