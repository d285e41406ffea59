"""What slurmrestd answers -> our words. As in ``core.slurm``, nothing here raises.

Measured on real 22.05 (v0.0.38), and relied on:

* A token that slurmctld refuses gives no 401. Reading jobs fails with "Unspecified error", just as
  it does when slurmctld is down; sending or ending one fails with "Zero Bytes were transmitted".
  Only the books say what it is: "Protocol authentication error".
* The books call it an error, with status 200, that nothing was found.
* The books tell 0 as the exit code of every job that was not killed, whatever it was.

From v0.0.39 on states are lists, numbers may be ``{"set": true, "infinite": false, "number": 7}``,
and exit codes have parts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from benchd.core.model import Evidence, Observation
from benchd.core.slurm import Rows, observation, read_state, wait_status
from benchd.core.slurm_answers import printable
from benchd.core.usage import used

# Versions of the interface that benchd knows, the best last. `make test` runs the first, and
# `make test-heavy` the last three; of the one between only Slurm's source was read.
VERSIONS: Final = ("v0.0.38", "v0.0.39", "v0.0.40", "v0.0.41", "v0.0.42")
RUN: Final = frozenset(VERSIONS) - {"v0.0.39"}
_PATH = re.compile(r"/slurm/(v\d+\.\d+\.\d+)/", re.ASCII)

# Slurm's own numbers for errors.
NOTHING_FOUND: Final = 9003
_NOT_AUTHENTICATED: Final = 1007
_ZERO_BYTES: Final = 5005
_UNSPECIFIED: Final = -1
_ENDED: Final = frozenset({2017, 2021})  # no such job; already completing or completed
_NO_REASON: Final = "Unspecified error"


@dataclass(frozen=True, slots=True)
class Trouble:
    """One error in an answer."""

    number: int | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer of slurmrestd. ``body`` is empty when it was not a mapping of JSON."""

    status: int
    body: Mapping[str, object]
    troubles: tuple[Trouble, ...] = ()

    @property
    def numbers(self) -> frozenset[int | None]:
        """The numbers of the errors."""
        return frozenset(trouble.number for trouble in self.troubles)

    @property
    def is_good(self) -> bool:
        """It is what was asked for, if only that there is nothing."""
        real = [trouble for trouble in self.troubles if trouble.number != NOTHING_FOUND]
        return self.status == HTTPStatus.OK and bool(self.body) and not real

    @property
    def is_refused(self) -> bool:
        """The token is not accepted."""
        return self.status == HTTPStatus.UNAUTHORIZED or _NOT_AUTHENTICATED in self.numbers

    @property
    def is_doubtful(self) -> bool:
        """It may be that the token is not accepted, or that slurmctld is down."""
        failed = self.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        return failed and not self.numbers.isdisjoint({_ZERO_BYTES, _UNSPECIFIED})

    @property
    def is_ended(self) -> bool:
        """What was to be ended has ended, as far as Slurm remembers."""
        return bool(self.numbers) and self.numbers <= _ENDED

    def said(self) -> str:
        """Return why it failed, in one line."""
        texts = dict.fromkeys(trouble.text for trouble in self.troubles if trouble.text)
        reasons = [text for text in texts if text != _NO_REASON] or list(texts)
        return "; ".join([f"HTTP {self.status}", *reasons])


def read(status: int, data: bytes) -> Answer:
    """Read an answer, whatever it is."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        text = printable(data[:200].decode("utf-8", "replace"))
        troubles = (Trouble(None, text),) if text and status != HTTPStatus.OK else ()
        return Answer(status=status, body={}, troubles=troubles)
    if not isinstance(body, dict):
        return Answer(status=status, body={})
    return Answer(status=status, body=body, troubles=_troubles(body.get("errors")))


def _troubles(errors: object) -> tuple[Trouble, ...]:
    found = []
    for error in _maps(errors):
        number = next((error[k] for k in ("error_number", "error_code", "errno") if k in error), 0)
        words = [error.get("error"), error.get("description")]
        texts = [printable(word) for word in words if isinstance(word, str) and word]
        reasons = [text for text in texts if text != _NO_REASON] or texts
        text = ": ".join(dict.fromkeys(reasons))
        found.append(Trouble(number if type(number) is int else None, text))
    return tuple(found)


# --- versions -------------------------------------------------------------------------------------


def offered(specification: Answer) -> tuple[str, ...]:
    """Return the versions of the interface that an answer of ``/openapi/v3`` speaks of."""
    paths = _map(specification.body.get("paths"))
    found = {match[1] for path in paths if (match := _PATH.match(path))}
    return tuple(sorted(found, key=lambda name: tuple(map(int, name[1:].split(".")))))


def best(versions: Iterable[str]) -> str | None:
    """Return the best version that benchd knows; None when it knows none of them."""
    known = [name for name in VERSIONS if name in set(versions)]
    return known[-1] if known else None


# --- jobs -----------------------------------------------------------------------------------------


def jobs(answer: Answer, *, user: str, prefix: str, at: float | None = None) -> Rows:
    """Return the jobs of ours in the queue: of this user, and with names that begin so.

    22.05 lists those of all users. Where no user's name can be told, the job's name has to do.
    """
    found: list[Observation] = []
    strange: list[str] = []
    for job in _maps(answer.body.get("jobs")):
        name, owner = job.get("name"), job.get("user_name")
        if not isinstance(name, str) or not name.startswith(prefix) or owner not in (user, None):
            continue
        row = _queued(job, at)
        if row is None:
            strange.append(_shown(job))
        else:
            found.append(row)
    return Rows(tuple(found), tuple(strange))


def _queued(job: Mapping[str, object], at: float | None) -> Observation | None:
    word, by = read_state(_words(job.get("job_state")))
    slurm_id = _number(job.get("job_id"))
    if not word or not slurm_id:
        return None
    return observation(
        (
            str(slurm_id),
            _text(job, "name"),
            word,
            by,
            _text(job, "nodes"),
            _text(job, "state_reason"),
        ),
        (_when(job, "submit_time"), _when(job, "start_time"), _when(job, "end_time")),
        _exit_code(job.get("exit_code")),
        _number(job.get("restart_cnt")),
        Evidence(source="slurmrestd", exit_status=0, raw=_shown(job), at=at),
        told=used(_text(job, "tres_alloc_str")),
    )


def accounted(answer: Answer, *, version: str, at: float | None = None) -> Rows:
    """Return what the books say of jobs."""
    found: list[Observation] = []
    strange: list[str] = []
    for job in _maps(answer.body.get("jobs")):
        row = _booked(job, version, at)
        if row is None:
            strange.append(_shown(job))
        else:
            found.append(row)
    return Rows(tuple(found), tuple(strange))


def _booked(job: Mapping[str, object], version: str, at: float | None) -> Observation | None:
    state, time = _map(job.get("state")), _map(job.get("time"))
    word, by = read_state(_words(state.get("current")))
    slurm_id = _number(job.get("job_id"))
    if not word or not slurm_id:
        return None
    code, signal = _exit_code(job.get("exit_code"))
    if version == VERSIONS[0] and word != "COMPLETED" and code == 0 and signal is None:
        code = None  # it says so of every exit code
    return observation(
        (
            str(slurm_id),
            _text(job, "name"),
            word,
            by or _text(job, "kill_request_user") or None,
            _text(job, "nodes"),
            _text(state, "reason"),
        ),
        (_when(time, "submission"), _when(time, "start"), _when(time, "end")),
        (code, signal),
        None,
        Evidence(source="slurmdbd", exit_status=0, raw=_shown(job), at=at),
        told=used(_tres(_map(job.get("tres")).get("allocated")), elapsed=_count(time, "elapsed")),
    )


# --- submissions ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of a submission, as ``classify_sbatch`` reads it."""

    rc: int
    slurm_id: str
    words: str


def sent(answer: Answer) -> Sent:
    """Return what an answer to ``job/submit`` says.

    An id is success, whatever errors stand beside it: that the job is held is one of them. Without
    an id only reasons of Slurm's own, or a refusal of the request as such, are definite.
    """
    inner = _map(answer.body.get("result"))
    slurm_id = _number(answer.body.get("job_id")) or _number(inner.get("job_id"))
    if answer.status == HTTPStatus.OK and slurm_id:
        return Sent(0, str(slurm_id), "; ".join(trouble.text for trouble in answer.troubles))
    reasons = [t.text for t in answer.troubles if t.text not in ("", _NO_REASON)]
    is_client = HTTPStatus.BAD_REQUEST <= answer.status < HTTPStatus.INTERNAL_SERVER_ERROR
    if answer.body and reasons:
        return Sent(1, "", f"slurmrestd: error: {'; '.join(reasons)}")
    if is_client:
        return Sent(1, "", f"slurmrestd: error: {answer.said()}")
    return Sent(1, "", f"slurmrestd answered HTTP {answer.status} and gave no reason of Slurm's")


# --- values ---------------------------------------------------------------------------------------


def _map(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _maps(value: object) -> Sequence[Mapping[str, object]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _text(values: Mapping[str, object], key: str) -> str:
    value = values.get(key)
    return printable(value) if isinstance(value, str) else ""


def _words(value: object) -> str:
    """Return a state: one word, or all of a list's."""
    if isinstance(value, list):
        return ",".join(word for word in value if isinstance(word, str))
    return value if isinstance(value, str) else ""


def _number(value: object) -> int | None:
    """Return a whole number, in either of its forms; None when it is not set."""
    if isinstance(value, dict):
        value = value.get("number") if value.get("set") and not value.get("infinite") else None
    return value if type(value) is int else None


def _when(values: Mapping[str, object], key: str) -> str:
    return str(_number(values.get(key)) or "")


def _count(values: Mapping[str, object], key: str) -> str:
    number = _number(values.get(key))
    return "" if number is None else str(number)


def _tres(counted: object) -> str:
    """Return trackable resources as the queue writes them; of memory the books count MiB."""
    items = []
    for each in _maps(counted):
        kind, name = _text(each, "type"), _text(each, "name")
        unit = "M" if kind == "mem" else ""
        items.append(f"{kind}{name and '/'}{name}={_count(each, 'count')}{unit}")
    return ",".join(items)


def _exit_code(value: object) -> tuple[int | None, int | None]:
    """Return code and signal: of a raw wait status, or of a mapping."""
    number = _number(value)
    if number is not None:
        return wait_status(str(number))
    parts = _map(value)
    signal = _map(parts.get("signal"))
    killed_by = _number(signal.get("id")) or _number(signal.get("signal_id"))
    return (0, killed_by) if killed_by else (_number(parts.get("return_code")), None)


# What evidence shows of a job: all that anything was concluded from.
_SHOWN = (
    *("job_id", "name", "job_state", "state", "restart_cnt", "submit_time", "start_time"),
    *("end_time", "time", "nodes", "state_reason", "exit_code", "kill_request_user"),
    *("tres_alloc_str", "tres"),
)


def _shown(job: Mapping[str, object]) -> str:
    return printable(json.dumps({key: job[key] for key in _SHOWN if key in job}))
