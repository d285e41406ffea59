"""Records as dictionaries, and what is derived from them."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from benchd.api.control import ClusterStatus
from benchd.api.lookup import match_jobs
from benchd.api.routes import whole_characters
from benchd.api.views import (
    cluster_view,
    job_detail,
    job_id,
    job_view,
    run_detail,
    run_phase,
    run_view,
    silence,
    state_counts,
)
from benchd.core.model import CancelWhy, Endpoint, Job, JobState, Readiness, RunOutcome
from benchd.core.spec import Role
from benchd.core.tally import latest_attempts
from support.builders import CREATED_AT, INSTANCE, RUN_ID, client, job, run, service


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
        ([job(role=Role.IMAGE, name="x", kind="image"), service(), client()], "preparing"),
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


def test_only_what_completed_was_measured() -> None:
    """Measurements that failed or were cancelled are over, but they are not done."""
    states = (JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED)
    jobs = [client(repeat=i, state=state) for i, state in enumerate(states)]
    assert {"done": 1, "total": 3} == run_view(run(), jobs)["measurements"]


@pytest.mark.parametrize(
    ("over", "link"),
    [
        ({}, "idle"),
        ({"logins": 1}, "down"),
        ({"detail": "refused"}, "down"),
        ({"link": "up"}, "up"),
    ],
)
def test_a_link_that_nothing_has_needed_is_idle(over: dict[str, Any], link: str) -> None:
    """Down means that a login was tried; before the first one a link is idle."""
    status: dict[str, Any] = {"name": "alpha", "link": "down", "logins": 0, "detail": "", **over}
    assert link == cluster_view(cast("ClusterStatus", status))["link"]


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (client(), "is not submitted yet: its service has to answer first"),
        (
            client(state=JobState.CANCELLED, cancel_why=CancelWhy.SIBLING),
            "was never submitted, so it has no output: a job that it depends on ended first",
        ),
        (
            client(state=JobState.PENDING, slurm_id="7", reason="Resources"),
            "has not started yet: Slurm job 7 is PENDING (Resources)",
        ),
        (
            client(state=JobState.FAILED, slurm_id="7", collected_at=CREATED_AT),
            f"is in /state/runs/r/raw/{client().token}; see also `benchctl logs ",
        ),
    ],
)
def test_silence_has_a_reason(job: Job, said: str) -> None:
    """A job without output is told apart by what became of it."""
    sentence = silence(job, "its service has to answer first", "/state/runs/r")
    assert (said in sentence, job_id(job.token) in sentence) == (True, True), sentence


def test_a_missing_output_is_not_called_empty() -> None:
    """Of a job that is over and left no file anywhere nobody can say that its output is empty."""
    job = client(state=JobState.FAILED, slurm_id="7", collected_at=CREATED_AT)
    sentence = silence(job, "", "/state/runs/r", is_missing=True)
    assert f"no file on {job.cluster}, and no copy in /state/runs/r" in sentence


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


def test_the_newest_of_several_attempts_is_meant() -> None:
    """A beginning that only attempts share means the newest of them; each is found by its id."""
    jobs = [client(attempt=n) for n in (1, 2, 10)]
    word = f"{RUN_ID}-c-redis-bench-p0r0"
    found = [match_jobs(w, jobs) for w in (word, f"{word}-0-a", f"{word}-0-a1")]
    assert [[jobs[2]], [jobs[2]], [jobs[0]]] == found


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


def test_a_waiting_job_says_what_its_reason_means() -> None:
    """Beside Slurm's word stand its class and what helps; nothing for one that waits no more."""
    queued = client(state=JobState.PENDING, slurm_id="7", reason="PartitionDown")
    said = job_detail(queued)
    assert "infrastructure" == said["reason_class"]
    assert "use another partition" in str(said["reason_advice"])
    over = job_detail(client(state=JobState.FAILED, slurm_id="7", reason="PartitionDown"))
    assert (None, None) == (over["reason_class"], over["reason_advice"])
