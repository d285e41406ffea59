"""What lies beside a job on the cluster, and the rows that are made of it again."""

from __future__ import annotations

import json

import pytest

from benchd.core.model import Binding
from benchd.core.records import job_record, read_job, read_run, run_record
from benchd.core.spec import Limits
from benchd.errors import UserError
from support.builders import CREATED_AT, client, run, service

BOUND = Binding(name="redis", token="t", generation=1, host="n1", ports=(6379, 6380))


def test_a_job_is_the_same_after_its_record_was_read() -> None:
    """Everything its row said when it was sent comes back, with the script from beside it."""
    sent = client(tries=2, attempted_at=CREATED_AT + 1, bindings=(BOUND,), cell={"pipeline": 16})
    record = read_job(job_record(sent).encode(), "job.json")
    assert sent == record.job(sent.script)


def test_a_run_is_the_same_after_its_record_was_read() -> None:
    """Recipe, owner and limits come back; its directory counts as made."""
    sent = run(limits=Limits(run=60.0), owner_uid=1000, recipe="name: \N{SNOWMAN}\n\0")
    record = read_run(run_record(sent).encode(), "run.json")
    assert run(**{**_fields(sent), "dir_made_at": 5.0}) == record.run(5.0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tries": "2"}, "tries"),
        ({"spec": {}}, "spec"),
        ({"more": 1}, "more"),
        ({"schema": "x"}, ""),
    ],
)
def test_a_record_that_is_not_one_is_refused_with_its_place(
    change: dict[str, object], said: str
) -> None:
    """What a shared file system holds is checked like a recipe."""
    good = json.loads(job_record(service(tries=1, attempted_at=CREATED_AT)))
    with pytest.raises(UserError, match=rf"try-1/job.json cannot be read.*{said}"):
        read_job(json.dumps({**good, **change}).encode(), "try-1/job.json")


def _fields(thing: object) -> dict[str, object]:
    return {name: getattr(thing, name) for name in ("limits", "owner_uid", "recipe")}
