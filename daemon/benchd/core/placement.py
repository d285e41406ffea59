"""On which nodes a client may run, seen from the services it is bound to. Pure.

A job's script is written before anybody knows where its services run, so the nodes come with the
try, as options of ``sbatch``. They follow from the bindings alone, which are committed before the
try is sent: asking for the same try again says the same nodes, and a later try may say others,
when its services have moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchd.core.hostlist import expand
from benchd.core.model import Binding, Job
from benchd.core.restart import NODE_NAME

# Nodes of one service that are looked at: a list of more is not expanded.
_NODES = 1024


@dataclass(frozen=True, slots=True)
class Placed:
    """Nodes that must be used and nodes that must not, as Slurm writes them; empty: as it likes."""

    nodelist: str = ""
    exclude: str = ""

    def options(self) -> dict[str, str]:
        """Return the options of ``sbatch`` that say so."""
        return {
            name: value
            for name, value in (("nodelist", self.nodelist), ("exclude", self.exclude))
            if value
        }


ANYWHERE = Placed()


def placed(job: Job) -> Placed:
    """Return what ``sbatch`` is told beside the script, which it overrides."""
    if job.spec.placement == "same-node":
        return Placed(nodelist=home_of(job.bindings))
    if job.spec.placement == "other-node":
        # One --exclude replaces the other, so this one says all.
        own = [job.spec.resources.exclude] if job.spec.resources.exclude else []
        theirs = [node for binding in job.bindings for node in nodes_of(binding.nodes)]
        return Placed(exclude=",".join(dict.fromkeys([*own, *job.spec.avoid, *theirs])))
    return ANYWHERE


def home_of(bindings: Sequence[Binding]) -> str:
    """Return the node on which the first of the services answers."""
    return next(iter(nodes_of(bindings[0].nodes)), "") if bindings else ""


def nodes_of(nodes: str | None) -> tuple[str, ...]:
    """Return the nodes of a service's job; nothing where they are no names of nodes."""
    names = expand(nodes or "", _NODES + 1)
    return names if len(names) <= _NODES and all(map(NODE_NAME.fullmatch, names)) else ()
