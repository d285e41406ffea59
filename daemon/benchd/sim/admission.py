"""What slurmctld refuses at once. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from benchd.sim.nouns import Node, Partition, Rejected, Request

UNAVAILABLE = "Requested node configuration is not available"


def admit(
    request: Request, nodes: Mapping[str, Node], partitions: Mapping[str, Partition]
) -> Partition:
    """Return the partition the request goes to, or raise Rejected for a name that is unknown."""
    if request.partition is None:
        partition = next(p for p in partitions.values() if p.default)
    elif request.partition in partitions:
        partition = partitions[request.partition]
    else:
        raise Rejected(
            "Invalid partition name specified",
            f"invalid partition specified: {request.partition}",
        )
    if any(name not in nodes for name in (*request.nodelist, *request.exclude)):
        raise Rejected("Invalid node name specified")
    if request.constraint is not None:
        raise Rejected("Invalid feature specification")  # our nodes have no features
    if request.reservation is not None:
        raise Rejected("Requested reservation is invalid")
    if request.licenses is not None:
        raise Rejected("Invalid license specification")
    return partition


def over_limits(
    request: Request,
    partition: Partition,
    minutes: int | None,
    known: Mapping[str, Node],
    cpus: int,
) -> Rejected | None:
    """Return what a site with EnforcePartLimits=ALL says to what the partition never runs."""
    nodes = [known[name] for name in partition.nodes]
    if cpus > sum(node.cpus for node in nodes):
        return Rejected("More processors requested than permitted")
    if request.nodes > len(nodes):
        return Rejected("Node count specification invalid")
    if partition.max_minutes is not None and (minutes is None or minutes > partition.max_minutes):
        return Rejected("Requested time limit is invalid (missing or exceeds some limit)")
    return None


def impossible(request: Request, known: Mapping[str, Node]) -> Rejected | None:
    """Return why slurmctld refuses a request that no node could ever serve."""
    nodes = known.values()
    if request.memory_mb is not None and request.memory_mb > max(n.memory_mb for n in nodes):
        return Rejected(UNAVAILABLE, "Memory specification can not be satisfied")
    per_node = request.cpus_per_task * (request.tasks_per_node or 1)
    if max(node.cpus for node in nodes) < per_node <= sum(node.cpus for node in nodes):
        return Rejected(UNAVAILABLE, "CPU count per node can not be satisfied")
    if (request.memory_per_cpu_mb or 0) * per_node > max(node.memory_mb for node in nodes):
        return Rejected(UNAVAILABLE)
    gpus = sum(node.gpus for node in nodes)
    gpus_per_node = max(node.gpus for node in nodes)
    types = {node.gpu_type for node in nodes}
    if request.gpus > gpus or request.gpus_per_node > gpus_per_node:
        return Rejected(UNAVAILABLE)
    if request.gpu_type is not None and request.gpu_type not in types:
        return Rejected(UNAVAILABLE)
    return None
