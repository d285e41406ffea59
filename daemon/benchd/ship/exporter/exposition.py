"""Numbers in the text format that Prometheus reads."""

from typing import Dict, Iterable, List, Mapping, NamedTuple

Labels = Mapping[str, str]

_ESCAPED = {ord("\\"): "\\\\", ord("\n"): "\\n", ord('"'): '\\"'}


class Value(NamedTuple):
    """One number of a family."""

    family: str
    number: float
    labels: Labels = {}


# Family -> its type and what it says. A family that has no number now is left out.
FAMILIES = {
    "benchd_job_cpu_seconds_total": (
        "counter",
        "CPU time of the job's processes on this node, with the children they waited for.",
    ),
    "benchd_job_program_cpu_seconds_total": (
        "counter",
        "CPU time of the job's processes of one name, without their children.",
    ),
    "benchd_job_program_resident_memory_bytes": (
        "gauge",
        "Resident memory of the job's processes of one name; shared pages count in each.",
    ),
    "benchd_job_processes": ("gauge", "Processes of the job on this node."),
    "benchd_job_threads": ("gauge", "Threads of the job on this node."),
    "benchd_job_io_bytes_total": (
        "counter",
        "Bytes that the job's processes read and wrote: by calls, and of those from storage.",
    ),
    "benchd_job_cgroup_cpu_seconds_total": ("counter", "CPU time that Slurm's cgroup counts."),
    "benchd_job_cgroup_memory_bytes": (
        "gauge",
        "Memory that Slurm's cgroup counts, with the cache of files.",
    ),
    "benchd_job_cgroup_memory_limit_bytes": ("gauge", "Memory at which the job would be killed."),
    "benchd_node_cpu_seconds_total": ("counter", "CPU time of the whole node."),
    "benchd_node_memory_bytes": ("gauge", "Memory of the whole node."),
    "benchd_node_memory_available_bytes": ("gauge", "Memory that the node could still give."),
    "benchd_node_load1": ("gauge", "Runnable processes of the node, over one minute."),
    "benchd_node_network_receive_bytes_total": ("counter", "Bytes the node received."),
    "benchd_node_network_transmit_bytes_total": ("counter", "Bytes the node sent."),
    "benchd_gpu_utilization_ratio": ("gauge", "Share of time in which the GPU was busy."),
    "benchd_gpu_memory_used_bytes": ("gauge", "Memory of the GPU in use."),
    "benchd_gpu_memory_bytes": ("gauge", "Memory of the GPU."),
    "benchd_gpu_temperature_celsius": ("gauge", "Temperature of the GPU."),
    "benchd_gpu_power_watts": ("gauge", "What the GPU draws."),
}


def render(values: Iterable[Value]) -> bytes:
    """Return the page: every family with its words, in the order of the table."""
    by_family: Dict[str, List[Value]] = {}
    for value in values:
        by_family.setdefault(value.family, []).append(value)
    lines = []
    for family, (kind, words) in FAMILIES.items():
        if family in by_family:
            lines += ["# HELP %s %s" % (family, words), "# TYPE %s %s" % (family, kind)]
            lines += [_line(value) for value in by_family[family]]
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def _line(value: Value) -> str:
    labels = ",".join(
        '%s="%s"' % (name, text.translate(_ESCAPED)) for name, text in sorted(value.labels.items())
    )
    return "%s%s %s" % (value.family, "{%s}" % labels if labels else "", repr(float(value.number)))
