"""Good recipes: what is taken, and what overrides change."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchd.catalog import CATALOG
from benchd.core.recipe import default_name, parse, split_override
from benchd.core.schemas import schema
from benchd.core.spec import Recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))

GOOD = b"""\
service: {name: redis, resources: {gpus: 1, time: 30}, environment: {THREADS: 4}}
client: {name: bench, kind: memtier, target_service: {name: redis}, duration: 60}
limits: {pending: 24h, ready: 90, run: 2.5m}
"""


def test_values_are_taken_as_people_write_them() -> None:
    """Whole numbers stand for text where Slurm wants text, and durations have units."""
    recipe = parse(GOOD, "web.yaml", CATALOG)

    assert recipe.service is not None
    said = (recipe.service.resources.gpus, recipe.service.environment, recipe.limits.run)
    expected = ("1", {"THREADS": "4"}, 150.0)
    assert expected == said


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("recipes/redis.yaml", "redis"),
        ("My Recipe_2.yml", "my-recipe-2"),
        ("ünïcode.yaml", "n-code"),
        ("---.yaml", "recipe"),
        ("a" * 50 + ".yaml", "a" * 32),
    ],
)
def test_the_name_comes_from_the_file(file: str, expected: str) -> None:
    """A recipe without a name is called like its file, made valid."""
    assert expected == default_name(file)
    assert expected == parse(GOOD, file, CATALOG).name


def test_overrides_replace_what_the_file_says() -> None:
    """Values given by --set are in the recipe as if they had been written there."""
    options = [
        "repeat=3",
        "client.parameters.clients=7",
        "clients.bench.duration=5",
        "services.redis.environment.THREADS=8",
        'service.args=["--a", 1]',
        'client.description="5"',
    ]
    expected = parse(
        b"""\
service: {name: redis, resources: {gpus: 1, time: 30}, environment: {THREADS: 8}, args: [--a, 1]}
client:
  {name: bench, kind: memtier, target_service: {name: redis}, duration: 5,
   parameters: {clients: 7}, description: "5"}
limits: {pending: 24h, ready: 90, run: 2.5m}
repeat: 3
""",
        "web.yaml",
        CATALOG,
    )

    assert expected == parse(GOOD, "web.yaml", CATALOG, [split_override(o) for o in options])


def test_a_client_may_measure_a_service_of_another_run() -> None:
    """A target that the recipe does not start is no mistake."""
    text = b"client: {name: bench, kind: redis-benchmark, target_service: {name: elsewhere}}\n"
    recipe = parse(text, "web.yaml", CATALOG)

    assert recipe.client is not None
    assert recipe.client.target_service is not None
    expected = "elsewhere"
    assert expected == recipe.client.target_service.name


@pytest.mark.parametrize(
    "targets",
    ["[{name: elsewhere}]", "[{name: redis-a}, {name: redis-b}]"],
    ids=["not alike", "alike, but the own one is named too"],
)
def test_a_monitor_may_stand_beside_a_foreign_target(targets: str) -> None:
    """Services of a recipe need no client of its own; other recipes' services can be measured."""
    text = f"""\
service: {{name: redis-a, kind: redis}}
client: {{name: bench, kind: redis-benchmark, target_services: {targets}}}
"""
    assert parse(text.encode(), "web.yaml", CATALOG).client is not None


def test_clusters_are_not_judged_without_a_configuration() -> None:
    """A recipe may be checked where nobody knows which clusters there are."""
    text = b"service: {name: redis}\ncluster: anywhere\n"
    expected = "anywhere"
    assert expected == parse(text, "web.yaml", CATALOG).cluster
    assert expected == parse(text, "web.yaml", CATALOG, clusters={"anywhere": None}).cluster


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.name)
def test_the_shipped_recipes_are_valid(file: Path) -> None:
    """Every example can be dropped as it is."""
    expected = file.stem
    assert expected == parse(file.read_bytes(), file.name, CATALOG).name


def test_the_schema_knows_every_key() -> None:
    """The JSON Schema of recipes has the keys of the model and refuses others."""
    described = schema("recipe")

    assert list(Recipe.model_fields) == list(described["properties"])  # type: ignore[arg-type]  # an object
    assert described["additionalProperties"] is False
