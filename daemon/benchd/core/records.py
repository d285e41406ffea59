"""What lies beside a job on the cluster, so that its rows can be made again from it. Pure.

``job.json`` in each try directory says which job it was and what it was to do; ``run.json`` in the
run's directory says of which recipe. A state directory that came back from an old backup does not
know the jobs that were sent after it; with these two, ``benchctl adopt`` can learn of them.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field

from benchd.core.model import Binding, Job, Run
from benchd.core.spec import JobSpec, Limits, Role
from benchd.errors import UserError
from benchd.fields import Model

_JOB: Final = "benchd.job-record/1"
_RUN: Final = "benchd.run-record/1"


class _Paper(Model):
    """Closed and strict like a recipe: what a cluster's file system says is checked."""

    model_config = ConfigDict(serialize_by_alias=True)


class _Binding(_Paper):
    name: str
    token: str
    generation: int
    host: str
    ports: tuple[int, ...]
    nodes: str = ""


class JobRecord(_Paper):
    """One try of one job: all that its row in the books said when it was sent."""

    schema_: Annotated[Literal["benchd.job-record/1"], Field(alias="schema")] = _JOB
    token: str
    run_id: str
    cluster: str
    role: Role
    name: str
    kind: str
    point: int
    repeat: int
    replica: int
    attempt: int
    spec: JobSpec
    created_at: float
    tries: int
    attempted_at: float
    bindings: tuple[_Binding, ...] = ()

    def job(self, script: str) -> Job:
        """Return the row as it was: announced, and not known to be accepted."""
        values = {name: getattr(self, name) for name in _JOB_FIELDS}
        bound = tuple(Binding(**binding.model_dump()) for binding in self.bindings)
        return Job(**values, script=script, bindings=bound)


class RunRecord(_Paper):
    """One accepted recipe, as its row in the books said."""

    schema_: Annotated[Literal["benchd.run-record/1"], Field(alias="schema")] = _RUN
    id: str
    name: str
    cluster: str
    recipe: str
    recipe_path: str
    recipe_sha256: str
    recipe_mtime_ns: int
    created_at: float
    owner_uid: int
    limits: Limits

    def run(self, dir_made_at: float) -> Run:
        """Return the row; its directory is there, as this was read from it."""
        return Run(**{name: getattr(self, name) for name in _RUN_FIELDS}, dir_made_at=dir_made_at)


_JOB_FIELDS = tuple(set(JobRecord.model_fields) - {"schema_", "bindings"})
_RUN_FIELDS = tuple(set(RunRecord.model_fields) - {"schema_"})


def job_record(job: Job) -> str:
    """Return the text of ``job.json`` of a job whose next try is announced."""
    values = {name: getattr(job, name) for name in _JOB_FIELDS}
    names = [field.name for field in fields(Binding)]
    bound = [_Binding(**{name: getattr(each, name) for name in names}) for each in job.bindings]
    return JobRecord(**values, bindings=tuple(bound)).model_dump_json(by_alias=True) + "\n"


def run_record(run: Run) -> str:
    """Return the text of ``run.json``."""
    values = {name: getattr(run, name) for name in _RUN_FIELDS}
    return RunRecord(**values).model_dump_json(by_alias=True) + "\n"


def read_job(data: bytes, where: str) -> JobRecord:
    """Read ``job.json``; ``UserError`` when it is not one."""
    try:
        return JobRecord.model_validate_json(data)
    except ValueError as error:
        raise UserError(
            f"{where} cannot be read as the record of a job: {_first(error)}"
        ) from error


def read_run(data: bytes, where: str) -> RunRecord:
    """Read ``run.json``; ``UserError`` when it is not one."""
    try:
        return RunRecord.model_validate_json(data)
    except ValueError as error:
        raise UserError(
            f"{where} cannot be read as the record of a run: {_first(error)}"
        ) from error


def _first(error: ValueError) -> str:
    return " ".join(str(error).splitlines()[1:3]).strip()[:200]
