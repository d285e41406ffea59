"""The sentence about a run that ended badly."""

from __future__ import annotations

from typing import Any

import pytest

from benchd.core.model import JobState, RunOutcome
from benchd.core.reasons import reason
from support.builders import client
from support.documents import result


def flags(*codes: str) -> tuple[dict[str, Any], ...]:
    """Return flags of severity error, and a warning that is not asked for."""
    found = [{"code": code, "severity": "error", "detail": f"of {code}"} for code in codes]
    return (*found, {"code": "dropped", "severity": "warn"})


def test_an_invalid_run_names_the_flags() -> None:
    """The kinds of flags are named, the most frequent first; attempts that were replaced do not."""
    jobs = [client(repeat=i, attempt=a) for i, a in ((0, 1), (0, 2), (1, 1), (2, 1))]
    codes = [("no_result",), ("client_cpu",), ("error_rate", "client_cpu"), ()]
    results = [result(j, flags=flags(*c)) for j, c in zip(jobs, codes, strict=True)]
    said = reason(RunOutcome.INVALID, "2 of 3 results are not valid", jobs, results, {})
    assert said == "2 of 3 results are not valid: client_cpu (2), error_rate"


@pytest.mark.parametrize(
    ("words", "codes", "more"),
    [
        ("load: no such file", ("job_failed", "error_rate"), ": \u201cload: no such file\u201d"),
        ("", ("job_failed", "no_work", "error_rate"), ": error_rate: of error_rate"),
        ("", ("job_failed", "no_work"), ""),
    ],
)
def test_a_failed_run_says_what_its_client_said(
    words: str, codes: tuple[str, ...], more: str
) -> None:
    """Its last words tell most; without any, what its result says that is not the failure."""
    job = client(state=JobState.FAILED, why="FAILED", exit_code=2)
    why = "client redis-bench FAILED exit 2"
    last_words = {job.token: words} if words else {}
    told = reason(RunOutcome.FAILED, why, [job], [result(job, flags=flags(*codes))], last_words)
    assert told == why + more


def test_a_service_that_failed_is_not_blamed_on_a_client() -> None:
    """Where the verdict names no client, nothing that a client said is put to it."""
    job = client(state=JobState.FAILED, why="FAILED", exit_code=2)
    why = "service redis FAILED NOT_READY"
    assert reason(RunOutcome.FAILED, why, [job], [], {job.token: "x"}) == why
