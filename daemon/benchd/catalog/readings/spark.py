"""What load generators behind Spark leave: their one document, and who ran where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchd.catalog.readings.load import load
from benchd.core.numbers import flag
from benchd.core.results import Flag, Measured, Severity
from benchd.core.spec import JobSpec


class _Ran(BaseModel):
    """One partition, when it has ended."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    index: int
    node: int
    host: str = ""
    status: int | None = None


class _Spark(BaseModel):
    """What the driver wrote; a newer one may know more."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    version: str
    workload: str
    partitions: int
    nodes: int
    documents: int | None = None
    batch: int | None = None
    seed: int | None = None
    stored: int | None = None
    ran: tuple[_Ran, ...] = Field(())


def spark(files: Mapping[str, bytes], spec: JobSpec) -> Measured:
    """Read the load generators' document, and what Spark's driver knows beside it."""
    measured = load(files, spec)
    try:
        said = _Spark.model_validate_json(files.get("result/spark.json", b""))
    except ValidationError:
        return measured
    workload = dict(measured.workload)
    for name in ("documents", "batch", "seed"):
        value = getattr(said, name)
        if value is not None:
            workload[name] = value
    return replace(
        measured,
        workload=workload,
        client={**measured.client, "spark": said.model_dump(mode="json")},
        flags=(*measured.flags, *_flags(said, measured)),
    )


def _flags(said: _Spark, measured: Measured) -> Iterator[Flag]:
    per_node = [sum(ran.node == node for ran in said.ran) for node in range(said.nodes)]
    if said.ran and max(per_node) - min(per_node) > 1:
        detail = f"load generators on each node: {', '.join(map(str, per_node))}"
        yield flag(
            "spark_uneven",
            Severity.WARN,
            value=max(per_node),
            limit=min(per_node) + 1,
            detail=detail,
        )
    whole = measured.counts.ok == measured.counts.scheduled and not measured.partial
    if said.stored is not None and whole and said.stored != said.documents:
        detail = "documents that the service counts in the end, and those that it was sent"
        yield flag(
            "stored_mismatch",
            Severity.ERROR,
            value=said.stored,
            limit=said.documents,
            detail=detail,
        )
