"""What must be true of every history, looked at after every life of the daemon and at the end.

Two books are compared: the daemon's (its database), and the truth (what the site saw happen).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchd.core.lifecycle import TABLE
from benchd.core.model import JobState, Readiness, Trigger
from benchd.core.readiness import TABLE as HEALTH
from benchd.edge.login import pace_of
from benchd.edge.store import rows
from simulation.machine import CLUSTER, Machine
from simulation.scenario import REPLICAS_MAX

TERMINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
# (trigger, from, to): every move there is.
MOVES = frozenset(
    {
        (str(row.trigger), str(source), str(row.target or source))
        for row in TABLE
        for source in row.sources
    }
    | {("intended", "CREATED", "CREATED")}
    | {("collected", word, word) for word in TERMINAL}
    | {("probed", str(word), str(word)) for word in Readiness}
    | {("probed", str(row.source), str(row.target)) for row in HEALTH}
)
_STATES = frozenset(str(state) for state in JobState)
# Columns that a history does not determine, and the revision, which it numbers.
_COMPARED = tuple(
    name for name in rows.JOB_COLUMNS if name not in {*rows.VOLATILE, "rev", "script"}
)
# Log lines that say that benchd itself was wrong.
_OWN_FAULTS = frozenset({
    "effect.failed", "poll.row", "report.failed", "result.unreadable", "result.malformed",
})  # fmt: skip
# Seconds for which a request may lie in a stalled controller's socket: two message timeouts and a
# minute. No try is given up sooner.
_QUIET = 80.0
# Two witnesses are named when an absence counts.
_BOTH = frozenset({"squeue and sacct", "squeue and exit.json"})


class Violation(AssertionError):
    """A history that must not be."""


@dataclass(slots=True)
class Told:
    """What the moves of one job add up to so far."""

    values: dict[str, Any]
    rev: int = 0
    state: str = "CREATED"
    intended: dict[int, float] = field(default_factory=dict)  # try -> the true time by which
    announced_at: float = 0.0  # by the daemon's clock: the try that is under way
    ended_at: float | None = None  # the true time by which it was over in the books
    ended_by: str = ""


class Judge:
    """Follows one history."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        scenario = machine.world.scenario
        self._is_even = not (scenario.clock_steps or scenario.suspensions)
        self._told: dict[str, Told] = {}
        self._runs: dict[str, str | None] = {}
        self._moves = 0
        self._seen = 0  # of what the site queued
        self._lines = 0

    def look(self) -> None:
        """Compare the books with themselves and with the truth; raise ``Violation``."""
        wrong = [
            *self._runs_kept(),
            *self._histories(),
            *self._rows(),
            *self._replicas(),
            *self._tries(),
            *self._payloads(),
            *self._own_faults(),
            *self._not_understood(),
        ]
        if wrong:
            raise Violation("; ".join(wrong))

    def end(self) -> None:
        """Look once more when all is over."""
        self.look()
        wrong = [*self._budget(), *self._logins(), *self._outcomes()]
        if wrong:
            raise Violation("; ".join(wrong))

    # --- the books alone --------------------------------------------------------------------------

    def _runs_kept(self) -> Iterator[str]:
        """Find accepted recipes that were lost, and runs that ended and go on."""
        found = {
            row["id"]: row["outcome"]
            for row in self.machine.disk.execute("SELECT id, outcome FROM runs")
        }
        for run, outcome in self._runs.items():
            if run not in found:
                yield f"run {run} is gone"
            elif outcome is not None and found[run] != outcome:
                yield f"run {run} ended as {outcome}, now {found[run]}"
        self._runs = found

    def _histories(self) -> Iterator[str]:
        """Find gaps between moves, moves that are not in the table, and ends that were left."""
        now = self.machine.world.agenda.now
        new = self.machine.disk.execute(
            "SELECT * FROM transitions WHERE id > ? ORDER BY id", (self._moves,)
        ).fetchall()
        for row in new:
            self._moves = row["id"]
            token, rev, trigger = row["token"], row["rev"], row["trigger"]
            told = self._told.get(token) or self._born(token)
            old, new_word = row["old"], row["new"]
            if rev != told.rev + 1:
                yield f"{token}: revision {rev} follows {told.rev}"
            if (trigger, old, new_word) not in MOVES:
                yield f"{token}: no row of the table is {trigger}: {old} -> {new_word}"
            if old in _STATES and old != told.state:
                yield f"{token}: {trigger} came from {old}, it was {told.state}"
            if told.state in TERMINAL and trigger != "collected":
                yield f"{token}: {trigger} after {told.state}"
            changed = json.loads(row["changes"])
            told.rev = rev
            told.values.update(changed)
            if new_word in _STATES:
                told.state = new_word
            if trigger == "intended":
                told.intended[changed["tries"]] = now
                told.announced_at = row["at"]
            waited = row["at"] - told.announced_at
            if trigger == Trigger.TRY_EXPIRED and waited < _QUIET and self._is_even:
                yield f"{token}: try {told.values['tries']} was given up after a moment"
            if told.state in TERMINAL and told.ended_at is None:
                told.ended_at, told.ended_by = now, trigger
                yield from self._absence(row)

    def _absence(self, row: Any) -> Iterator[str]:
        if row["trigger"] != Trigger.NOT_SEEN:
            return
        source = json.loads(row["evidence"])["source"]
        if source not in _BOTH:
            yield f"{row['token']}: ended by absence, on the word of {source!r} alone"

    def _born(self, token: str) -> Told:
        row = self.machine.disk.execute("SELECT * FROM jobs WHERE token = ?", (token,)).fetchone()
        values = {**rows._DEFAULTS, **{c: row[c] for c in rows.FIXED if c != "script"}}
        values.update(json.loads(row["born"]))
        told = self._told[token] = Told(values)
        return told

    def _rows(self) -> Iterator[str]:
        """Find rows that are not what their history adds up to."""
        for row in self.machine.disk.execute("SELECT * FROM jobs"):
            token = row["token"]
            told = self._told.get(token) or self._born(token)
            if row["rev"] != told.rev:
                yield f"{token}: revision {row['rev']} in the row, {told.rev} in its history"
            wrong = [c for c in _COMPARED if row[c] != told.values[c]]
            if wrong:
                yield f"{token}: {', '.join(wrong)} are not what the history says"

    def _replicas(self) -> Iterator[str]:
        """Find services with more replicas than they may have."""
        for row in self.machine.disk.execute(
            "SELECT run_id, name, point, count(DISTINCT replica) AS number FROM jobs "
            "WHERE role = 'service' AND state NOT IN ('COMPLETED', 'FAILED', 'CANCELLED') "
            "GROUP BY run_id, name, point HAVING number > ?",
            (REPLICAS_MAX,),
        ):
            yield f"{row['run_id']} has {row['number']} replicas of {row['name']}"

    # --- the books and the truth ------------------------------------------------------------------

    def _tries(self) -> Iterator[str]:
        """Find tries that were queued twice, or were never announced."""
        site = self.machine.world.site
        if len(site.accepted) == self._seen:
            return
        self._seen = len(site.accepted)
        counted = Counter((each.token, each.k) for each in site.accepted)
        for (token, k), times in counted.items():
            if times > 1:
                yield f"{token}: try {k} was queued {times} times"
        for each in site.accepted:
            told = self._told.get(each.token)
            if told is None:
                yield f"{each.token} is in Slurm and in no book"
            elif each.k not in told.intended:
                yield f"{each.token}: try {each.k} is in Slurm and was never announced"
            elif each.script != self._script(each.token):
                yield f"{each.token}: try {each.k} is to run {len(each.script)} bytes of its script"

    def _script(self, token: str) -> bytes:
        found = self.machine.disk.execute("SELECT script FROM scripts WHERE token = ?", (token,))
        script: str = found.fetchone()[0]
        return script.encode()

    def _payloads(self) -> Iterator[str]:
        """Find payloads that were started twice, or after their jobs were called off."""
        site = self.machine.world.site
        counted = Counter((each.token, each.generation) for each in site.starts)
        for (token, generation), times in counted.items():
            if times > 1:
                yield f"{token}: its payload was started {times} times (generation {generation})"
        for each in site.starts:
            told = self._told.get(each.token)
            if told is None or told.ended_at is None:
                continue
            if told.ended_by in {Trigger.PROVED_ABSENT, Trigger.CANCEL_REQUESTED}:
                yield f"{each.token}: its payload was started, though {told.ended_by} ended it"

    def _own_faults(self) -> Iterator[str]:
        for at, _, event, values in self.machine.log[self._lines :]:
            if event in _OWN_FAULTS:
                said = values.get("exc_info") or values.get("error") or ""
                yield f"benchd says {event} at {at:.0f} s {values.get('effect', '')} {said!r}"
        self._lines = len(self.machine.log)
        for why in self.machine.world.pauses:
            if "epoch" in why:
                yield f"benchd took itself for another: {why}"

    def _not_understood(self) -> Iterator[str]:
        for what in self.machine.world.site.misunderstood[:1]:
            yield f"the simulation is too old: {what}"

    # --- at the end -------------------------------------------------------------------------------

    def _budget(self) -> Iterator[str]:
        """Find moments at which Slurm was asked more than was agreed."""
        budget = self.machine.settings.clusters[CLUSTER].budget
        asked = self.machine.world.site.rpcs
        questions = [(at, cost) for at, program, cost in asked if program != "sbatch"]
        submits = [(at, cost) for at, program, cost in asked if program == "sbatch"]
        # What must not wait (scancel) makes debts of one burst.
        yield from self._pace("RPCs", questions, budget.rpc_per_minute, 2.0 * budget.burst)
        yield from self._pace("sbatch", submits, budget.submits_per_minute, _SUBMIT_BURST)

    def _pace(
        self, what: str, asked: Sequence[tuple[float, float]], per_minute: float, burst: float
    ) -> Iterator[str]:
        births = [*self.machine.births, float("inf")]
        level, last, life = 0.0, 0.0, 0
        for at, cost in asked:
            while at >= births[life]:  # a new life begins with a full bucket
                level, life = 0.0, life + 1
            level = max(0.0, level - (at - last) * per_minute / 60) + cost
            last = at
            if level > burst + _LEEWAY:
                yield f"{what} at {at:.0f}: {level:.0f} beyond the pace that was agreed"
                return

    def _logins(self) -> Iterator[str]:
        """Find moments at which the login node was knocked at too often."""
        world, pace = self.machine.world, pace_of(self.machine.settings.clusters[CLUSTER])
        if world.pauses or not self._is_even:
            return  # a life after them knows less of the one before, or a human asked for more
        logins = world.site.logins
        for most, seconds in ((pace.per_ten_minutes, 600.0), (pace.per_day, 86_400.0)):
            for first, last in zip(logins, logins[most:], strict=False):
                if last - first < seconds - 1.0:
                    yield f"more than {most} logins in {seconds:.0f} s at {last:.0f}"
                    return
        channels = self.machine.settings.clusters[CLUSTER].budget.channels
        if world.site.sessions_peak > channels + LEFT_BEHIND:
            yield f"{world.site.sessions_peak} sessions at once, {channels} were agreed"

    def _outcomes(self) -> Iterator[str]:
        """Find clients that are COMPLETED, and were not in truth."""
        done = [p for p in self.machine.world.site.payloads if p.status == 0]
        for row in self.machine.disk.execute(
            "SELECT token, generation FROM jobs WHERE role = 'client' AND state = 'COMPLETED'"
        ):
            # sacct does not say how often a job was requeued before it ended.
            if not any(p.token == row["token"] and p.generation >= row["generation"] for p in done):
                yield f"{row['token']} is COMPLETED, and its payload never ended well"
        site = self.machine.world.site
        if any(site.struck[name] for name in _LOSING):
            return
        # Killed outright, purged while nobody looked, and no accounting: no witness is left.
        silent = site.faults.no_accounting
        killed = {p.token for p in site.payloads if p.ended_at is not None and p.status is None}
        for row in self.machine.disk.execute("SELECT token FROM jobs WHERE why = 'LOST'"):
            if not (silent and row["token"] in killed):
                yield f"{row['token']} counts as LOST, and nothing was lost"


# Faults after which neither Slurm nor a job's directory may know of a job.
_LOSING = ("cold_starts", "amnesia", "zombies", "full_disk", "blind_node")
# RPCs that may come on top: what was under way when a life ended goes on beside the next one's.
_LEEWAY = 6.0
# Submissions that may come at once: ten seconds' worth of the default pace.
_SUBMIT_BURST = 10.0
# Sessions whose link is gone, and which the login node has not noticed yet.
LEFT_BEHIND = 5
