"""``benchctl why``: a job's story in sentences."""

from __future__ import annotations

import pytest

from benchd.api.views import job_id
from benchd.api.why import explain
from benchd.core.model import CancelWhy, Evidence, Job, JobState, Transition
from benchd.core.spec import RestartPolicy
from support.builders import CREATED_AT, client, service
from support.documents import result

NOW = CREATED_AT + 60.0


def row(at: float, trigger: str, old: str, new: str, **evidence: object) -> Transition:
    return Transition(
        token="t",
        at=CREATED_AT + at,
        trigger=trigger,
        old=old,
        new=new,
        evidence=Evidence(**evidence),  # type: ignore[arg-type] # test shorthand
    )


def test_every_move_stands_with_its_evidence() -> None:
    """Each transition becomes a sentence with time, states, command, exit status and raw row."""
    job = client(state=JobState.SUBMITTED, slurm_id="17")
    moves = [
        row(
            1.5, "submit_accepted", "CREATED", "SUBMITTED", source="sbatch", exit_status=0, raw="17"
        )
    ]
    assert explain(job, moves, NOW, "the next poll")[-1] == (
        "+1.5s  CREATED → SUBMITTED: Slurm accepted it (sbatch, exit 0, “17”)."
    )


def test_a_pending_job_says_what_it_waits_for() -> None:
    """Slurm's reason and what benchd waits for stand before how the job came there."""
    job = client(state=JobState.PENDING, slurm_id="17", reason="Resources")
    moves = [row(1.5, "intended", "CREATED", "CREATED")]
    assert explain(job, moves, NOW, "waiting in Slurm's queue")[1:-2] == [
        "Slurm's reason for not starting it: Resources (class wait).",
        "Now: waiting in Slurm's queue.",
    ]


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        (
            client(state=JobState.FAILED, why="TIMEOUT"),
            (
                "What to do: its time limit was reached: raise resources.time, do less in one job, "
                "or set restart.more_time."
            ),
        ),
        (
            service(state=JobState.FAILED, why="NOT_READY", detail="connection refused"),
            (
                "What to do: see `benchctl logs {id}` for why it does not answer; a slow start "
                "needs a larger health_check.start_period or retries."
            ),
        ),
        (
            client(state=JobState.FAILED, why="STRANGE"),
            "What to do: see `benchctl logs {id}` and `benchctl logs {id} --stderr`.",
        ),
    ],
)
def test_a_failed_job_says_what_to_do(job: Job, expected: str) -> None:
    """Of a failure there is advice that fits its word, ready to be typed, or a general one."""
    assert explain(job, [], NOW, "")[-2] == expected.replace("{id}", job_id(job.token))


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        (
            client(state=JobState.FAILED, why="FAILED", exit_code=3),
            "It failed: exit status 3.",
        ),
        (
            client(state=JobState.FAILED, why="FAILED", signal=9),
            "It failed: killed by signal 9.",
        ),
        (
            service(state=JobState.FAILED, why="NOT_READY", detail="connection refused"),
            "It failed: connection refused.",
        ),
        (
            service(state=JobState.FAILED, why="HOPELESS", cancel_why=CancelWhy.HOPELESS),
            "It failed: HOPELESS: Slurm's reason for holding it back cannot go away by itself.",
        ),
    ],
)
def test_a_failed_job_says_its_cause(job: Job, expected: str) -> None:
    """The stored sentence is the cause; without one it is made of word, signal and status."""
    assert explain(job, [], NOW, "")[-3] == expected


def test_a_failure_is_not_said_twice() -> None:
    """A state whose word is the state itself is qualified by how the job ended."""
    job = client(state=JobState.FAILED, why="FAILED", exit_code=127)
    first = explain(job, [], NOW, "")[0]
    assert "is FAILED (exit status 127: the command was not found)" in first


def test_a_finished_job_awaits_nothing() -> None:
    """A collected client says how long it ran and that nothing is awaited."""
    job = client(
        state=JobState.COMPLETED,
        started_at=CREATED_AT + 3,
        ended_at=CREATED_AT + 12,
        collected_at=NOW,
    )
    assert explain(job, [], NOW, "")[1] == "It completed after 9.0s of running; nothing is awaited."


def test_a_stopped_service_says_who_wanted_it() -> None:
    """A service that was stopped as wanted says so."""
    job = service(state=JobState.CANCELLED, cancel_why=CancelWhy.DONE)
    assert explain(job, [], NOW, "")[1] == (
        "It was cancelled by benchd: nothing needs it any more."
    )


def test_evidence_cannot_take_over_the_terminal() -> None:
    """Control characters of a login node do not reach the sentence, and long rows are cut."""
    job = client(state=JobState.RUNNING)
    raw = "\x1b[31m17\x1fRUNNING\x1f" + "x" * 500
    sentence = explain(job, [row(1, "seen_running", "PENDING", "RUNNING", raw=raw)], NOW, "")[-1]
    assert (sentence.isprintable(), "17 | RUNNING | x" in sentence, len(sentence) < 300) == (
        True,
        True,
        True,
    )


def test_health_moves_are_told_in_words() -> None:
    """A probe's transition says that the service answers, not which words moved."""
    job = service(state=JobState.RUNNING)
    moves = [row(9, "probed", "STARTING", "READY", source="probe", raw="+PONG")]
    assert explain(job, moves, NOW, "")[-1] == (
        "+9.0s  STARTING → READY: the service answers (probe, “+PONG”)."
    )


def test_a_failed_job_says_what_follows() -> None:
    """Where another attempt follows, nobody is told to do anything."""
    failed = service(state=JobState.FAILED, why="NODE_FAIL", restart=RestartPolicy(max_attempts=2))
    told = explain(failed, [], NOW, "it is followed by attempt 2 in 40s: x")
    assert ["It failed: NODE_FAIL.", "Next: it is followed by attempt 2 in 40s: x."] == told[1:-1]


def test_a_failed_job_is_quoted() -> None:
    """What the program itself said is next to what became of it."""
    job = client(state=JobState.FAILED, why="FAILED", exit_code=2)
    said = "load: --dataset /x: No such file or directory"
    assert explain(job, [], NOW, "", last_words=said)[-3] == f"Its last line on stderr: “{said}”"


def test_a_result_that_is_not_valid_says_why() -> None:
    """Each flag that spoils a result is told with number, limit and what to do; then doubts."""
    job = client(state=JobState.COMPLETED, collected_at=CREATED_AT)
    flags = (
        {"code": "dropped", "severity": "warn", "detail": "never sent", "value": 3, "limit": 0},
        {
            "code": "error_rate",
            "severity": "error",
            "detail": "2 of 100 failed",
            "value": 0.02,
            "limit": 0.01,
        },
        {"code": "closed_loop", "severity": "info", "detail": "x"},
    )
    told, broken, good = (
        explain(job, [], NOW, "", document=document)
        for document in (
            result(job, flags=flags).document(),
            '{"validity": {"flags": [{}]}}',
            result(job).document(),
        )
    )
    assert told[-5] == (
        "Its result is not valid: error_rate: 2 of 100 failed; 2\u00a0% of the requests; "
        "limit 1\u00a0%."
    )
    assert told[-4].startswith("What to do: look at `counts.by_class`")
    assert told[-3] == (
        "Its result is to be read with care: dropped: never sent; 3\u00a0arrivals; limit 0."
    )
    assert told[-2].startswith("What to do: raise `max_in_flight`")
    assert broken[-3].startswith("Its result is not valid: malformed: the kept document does not ")
    assert "not valid" not in good[-2]


def test_a_failed_client_says_what_spoilt_its_result() -> None:
    """That its job failed is told once; what its result has against itself stands beside it."""
    job = client(state=JobState.FAILED, why="FAILED", exit_code=1, collected_at=CREATED_AT)
    flags = (
        {"code": "job_failed", "severity": "error", "detail": "ended FAILED", "value": 1},
        {"code": "no_work", "severity": "error", "detail": "nothing succeeded", "value": 0},
        {"code": "error_rate", "severity": "error", "detail": "80 of 80 failed: 80 timeout"},
    )
    told = explain(job, [], NOW, "", document=result(job, flags=flags).document())
    wrong = [line for line in told if "not valid" in line]
    assert wrong == ["Its result is not valid: error_rate: 80 of 80 failed: 80 timeout."]
