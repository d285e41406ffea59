"""The result document: the shape that the contract fixes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from pydantic import ValidationError

from benchd.core.model import Binding, JobState
from benchd.core.results import (
    Counts,
    Measured,
    Metric,
    Result,
    Validity,
    Window,
    assemble,
    json_schema,
    result_id,
    summarise,
)
from benchd.core.spec import Container
from support.builders import client, run, service

# Scripts as benchd writes them, for the same recipe on a cluster with images and on one without.
SCRIPTS = Path(__file__).parents[1] / "golden"
IN_IMAGE = (SCRIPTS / "redis-benchmark-apptainer.sh").read_text()
ON_HOST = (SCRIPTS / "redis-benchmark-host.sh").read_text()


def made(script: str = IN_IMAGE) -> Result:
    """Return a result with something in every part; ``script``: that of the service."""
    bound = service(
        ready_at=1_700_000_050.0,
        slurm_id="41",
        container=Container(docker_source="docker://redis:7-alpine"),
        script=script,
    )
    binding = Binding(name="redis", token=bound.token, generation=2, host="n1", ports=(7001,))
    return assemble(
        run=run(),
        job=client(
            state=JobState.COMPLETED,
            exit_code=0,
            submitted_at=1_700_000_060.0,
            started_at=1_700_000_061.5,
            ended_at=1_700_000_090.0,
            repeat=1,
            cell={"client.parameters.pipeline": 16},
        ),
        bindings=(binding,),
        services=(bound,),
        measured=Measured(
            metrics={
                "ttft_service": summarise([1.0] * 400, formula="ttft_service/v1"),
                "req_s": Metric(formula="req_s/v1", unit="1/s", better="higher", value=16.5),
            },
            counts=Counts(scheduled=3, issued=3, ok=3, errors=0, dropped=0, cancelled=0),
            workload={"kind": "llm", "odd": math.nan},
            times=Window(measure_start=1_700_000_070.0, window_s=3.5),
            client={"tool": "benchd-load"},
            service={"version": "7.0.15"},
        ),
        service_steady=True,
        cluster={"slurm_version": "22.05.8"},
        versions={"version": "0.1"},
        files={"result/a.txt": b"a", "err": b""},
        now=1_700_000_100.0,
    )


def test_document_has_the_fixed_parts() -> None:
    """The JSON text has the names that the contract fixes."""
    document = json.loads(made().document())
    fixed = {"schema", "id", "run", "job", "cell", "repeat", "status", "partial", "validity"}
    fixed |= {"times", "provenance", "workload", "counts", "metrics", "timeline", "artifacts"}
    fixed |= {"server_metrics"}
    assert set(document) == fixed
    assert document["schema"] == "benchd.result/1"


def test_document_times() -> None:
    """Times are ISO 8601 in UTC; whole seconds of Slurm's have no thousandths; no nulls."""
    assert json.loads(made().document())["times"] == {
        "queued": "2023-11-14T22:14:20Z",
        "started": "2023-11-14T22:14:21.500Z",
        "ready": "2023-11-14T22:14:10.000Z",
        "measure_start": "2023-11-14T22:14:30.000Z",
        "finished": "2023-11-14T22:14:50Z",
        "window_s": 3.5,
    }


def test_document_metrics() -> None:
    """A rate is a value; a distribution has a null where a percentile cannot be estimated."""
    metrics = json.loads(made().document())["metrics"]
    assert metrics["req_s"] == {
        "formula": "req_s/v1",
        "unit": "1/s",
        "better": "higher",
        "value": 16.5,
    }
    assert metrics["ttft_service"]["percentiles"]["99"] == 1.0
    assert metrics["ttft_service"]["percentiles"]["99.9"] is None


def test_document_provenance() -> None:
    """The service is described by what was bound, what ran and what it said of itself."""
    facts = made().provenance
    found = {key: facts.service[key] for key in ("image", "generation", "endpoint", "version")}
    assert found == {
        "image": "docker://redis:7-alpine",
        "generation": 2,
        "endpoint": "n1:7001",
        "version": "7.0.15",
    }
    measured = {"id": None, "nodes": None, "elapsed_s": 28.5}
    jobs = {"service_job": {"id": "41", "nodes": None}, "client_job": measured}
    assert facts.cluster == {"name": "alpha", "slurm_version": "22.05.8", **jobs}


def test_an_image_that_was_not_used_is_not_claimed() -> None:
    """Where the script ran on the host no image is told, only that the recipe names one in vain."""
    facts = made(script=ON_HOST).provenance.service
    found = (facts["image"], facts["image_digest"], facts["image_not_used"])
    assert found == (None, None, "docker://redis:7-alpine")


def test_document_lists_what_came_home() -> None:
    """Every file is listed with its hash and size, in order."""
    listed = [(a.name, a.bytes, a.sha256[:8]) for a in made().artifacts]
    assert listed == [("err", 0, "e3b0c442"), ("result/a.txt", 1, "ca978112")]


def test_free_form_parts_have_no_nan() -> None:
    """NaN in the free-form parts becomes null."""
    assert made().workload == {"kind": "llm", "odd": None}


def test_same_token_same_id() -> None:
    """The id depends on the job alone, so that storing twice is harmless."""
    assert made().id == result_id(made().job) == made().id
    assert result_id("a") != result_id("b")


def test_document_reads_back() -> None:
    """What was written reads back as the same result."""
    assert Result.model_validate_json(made().document()) == made()


def test_bad_number_cannot_be_written() -> None:
    """A result with a NaN in a metric cannot even be made."""
    bad = {"x": Metric(formula="x/v1", unit="s", value=math.nan)}
    with pytest.raises(ValidationError, match=r"metrics\.x\.value"):
        Result(id="a", run="r", job="j", status="ok", validity=Validity(valid=True), metrics=bad)


def test_schema_describes_the_document() -> None:
    """The JSON Schema names every part of the document."""
    schema = json_schema()
    assert isinstance(schema["properties"], dict)
    assert set(schema["properties"]) == set(json.loads(made().document()))
