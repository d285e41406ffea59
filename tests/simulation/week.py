"""``make sim-week``: the daemon for days on end, with everything that goes wrong at a real site.

One life, thousands of jobs. Every run has to end, the site must never be asked more than was
agreed, and what benchd holds in memory on the last evening must be what it held on the second.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
import tracemalloc
from dataclasses import dataclass, replace
from functools import partial
from random import Random

from benchd import engine
from benchd.edge.store import rows
from benchd.metrics import Metrics
from simulation.faults import Faults
from simulation.invariants import LEFT_BEHIND, Judge
from simulation.machine import CLUSTER, Machine, forget
from simulation.player import Player, Tally, playing
from simulation.scenario import Scenario

DAY = 86_400.0
# Hours of a day in which recipes are dropped; in the rest all runs end, and it is quiet.
_BUSY = 17.0
# Jobs of one recipe: a service, and a client that is repeated.
_REPEATS = 4
_RECIPE = """\
name: r{i}
service:
  name: server-{i}
  kind: generic
  command: serve
  ports: [auto]
  resources: {{cpus_per_task: 1, time: "02:00:00"}}
  health_check: {{type: tcp, interval: 20, retries: 40}}
  restart: {{policy: on-failure, max_attempts: 3, requeue: true}}
client:
  name: load
  kind: generic
  command: measure
  resources: {{cpus_per_task: 1, time: "00:30:00"}}
  restart: {{policy: on-failure, max_attempts: 3, requeue: true}}
  target_service: {{name: server-{i}}}
repeat: {repeats}
"""
# A site that is not the best: something is wrong every hour, and every fiftieth command fails.
FAULTS = Faults(
    lost_answer=0.01,
    refused=0.01,
    slow_shell=0.02,
    cut_stdin=0.01,
    cut=0.002,
    killed=0.005,
    outages=0.05,
    stalls=0.2,
    downs=0.05,
    sbatch_stalls=0.02,
    sbatch_killed=0.01,
    sbatch_refused=0.02,
    query_error=0.02,
    cold_starts=0.02,
    sacct_downs=0.02,
    min_job_age=120.0,
    requeue=0.02,
    preempt=0.02,
    node_failure=0.01,
    payload_fails=0.02,
    launch_fails=0.005,
    attribute_cache=0.2,
)
# One more, at the very end, so that the last evening is lived through.
_LAST = "name: last\nclient: {name: load, kind: generic, command: measure}\n"
# Logins of a week that nobody minds, on top of one for each time that the link was cut from afar.
LOGINS_A_WEEK = 50
# Growth of benchd's own memory from one quiet evening to another that is no leak: caches fill.
GROWTH = 128 * 1024  # bytes
OBJECTS = 50
# Bytes of the keys of a small dictionary. The interpreter hands them on, from benchd's dictionaries
# to those of the virtual file system, which grows, and the traces do not notice.
_KEYS = 120


@dataclass(frozen=True, slots=True)
class Evening:
    """What benchd holds when nothing is going on."""

    day: int
    tasks: int
    objects: int  # of its own classes, and of asyncio's
    memory: int  # bytes, in blocks that its own code allocated; 0 unless they are traced
    runs: int


def scenario(days: int, jobs: int, seed: int) -> Scenario:
    """Return days with so many jobs, clock steps of an hour, and a suspension of eight."""
    rng = Random(f"{seed} week")
    recipes = []
    count = jobs // (_REPEATS + 1)
    for i in range(count):
        at = (i * days / count + rng.uniform(0, 0.01)) % days
        day, share = divmod(at, 1.0)
        when = day * DAY + share * _BUSY * 3600
        recipes.append((when, f"r{i}.yaml", _RECIPE.format(i=i, repeats=_REPEATS)))
    recipes.append((days * DAY - 30.0, "last.yaml", _LAST))
    steps = [(rng.uniform(0, days * DAY), rng.choice((-3600.0, 3600.0))) for _ in range(days)]
    night = [(0.8 * DAY, 8 * 3600.0)]
    return Scenario(
        seed=f"{seed} week",
        recipes=tuple(sorted(recipes)),
        cancels=tuple(
            (when + rng.uniform(60, 3000), name) for when, name, _ in recipes if rng.random() < 0.05
        ),
        clock_steps=tuple(sorted(steps)),
        suspensions=tuple(night),
        faults=replace(FAULTS),
        calm_at=days * DAY,
        over_at=(days + 1) * DAY,
        is_brisk=False,
    )


def _measure(machine: Machine, evenings: list[Evening]) -> None:
    assert machine.loop is not None
    tasks = machine.loop.tasks = [task for task in machine.loop.tasks if not task.done()]
    rows._spec.cache_clear()  # bounded, and full only after many more jobs
    machine.log[:] = [line for line in machine.log if line[1] in ("error", "exception")]
    gc.collect()
    memory = 0
    if tracemalloc.is_tracing():
        theirs = [tracemalloc.Filter(False, "*/benchd/sim/*")]
        ours = [tracemalloc.Filter(True, "*/daemon/benchd/*"), *theirs]
        traces = tracemalloc.take_snapshot().filter_traces(ours).traces
        memory = sum(trace.size for trace in traces if trace.size != _KEYS)
    evenings.append(
        Evening(
            day=len(evenings) + 1,
            tasks=len(tasks),
            objects=sum(_is_own(type(each)) for each in gc.get_objects()),
            memory=memory,
            runs=machine.disk.execute("SELECT count(*) FROM runs").fetchone()[0],
        )
    )


def _is_own(kind: type) -> bool:
    module = kind.__module__ or ""
    return module.startswith(("benchd.", "asyncio", "_asyncio")) and ".sim" not in module


def live(player: Player, days: int, jobs: int, seed: int) -> tuple[Tally, list[Evening], list[str]]:
    """Live through the days; return what was played, every evening, and what is wrong."""
    machine, tally, evenings = player.machine, Tally(seeds=1), []
    with player.one():
        machine.begin(scenario(days, jobs, seed))
        for day in range(1, days + 1):
            machine.world.agenda.after(day * DAY - 60.0, partial(_measure, machine, evenings))
        judge = Judge(machine)
        with player.hearing():
            machine.live()
            judge.look()
            machine.rest(3600.0)
            judge.end()
        tally.count(machine)
        wrong = _judged(machine, evenings, days)
    return tally, evenings, wrong


def _judged(machine: Machine, evenings: list[Evening], days: int) -> list[str]:
    wrong = []
    first, last = evenings[min(1, len(evenings) - 1)], evenings[-1]
    if last.tasks != first.tasks:
        wrong.append(f"{first.tasks} tasks on day {first.day}, {last.tasks} on day {last.day}")
    if last.objects > first.objects + OBJECTS:
        wrong.append(f"{first.objects} objects on day {first.day}, {last.objects} on {last.day}")
    if last.memory > first.memory + GROWTH:
        wrong.append(f"{first.memory} bytes on day {first.day}, {last.memory} on day {last.day}")
    site = machine.world.site
    cuts = sum(site.struck[name] for name in ("cut", "cut_stdin", "outages"))
    if len(site.logins) > LOGINS_A_WEEK + cuts:
        wrong.append(f"{len(site.logins)} logins in {days} days")
    channels = machine.settings.clusters[CLUSTER].budget.channels
    if site.sessions_peak > channels + LEFT_BEHIND:
        wrong.append(f"{site.sessions_peak} sessions at once, {channels} agreed")
    return wrong


def _figures(machine: Machine, days: int) -> str:
    site = machine.world.site
    rpcs = sum(cost for _, _, cost in site.rpcs)
    return (
        f"{len({each.token for each in site.accepted}):,} jobs, RPCs {rpcs:,.0f} "
        f"({rpcs / (days * 1440):.2f} a minute), logins {len(site.logins)}, "
        f"sessions at once {site.sessions_peak}"
    )


def _lived(days: int, jobs: int, seed: int) -> tuple[Tally, list[Evening], list[str], str]:
    with playing(Metrics()) as player:
        engine.LONGEST_SLEEP = 15.0
        gc.enable()
        tracemalloc.start()
        return *live(player, days, jobs, seed), _figures(player.machine, days)


def main() -> int:
    """Live through a week."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    started = time.monotonic()
    tally, evenings, wrong, said = _lived(asked.days, asked.jobs, asked.seed)
    forget([])  # numbers know whom to ask for their values until nobody has them
    struck = ", ".join(f"{name} {n:,}" for name, n in sorted(tally.struck.items()))
    print(f"sim-week: {asked.days} days, {said}")
    print(f"sim-week: faults injected: {struck}")
    print(f"sim-week: runs ended: {dict(tally.outcomes)}")
    for each in evenings:
        print(f"sim-week: {each}")
    seconds = time.monotonic() - started
    print(f"sim-week: {seconds:.0f} s, {tally.virtual / seconds:,.0f} times real time")
    for what in wrong:
        print(f"sim-week: WRONG: {what}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
