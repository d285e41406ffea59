"""The spark client as recipes say it: what is refused, what follows from the service, results."""

from __future__ import annotations

import json

import pytest

from benchd.catalog import CATALOG
from benchd.catalog.clients import spark
from benchd.catalog.readings import spark as read_spark
from benchd.core.recipe import parse
from benchd.core.results import Severity
from benchd.core.spec import JobSpec, Role
from benchd.errors import RecipeError
from support.recipe_cases import jobs_of

RECIPE = """\
service: {{name: {service}}}
client: {{name: spark, target_service: {{name: {service}}}, {more}parameters: {parameters}}}
"""


def mistakes(text: str) -> list[str]:
    """Return what is wrong with a recipe."""
    try:
        parse(text.encode(), "r.yaml", CATALOG)
    except RecipeError as error:
        return [f"{mistake.path}: {mistake.what}" for mistake in error.mistakes]
    return []


@pytest.mark.parametrize(
    ("more", "parameters", "expected"),
    [
        ("nodes: 2, ", "{partitions: 4, requests: 8, concurrency: 4}", None),
        ("", "{workload: ingest, into: http, format: ndjson, path: /bulk}", None),
        ("", "{workload: dance}", "parameters.workload: 'dance' is not one of load, ingest"),
        ("nodes: 3, ", "{partitions: 2}", "partitions: 2 partitions on 3 nodes: some would"),
        ("", "{partitions: 8, requests: 5}", "requests: 8 load generators cannot share requests"),
        ("", "{partitions: 101}", "partitions: 101 load generators cannot share requests: 100"),
        ("", "{workload: ingest, partitions: 4, documents: 3}", "cannot share documents: 3"),
        ("", "{tool: http, output_tokens: 4}", "output_tokens: tool http has no use for it"),
        ("", "{batch: 4}", "batch: tool llm and http has no use for it"),
        ("", "{workload: ingest, requests: 4}", "requests: workload ingest has no use for it"),
        ("", "{workload: ingest, tool: llm}", "parameters.tool: is for workload load"),
        ("", "{workload: ingest, method: GET}", "method: documents are sent with POST or PUT"),
        ("", "{workload: ingest, input: /d, seed: 1}", "seed: is for documents that are made"),
        ("", "{workload: ingest, into: chroma, path: /x}", "path: is for into: http; Chroma"),
        ("", "{workload: ingest, format: ndjson, wrap: rows}", "wrap: lines (format: ndjson)"),
        ("duration: 5, ", "{workload: ingest}", "duration: ingest ends when every document"),
        ("", "{load: poisson}", "load: poisson needs rate"),
        (
            "",
            "{load: find-peak, slo: 'ttfb_ms<=9', partitions: 2, tool: http}",
            "load: find-peak is for one load generator",
        ),
        ("", "{scenario: multi-stream, partitions: 2}", "scenario: multi-stream is for one load"),
        ("", "{spark_home: spark}", "spark_home: 'spark' does not look right"),
    ],
)
def test_what_a_recipe_may_say(more: str, parameters: str, expected: str | None) -> None:
    """What cannot be run is refused with its place, before a job waits for its nodes."""
    found = mistakes(RECIPE.format(service="sim-llm", more=more, parameters=parameters))
    assert len(found) == (expected is not None)
    assert (expected or "") in "".join(found)


@pytest.mark.parametrize(
    ("service", "parameters", "expected"),
    [
        ("sim-llm", "{}", " -- load llm --url "),
        ("qdrant", "{}", " -- load http --url "),
        ("sim-llm", "{tool: http}", " -- load http --url "),
        ("chroma", "{workload: ingest}", " --into=chroma "),
        ("qdrant", "{workload: ingest}", " --into=http "),
        ("qdrant", "{partitions: 3}", " --concurrency=3 "),
        ("qdrant", "{partitions: 3, concurrency: 7}", " --concurrency=7 "),
        ("qdrant", "{load: constant, rate: 5, partitions: 3}", " --load=constant --rate=5 "),
        ("qdrant", "{spark_home: $HOME/spark}", ' --spark-home "${HOME}"/spark '),
        ("qdrant", "{workload: ingest, input: '/d/$(x).jsonl'}", " --input '/d/$(x).jsonl' "),
    ],
)
def test_what_follows_from_service_and_parameters(
    service: str, parameters: str, expected: str
) -> None:
    """The load generator suits the service, each partition has a user, and texts are quoted."""
    text = RECIPE.format(service=service, more="", parameters=parameters)
    (script,) = [job.script for job in jobs_of("r.yaml", text) if job.name == "spark"]
    assert expected in script


def test_every_parameter_of_a_workload_is_one_of_the_kind() -> None:
    """Nothing that a load generator can be told is out of a recipe's reach."""
    own = {one.name for workload in ("load", "ingest") for one in spark._of(workload, "llm")}
    assert own <= {one.name for one in spark.PARAMETERS}


LOADED = {
    "schema": "benchd.load/1",
    "counts": {"scheduled": 4, "issued": 4, "ok": 4, "errors": 0},
    "workload": {"kind": "ingest"},
}
SPARK = {
    "version": "4.0.5",
    "workload": "ingest",
    "partitions": 4,
    "nodes": 2,
    "documents": 40,
    "batch": 10,
    "stored": 40,
    "ran": [{"index": i, "node": i % 2, "host": "n", "status": 0} for i in range(4)],
}


@pytest.mark.parametrize(
    ("said", "ok", "expected"),
    [
        ({}, 4, []),
        ({"stored": 39}, 4, [("stored_mismatch", Severity.ERROR)]),
        ({"stored": 30}, 3, []),  # a batch failed: that is told as an error
        (
            {"ran": [{"index": i, "node": 0} for i in range(4)]},
            4,
            [("spark_uneven", Severity.WARN)],
        ),
    ],
)
def test_what_spark_says_of_a_result(
    said: dict[str, object], ok: int, expected: list[tuple[str, Severity]]
) -> None:
    """Documents that are not all there make it invalid; an uneven spread is a warning."""
    loaded = {**LOADED, "counts": {**LOADED["counts"], "ok": ok, "errors": 4 - ok}}
    files = {
        "result/result.json": json.dumps(loaded).encode(),
        "result/spark.json": json.dumps({**SPARK, **said}).encode(),
    }
    measured = read_spark(files, JobSpec(role=Role.CLIENT, name="spark", kind="spark"))
    flags = [(flag.code, flag.severity) for flag in measured.flags]
    assert expected == flags
    assert (40, 10) == (measured.workload["documents"], measured.workload["batch"])
