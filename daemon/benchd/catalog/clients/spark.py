"""Apache Spark as what spreads a load, or brings documents into a service.

Spark standalone, started and ended inside the client's own job (spark.apache.org, "Spark Standalone
Mode", 3.5 and 4.0). Each partition is one of our load generators; they share the load, begin
together and put their samples together as several nodes do, so that numbers do not depend on Spark.
What runs on the nodes is ``benchd.ship.spark``; it says what is missing there before all else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from benchd.catalog import readings
from benchd.catalog.clients import http_load, llm_load
from benchd.catalog.clients.common import RESULT, URLS
from benchd.catalog.clients.own_load import loads, model, options
from benchd.catalog.kinds import (
    ClientKind,
    Complaint,
    Parameter,
    arguments,
    program,
    setting,
    word,
)
from benchd.core.payload import Payload, Sh, Step
from benchd.core.spec import Client, JobSpec, Part
from benchd.fields import Scalar

_SPARK = (
    Parameter(
        name="workload",
        type="str",
        default="load",
        choices=("load", "ingest"),
        doc="load: requests, as the load generator named by `tool` sends them; ingest: documents "
        "that Spark makes or reads, in batches",
    ),
    Parameter(
        name="partitions",
        type="int",
        default=None,
        minimum=1,
        maximum=1024,
        doc="load generators, spread evenly over the nodes; default: one for each node",
    ),
    Parameter(
        name="executor_memory",
        type="int",
        default=1024,
        minimum=512,
        maximum=1_000_000,
        unit="MB",
        doc="heap of each of Spark's executors and of its driver",
    ),
    Parameter(
        name="spark_home",
        type="str",
        default=None,
        pattern=r"[$/][!-~]{0,1000}",
        doc="where Spark is on the nodes; default: SPARK_HOME, else the pyspark of the Python",
    ),
    Parameter(
        name="tool",
        type="str",
        default=None,
        choices=("llm", "http"),
        doc="load: as which of benchd's load generators; default: llm for LLM servers, else http",
    ),
)
# What the two workloads share with http-load, in its words.
_SHARED = ("concurrency", "timeout", "method", "path", "bearer_env")
_INGEST = (
    Parameter(
        name="into",
        type="str",
        default=None,
        choices=("chroma", "http"),
        doc="ingest: a collection of Chroma, or what takes documents over HTTP; default: chroma "
        "for Chroma, else http",
    ),
    Parameter(
        name="input",
        type="str",
        default=None,
        pattern=r"[$/][!-~]{0,1000}",
        doc="ingest: file on a disk that all nodes see (or files: *.jsonl), a JSON object in each "
        "line; default: documents are made from the seed",
    ),
    Parameter(
        name="documents",
        type="int",
        default=10_000,
        minimum=1,
        maximum=1_000_000_000,
        doc="ingest: documents that are made",
    ),
    Parameter(
        name="dimension",
        type="int",
        default=384,
        minimum=0,
        maximum=100_000,
        doc="ingest: numbers in the vector of a document that is made; 0: it has none",
    ),
    Parameter(
        name="words",
        type="int",
        default=64,
        minimum=1,
        maximum=1_000_000,
        doc="ingest: words of a document that is made",
    ),
    Parameter(
        name="batch",
        type="int",
        default=100,
        minimum=1,
        maximum=1_000_000,
        unit="documents",
        doc="ingest: documents in a request",
    ),
    Parameter(
        name="format",
        type="str",
        default="json",
        choices=("json", "ndjson"),
        doc="ingest into http: a JSON list of documents, or one in each line",
    ),
    Parameter(
        name="wrap",
        type="str",
        default="",
        pattern=r"[A-Za-z0-9_.-]{0,100}",
        doc="ingest into http: name under which the list stands in an object",
    ),
    Parameter(
        name="keep",
        type="bool",
        default=False,
        doc="ingest into chroma: leave the collection where it is in the end",
    ),
    Parameter(name="seed", type="int", default=0, minimum=0, doc="of prompts or documents"),
    *(
        replace(one, default="POST") if one.name == "method" else one
        for one in http_load.HTTP_LOAD
        if one.name in _SHARED
    ),
)
_TOOLS = {"llm": llm_load.LLM_LOAD, "http": http_load.HTTP_LOAD}


def _parameters() -> tuple[Parameter, ...]:
    """Return what a recipe may say, whatever the workload; defaults differ, so docs tell them."""
    found = {one.name: one for one in _SPARK}
    for one in (*_INGEST, *http_load.HTTP_LOAD, *llm_load.LLM_LOAD):
        if one.name not in found:
            usual = one.default not in (None, "", False) and "default" not in one.doc
            doc = f"{one.doc}; default: that of the workload" if usual else one.doc
            found[one.name] = replace(one, default=None, doc=doc)
    return tuple(found.values())


PARAMETERS = _parameters()


def _of(workload: Scalar, tool: Scalar | None) -> tuple[Parameter, ...]:
    """Return the parameters of what is run."""
    if workload == "ingest":
        return _INGEST
    return _TOOLS["llm" if tool == "llm" else "http"]


def _partitions(part: Client | JobSpec) -> int:
    value = part.parameters.get("partitions")
    return value if isinstance(value, int) else part.nodes


def _work(spec: JobSpec) -> Iterator[str | Sh]:
    """Yield the words of the workload."""
    workload = setting(_SPARK, spec, "workload") or "load"
    tool = setting(_SPARK, spec, "tool")
    # Of users there is one for each load generator; a scenario has as many as it has.
    closed = workload == "ingest" or (
        model(spec.parameters) == "closed" and "scenario" not in spec.parameters
    )
    own = [
        replace(one, default=_partitions(spec)) if one.name == "concurrency" and closed else one
        for one in _of(workload, tool)
        if one.name != "input"
    ]
    yield str(workload)
    if workload == "load":
        yield from ("llm" if tool == "llm" else "http", "--url", URLS)
    else:
        yield from ("--url", URLS)
        if spec.parameters.get("input") is not None:
            yield from ("--input", word(str(spec.parameters["input"])))
    yield from options(own, spec)
    yield from arguments(spec)


def _payload(spec: JobSpec) -> Payload:
    python = (*program(spec, "python3"), Sh('"$BENCHD_SHIP_SPARK"'))
    memory = setting(_SPARK, spec, "executor_memory")
    home = spec.parameters.get("spark_home")
    common: tuple[str | Sh, ...] = (
        *("--partitions", str(_partitions(spec)), "--memory", str(memory)),
        *(("--spark-home", word(str(home))) if home is not None else ()),
    )
    # The job directory is named by its token: requests differ from job to job.
    result = ("--out", RESULT, "--run-id", Sh('"$(basename "$JOB")"'))
    return Payload(
        argv=(*python, "head", *common, *result, "--", *_work(spec)),
        workers=Step(argv=(*python, "worker", *common)) if spec.nodes > 1 else None,
        ship=("spark", "load"),
        # A job that Slurm starts again must not find what it wrote the last time.
        preamble=("export BENCHD_SPAN=$ID-$GENERATION",),
        # The secret of a Spark that is gone; also when its own programs could not remove it.
        after=('rm -rf -- "$JOB/spark-$ID-$GENERATION"',),
    )


def _fits(kind: str, service: Part | None, client: Part) -> dict[str, Scalar]:
    """Return what follows from the service: which load generator, and how it asks."""
    said = client.parameters
    if said.get("workload") == "ingest":
        return {"into": "chroma" if kind == "chroma" else "http"}
    tool = said.get("tool") or ("llm" if kind in llm_load.KIND.default_for else "http")
    if tool != "llm":
        return {"tool": tool}
    return {"tool": tool, **llm_load.KIND.fits(kind, service, client)}


def _complaints(part: Part) -> Sequence[Complaint]:
    if not isinstance(part, Client):
        return ()
    return (*_foreign(part), *_unshared(part), *_of_load(part), *_of_ingest(part))


def _foreign(part: Client) -> Iterator[Complaint]:
    """Yield the parameters that the workload does not have."""
    said = part.parameters
    workload, tool = said.get("workload", "load"), said.get("tool")
    if workload == "load" and tool is None:  # it follows from the service
        known = {one.name for each in _TOOLS.values() for one in each}
    else:
        known = {one.name for one in _of(workload, tool)}
    known |= {one.name for one in _SPARK}
    for name in said:
        if name not in known and name in {one.name for one in PARAMETERS}:
            what = (
                f"workload {workload}" if workload != "load" else f"tool {tool or 'llm and http'}"
            )
            yield ("parameters", name), f"{what} has no use for it"
    if workload == "ingest" and tool is not None:
        yield ("parameters", "tool"), "is for workload load: leave it out"


def _unshared(part: Client) -> Iterator[Complaint]:
    """Yield what cannot be shared by so many load generators."""
    count = _partitions(part)
    if count < part.nodes:
        what = f"{count} partitions on {part.nodes} nodes: some would have nothing to do"
        yield ("parameters", "partitions"), what
    at = "partitions" if "partitions" in part.parameters else None
    usual = {"requests": 100} if part.duration is None else {}
    if part.parameters.get("workload") == "ingest":
        usual = {} if "input" in part.parameters else {"documents": 10_000}
    for name in ("concurrency", "max_in_flight", "requests", "documents"):
        value = part.parameters.get(name, usual.get(name))
        if isinstance(value, int) and value < count:
            where = name if name in part.parameters else at
            path = ("parameters", where) if where is not None else ("nodes",)
            yield path, f"{count} load generators cannot share {name}: {value}"


def _of_load(part: Client) -> Iterator[Complaint]:
    said = part.parameters
    if said.get("workload", "load") != "load":
        return
    yield from loads(part)
    alone = ("find-peak", "saturate") if "load" in said else ("single-stream", "multi-stream")
    name = "load" if "load" in said else "scenario"
    told = name == "load" and part.nodes > 1
    if said.get(name) in alone and _partitions(part) > 1 and not told:
        yield ("parameters", name), f"{said[name]} is for one load generator: say partitions: 1"


def _of_ingest(part: Client) -> Iterator[Complaint]:
    said = part.parameters
    if said.get("workload") != "ingest":
        return
    if part.duration is not None:
        yield ("duration",), "ingest ends when every document was sent: leave it out"
    if said.get("method") in ("GET", "DELETE"):
        yield ("parameters", "method"), "documents are sent with POST or PUT"
    if "input" in said:
        for name in sorted({"documents", "dimension", "words", "seed"} & set(said)):
            yield ("parameters", name), "is for documents that are made, and input says which"
    if said.get("format") == "ndjson" and said.get("wrap"):
        yield ("parameters", "wrap"), "lines (format: ndjson) stand in no object"
    if said.get("into") == "chroma":
        for name in sorted({"format", "wrap", "method", "path", "bearer_env"} & set(said)):
            yield ("parameters", name), "is for into: http; Chroma has its own way"
        if said.get("dimension") == 0:
            yield ("parameters", "dimension"), "Chroma wants vectors: at least 1"


KIND = ClientKind(
    name="spark",
    summary="Apache Spark inside the client's job: a load generator in each partition, or "
    "documents that are brought into a service from all of them",
    image="docker://spark:4.0.1-scala2.13-java17-python3-ubuntu",
    payload=_payload,
    parse=readings.spark,
    spreads=True,
    distributed=True,
    parameters=PARAMETERS,
    version=("python3", "-c", "import pyspark; print(pyspark.__version__)"),
    fits=_fits,
    extra_check=_complaints,
)
