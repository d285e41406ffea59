"""Slurm's words -> ours: commands, parsers, and what an observation or an answer means.

Slurm's words stop here. Parsers never raise: what cannot be read is handed back beside what can,
because one strange row (a name with a line break, a new state) must not cost a whole poll.

Measured on real 22.05, and relied on: ``squeue -O`` with a suffix after every field gives whole
values; ``SLURM_TIME_FORMAT=%s`` gives epoch seconds in squeue and sacct; squeue's ``exit_code`` is
the raw wait status; StartTime and EndTime of a job that has not started or ended are *estimates*;
the restart count is already one higher while a requeued job is COMPLETING; sacct goes on saying
REQUEUED while squeue says PENDING.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from shlex import join
from typing import Final

from benchd.core.model import Event, Evidence, Observation, SubState, Trigger, Used
from benchd.core.slurm_answers import (
    SbatchKind,
    SbatchVerdict,
    SlurmFacts,
    classify_sbatch,
    printable,
    read_config,
)
from benchd.core.slurm_reasons import ReasonClass, ReasonVerdict, reason_class
from benchd.core.slurm_words import STATE_ROWS, STATES, Act, StateRow
from benchd.core.usage import so_far, used, whole

__all__ = [
    "STATES",
    "Act",
    "ReasonClass",
    "ReasonVerdict",
    "Rows",
    "SbatchKind",
    "SbatchVerdict",
    "SlurmFacts",
    "StateRow",
    "classify_sbatch",
    "event",
    "exit_json_observation",
    "observation",
    "parse_sacct",
    "parse_squeue",
    "read_config",
    "read_state",
    "reason_class",
    "sacct_argv",
    "sacct_command",
    "squeue_argv",
    "squeue_command",
    "wait_status",
]

# Unit separator: cannot be typed by accident, and no name of ours contains it.
SEPARATOR: Final = "\x1f"
SQUEUE_FIELDS: Final = (
    *("JobArrayID", "Name", "State", "RestartCnt", "SubmitTime", "StartTime", "EndTime"),
    *("NodeList", "Reason", "exit_code", "tres-alloc"),
)
SACCT_FIELDS: Final = (
    *("JobIDRaw", "JobName", "State", "ExitCode", "Submit", "Start", "End", "NodeList", "Reason"),
    *("AllocTRES", "ConsumedEnergyRaw", "ElapsedRaw"),
)
# A user's profile may set these, and each hides jobs or changes columns, whatever the options say.
_HIDING: Final = {
    "squeue": (
        *("ACCOUNT", "FORMAT", "FORMAT2", "LICENSES", "NAMES", "PARTITION", "QOS", "STATES"),
        "USERS",
    ),
    "sacct": ("FEDERATION", "FORMAT", "LOCAL"),
}
_JOB_ID = re.compile(r"\d+(?:_(?:\d+|\[[^\]]*\]))?(?:\+\d+)?", re.ASCII)
# Seconds since the epoch that no clock shows: the year 33658.
_NO_TIME: Final = 10**12
_UNSET = frozenset({"", "N/A", "None", "NONE", "Unknown", "(null)", "None assigned"})
_FINISHED = frozenset({Act.COMPLETED, Act.FAILED, Act.CANCELLED, Act.REQUEUEABLE})


@dataclass(frozen=True, slots=True)
class Rows:
    """What a listing said: the rows that could be read, and the lines that could not."""

    seen: tuple[Observation, ...] = ()
    malformed: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Observation]:
        return iter(self.seen)

    def __len__(self) -> int:
        return len(self.seen)


# --- commands ---------------------------------------------------------------------------------


def squeue_argv(name: str | None = None) -> list[str]:
    """Return the listing of all our jobs, or of those with the given name."""
    fields = ",".join(f"{field}:{SEPARATOR}" for field in SQUEUE_FIELDS)
    argv = [*_env("squeue"), "squeue", "--me", "-h", "-t", "all", "-O", fields]
    return argv if name is None else [*argv, f"--name={name}"]


def sacct_argv(names: Iterable[str], since: float) -> list[str]:
    """Return the question about jobs by name, submitted or alive after ``since`` (epoch)."""
    start = datetime.fromtimestamp(max(since, 0.0), timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    return [
        *(*_env("sacct"), "TZ=UTC", "sacct", "-X", "-n", "-P", f"--delimiter={SEPARATOR}"),
        *(f"--name={','.join(names)}", f"--format={','.join(SACCT_FIELDS)}", "-S", start),
    ]


def squeue_command(name: str | None = None) -> str:
    """Return ``squeue_argv`` as one line for any shell."""
    return join(squeue_argv(name))


def sacct_command(names: Iterable[str], since: float) -> str:
    """Return ``sacct_argv`` as one line for any shell."""
    return join(sacct_argv(names, since))


def _env(program: str) -> list[str]:
    unset = [f"-u{program.upper()}_{name}" for name in _HIDING[program]]
    return ["env", "-uSLURM_CLUSTERS", *unset, "SLURM_TIME_FORMAT=%s"]


# --- parsers ----------------------------------------------------------------------------------


def parse_squeue(data: bytes, at: float | None = None) -> Rows:
    """Read the answer of ``squeue_command``. Never raises."""
    # A suffix follows every field, also the last.
    return _rows(data, len(SQUEUE_FIELDS) + 1, lambda cells: _squeue_row(cells[:-1], at))


def parse_sacct(data: bytes, at: float | None = None) -> Rows:
    """Read the answer of ``sacct_command``. Never raises."""
    return _rows(data, len(SACCT_FIELDS), lambda cells: _sacct_row(cells, at))


def _rows(data: bytes, width: int, read: Callable[[list[str]], Observation | None]) -> Rows:
    seen: list[Observation] = []
    malformed: list[str] = []
    for line in data.decode("utf-8", "replace").split("\n"):
        cells = [cell.strip() for cell in line.split(SEPARATOR)]
        row = read(cells) if len(cells) == width and _JOB_ID.fullmatch(cells[0]) else None
        if row is not None:
            seen.append(row)
        elif line.strip():
            malformed.append(_shown(line))
    return Rows(tuple(seen), tuple(malformed))


def _squeue_row(cells: list[str], at: float | None) -> Observation | None:
    slurm_id, name, state, restarts, submit, start, end, nodes, reason, status, tres = cells
    word, by = read_state(state)
    if not word:
        return None
    code, signal = wait_status(status)
    return observation(
        (slurm_id, name, word, by, nodes, reason),
        (submit, start, end),
        (code, signal),
        whole(restarts),
        Evidence(source="squeue", exit_status=0, raw=_shown(SEPARATOR.join(cells)), at=at),
        # Of one that ended before it had a node the queue tells what it asked for.
        told=None if nodes in _UNSET else used(tres),
    )


def _sacct_row(cells: list[str], at: float | None) -> Observation | None:
    slurm_id, name, state, status, submit, start, end, nodes, reason, *spent = cells
    word, by = read_state(state)
    if not word:
        return None
    return observation(
        (slurm_id, name, word, by, nodes, reason),
        (submit, start, end),
        _exit_code(status),
        None,
        Evidence(source="sacct", exit_status=0, raw=_shown(SEPARATOR.join(cells)), at=at),
        told=used(spent[0], energy=spent[1], elapsed=spent[2]),
    )


def observation(
    texts: tuple[str, str, str, str | None, str, str],
    times: tuple[str, str, str],
    exit_code: tuple[int | None, int | None],
    generation: int | None,
    evidence: Evidence,
    *,
    told: Used | None = None,
) -> Observation:
    """Return a row in our words, from texts as Slurm writes them.

    ``texts``: id, name, state, who cancelled, nodes, reason; ``times``: submitted, started, ended.
    """
    slurm_id, name, word, by, nodes, reason = texts
    submit, start, end = (_epoch(text) for text in times)
    row = STATES.get(word)
    finished = row is not None and row.act in _FINISHED
    queued = row is None or row.act is Act.PENDING  # of these the queue tells what they ask for
    return Observation(
        token=name,
        slurm_id=slurm_id,
        word=word,
        by=by,
        nodes="" if nodes in _UNSET else nodes,
        reason="" if reason in _UNSET else reason,
        generation=generation,
        exit_code=exit_code[0] if finished else None,
        signal=exit_code[1] if finished else None,
        submitted_at=submit,
        started_at=None if queued else start,
        ended_at=end if finished else None,
        used=told if finished else None if queued else so_far(told),
        evidence=evidence,
    )


def read_state(text: str) -> tuple[str, str | None]:
    """Return a state in full, and who cancelled: ``CA``, ``CANCELLED+``, ``CANCELLED by 1000``.

    Of several words at once, as ``--json`` gives them, the one that squeue would show counts.
    """
    head, _, by = text.strip().partition(" by ")
    words = [_full(word) for word in head.upper().split(",") if word.strip()]
    for row in STATE_ROWS:
        if row.word in words:
            return row.word, by.strip() or None
    return (words[0] if words else ""), by.strip() or None


def _full(word: str) -> str:
    word = word.strip()
    if word in STATES:
        return STATES[word].word
    if word.endswith("+"):  # a column that was too narrow
        begun = [row.word for row in STATE_ROWS if row.word.startswith(word[:-1])]
        return begun[0] if len(begun) == 1 else word[:-1]
    return word


def wait_status(text: str) -> tuple[int | None, int | None]:
    """Read squeue's exit code: a raw wait status, ``7:0`` in case a newer squeue says so."""
    if ":" in text:
        return _exit_code(text)
    status = whole(text)
    if status is None:
        return None, None
    signal = status & 0x7F
    return (0, signal) if signal else (status >> 8 & 0xFF, None)


def _exit_code(text: str) -> tuple[int | None, int | None]:
    numbers = [whole(part) for part in text.split(":")]
    if len(numbers) != 2 or None in numbers:
        return None, None
    return numbers[0], numbers[1] or None


def _epoch(text: str) -> float | None:
    seconds = whole(text)
    return float(seconds) if seconds else None


def _shown(line: str) -> str:
    return printable(line.replace(SEPARATOR, "|"))


# --- what an observation means ----------------------------------------------------------------

# Seconds after a failed node or a preemption in which Slurm requeues a job, if it does so at all:
# it decides at once, and the job is COMPLETING until its other nodes have cleaned up. Where
# PreemptMode is CANCEL, or an administrator took the node down, the word stays as it is.
REQUEUE_PATIENCE: Final = 300.0

_TRIGGERS: Final[Mapping[Act, Trigger]] = {
    Act.PENDING: Trigger.SEEN_PENDING,
    Act.RUNNING: Trigger.SEEN_RUNNING,
    Act.COMPLETED: Trigger.SEEN_COMPLETED,
    Act.FAILED: Trigger.SEEN_FAILED,
    Act.CANCELLED: Trigger.SEEN_CANCELLED,
    Act.REQUEUEABLE: Trigger.SEEN_FAILED,
}


def event(
    obs: Observation,
    *,
    requeue: bool = False,
    now: float | None = None,
    patience: float = REQUEUE_PATIENCE,
    wanted: bool = False,
) -> Event | None:
    """Return what was learned, or None: still alive, nothing to say (as for any unknown word).

    ``requeue``: Slurm may requeue this job, so a failed node or a preemption is not its end, until
    ``patience`` seconds later (by ``now``; without it, for ever). ``wanted``: its end was asked
    for, so it is one.
    """
    row = STATES.get(obs.word)
    if row is None or row.act is Act.ALIVE:
        return None
    if row.act is Act.REQUEUEABLE and requeue and not wanted and _may_return(obs, now, patience):
        return None
    substate = row.substate
    if row.act is Act.PENDING and reason_class(obs.reason).cls is ReasonClass.HELD:
        substate = SubState.HELD
    # While a requeued job is COMPLETING the count is already that of the life to come.
    generation = None if substate is SubState.COMPLETING else obs.generation
    return Event(
        trigger=_TRIGGERS[row.act],
        evidence=obs.evidence,
        slurm_id=obs.slurm_id,
        word=obs.word,
        substate=substate,
        reason=obs.reason or None,
        nodes=obs.nodes or None,
        generation=generation,
        exit_code=obs.exit_code,
        signal=obs.signal,
        by=obs.by,
        started_at=obs.started_at,
        ended_at=obs.ended_at,
        used=obs.used,
    )


def _may_return(obs: Observation, now: float | None, patience: float) -> bool:
    """Tell whether Slurm may still requeue a job; an end without a time has been one for long."""
    if now is None:
        return True
    # Slurm's clock may be ahead of ours, or far off.
    return obs.ended_at is not None and abs(now - obs.ended_at) < patience


def exit_json_observation(token: str, text: str) -> Observation | None:
    """Read what a script left at its end; None when it is not (yet) a whole, sane exit.json."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    fields = ("generation", "status", "started_at", "ended_at")
    numbers = [number for number in map(data.get, fields) if type(number) is int]
    slurm_id = data.get("slurm_id")
    if not isinstance(slurm_id, str) or not _JOB_ID.fullmatch(slurm_id):
        return None
    if len(numbers) < len(fields) or not all(0 <= number < _NO_TIME for number in numbers):
        return None
    generation, status, started, ended = numbers
    if status > 255:
        return None
    return Observation(
        token=token,
        slurm_id=slurm_id,
        word="FAILED" if status else "COMPLETED",
        generation=generation,
        exit_code=status,
        started_at=float(started),
        ended_at=float(ended),
        evidence=Evidence(source="exit.json", exit_status=0, raw=_shown(text), at=float(ended)),
    )
