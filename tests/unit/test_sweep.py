"""Sweeps of several keys together, points that are left out, and services of their own."""

from __future__ import annotations

import pytest

from benchd.catalog import CATALOG
from benchd.config import RuntimeSettings
from benchd.core.expand import expand
from benchd.core.model import Job
from benchd.core.recipe import parse
from benchd.core.spec import Recipe, Role
from benchd.core.sweep import at_points, cells
from benchd.errors import RecipeError
from benchd.fields import Resources
from support import builders

BASE = """\
service: {name: redis, parameters: {io_threads: 1}}
client: {name: bench, kind: redis-benchmark, target_service: {name: redis}}
"""
PAIR = '"client.parameters.clients, client.parameters.pipeline"'
ZIPPED = "sweep['client.parameters.clients, client.parameters.pipeline']"
CLIENTS = "client.parameters.clients"
GRID = "sweep: {client.parameters.clients: [1, 8], client.parameters.pipeline: [1, 16]}\n"


def recipe(text: str, base: str = BASE) -> Recipe:
    """Return Redis and its benchmark, continued by the text."""
    return parse((base + text).encode(), "web.yaml", CATALOG)


def jobs(text: str, base: str = BASE) -> tuple[Job, ...]:
    """Return the jobs of the same."""
    return expand(
        recipe(text, base),
        run_id=builders.RUN_ID,
        instance=builders.INSTANCE,
        cluster="alpha",
        defaults=Resources(),
        runtime=RuntimeSettings(),
        catalog=CATALOG,
        ship={},
        now=builders.CREATED_AT,
    )


def test_paths_of_one_key_take_their_values_together() -> None:
    """A zipped key is one axis; with another key every combination of the two is a point."""
    text = f"sweep: {{{PAIR}: [[1, 1], [50, 16]], client.parameters.threads: [5, 6]}}"
    found = cells(recipe(text))
    expected = [(1, 1, 5), (1, 1, 6), (50, 16, 5), (50, 16, 6)]
    assert expected == [tuple(cell.values()) for cell in found]


def test_repeats_of_zipped_points_take_turns() -> None:
    """A B A B, and each result knows every value of its point."""
    found = jobs(f"sweep: {{{PAIR}: [[1, 1], [50, 16]]}}\nrepeat: 2")
    told = [(j.repeat, *j.spec.cell.values()) for j in found if j.role is Role.CLIENT]
    assert [(0, 1, 1), (0, 50, 16), (1, 1, 1), (1, 50, 16)] == told


def test_what_is_excluded_is_no_point() -> None:
    """A point with all values of an entry is left out, and the others are numbered through."""
    text = GRID + "exclude: [{client.parameters.clients: 8, client.parameters.pipeline: 16}]\n"
    clients = [job for job in jobs(text) if job.role is Role.CLIENT]
    assert [(0, 1, 1), (1, 1, 16), (2, 8, 1)] == [(j.point, *j.spec.cell.values()) for j in clients]


@pytest.mark.parametrize(
    ("fresh", "services", "served"),
    [
        ("null", ["p0r0"], [(0, 0), (0, 0), (0, 0), (0, 0)]),
        ("point", ["p0r0", "p1r0"], [(0, 0), (1, 0), (0, 0), (1, 0)]),
        (
            "measurement",
            ["p0r0", "p0r1", "p1r0", "p1r1"],
            [(0, 0), (1, 0), (0, 1), (1, 1)],
        ),
    ],
)
def test_a_fresh_service_is_a_job_for_each_point_or_measurement(
    fresh: str, services: list[str], served: list[tuple[int, int]]
) -> None:
    """Unless it says so, points that say the same about a service share its job."""
    base = BASE.replace("parameters:", f"fresh: {fresh}, parameters:") if fresh != "null" else BASE
    found = jobs("sweep: {client.parameters.pipeline: [1, 2]}\nrepeat: 2", base)
    made = [j.token.split("-")[4] for j in found if j.role is Role.SERVICE]
    assert services == made
    targets = [job.spec.targets[0] for job in found if job.role is Role.CLIENT]
    assert served == [(target.point, target.repeat) for target in targets]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            f"sweep:\n  {PAIR}: [[1, 1], [50]]\n",
            (
                f"4:69: {ZIPPED}[1]: must be a "
                "list of 2 values, one for each path of the key, not 1 values"
            ),
        ),
        (
            f"sweep:\n  {PAIR}: [[1, 1], [1, 1]]\n",
            (
                "4:69: sweep['client.parameters.clients, client.parameters.pipeline'][1]: [1, 1] "
                "stands here twice; use repeat: to measure again"
            ),
        ),
        (
            f"sweep:\n  {PAIR}: [[1, 1], [2, many]]\n",
            (f"4:73: {ZIPPED}[1][1]: 'many' is not a whole number"),
        ),
        (
            "sweep:\n  client.parameters.clients: [[1, 2]]\n",
            (
                "4:31: sweep['client.parameters.clients'][0]: must be a single value; lists are "
                "for keys that name several paths, separated by commas"
            ),
        ),
        (
            'sweep:\n  "client.duration, client.parameterz.x": [[1, 1]]\n',
            (
                "4:3: sweep['client.duration, client.parameterz.x']: client.parameterz.x: cannot "
                "be swept; what can be: parameters.KEY, resources.KEY, environment.KEY, duration"
            ),
        ),
        (
            'sweep:\n  client.parameters.threads: [1]\n  "clients.bench.parameters.threads": [2]\n',
            (
                "5:3: sweep['clients.bench.parameters.threads']: clients.bench.parameters.threads "
                "is swept twice; name it in one key only"
            ),
        ),
        (
            "sweep:\n  client.parameters.clients: [x, y]\n  client.parameters.theads: [1, 2]\n",
            (
                "4:31: sweep['client.parameters.clients'][0]: 'x' is not a whole number\n"
                "web.yaml:4:34: sweep['client.parameters.clients'][1]: 'y' is not a whole number\n"
                "web.yaml:5:3: sweep['client.parameters.theads']: kind 'redis-benchmark' has no "
                "such parameter; did you mean 'threads'?; it has: clients, requests, tests, "
                "data_size, pipeline, keyspace, threads, timeout"
            ),
        ),
        (
            f"{GRID}exclude: [{{client.parameters.clients: 9}}]\n",
            "4:39: exclude[0]['client.parameters.clients']: 9 is none of its values: 1, 8",
        ),
        (
            f"{GRID}exclude: [{{client.parameters.client: 8}}]\n",
            (
                "4:12: exclude[0]['client.parameters.client']: is not swept; did you mean "
                "client.parameters.clients?"
            ),
        ),
        (
            (
                f"sweep: {{{PAIR}: [[1, 1], [50, 16]]}}\n"
                "exclude: [{client.parameters.clients: 1, client.parameters.pipeline: 16}]\n"
            ),
            "4:11: exclude[0]: excludes nothing: no point has all of these values",
        ),
        (
            f"{GRID}exclude: [{{{CLIENTS}: 1}}, {{{CLIENTS}: 8}}]\n",
            "4:1: exclude: leaves no point of the sweep to measure",
        ),
        (
            "exclude: [{client.duration: 1}]\n",
            "3:1: exclude: there is no sweep whose points could be left out",
        ),
    ],
)
def test_a_sweep_that_cannot_be_is_refused_with_its_place(text: str, expected: str) -> None:
    """Before anything is queued, and with what to do."""
    with pytest.raises(RecipeError) as caught:
        recipe(text)
    assert f"web.yaml:{expected}" == str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cooldown: 5s", "2:11: cooldown: is about measurements, and this recipe has no client"),
        (
            "stop_on_failure: true",
            "2:18: stop_on_failure: is about measurements, and this recipe has no client",
        ),
        (
            "client: {name: bench, kind: redis-benchmark, target_service: {name: other}}",
            "1:31: service.fresh: no client of this recipe measures it: leave this out",
        ),
    ],
)
def test_what_is_said_of_measurements_needs_one(text: str, expected: str) -> None:
    """Nothing is accepted that would do nothing."""
    service = "service: {name: redis, fresh: point}\n"
    with pytest.raises(RecipeError) as caught:
        recipe(text, service if "client" in text else "service: {name: redis}\n")
    assert f"web.yaml:{expected}" == str(caught.value)


def test_a_million_points_are_refused_without_being_counted_out() -> None:
    """The product says enough, also where some of it would be left out."""
    values = ", ".join(map(str, range(1, 101)))
    keys = ("client.parameters.clients", "client.parameters.pipeline", "client.parameters.threads")
    sweep = ", ".join(f"{key}: [{values}]" for key in keys)
    with pytest.raises(RecipeError, match="= 1000000 x 1 x 1 = 1000000 jobs; at most 10000"):
        recipe(f"sweep: {{{sweep}}}\nexclude: [{{client.parameters.threads: 1}}]\n")


OPEN = """\
service: {name: redis}
client: {name: b, kind: redis-load, duration: 5, target_service: {name: redis}, parameters: {%s}}
sweep: {%s}
"""
LOAD_RATE = '"client.parameters.load, client.parameters.rate"'


@pytest.mark.parametrize(
    ("written", "swept"),
    [
        ("load: poisson", "client.parameters.rate: [10, 20]"),
        ("rate: 5", "client.parameters.load: [poisson, gamma]"),
        ("", f"{LOAD_RATE}: [[poisson, 5], [gamma, 6]]"),
        ("", "client.parameters.load: [poisson, gamma], client.parameters.rate: [5]"),
    ],
)
def test_what_the_points_complete_is_no_mistake(written: str, swept: str) -> None:
    """A client is judged as it is at each point, not as it stands without the swept values."""
    points = at_points(recipe("", OPEN % (written, swept)))
    parts = [part for variants in points.values() for _, part in variants]
    assert [{"load", "rate"}] * 2 == [set(part.parameters) for part in parts]


@pytest.mark.parametrize(
    ("written", "swept", "expected"),
    [
        ("load: poisson", "client.parameters.rate: [10, 0]", (3, "0 is too small: at least 1e-06")),
        ("load: poisson", "client.parameters.processes: [1, 2]", (2, "poisson needs rate")),
        ("rate: 5", "client.parameters.load: [poisson, closed]", (2, "belongs to load:")),
        ("", f"{LOAD_RATE}: [[poisson, 5], [closed, 5]]", (3, "belongs to load:")),
        (
            "",
            "client.parameters.load: [poisson, closed], client.parameters.rate: [5]",
            (3, "belongs to load:"),
        ),
    ],
)
def test_what_is_wrong_at_one_point_is_a_mistake(
    written: str, swept: str, expected: tuple[int, str]
) -> None:
    """It is told once: where the client is written, or at the value that brings it about."""
    with pytest.raises(RecipeError) as refused:
        recipe("", OPEN % (written, swept))
    told = [(m.line, m.what[: len(expected[1])]) for m in refused.value.mistakes]
    assert [expected] == told
