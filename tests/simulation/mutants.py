"""Eight deliberate mistakes in the protocol, each of which the simulation has to catch.

They are put into the product's own functions, here only. What is caught is what the judge says, on
the scenarios that are drawn for everybody, with the faults that matter made frequent.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from benchd.core import lifecycle, script_parts
from benchd.core.effects import Submit
from benchd.core.model import (
    Binding,
    Event,
    Evidence,
    Expired,
    Job,
    JobState,
    Submission,
    Trigger,
    Unknown,
)
from benchd.edge import submission, witness
from benchd.edge.cluster import Cluster
from benchd.edge.store import Store, moves
from benchd.edge.submission import SubmitOrder
from benchd.engine import Engine
from benchd.errors import Stale
from benchd.perform import Performing
from simulation.faults import Faults
from simulation.player import Broken, playing
from simulation.scenario import Scenario, draw

# Seconds of CPU in which a mutant has to be caught, and trials of each seed until then.
LIMIT = 60.0
_MOST = 25

_CLIENT = "client: {name: load, kind: generic, command: measure, resources: {time: '00:20:00'}}\n"

Swap = tuple[Any, str, object]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mistake: what is swapped, and which faults make it show."""

    name: str
    swaps: Callable[[], Sequence[Swap]]
    faults: Faults
    cancels: bool = False  # users change their minds soon after the submission
    beside: bool = False  # another run goes on, so that the cluster is still polled


@contextmanager
def swapped(swaps: Sequence[Swap]) -> Iterator[None]:
    """Exchange attributes, and put the real ones back."""
    was = [getattr(owner, name) for owner, name, _ in swaps]
    for owner, name, value in swaps:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for (owner, name, _), value in zip(swaps, was, strict=True):
            setattr(owner, name, value)


# --- 1: the mark is written when the answer is there ------------------------------------------


def _announced_late() -> Sequence[Swap]:
    late: dict[str, tuple[Store, tuple[Binding, ...], float]] = {}
    read, intended, submitted = Store.job, Engine._intend, Cluster.submit

    async def intend(self: Engine, effect: Submit, now: float) -> bool:
        job = await self.store.job(effect.token)
        if job is None or job.attempted_at is not None:
            return await intended(self, effect, now)
        store: Any = self.store
        late[effect.token] = (store, effect.bindings, now)
        return True

    async def job(self: Store, token: str) -> Job | None:
        found = await read(self, token)
        if found is None or found.attempted_at is not None or token not in late:
            return found
        _, bindings, now = late[token]
        return replace(found, tries=found.tries + 1, attempted_at=now, bindings=bindings)

    async def submit(self: Cluster, order: SubmitOrder) -> Submission:
        try:
            return await submitted(self, order)
        finally:
            if order.token in late:
                store, bindings, now = late.pop(order.token)
                row = await read(store, order.token)
                if row is not None and row.state is JobState.CREATED:
                    await store.intend(row, bindings, now)

    return [(Engine, "_intend", intend), (Store, "job", job), (Cluster, "submit", submit)]


# --- 2: whoever writes last wins --------------------------------------------------------------


def _no_compare() -> Sequence[Swap]:
    changed = moves.sql.change_job

    def change_job(columns: Any) -> str:
        return changed(columns).replace(" AND rev = :old_rev AND state = :old_state", "")

    return [(moves.sql, "change_job", change_job)]


# --- 3: what squeue does not show is gone ------------------------------------------------------


def _missing_is_done() -> Sequence[Swap]:
    async def second_witness(
        self: Cluster,
        missing: Sequence[Job],
        dirs: Mapping[str, witness.JobDir],
        seen: dict[str, list[Any]],
    ) -> dict[str, Evidence]:
        said = Evidence(source="squeue and sacct", raw="not asked", at=self._clock())
        return {job.token: said for job in missing}

    def impatient(job: Job, event: Event, now: float, rules: lifecycle.Rules) -> bool:
        return True

    table = tuple(
        replace(row, guard=impatient if row.guard is lifecycle._out_of_patience else row.guard)
        for row in lifecycle.TABLE
    )
    real = lifecycle.TABLE
    lifecycle.TABLE = table
    machine = lifecycle._machine()
    lifecycle.TABLE = real
    return [
        (Cluster, "_second_witness", second_witness),
        (lifecycle, "_MACHINE", machine),
    ]


# --- 4: not knowing is failing ----------------------------------------------------------------


def _retry_on_unknown() -> Sequence[Swap]:
    submitted = Cluster.submit

    async def submit(self: Cluster, order: SubmitOrder) -> Submission:
        answer = await submitted(self, order)
        return Expired(evidence=answer.evidence) if isinstance(answer, Unknown) else answer

    return [(Cluster, "submit", submit)]


# --- 5: no fence --------------------------------------------------------------------------------


def _no_fence() -> Sequence[Swap]:
    text = script_parts.FENCE
    start = text.index('if [ "$benchd_owner" != "$ID" ]; then\n')
    end = text.index("fi\n", start) + len("fi\n")
    return [(script_parts, "FENCE", text[:start] + text[end:])]


# --- 6: what arrived is what was sent -----------------------------------------------------------


def _no_length_check() -> Sequence[Swap]:
    real = submission.command

    def command(*args: Any, **more: Any) -> str:
        text: str = real(*args, **more)
        start = text.index('[ "${#d}" -eq ')
        return text[:start] + text[text.index("; ", start) + 2 :]

    return [(submission, "command", command)]


# --- 7: what is over can go on ------------------------------------------------------------------


def _after_the_end() -> Sequence[Swap]:
    polled, world = Performing._poll, Store.world

    async def poll(self: Performing, effect: Any) -> float | None:
        asking = True

        async def all_alive(store: Store) -> Any:
            nonlocal asking
            found = await world(store)
            if not asking:
                return found
            asking = False
            jobs = tuple(replace(j, state=JobState.RUNNING) if j.tries else j for j in found[1])
            return type(found)(found[0], jobs, found[2])

        Store.world = all_alive  # type: ignore[method-assign] # the next one to look is this poll
        try:
            return await polled(self, effect)
        finally:
            Store.world = world  # type: ignore[method-assign] # as it was

    async def learn(
        self: Engine, token: str, event: Event, rules: lifecycle.Rules, _seen: Job | None = None
    ) -> Job | None:
        while True:
            job = await self.store.job(token)
            if job is None:
                return None
            now = self.clock()
            alive = replace(job, state=JobState.RUNNING) if job.is_terminal else job
            try:
                new = lifecycle.advance(alive, event, now, rules)
            except lifecycle.IllegalMove:
                return job
            if new == job:
                return job
            try:
                return await self.store.apply(job, new, event, now)
            except Stale:
                continue

    return [(Performing, "_poll", poll), (Engine, "learn", learn)]


# --- 8: a cancel that proves nothing ------------------------------------------------------------


def _no_seal() -> Sequence[Swap]:
    cancelled = Cluster.cancel

    async def cancel(self: Cluster, job: Job) -> Event | None:
        if job.is_live or job.is_terminal or not job.is_attempted:
            return await cancelled(self, job)
        await self.slurm.end_names([job.token])
        evidence = Evidence(source="seal and squeue", exit_status=0, raw="", at=self._clock())
        return Event(trigger=Trigger.PROVED_ABSENT, evidence=evidence)

    return [(Cluster, "cancel", cancel)]


MUTANTS: tuple[Mutant, ...] = (
    Mutant("commit after submit", _announced_late, Faults(lost_answer=0.2)),
    Mutant("no compare-and-set", _no_compare, Faults(), cancels=True),
    Mutant("missing = done", _missing_is_done, Faults(min_job_age=2.0)),
    Mutant("retry on unknown", _retry_on_unknown, Faults(lost_answer=0.3, sbatch_garbage=0.3)),
    Mutant("no fence", _no_fence, Faults(sbatch_lingers=0.9)),
    Mutant("no length check", _no_length_check, Faults(cut_stdin=0.4, hangup=0.0)),
    Mutant(
        "events after the end",
        _after_the_end,
        Faults(sbatch_stalls=0.7, lost_answer=0.3, stall_drops=0.0, cold_starts=4.0),
        cancels=True,
        beside=True,
    ),
    Mutant(
        "cancel without the seal",
        _no_seal,
        Faults(sbatch_stalls=0.7, lost_answer=0.3, stall_drops=0.0),
        cancels=True,
    ),
)


def shaped(mutant: Mutant, seed: int) -> Scenario:
    """Return a seed's scenario with the faults that matter."""
    scenario = draw(str(seed))
    cancels, recipes = scenario.cancels, scenario.recipes
    if mutant.beside:
        recipes = ((1.0, "first.yaml", _CLIENT), (2.0, "second.yaml", _CLIENT))
    if mutant.cancels:
        at, name, _ = recipes[0]
        cancels = ((at + 60.0 + 20.0 * (seed % 9), name),)
    return replace(scenario, faults=mutant.faults, cancels=cancels, recipes=recipes)


def hunt(mutant: Mutant, *, limit: float = LIMIT) -> tuple[str | None, float]:
    """Play seeds until the judge says what is wrong; return that, and the CPU seconds it took."""
    started = time.process_time()
    with swapped(mutant.swaps()), playing() as player:
        seed = 0
        while time.process_time() - started < limit:
            try:
                player.play(seed, most=_MOST, scenario=shaped(mutant, seed))
            except Broken as error:
                return str(error), time.process_time() - started
            seed += 1
    return None, time.process_time() - started


def main() -> int:
    """Hunt all mutants, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="words of the names of those to hunt")
    asked = parser.parse_args()
    chosen = [m for m in MUTANTS if not asked.names or any(n in m.name for n in asked.names)]
    caught = 0
    for mutant in chosen:
        why, seconds = hunt(mutant)
        caught += why is not None
        verdict = f"caught: {why[:160]}" if why else "NOT CAUGHT"
        print(f"sim-mutants: {mutant.name}: {seconds:.1f} s CPU, {verdict}", flush=True)
    print(f"sim-mutants: {caught} of {len(chosen)} caught")
    return 0 if caught == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
