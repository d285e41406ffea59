"""Rows and records: how a Run, a Job and a Transition stand in the database.

The columns of ``runs`` and ``jobs`` carry the names of the dataclass fields; what SQLite has no
type for is JSON text. Everything here is pure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass, replace
from enum import Enum
from functools import lru_cache
from typing import Any, Protocol

from pydantic import BaseModel

from benchd.core.model import (
    Binding,
    CancelWhy,
    Endpoint,
    Evidence,
    Job,
    JobState,
    Readiness,
    Run,
    RunOutcome,
    SubState,
    Transition,
    Used,
)
from benchd.core.spec import JobSpec, Limits, Role

Value = str | int | float | None


class Row(Protocol):
    """A row as sqlite3.Row is one."""

    def keys(self) -> list[str]:
        """Return the names of the columns."""

    def __getitem__(self, column: str, /) -> Any:
        """Return what stands in this column."""

    def __iter__(self) -> Iterator[Any]:
        """Go through the values."""


RUN_COLUMNS = tuple(f.name for f in fields(Run))
JOB_COLUMNS = tuple(f.name for f in fields(Job))
# Kept in a table of its own, and empty where many jobs are read at once.
SCRIPT = "script"
# What a job is; the trigger jobs_fixed refuses to change it.
FIXED = frozenset({
    "token", "run_id", "cluster", "role", "name", "kind", "point", "repeat", "replica", "attempt",
    "spec", "script", "created_at",
})  # fmt: skip
# The tally of looks at a service. It moves with every probe, says nothing about what happened, and
# is written in place, without a row in `transitions`.
VOLATILE = frozenset({"probe_streak", "probe_failures", "next_probe_at", "looked_at"})
# Characters of raw evidence kept per transition: enough for any message of Slurm, and a flood of
# output does not fill the disk.
EVIDENCE_LIMIT = 16_384
# Parsed specs, limits and resources kept at once: most jobs of a run share theirs, and a job is
# read at every move. Unfinished runs are read whenever something changed.
_SPECS_KEPT = 2048
_LIMITS_KEPT = 256
_USED_KEPT = 256


def clean(text: str) -> str:
    """Return the text with lone surrogates spelled out: SQLite stores UTF-8 only."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def encode(value: object) -> Value:
    """Return what stands in a column for this field value."""
    if value is None or isinstance(value, (int, float)):
        return int(value) if isinstance(value, bool) else value
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, str):
        return clean(value)
    return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"))


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return _plain(value.model_dump(mode="json"))
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {clean(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return clean(value) if isinstance(value, str) else value


@lru_cache(maxsize=_LIMITS_KEPT)
def _limits(text: str) -> Limits:
    return Limits.model_validate_json(text)


@lru_cache(maxsize=_SPECS_KEPT)
def _spec(text: str) -> JobSpec:
    return JobSpec.model_validate_json(text)


def _endpoint(text: str) -> Endpoint:
    data = json.loads(text)
    return Endpoint(**{**data, "ports": tuple(data["ports"])})


def _bindings(text: str) -> tuple[Binding, ...]:
    if text == "[]":  # most rows
        return ()
    return tuple(Binding(**{**data, "ports": tuple(data["ports"])}) for data in json.loads(text))


@lru_cache(maxsize=_USED_KEPT)
def _used(text: str) -> Used:
    return Used(**json.loads(text))


def _unseen(text: str) -> tuple[tuple[float, float], ...]:
    if text == "[]":  # most rows
        return ()
    return tuple((start, end) for start, end in json.loads(text))


_DECODE_JOB: dict[str, Callable[[Any], object]] = {
    "role": Role,
    "state": JobState,
    "substate": SubState,
    "readiness": Readiness,
    "cancel_why": CancelWhy,
    "spec": _spec,
    "endpoint": _endpoint,
    "bindings": _bindings,
    "used": _used,
    "unseen": _unseen,
}
_DECODE_RUN: dict[str, Callable[[Any], object]] = {
    "outcome": RunOutcome,
    "limits": _limits,
}


def _plain_row(row: Row) -> dict[str, Any]:
    # Looking a column up by name costs sqlite3.Row a search; a world has thousands of rows.
    return dict(zip(row.keys(), row, strict=True))


def _decoded(values: dict[str, Any], decoders: Mapping[str, Callable[[Any], object]]) -> None:
    for column, decode in decoders.items():
        value = values[column]
        if value is not None:
            values[column] = decode(value)


def job_of(row: Row) -> Job:
    """Return the job that stands in this row."""
    values = {SCRIPT: "", **_plain_row(row)}
    del values["born"]
    return _job(values)


def _job(values: dict[str, Any]) -> Job:
    _decoded(values, _DECODE_JOB)
    return Job(**values)


def run_of(row: Row) -> Run:
    """Return the run that stands in this row."""
    values = {"recipe": "", **_plain_row(row)}
    _decoded(values, _DECODE_RUN)
    return Run(**values)


def transition_of(row: Row) -> Transition:
    """Return the transition that stands in this row."""
    return Transition(
        token=row["token"],
        at=row["at"],
        trigger=row["trigger"],
        old=row["old"],
        new=row["new"],
        evidence=Evidence(**json.loads(row["evidence"])),
    )


def job_values(job: Job) -> dict[str, Value]:
    """Return all columns of a new row, ``born`` and the script of its other table included."""
    values = {column: encode(getattr(job, column)) for column in JOB_COLUMNS}
    born = {c: v for c, v in values.items() if c not in FIXED and v != _DEFAULTS[c]}
    return {**values, "born": json.dumps(born, ensure_ascii=False)}


def run_values(run: Run) -> dict[str, Value]:
    """Return all columns of a new row."""
    return {column: encode(getattr(run, column)) for column in RUN_COLUMNS}


def evidence_text(evidence: Evidence) -> str:
    """Return the JSON of a transition's evidence, its raw text cut to EVIDENCE_LIMIT."""
    raw = evidence.raw
    if len(raw) > EVIDENCE_LIMIT:
        raw = f"{raw[:EVIDENCE_LIMIT]} ... [{len(raw) - EVIDENCE_LIMIT} characters cut]"
    told = {
        "source": clean(evidence.source),
        "exit_status": evidence.exit_status,
        "raw": clean(raw),
        "at": evidence.at,
    }
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


def changes(old: Job, new: Job) -> dict[str, Value]:
    """Return the columns in which two versions of a row differ; ``rev`` is the store's affair.

    A version that was read without its script does not differ in it.
    """
    changed = {
        column: encode(getattr(new, column))
        for column in JOB_COLUMNS
        if column != "rev" and getattr(old, column) != getattr(new, column)
    }
    if not (old.script and new.script):
        changed.pop(SCRIPT, None)
    return changed


def _defaults() -> dict[str, Value]:
    return {f.name: encode(f.default) for f in fields(Job) if f.default is not MISSING}


_DEFAULTS = _defaults()


def durable(job: Job) -> Job:
    """Return the job without script and tally of probes: what its history alone determines."""
    return replace(
        job, script="", probe_streak=0, probe_failures=0, next_probe_at=None, looked_at=None
    )


def folded(row: Row, history: list[tuple[int, str]]) -> Job:
    """Return the job that its birth and its transitions (revision, changes) add up to."""
    values: dict[str, Any] = {SCRIPT: "", **_DEFAULTS}
    values.update((column, row[column]) for column in FIXED if column != SCRIPT)
    values.update(json.loads(row["born"]))
    for rev, changed in history:
        values.update(json.loads(changed))
        values["rev"] = rev
    return durable(_job(values))
