"""Records as dictionaries, and what is derived from them."""

from __future__ import annotations

import json

import pytest

from benchd.api.lookup import match_jobs
from benchd.api.routes import whole_characters
from benchd.api.views import (
    job_detail,
    job_id,
    job_view,
    latest_attempts,
    run_detail,
    run_phase,
    run_view,
    state_counts,
)
from benchd.core.model import Endpoint, Job, JobState, Readiness, RunOutcome
from support.builders import CREATED_AT, INSTANCE, RUN_ID, client, run, service


def test_every_view_is_json() -> None:
    """Views hold nothing that JSON does not know."""
    job = service(
        state=JobState.RUNNING,
        endpoint=Endpoint(host="n1", ports=(6379,), slurm_id="1", generation=0),
    )
    views = [job_view(job), job_detail(job), run_detail(run(), [job, client()])]
    assert json.loads(json.dumps(views)) == views


def test_an_id_is_the_token_without_the_instance() -> None:
    """The instance is the same for every job of a daemon and is left out."""
    job = service()
    assert f"{INSTANCE}-{job_id(job.token)}" == job.token


@pytest.mark.parametrize(
    ("jobs", "phase"),
    [
        ([service(), client()], "created"),
        ([service(state=JobState.PENDING), client()], "queued"),
        ([service(state=JobState.RUNNING, readiness=Readiness.STARTING), client()], "starting"),
        ([service(state=JobState.RUNNING, readiness=Readiness.READY), client()], "ready"),
        ([service(state=JobState.RUNNING, readiness=Readiness.READY)], "serving"),
        (
            [
                service(state=JobState.RUNNING, readiness=Readiness.READY),
                client(state=JobState.RUNNING),
            ],
            "measuring",
        ),
        (
            [
                service(state=JobState.RUNNING, readiness=Readiness.READY),
                client(state=JobState.COMPLETED, slurm_id="2"),
            ],
            "collecting",
        ),
        (
            [
                service(state=JobState.RUNNING, readiness=Readiness.READY),
                client(state=JobState.COMPLETED, slurm_id="2", collected_at=CREATED_AT),
            ],
            "stopping",
        ),
    ],
)
def test_the_phase_follows_from_the_jobs(jobs: list[Job], phase: str) -> None:
    """A run's phase is derived from what its jobs do."""
    assert run_phase(run(), jobs) == phase


def test_wishes_and_outcomes_come_before_jobs() -> None:
    """A cancelled and a finished run say so whatever their jobs do."""
    jobs = [service(state=JobState.RUNNING)]
    cancelled = run(cancel_requested_at=CREATED_AT)
    finished = run(outcome=RunOutcome.PASSED, finished_at=CREATED_AT)
    assert [run_phase(r, jobs) for r in (cancelled, finished)] == ["cancelling", "finished"]


def test_only_the_newest_attempt_counts() -> None:
    """A run's numbers count what the recipe wants, not how often it was tried."""
    jobs = [client(attempt=1, state=JobState.FAILED), client(attempt=2)]
    view = run_view(run(), jobs)
    assert (view["jobs"], view["measurements"], latest_attempts(jobs)) == (
        1,
        {"done": 0, "total": 1},
        jobs[1:],
    )


def test_counts_name_every_state() -> None:
    """A state without jobs is counted as nought."""
    counts = state_counts([("alpha", "service", "RUNNING", 2), ("beta", "client", "RUNNING", 1)])
    assert (counts["RUNNING"], counts["FAILED"], len(counts)) == (3, 0, 7)


@pytest.mark.parametrize(
    ("word", "hits"),
    [
        (f"{RUN_ID}-c", 1),
        (f"{INSTANCE}-{RUN_ID}-s", 1),
        (RUN_ID, 2),
        ("4711", 1),
        ("redis-bench", 1),
        ("nothing", 0),
    ],
)
def test_a_job_is_found_by_what_people_call_it(word: str, hits: int) -> None:
    """A beginning with or without instance, a Slurm id or a live job's name finds a job."""
    assert len(match_jobs(word, [service(slurm_id="4711"), client()])) == hits


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b"", b""),
        (b"abc", b"abc"),
        ("aé".encode(), "aé".encode()),
        ("aé".encode()[:-1], b"a"),
        ("a€".encode()[:-1], b"a"),
        ("a😀".encode()[:-2], b"a"),
        (b"a\xff", b"a\xff"),
        (b"\xf0", b"\xf0"),
    ],
)
def test_a_log_is_never_cut_inside_a_character(data: bytes, whole: bytes) -> None:
    """A piece ends before a character that is not complete; broken bytes stay as they are."""
    assert whole_characters(data) == whole
