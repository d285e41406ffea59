"""How many GPUs a job asks for, by whichever of Slurm's options."""

from __future__ import annotations

import re

from benchd.fields import Resources

# 4, a100:4, gpu:4 or gpu:a100:4; several kinds stand behind one another, with commas.
_COUNT = re.compile(r"(?:[^:,]+:)*?(?P<count>\d+)(?:\(.*\))?")


def gpus_asked(resources: Resources) -> int | None:
    """Return the GPUs of the whole job; None when it does not say, or says it in other words."""
    nodes = resources.nodes or 1
    if resources.gpus:
        return _sum(resources.gpus.split(","))
    if resources.gpus_per_node:
        return _times(nodes, _sum(resources.gpus_per_node.split(",")))
    if resources.gpus_per_task:
        tasks = resources.ntasks or nodes * (resources.ntasks_per_node or 1)
        return _times(tasks, _sum(resources.gpus_per_task.split(",")))
    wanted = [item.removeprefix("gres/") for item in (resources.gres or "").split(",")]
    found = [item for item in wanted if item.split(":")[0] == "gpu"]
    return _times(nodes, _sum([item.removeprefix("gpu").lstrip(":") or "1" for item in found]))


def _sum(items: list[str]) -> int | None:
    """Return the sum of counts, where a name alone is one; None without any."""
    if not items:
        return None
    counts = [_COUNT.fullmatch(item) for item in items]
    return sum(int(match["count"]) if match else 1 for match in counts)


def _times(factor: int, count: int | None) -> int | None:
    return None if count is None else factor * count
