"""From a recipe to its jobs: points, repeats, shared services, tokens, retries."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchd.catalog import CATALOG
from benchd.config import RuntimeSettings
from benchd.core.expand import (
    Slot,
    cells,
    expand,
    next_attempt,
    next_replica,
    overlaid,
    token,
)
from benchd.core.model import Endpoint, Job, JobState, Readiness
from benchd.core.recipe import parse
from benchd.core.spec import JobSpec, Recipe, Role
from benchd.errors import UserError
from benchd.fields import Resources
from support import builders

NOW = builders.CREATED_AT


def recipe(text: str) -> Recipe:
    """Return a recipe with Redis and its benchmark, continued by the text."""
    base = """\
service: {name: redis, parameters: {io_threads: 1}}
client: {name: bench, kind: redis-benchmark, target_service: {name: redis}}
"""
    return parse((base + text).encode(), "web.yaml", CATALOG)


def jobs(found: Recipe, defaults: Resources | None = None) -> tuple[Job, ...]:
    """Expand a recipe on a cluster without containers."""
    return expand(
        found,
        run_id=builders.RUN_ID,
        instance=builders.INSTANCE,
        cluster="alpha",
        defaults=defaults or Resources(),
        runtime=RuntimeSettings(),
        catalog=CATALOG,
        ship={},
        now=NOW,
    )


def slots(found: tuple[Job, ...]) -> list[str]:
    """Return the jobs by the part of the token that tells them apart."""
    return [job.token.removeprefix(f"{builders.INSTANCE}-{builders.RUN_ID}-") for job in found]


def test_without_a_sweep_there_is_one_point() -> None:
    """The simplest recipe is one service and one client that targets it."""
    found = jobs(recipe(""))

    expected = ["s-redis-p0r0-0-a1", "c-bench-p0r0-0-a1"]
    assert expected == slots(found)
    assert [("redis", 0)] == [(t.name, t.point) for t in found[1].spec.targets]


def test_the_last_key_of_a_sweep_varies_fastest() -> None:
    """Points are numbered as nested loops over the keys would."""
    swept = "client.parameters.pipeline: [1, 2], client.parameters.threads: [5, 6]"
    found = cells(recipe(f"sweep: {{{swept}}}"))

    expected = [(1, 5), (1, 6), (2, 5), (2, 6)]
    assert expected == [tuple(cell.values()) for cell in found]


def test_repeats_are_interleaved() -> None:
    """Every point is measured once before any is measured again."""
    found = jobs(recipe("sweep: {client.parameters.pipeline: [1, 2]}\nrepeat: 2"))

    expected = ["s-redis-p0r0-0-a1"]
    expected += [f"c-bench-p{point}r{repeat}-0-a1" for repeat in (0, 1) for point in (0, 1)]
    assert expected == slots(found)


def test_points_that_agree_about_a_service_share_it() -> None:
    """A service job stands for all points with equal service values and carries the first."""
    text = "sweep: {client.parameters.pipeline: [1, 2], service.parameters.io_threads: [1, 4]}"
    found = jobs(recipe(text))
    services = [job for job in found if job.role is Role.SERVICE]
    clients = [job for job in found if job.role is Role.CLIENT]

    shared = {(0, 1): 0, (1, 4): 1}
    assert shared == {(j.point, j.spec.parameters["io_threads"]): j.point for j in services}
    served_by = [(0, 0), (1, 1), (2, 0), (3, 1)]
    assert served_by == [(job.point, job.spec.targets[0].point) for job in clients]


def test_a_cell_is_named_by_the_last_words_of_its_keys() -> None:
    """Results carry short names, and whole paths where the short ones would be the same."""
    text = "sweep: {client.parameters.pipeline: [2], client.resources.mem: [1G], "
    found = jobs(recipe(text + "service.resources.mem: [2G]}"))

    client = {"pipeline": 2, "client.resources.mem": "1G", "service.resources.mem": "2G"}
    service = {"service.resources.mem": "2G"}
    assert [service, client] == [job.spec.cell for job in found]


def test_replicas_are_jobs_of_their_own() -> None:
    """A service with replicas is that many rows, told apart by the replica's number."""
    text = b"service: {name: redis}\nsweep: {service.replicas: [1, 2]}\n"
    found = jobs(parse(text, "web.yaml", CATALOG))

    expected = ["s-redis-p0r0-0-a1", "s-redis-p1r0-0-a1", "s-redis-p1r0-1-a1"]
    assert expected == slots(found)


def test_one_more_replica_is_like_the_first_and_has_its_number() -> None:
    """A service between two numbers begins with the smaller one; what is added is a row like it."""
    text = b"service: {name: redis, replicas: {min: 1, max: 3}}\n"
    (first,) = jobs(parse(text, "web.yaml", CATALOG))
    later = replace(first, state=JobState.RUNNING, rev=4, slurm_id="42", tries=1, attempt=2)
    name = first.token.replace("r0-0-a1", "r0-1-a1")

    expected = replace(first, token=name, replica=1, created_at=NOW + 5, script=f"echo {name}\n")
    assert expected == next_replica(later, 1, NOW + 5, lambda _, token: f"echo {token}\n")


def test_a_target_that_the_recipe_does_not_start_has_no_point() -> None:
    """A service of another run is found by name, so its point is unknown."""
    found = jobs(
        parse(
            b"client: {name: b, kind: redis-benchmark, target_service: {name: far, port: 7}}",
            "web.yaml",
            CATALOG,
        )
    )

    expected = [("far", 7, None)]
    assert expected == [(t.name, t.port, t.point) for job in found for t in job.spec.targets]


@pytest.mark.parametrize(
    ("defaults", "wanted", "expected"),
    [
        ({"time": "30", "account": "p1"}, {"time": "60"}, {"time": "60", "account": "p1"}),
        ({"mem": "4G"}, {"mem_per_cpu": "1G"}, {"mem_per_cpu": "1G"}),
        ({"gres": "gpu:1"}, {"gpus": "2"}, {"gpus": "2"}),
        ({"gres": "gpu:1", "mem": "4G"}, {"gres": None}, {"mem": "4G"}),
    ],
)
def test_resources_of_the_recipe_lie_over_the_defaults(
    defaults: dict[str, str], wanted: dict[str, str | None], expected: dict[str, str]
) -> None:
    """The recipe wins, also over options that Slurm does not take together; null removes one."""
    found = overlaid(Resources.model_validate(defaults), Resources.model_validate(wanted))

    assert expected == found.model_dump(exclude_none=True)


def test_ports_and_health_check_come_from_the_kind() -> None:
    """What a recipe does not say about a service is what its kind usually does."""
    said = recipe("").model_copy()
    kind = CATALOG.services["redis"]
    service = jobs(said)[0].spec

    assert (kind.ports, kind.check) == (service.ports, service.health_check)


def test_a_health_check_in_the_recipe_changes_only_what_it_says() -> None:
    """Fewer retries of the kind's own check do not turn it into another check."""
    text = b"service: {name: redis, health_check: {retries: 7}}"
    check = jobs(parse(text, "web.yaml", CATALOG))[0].spec.health_check

    assert CATALOG.services["redis"].check.model_copy(update={"retries": 7}) == check


def test_a_token_fits_everywhere() -> None:
    """The longest token is shorter than what Slurm and file systems take."""
    spec = JobSpec(role=Role.CLIENT, name="n" * 32, kind="generic")
    slot = Slot(spec=spec, point=9999, repeat=999, replica=63, attempt=999)

    limit = 128
    assert limit > len(token(builders.INSTANCE, builders.RUN_ID, slot))


def test_a_token_is_made_of_known_ids_only() -> None:
    """A wrong instance or run id is refused before it gets into Slurm."""
    slot = Slot(spec=JobSpec(role=Role.CLIENT, name="n", kind="generic"))
    with pytest.raises(ValueError, match="not an instance and a run id"):
        token("x y", builders.RUN_ID, slot)


def test_tokens_are_unique() -> None:
    """No two jobs of a run have the same name in Slurm."""
    swept = "client.parameters.threads: [1, 2, 3], service.parameters.io_threads: [1, 2]"
    text = f"sweep: {{{swept}}}\nrepeat: 3"
    found = slots(jobs(recipe(text)))

    assert len(found) == len(set(found))


def test_the_next_attempt_starts_afresh() -> None:
    """A retry is a new row with a new token and script, and nothing of the old one's history."""
    first = jobs(recipe(""))[0]
    failed = replace(
        first,
        state=JobState.FAILED,
        rev=7,
        slurm_id="42",
        tries=2,
        why="TIMEOUT",
        readiness=Readiness.READY,
        endpoint=Endpoint(host="n1", ports=(1,), slurm_id="42", generation=0),
    )
    name = first.token.removesuffix("a1") + "a2"

    expected = replace(
        first, token=name, attempt=2, created_at=NOW + 5, script=f"echo redis {name}\n"
    )
    assert expected == next_attempt(
        failed, NOW + 5, lambda spec, token: f"echo {spec.name} {token}\n"
    )


def test_a_kind_that_is_gone_is_a_sentence() -> None:
    """A row whose kind no longer exists is refused with its name."""
    found = recipe("")
    assert found.service is not None
    gone = found.model_copy(update={"service": found.service.model_copy(update={"kind": "old"})})

    with pytest.raises(UserError, match="there is no kind of service called old"):
        jobs(gone)
