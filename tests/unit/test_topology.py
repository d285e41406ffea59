"""Replicas, nodes and places that cannot be, and the nodes that a placed client is sent to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchd.catalog import CATALOG
from benchd.core.effects import ClusterView, World
from benchd.core.model import Binding, JobState
from benchd.core.placement import Placed, placed
from benchd.core.recipe import parse
from benchd.core.waiting import waiting_for
from benchd.errors import RecipeError
from support.builders import CREATED_AT, client, run

_RECIPE = """\
service: {{name: redis, kind: generic, command: any{service}}}
client: {{name: {kind}, target_service: {{name: redis}}{client}}}
{more}
"""


def mistakes(kind: str, service: str, client: str, more: str = "") -> list[str]:
    """Return what is wrong, without the places in the file."""
    words = {"kind": kind, "more": more}
    text = _RECIPE.format(
        service=f", {service}" if service else "", client=f", {client}" if client else "", **words
    )
    try:
        parse(text.encode(), "r.yaml", CATALOG)
    except RecipeError as error:
        return [f"{mistake.path}: {mistake.what}" for mistake in error.mistakes]
    return []


_WHOLE = "with replicas: {min, max} each measurement uses one"


@pytest.mark.parametrize(
    ("kind", "service", "client", "more", "expected"),
    [
        ("http-load", "replicas: 3", "nodes: 2, parameters: {concurrency: 2}", "", []),
        ("redis-benchmark", "replicas: {max: 3}", "placement: other-node", "", []),
        (
            "redis-benchmark",
            "replicas: 3",
            "nodes: 2",
            "",
            [
                (
                    "client.target_service.name: redis has 3 replicas, and kind "
                    "'redis-benchmark' would "
                    f"measure only the first of them; {_WHOLE}"
                ),
                (
                    "client.nodes: kind 'redis-benchmark' cannot share its load between "
                    "nodes; benchd's "
                    "own generators can"
                ),
            ],
        ),
        (
            "redis-benchmark",
            "",
            "",
            "sweep: {service.replicas: [1, 2]}",
            [
                (
                    "client.target_service.name: redis has 2 replicas, and kind "
                    "'redis-benchmark' would "
                    f"measure only the first of them; {_WHOLE}"
                )
            ],
        ),
        (
            "http-load",
            "",
            "nodes: 4, parameters: {concurrency: 3}",
            "",
            ["client.parameters.concurrency: 4 nodes cannot share concurrency: 3"],
        ),
        (
            "http-load",
            "resources: {exclusive: true}",
            "placement: same-node, resources: {nodelist: n1}",
            "",
            [
                (
                    "client.placement: same-node cannot be: redis shares its node with nobody "
                    "(resources.exclusive)"
                ),
                "client.resources.nodelist: the node follows from placement: same-node",
            ],
        ),
        (
            "http-load",
            "replicas: {max: 3}, concurrent: true",
            "",
            "",
            [
                (
                    "service.replicas: measurements of a concurrent service do not wait "
                    "for each other, "
                    "so nothing would add one; say scale_latency, or leave concurrent out"
                )
            ],
        ),
        (
            "http-load",
            "replicas: {min: 3, max: 2}",
            "",
            "",
            ["service.replicas: max is 2, less than min, which is 3"],
        ),
    ],
)
def test_what_cannot_be_is_refused(
    kind: str, service: str, client: str, more: str, expected: list[str]
) -> None:
    """Each mistake is named where it stands, with what would be right."""
    assert expected == mistakes(kind, service, client, more)


HERE = Binding(name="redis", token="t", generation=0, host="10.0.0.1", ports=(1,), nodes="n[2-3]")


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        (client(bindings=(HERE,)), Placed()),
        (client(bindings=(HERE,), placement="same-node"), Placed(nodelist="n2")),
        (
            client(
                bindings=(HERE, replace(HERE, nodes="n3")),
                placement="other-node",
                avoid=("n9", "n2"),
                resources={"exclude": "g[1-4]"},
            ),
            Placed(exclude="g[1-4],n9,n2,n3"),
        ),
        (client(bindings=(replace(HERE, nodes="n1;reboot"),), placement="same-node"), Placed()),
    ],
)
def test_the_nodes_of_a_try_follow_from_its_bindings(job: object, expected: Placed) -> None:
    """The first target's node, or none of theirs, beside what was excluded before."""
    assert expected == placed(job)  # type: ignore[arg-type] # a Job, by any of its fields


@pytest.mark.parametrize(
    ("placement", "said"),
    [
        ("same-node", "it is to run beside its service on n2, which must have room for both"),
        ("other-node", "it is not to run where its services do, so another node must have room"),
    ],
)
def test_a_placed_client_that_waits_says_what_for(placement: str, said: str) -> None:
    """Whoever asks why it waits in the queue learns what its placement asks of the cluster."""
    facts = {"state": JobState.PENDING, "reason": "Resources", "slurm_id": "8", "tries": 1}
    waits = client(bindings=(HERE,), placement=placement, **facts)
    clusters = {"alpha": ClusterView(name="alpha")}
    world = World(runs=(run(),), jobs=(waits,), valid={}, clusters=clusters)
    assert waiting_for(waits, world, CREATED_AT).endswith(f"; {said}")
