"""What slurmrestd answers, in our words: recorded from a real 22.05 and 24.11, or constructed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchd.core.model import Used
from benchd.core.slurm import SbatchKind, classify_sbatch
from benchd.core.slurm_rest import VERSIONS, Answer, accounted, best, jobs, offered, read, sent

DATA = Path(__file__).parents[1] / "data" / "slurmrestd"
RELEASES = ("22.05", "24.11")
SPOKEN = {"22.05": "v0.0.38", "24.11": "v0.0.42"}


def recorded(release: str, name: str) -> Answer:
    """Return an answer of a real slurmrestd, as ``slurm.record_rest`` wrote it down."""
    status, _, data = (DATA / release / f"{name}.txt").read_bytes().partition(b"\n")
    return read(int(status), data)


def answer(status: int = 200, **body: object) -> Answer:
    """Return an answer that nobody gave."""
    return read(status, json.dumps(body).encode())


@pytest.mark.parametrize("release", RELEASES)
def test_the_best_version_that_both_know_is_spoken(release: str) -> None:
    """Of the versions in the specification the best is chosen; of none that we know, none."""
    assert SPOKEN[release] == best(offered(recorded(release, "openapi")))
    assert best(["v0.0.36", "v0.0.99"]) is None


@pytest.mark.parametrize("release", RELEASES)
def test_a_queue_is_read(release: str) -> None:
    """States, exit codes, signals, nodes and times are the same in both forms."""
    rows = jobs(recorded(release, "jobs"), user="root", prefix="").seen
    told = {row.token: (row.word, row.exit_code, row.signal, bool(row.started_at)) for row in rows}
    assert {
        "done": ("COMPLETED", 0, None, True),
        "seven": ("FAILED", 7, None, True),
        "killed": ("FAILED", 0, 9, True),
        "works": ("RUNNING", None, None, True),
        "held": ("PENDING", None, None, False),
    } == {name: row for name, row in told.items() if name != "broken"}
    held = next(row for row in rows if row.token == "held")
    assert ("5", "JobHeldUser", "", 0) == (held.slurm_id, held.reason, held.nodes, held.generation)
    assert all(row.nodes in ("n1", "n2") for row in rows if row.word != "PENDING")


@pytest.mark.parametrize("release", RELEASES)
def test_the_books_are_read(release: str) -> None:
    """The same jobs in the books; but v0.0.38 says 0 of every exit code, so that counts as none."""
    version = SPOKEN[release]
    rows = accounted(recorded(release, "books"), version=version).seen
    told = {row.token: (row.word, row.exit_code, row.signal) for row in rows}
    assert {
        "done": ("COMPLETED", 0, None),
        "seven": ("FAILED", None if version == "v0.0.38" else 7, None),
        "killed": ("FAILED", 0, 9),
        "works": ("RUNNING", None, None),
        "held": ("PENDING", None, None),
    } == told


@pytest.mark.parametrize("release", RELEASES)
def test_what_jobs_were_given_is_read_from_queue_and_books(release: str) -> None:
    """Alike from both; in the books 22.05 writes null and 24.11 -2 where nobody measured energy."""
    given = Used(tres="billing=1,cpu=1,mem=100M,node=1")
    queued = jobs(recorded(release, "jobs"), user="root", prefix="").seen
    told = {row.token: row.used for row in queued}
    assert (given, given, None) == (told["done"], told["works"], told["held"])
    booked = accounted(recorded(release, "books"), version=SPOKEN[release]).seen
    told = {row.token: row.used for row in booked}
    assert (replace(given, elapsed_s=0), given, None) == (told["done"], told["works"], told["held"])


def test_the_books_tell_energy_and_gpus() -> None:
    """Resources with a name of their own are written as in the queue."""
    counted = [
        {"type": "energy", "name": None, "id": 3, "count": 101630},
        {"type": "gres", "name": "gpu", "id": 1001, "count": 4},
    ]
    job = {"job_id": 1, "name": "a", "state": {"current": "COMPLETED"}, "time": {"elapsed": 9}}
    (row,) = accounted(answer(jobs=[job | {"tres": {"allocated": counted}}]), version="v0.0.38")
    assert Used(tres="gres/gpu=4", energy_j=101630, elapsed_s=9) == row.used


def test_only_jobs_of_ours_are_seen() -> None:
    """Other users' jobs and other names are left out; a name of ours without an owner is not."""
    mine = {"job_id": 1, "name": "abc-1", "job_state": "RUNNING", "user_name": "me"}
    told = answer(
        jobs=[
            mine,
            mine | {"job_id": 2, "user_name": "you"},
            mine | {"job_id": 3, "name": "xyz"},
            mine | {"job_id": 4, "user_name": None},
        ]
    )
    assert ["1", "4"] == [row.slurm_id for row in jobs(told, user="me", prefix="abc-")]


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (["RUNNING", "COMPLETING"], "COMPLETING"),
        (["PENDING", "REQUEUED"], "REQUEUED"),
        ("NODE_FAIL", "NODE_FAIL"),
        (["SOMETHING_NEW"], "SOMETHING_NEW"),
    ],
)
def test_flags_hide_the_state_below_them(state: object, word: str) -> None:
    """Of several words the one counts that squeue would show; an unknown one is handed on."""
    told = answer(jobs=[{"job_id": 7, "name": "a", "user_name": "me", "job_state": state}])
    assert [word] == [row.word for row in jobs(told, user="me", prefix="")]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
KEYS = ("job_id", "name", "job_state", "user_name", "exit_code", "start_time", "nodes", "time")


@given(st.lists(st.dictionaries(st.sampled_from((*KEYS, "state", "signal")), JSON), max_size=3))
def test_nothing_that_is_answered_raises(rows: list[dict[str, Any]]) -> None:
    """Whatever stands where, it is read, or handed back as not to be read."""
    told = answer(jobs=rows, errors=rows)
    jobs(told, user="me", prefix="")
    accounted(told, version="v0.0.42")
    assert sent(told).rc in (0, 1)


@given(st.binary(max_size=60), st.integers(100, 599))
def test_no_bytes_raise(data: bytes, status: int) -> None:
    """What is no JSON is an answer without a body."""
    assert read(status, data).said().startswith(f"HTTP {status}")


# --- what failed ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("release", "name", "expected"),
    [
        ("22.05", "jobs", "good"),
        ("22.05", "books-nothing", "good"),  # it calls that an error, with status 200
        ("22.05", "books-down", "failed"),  # with status 200 as well
        ("22.05", "refused-jobs", "doubtful"),  # the same answer as when slurmctld is down
        ("22.05", "down-jobs", "doubtful"),
        ("22.05", "refused-books", "refused"),
        ("22.05", "cancel-unknown", "ended"),
        ("22.05", "cancel-ended", "good"),
        ("24.11", "jobs", "good"),
        ("24.11", "books-nothing", "good"),
        ("24.11", "books-down", "failed"),
        ("24.11", "refused-jobs", "refused"),
        ("24.11", "down-jobs", "failed"),
        ("24.11", "cancel-unknown", "good"),
    ],
)
def test_what_an_answer_means(release: str, name: str, expected: str) -> None:
    """Real answers to real troubles: what they leave open is not guessed."""
    told = recorded(release, name)
    marks = {
        "good": told.is_good,
        "refused": told.is_refused,
        "doubtful": told.is_doubtful,
        "ended": told.is_ended,
    }
    assert ([expected] if expected != "failed" else []) == [
        m for m, holds in marks.items() if holds
    ]


@pytest.mark.parametrize(
    ("told", "kind", "final"),
    [
        (recorded("22.05", "submit-done"), SbatchKind.ACCEPTED, False),
        (recorded("22.05", "submit-held"), SbatchKind.ACCEPTED, False),  # an error beside the id
        (recorded("22.05", "submit-partition"), SbatchKind.REFUSED, True),
        (recorded("22.05", "submit-time_limit"), SbatchKind.REFUSED, True),
        (recorded("22.05", "submit-gres"), SbatchKind.REFUSED, True),
        (recorded("22.05", "submit-foo"), SbatchKind.REFUSED, True),
        (recorded("22.05", "down-submit"), SbatchKind.REFUSED, False),
        (recorded("22.05", "no-such-path"), SbatchKind.REFUSED, False),
        (recorded("24.11", "submit-done"), SbatchKind.ACCEPTED, False),
        (recorded("24.11", "submit-held"), SbatchKind.ACCEPTED, False),
        (recorded("24.11", "submit-partition"), SbatchKind.REFUSED, True),
        (recorded("24.11", "submit-time_limit"), SbatchKind.REFUSED, True),
        (recorded("24.11", "down-submit"), SbatchKind.REFUSED, False),
        (answer(500, errors=[{"error_code": 5004, "error": "Socket timed out on send/recv"}]),
         SbatchKind.AMBIGUOUS, False),
        (answer(500, errors=[{"error_code": 5005,
                              "error": "Zero Bytes were transmitted or received"}]),
         SbatchKind.AMBIGUOUS, False),
        (answer(500, errors=[{"error_number": -1, "error": "Unspecified error"}]),
         SbatchKind.AMBIGUOUS, False),
        (answer(500, errors=[{"error_number": 1007, "error": "Protocol authentication error"}]),
         SbatchKind.AMBIGUOUS, False),
        (answer(500, errors=[{"error_number": 12345, "error": "What only this site says"}]),
         SbatchKind.REFUSED, False),
        (answer(200, errors=[]), SbatchKind.AMBIGUOUS, False),
        (answer(200, job_id=0, errors=[]), SbatchKind.AMBIGUOUS, False),
        (answer(200, result={"job_id": 9}), SbatchKind.ACCEPTED, False),
        (read(502, b"<html>Bad Gateway, connection refused</html>"), SbatchKind.AMBIGUOUS, False),
        (read(401, b"Authentication failure"), SbatchKind.REFUSED, False),
        (read(200, b"{"), SbatchKind.AMBIGUOUS, False),
    ],
)  # fmt: skip
def test_a_submission_is_judged_as_that_of_sbatch(
    told: Answer, kind: SbatchKind, final: bool
) -> None:
    """An id is success, a reason of Slurm's a refusal; all else may have been submitted."""
    what = sent(told)
    verdict = classify_sbatch(what.rc, what.slurm_id, what.words)
    assert (kind, final) == (verdict.kind, verdict.final)
    assert (kind is SbatchKind.ACCEPTED) == (verdict.slurm_id is not None)


def test_versions_are_in_order() -> None:
    """The best is the last, and the first is the one that the usual tests run."""
    assert sorted(VERSIONS) == list(VERSIONS)
    assert VERSIONS[0] == SPOKEN["22.05"]
