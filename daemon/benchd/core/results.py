"""What a measurement becomes: the result document, its statistics, and the gate it must pass.

A number that was not measured is null or absent, never 0, NaN or Infinity. Every reason for which
a result cannot be trusted is a flag with its value and its limit; one flag of severity ``error``
makes the result invalid, and it is kept all the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, JsonValue, model_validator

from benchd.core.flags import ERROR_RATE
from benchd.core.intervals import with_intervals
from benchd.core.model import Binding, Job, JobState, Run
from benchd.core.numbers import (
    SAMPLES_NEEDED,
    Flag,
    Metric,
    Record,
    Severity,
    Text,
    bad_numbers,
    flag,
    is_finite,
    iso,
    percentile,
    plain_object,
    refuse_bad_numbers,
    summarise,
    thin_flags,
)
from benchd.core.origins import (
    client_facts,
    hardware,
    place_facts,
    resolved_sha256,
    service_facts,
)

__all__ = [
    "SAMPLES_NEEDED",
    "SCHEMA",
    "Artifact",
    "Counts",
    "Flag",
    "Measured",
    "Metric",
    "Provenance",
    "Result",
    "Severity",
    "Times",
    "Validity",
    "Window",
    "assemble",
    "count_flags",
    "json_schema",
    "percentile",
    "result_id",
    "summarise",
]

SCHEMA: Literal["benchd.result/1"] = "benchd.result/1"
# Requests that one measurement can have: a million a second for thirty years.
MOST = 10**15
_COUNTED = ("scheduled", "issued", "ok", "errors", "dropped", "cancelled")


class Counts(Record):
    """Where every scheduled unit of work went; ok + errors + dropped + cancelled = scheduled."""

    scheduled: int | None = None
    issued: int | None = None
    ok: int | None = None
    errors: int | None = None
    dropped: int | None = None
    cancelled: int | None = None
    by_class: dict[str, int] = Field({})
    first_errors: tuple[Text, ...] = Field((), description="one line for each class of error")


class Validity(Record):
    """Whether the numbers may be used, and every reason."""

    valid: bool
    flags: tuple[Flag, ...] = ()


class Times(Record):
    """When things happened: UTC, ISO 8601; durations in seconds.

    What only Slurm knows has no fraction: it lies within that second.
    """

    queued: str | None = None
    started: str | None = None
    ready: str | None = Field(None, description="when the last of the services became ready")
    measure_start: str | None = None
    measure_end: str | None = None
    finished: str | None = None
    warmup_s: float | None = None
    window_s: float | None = None


class Provenance(Record):
    """What was run, where, by which version of what."""

    recipe: dict[str, JsonValue] = Field({})
    benchd: dict[str, JsonValue] = Field({})
    client: dict[str, JsonValue] = Field({})
    service: dict[str, JsonValue] = Field({}, description="the first target service")
    services: tuple[dict[str, JsonValue], ...] = Field((), description="all of them")
    cluster: dict[str, JsonValue] = Field({})
    hardware: tuple[dict[str, JsonValue], ...] = ()


class Artifact(Record):
    """A file that came home with the result."""

    name: Text
    sha256: str
    bytes: int


class Result(Record):
    """One measurement: one point, one repeat, one attempt. Written once, never changed."""

    schema_: Annotated[Literal["benchd.result/1"], Field(alias="schema")] = SCHEMA
    id: str
    run: str
    job: str
    cell: dict[str, JsonValue] = Field({})
    repeat: int = 0
    status: Literal["ok", "failed", "cancelled"]
    partial: bool = False
    validity: Validity
    times: Times = Times()
    provenance: Provenance = Provenance()
    workload: dict[str, JsonValue] = Field({})
    counts: Counts = Counts()
    metrics: dict[str, Metric] = Field({})
    timeline: dict[str, JsonValue] = Field({})
    server_metrics: dict[str, JsonValue] = Field(
        {}, description="the service's own counters: before and after the window, and their delta"
    )
    artifacts: tuple[Artifact, ...] = ()

    @model_validator(mode="after")
    def _numbers_are_numbers(self) -> Result:
        bad = sorted(
            f"metrics.{name}.{path}"
            for name, metric in self.metrics.items()
            for path in bad_numbers(metric)
        )
        if bad:
            raise ValueError(f"not a usable number: {', '.join(bad)}; write null instead")
        return self

    def document(self) -> str:
        """Return the JSON text: nulls only where a number could have been."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


def json_schema() -> dict[str, JsonValue]:
    """Return the JSON Schema of the result document."""
    schema: dict[str, JsonValue] = Result.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """When a client measured: seconds since the epoch by the client's clock, and durations."""

    measure_start: float | None = None
    measure_end: float | None = None
    warmup_s: float | None = None
    window_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a client kind's ``parse`` makes of the files a job left: numbers, not yet a verdict."""

    metrics: Mapping[str, Metric] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    workload: Mapping[str, JsonValue] = field(default_factory=dict)
    times: Window = Window()
    flags: tuple[Flag, ...] = ()
    client: Mapping[str, JsonValue] = field(default_factory=dict)  # provenance.client
    service: Mapping[str, JsonValue] = field(
        default_factory=dict
    )  # what the service said of itself
    timeline: Mapping[str, JsonValue] = field(default_factory=dict)
    server_metrics: Mapping[str, JsonValue] = field(default_factory=dict)  # before, after, delta
    partial: bool = False

    @classmethod
    def nothing(cls, code: str, detail: str) -> Measured:
        """Nothing usable came home; the flag says why."""
        return cls(flags=(Flag(code=code, severity=Severity.ERROR, detail=detail),))


def _refuse_bad_counts(counts: Counts) -> tuple[Counts, list[Flag]]:
    """Return the counts without those that count nothing, and the flag that names them."""
    bad = [name for name in _COUNTED if abs(getattr(counts, name) or 0) > MOST]
    classes = {name: n for name, n in counts.by_class.items() if abs(n) <= MOST}
    bad += [f"by_class.{name}" for name in counts.by_class if name not in classes]
    if not bad:
        return counts, []
    clean = counts.model_copy(update={**dict.fromkeys(bad), "by_class": classes})
    detail = f"no number of requests, written as null: {', '.join(bad)}"
    return clean, [flag("bad_number", Severity.ERROR, value=len(bad), limit=0, detail=detail)]


def count_flags(counts: Counts) -> Iterator[Flag]:
    """Judge the counts: do they add up, was work done, how many errors.

    Errors may be unknown where nothing is missing without them: the tool takes them for answers.
    """
    parts = (counts.ok, counts.errors, counts.dropped, counts.cancelled)
    known = [part for part in parts if part is not None]
    total = sum(known)
    wrong = [part for part in (*known, counts.issued or 0) if part < 0]
    counted = bool(known) or counts.scheduled is not None
    unknown = len(parts) - len(known) - (counts.errors is None)
    if counted and (unknown or wrong or total != counts.scheduled):
        said = " + ".join("?" if part is None else str(part) for part in parts)
        detail = f"ok + errors + dropped + cancelled = {said}, scheduled {counts.scheduled}"
        yield flag(
            "counts_mismatch", Severity.ERROR, value=total, limit=counts.scheduled, detail=detail
        )
    if not counts.ok:
        yield flag("no_work", Severity.ERROR, value=counts.ok, limit=1, detail="nothing succeeded")
    if counts.errors and set(counts.by_class) != {"exit_status"}:  # that is job_failed's to tell
        rate = counts.errors / (counts.issued or counts.errors)
        severity = Severity.ERROR if rate > ERROR_RATE else Severity.WARN
        classes = ", ".join(f"{n} {name}" for name, n in sorted(counts.by_class.items()))
        detail = f"{counts.errors} of {counts.issued or counts.errors} failed" + (
            f": {classes}" if classes else ""
        )
        yield flag("error_rate", severity, value=rate, limit=ERROR_RATE, detail=detail)
    if counts.dropped:
        detail = "arrivals that were never sent"
        yield flag("dropped", Severity.WARN, value=counts.dropped, limit=0, detail=detail)


def _job_flags(job: Job) -> Iterator[Flag]:
    if job.state is JobState.COMPLETED and not job.exit_code and not job.signal:
        return
    ended = f"the client job ended {job.state}"
    if job.why:
        ended += f" ({job.why})"
    if job.exit_code:
        ended += f" with exit status {job.exit_code}"
    if job.signal:
        ended += f" by signal {job.signal}"
    yield flag("job_failed", Severity.ERROR, value=job.exit_code, limit=0, detail=ended)


def _around_flags(measured: Measured, service_steady: bool, detail: str) -> Iterator[Flag]:
    if not service_steady:
        detail = detail or "a service left READY or restarted during the measurement"
        yield flag("service_not_steady", Severity.ERROR, detail=detail)
    if measured.partial:
        detail = "the client was stopped before it was done"
        yield flag("partial", Severity.ERROR, detail=detail)


def _slurms(at: float | None) -> str | None:
    """Return a time of Slurm's, which counts whole seconds: no thousandths that nobody knows."""
    return (iso(at) or "").replace(".000Z", "Z") or None


def _seconds(span: float | None) -> float | None:
    """Return a duration, or None when it is no duration."""
    return span if span is not None and is_finite(span) and span >= 0 else None


def result_id(token: str) -> str:
    """Return the id of a job's result: the same on every attempt to store it."""
    return hashlib.sha256(f"{SCHEMA}:{token}".encode()).hexdigest()[:26]


def _provenance(
    *,
    run: Run,
    job: Job,
    bindings: Sequence[Binding],
    services: Sequence[Job],
    measured: Measured,
    cluster: Mapping[str, JsonValue],
    versions: Mapping[str, str],
    files: Mapping[str, bytes],
) -> Provenance:
    facts = [service_facts(service, bindings, files) for service in services]
    if facts:
        facts[0] |= plain_object(measured.service)
    return Provenance(
        recipe={
            "name": run.name,
            "path": run.recipe_path,
            "sha256": run.recipe_sha256,
            "resolved_sha256": resolved_sha256(job, services),
        },
        benchd=dict(versions),
        client=client_facts(job, services, files, plain_object(measured.client)),
        service=facts[0] if facts else {},
        services=tuple(facts),
        cluster={"name": job.cluster, **cluster, **place_facts(job, services, files)},
        hardware=hardware(services, files),
    )


def _status(job: Job) -> Literal["ok", "failed", "cancelled"]:
    if job.state is JobState.CANCELLED:
        return "cancelled"
    return "failed" if any(_job_flags(job)) else "ok"


def _times(job: Job, services: Sequence[Job], window: Window, now: float) -> Times:
    ready = [s.ready_at for s in services if s.ready_at is not None]
    return Times(
        queued=_slurms(job.submitted_at),
        started=_slurms(job.started_at),
        ready=iso(max(ready, default=None)),
        measure_start=iso(window.measure_start),
        measure_end=iso(window.measure_end),
        finished=_slurms(job.ended_at if job.ended_at is not None else now),
        warmup_s=_seconds(window.warmup_s),
        window_s=_seconds(window.window_s),
    )


def assemble(
    *,
    run: Run,
    job: Job,
    bindings: Sequence[Binding],
    services: Sequence[Job],
    measured: Measured,
    service_steady: bool,
    service_detail: str = "",
    doubts: Sequence[Flag] = (),
    cluster: Mapping[str, JsonValue],
    versions: Mapping[str, str],
    files: Mapping[str, bytes],
    now: float,
) -> Result:
    """Make the result document of a finished client job, with its verdict.

    ``service_steady``: every bound service stayed READY, in the bound generation, for the whole
    measurement; ``doubts``: what else benchd itself knows against the numbers. ``files`` is what
    came home (name -> content); it is listed, not stored here.
    """
    metrics, bad = refuse_bad_numbers(measured.metrics)
    counts, uncountable = _refuse_bad_counts(measured.counts)
    flags = [*measured.flags, *bad, *uncountable, *count_flags(counts), *thin_flags(metrics)]
    flags += [*_job_flags(job), *_around_flags(measured, service_steady, service_detail), *doubts]
    return Result(
        id=result_id(job.token),
        run=run.id,
        job=job.token,
        cell=dict(job.spec.cell),
        repeat=job.repeat,
        status=_status(job),
        partial=measured.partial,
        validity=Validity(
            valid=all(each.severity is not Severity.ERROR for each in flags), flags=tuple(flags)
        ),
        times=_times(job, services, measured.times, now),
        provenance=_provenance(
            run=run,
            job=job,
            bindings=bindings,
            services=services,
            measured=measured,
            cluster=cluster,
            versions=versions,
            files=files,
        ),
        workload=plain_object(measured.workload),
        counts=counts,
        metrics=with_intervals(metrics),
        timeline=plain_object(measured.timeline),
        server_metrics=plain_object(measured.server_metrics),
        artifacts=tuple(
            Artifact(name=name, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
            for name, data in sorted(files.items())
        ),
    )
