"""Which nodes a job gets: first fit, in the order of the nodes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil

from benchd.sim.nouns import Grant, Node, Request


def place(
    request: Request, nodes: Iterable[Node], *, mem_per_cpu: int, empty: bool = False
) -> Mapping[str, Grant] | None:
    """Return what the job gets of which node, or None if it does not fit.

    ``empty`` asks whether it would fit if nothing else ran.
    """
    usable = [
        node
        for node in nodes
        if node.name not in request.exclude
        and (empty or (node.down is None and node.owner is None))
        and not (request.exclusive and node.jobs and not empty)
    ]
    if request.nodelist:
        names = {node.name for node in usable}
        if not names.issuperset(request.nodelist):
            return None
        usable.sort(key=lambda node: node.name not in request.nodelist)
    count = max(request.nodes, len(request.nodelist))
    tasks = max(request.tasks, count * (request.tasks_per_node or 1))
    grants: dict[str, Grant] = {}
    gpus_left = request.gpus
    for node in usable:
        if len(grants) >= count and tasks <= 0 and gpus_left <= 0:
            break
        share = _share(request, tasks, count - len(grants))
        grant = _fit(request, node, share, gpus_left, mem_per_cpu, empty=empty)
        if grant is None:
            continue
        grants[node.name] = grant
        tasks -= grant.cpus // request.cpus_per_task
        gpus_left -= grant.gpus if request.gpus else 0
    return grants if len(grants) >= count and tasks <= 0 and gpus_left <= 0 else None


def _share(request: Request, tasks: int, nodes_left: int) -> int:
    """Return how many of the tasks that are left the next node should take."""
    if request.tasks_per_node:
        return request.tasks_per_node
    return max(1, ceil(tasks / max(1, nodes_left)))


def _fit(
    request: Request, node: Node, tasks: int, gpus_left: int, mem_per_cpu: int, *, empty: bool
) -> Grant | None:
    cpus_free = node.cpus - (0 if empty else node.cpus_taken)
    memory_free = node.memory_mb - (0 if empty else node.memory_taken)
    gpus_free = node.gpus - (0 if empty else node.gpus_taken)
    fitting = cpus_free // request.cpus_per_task
    if fitting < 1 or (request.tasks_per_node and fitting < request.tasks_per_node):
        return None
    cpus = min(tasks, fitting) * request.cpus_per_task
    if request.memory_mb is not None:
        memory = request.memory_mb or node.memory_mb
    else:
        memory = (request.memory_per_cpu_mb or mem_per_cpu) * cpus
    gpus = request.gpus_per_node or min(gpus_left, gpus_free)
    if request.gpu_type not in (None, node.gpu_type) and gpus:
        return None
    if memory > memory_free or gpus > gpus_free or (request.gpus and gpus == 0 and gpus_left > 0):
        return None
    if request.exclusive:
        cpus = node.cpus
    return Grant(cpus, memory, gpus, node.gpus_taken)
