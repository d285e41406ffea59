"""sinfo and sdiag: the state of the machine and of the controller."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from benchd.sim.call import Answer, Call
from benchd.sim.nouns import Node, Partition
from benchd.sim.options import Parser, options
from benchd.sim.slurmctld import Slurmctld
from benchd.sim.text import UsageError, node_list, span

_TABLE = options(
    "all/a dead/d exact/e Format/O= format/o= help hide iterate/i= json long/l Node/N nodes/n="
    " noheader/h partition/p= responding/r list-reasons/R summarize/s sort/S= states/t= usage"
    " verbose/v version/V"
)
_PARSER = Parser("sinfo", _TABLE)
_SHORT = {
    "idle": "idle",
    "mixed": "mix",
    "allocated": "alloc",
    "down": "down",
    "completing": "comp",
}
_HEADERS = {
    "P": "PARTITION", "a": "AVAIL", "l": "TIMELIMIT", "D": "NODES", "t": "STATE", "T": "STATE",
    "N": "NODELIST", "c": "CPUS", "m": "MEMORY", "G": "GRES", "C": "CPUS(A/I/O/T)",
    "F": "NODES(A/I/O/T)", "f": "AVAIL_FEATURES", "R": "PARTITION",
}  # fmt: skip


def sinfo(call: Call) -> Answer:
    """Print partitions and nodes, one line per partition and node state."""
    pairs, _ = _PARSER.parse(call.argv)
    said = dict(pairs)
    model = call.model
    if "version" in said:
        return Answer(0, f"slurm-wlm {model.config.version}\n")
    form = said.get("format")
    if form is None:
        form = "%10N %.5D %.9P %6t" if "Node" in said else "%#P %.5a %.10l %.6D %.6t %N"
    summary = "F" in re.findall(r"%[.#\d]*([A-Za-z])", form)
    wanted = (said.get("partition") or "").split(",") if said.get("partition") else None
    groups: list[tuple[Partition, list[Node]]] = []
    for partition in model.partitions.values():
        if wanted is not None and partition.name not in wanted:
            continue
        nodes = [model.nodes[name] for name in partition.nodes]
        if "Node" in said:
            groups += [(partition, [node]) for node in nodes]
        else:
            states = [_state(model, node) for node in nodes]
            keys = [""] if summary else sorted(set(states))
            groups += [
                (partition, [n for n, s in zip(nodes, states, strict=True) if key in {"", s}])
                for key in keys
            ]
    if "Node" in said:
        groups.sort(key=lambda group: (group[1][0].name, group[0].name))
    err: list[str] = []
    table = [] if "noheader" in said else [None]
    rows: list[tuple[Partition, list[Node]] | None] = [*table, *groups]
    lines = [_line(form, row, rows, model, err) for row in rows]
    return Answer(0, "".join(f"{line}\n" for line in lines), "".join(dict.fromkeys(err)))


def _state(model: Slurmctld, node: Node) -> str:
    completing = any(model.jobs[j].completing for j in node.jobs if j in model.jobs)
    return node.state(completing=completing)


def _value(letter: str, row: tuple[Partition, list[Node]] | None, model: Slurmctld) -> str | None:
    if letter not in _HEADERS:
        return None
    if row is None:
        return _HEADERS[letter]
    partition, nodes = row
    cpus = sum(node.cpus for node in nodes)
    down = [node for node in nodes if node.down is not None]
    busy = [node for node in nodes if node.down is None and node.jobs]
    idle_nodes = len(nodes) - len(down) - len(busy)
    taken = sum(node.cpus_taken for node in nodes)
    other = sum(node.cpus for node in down)
    node = nodes[0]
    state = _state(model, node)
    limit = partition.max_minutes
    values = {
        "P": partition.name + ("*" if partition.default else ""),
        "R": partition.name,
        "a": "up" if partition.up else "down",
        "l": "infinite" if limit is None else span(limit * 60),
        "D": str(len(nodes)),
        "t": _SHORT[state],
        "T": state,
        "N": node_list(node.name for node in nodes),
        "c": str(node.cpus),
        "m": str(node.memory_mb),
        "G": f"gpu:{node.gpu_type}:{node.gpus}" if node.gpus else "(null)",
        "C": f"{taken}/{cpus - taken - other}/{other}/{cpus}",
        "F": f"{len(busy)}/{idle_nodes}/{len(down)}/{len(nodes)}",
        "f": "(null)",
    }
    return values[letter]


def _line(
    form: str,
    row: tuple[Partition, list[Node]] | None,
    rows: Sequence[tuple[Partition, list[Node]] | None],
    model: Slurmctld,
    err: list[str],
) -> str:
    def one(match: re.Match[str]) -> str:
        text = _value(match[3], row, model)
        if text is None:
            err.append(f"Invalid node format specification: {match[3]}\n")
            return match[0]
        width = int(match[2] or 0)
        if match[1] == "#":  # as wide as the widest
            width = max(len(_value(match[3], other, model) or "") for other in rows)
        text = text[:width] if width else text
        return text.rjust(width) if match[1] == "." else text.ljust(width)

    return re.sub(r"%([.#]?)(\d*)([A-Za-z])", one, form)


_SDIAG = Parser("sdiag", options("all/a help/h reset/r sort-by-id/i usage verbose/v version/V"))


def sdiag(call: Call) -> Answer:
    """Print what the controller did so far."""
    pairs, operands = _SDIAG.parse(call.argv)
    model = call.model
    if operands:
        raise UsageError("", 1)
    if "version" in dict(pairs):
        return Answer(0, f"slurm-wlm {model.config.version}\n")
    stars = "*" * 55
    at = f"{time.ctime(call.now)} ({int(call.now)})"
    pending = sum(job.base == "PENDING" for job in model.jobs.values())
    running = sum(job.base == "RUNNING" for job in model.jobs.values())
    lines = [
        stars,
        f"sdiag output at {at}",
        f"Data since      {at}",
        stars,
        "Server thread count:  3",
        "Agent queue size:     0",
        "Agent count:          0",
        "Agent thread count:   0",
        "DBD Agent queue size: 0",
        "",
        *(f"{f'Jobs {name}:':<16}{count}" for name, count in model.counts.items()),
        "",
        f"Job states ts:  {at}",
        f"Jobs pending:   {pending}",
        f"Jobs running:   {running}",
    ]
    return Answer(0, "".join(f"{line}\n" for line in lines))
