"""Plays the histories of a seed: one without a crash, one for each moment at which one may come.

A crash leaves the disk, the inbox and the site; where none of them changed between two steps, a
crash before the one or the other leaves the same, so one trial stands for both. Each trial is a
history of its own: crash, restart, recovery, the end of all runs, and the judge's look after every
life. A recovery can crash as well, and the recovery from that; such trials are named by the steps
of all their crashes, ``133.57``.
"""

from __future__ import annotations

import gc
import hashlib
import logging
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, fields
from functools import cache, partial
from pathlib import Path as Folder
from random import Random
from typing import Any

from benchd import engine
from benchd.edge.store import migrate, store
from benchd.metrics import Metrics
from simulation.bash import NotUnderstood
from simulation.inlinedisk import Disk
from simulation.invariants import Judge, Violation
from simulation.machine import Fell, Machine, forget
from simulation.scenario import Scenario, draw
from simulation.silence import Silent, overheard
from simulation.virtualloop import Stuck

# Seconds between a crash and the restart: systemd's five, mostly.
_DOWN = (0.5, 5.0, 5.0, 5.0, 40.0, 400.0, 4000.0)
# Seconds for which the site goes on after the last run has ended: what is late lands.
_AFTER = 1800.0
# Crashes in one history, at most; the share of recoveries that crash again, and of their moments.
_CRASHES = 3
_AGAIN, _THERE = 0.3, 0.04
# How many recoveries are stopped by SIGTERM on their way, and before which step at the latest.
_STOPPED, _STOPPED_BY = 0.05, 300
# Seconds after which the engine turns although nothing is due. It turns more often in truth, for a
# watchdog that there is none of here; such turns find nothing to do.
PULSE = 60.0
# Trials after which the dead are disposed of.
_FORGOTTEN = 100


@dataclass
class Tally:
    """What was played."""

    seeds: int = 0
    steps: int = 0  # at each of which the first life could have been ended
    moments: int = 0  # of them, those that leave different things
    trials: int = 0
    crashes: int = 0
    lives: int = 0
    payloads: int = 0
    pauses: int = 0
    accepted_per_try: int = 0
    starts_per_generation: int = 0
    extra_tries: int = 0
    twins: int = 0
    virtual: float = 0.0  # seconds of virtual time
    cpu: float = 0.0
    struck: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)

    def count(self, machine: Machine) -> None:
        """Count one history."""
        site = machine.world.site
        self.lives += machine.lives
        self.virtual += machine.world.age
        self.pauses += len(machine.world.pauses)
        self.payloads += len(site.starts)
        self.twins += len(site.twins)
        tries = Counter((each.token, each.k) for each in site.accepted)
        starts = Counter((each.token, each.generation) for each in site.starts)
        self.accepted_per_try = max(self.accepted_per_try, *tries.values(), 0)
        self.starts_per_generation = max(self.starts_per_generation, *starts.values(), 0)
        self.extra_tries += len(tries) - len({token for token, _ in tries})
        self.struck.update(site.struck)
        self.struck.update(machine.world.struck)
        self.outcomes.update(
            row["outcome"] for row in machine.disk.execute("SELECT outcome FROM runs")
        )

    def add(self, other: Tally) -> None:
        """Count what another has played."""
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            if isinstance(mine, Counter):
                mine.update(theirs)
            elif each.name in ("accepted_per_try", "starts_per_generation"):
                setattr(self, each.name, max(mine, theirs))
            else:
                setattr(self, each.name, mine + theirs)


Path = tuple[int, ...]  # the steps before which the lives of a history are ended


class Broken(Exception):
    """A trial that failed, and how to play it again."""

    def __init__(self, seed: int, path: Path, why: str) -> None:
        self.seed, self.why = seed, why
        self.path = ".".join(map(str, path)) or "none"
        super().__init__(f"seed {seed}, crash before step {self.path}: {why}")


class Player:
    """Machines on one disk: the one that lives through a seed, the one that crashes, and so on."""

    def __init__(self, root: Folder, metrics: Metrics | None = None) -> None:
        self._disk = Disk()
        measured: Any = metrics or Silent()
        self._machines = [
            Machine(root / str(depth), self._disk, measured) for depth in range(_CRASHES + 1)
        ]
        for machine in self._machines:
            machine.root.mkdir(mode=0o700)
        migrate.migrate(self._machines[0].disk, root, migrate.scripts())  # type: ignore[arg-type] # it looks like a connection
        self._unforgotten = 0

    def play(
        self, seed: int, *, most: int | None = None, scenario: Scenario | None = None
    ) -> Tally:
        """Play a seed without a crash, and with one at each moment, or at ``most`` of them."""
        scenario = scenario or draw(str(seed))
        tally, started = Tally(seeds=1), time.process_time()
        with told(seed, ()):
            chance = self._chance(scenario, most)
        with self._disk.aside(), told(seed, ()):
            self._machines[0].begin(scenario)
            self._go_on(seed, (), chance, tally)
            tally.steps = self._machines[0].steps
        self.bury()
        tally.cpu = time.process_time() - started
        return tally

    def _chance(self, scenario: Scenario, most: int | None) -> float:
        """Return the share of a seed's moments that are tried."""
        if most is None:
            return 1.0
        return min(1.0, most / self.moments(scenario)) if most else 0.0

    def moments(self, scenario: Scenario) -> int:
        """Return how many moments a seed has at which a crash leaves something else."""
        seen: set[tuple[int, ...]] = set()
        machine = self._machines[0]
        with self._disk.aside(), overheard(machine.note):
            machine.begin(scenario)
            machine.live(watch=lambda _: seen.add(machine.version))
        self.bury()
        return len(seen)

    def _go_on(self, seed: int, path: Path, chance: float, tally: Tally) -> None:
        """Live to the end of everything, and crash aside at each moment with this chance."""
        machine, judge = self._machines[len(path)], Judge(self._machines[len(path)])
        rng, last = Random(f"{seed} inside of {path}"), [machine.version]

        def watch(step: int) -> None:
            if machine.version == last[0]:
                return
            last[0] = machine.version
            tally.moments += not path
            if chance >= 1.0 or rng.random() < chance:
                self._crash(seed, (*path, step), tally)

        with overheard(machine.note):
            self._end(seed, path, judge, watch if chance else None)
        tally.count(machine)

    def _crash(self, seed: int, path: Path, tally: Tally) -> None:
        """Play, aside, what follows when the process dies before this step."""
        moment, luck = self._machines[len(path) - 1].moment(), random.getstate()
        with self._disk.aside(), told(seed, path):
            machine = self._machines[len(path)]
            machine.restore(moment)
            machine.world.site.daemon_died()
            machine.rest(_down(seed, path))
            rng = Random(f"{seed} again after {path}")
            again = len(path) < _CRASHES and rng.random() < _AGAIN
            self._go_on(seed, path, _THERE if again else 0.0, tally)
        random.setstate(luck)
        tally.trials += 1
        tally.crashes += len(path)
        self.bury(now=False)

    def aside(self, seed: int, path: Path) -> str:
        """Play one history as trials are, each crash aside of a life; return its digest."""
        scenario, found = draw(str(seed)), [""]

        def go_on(done: Path) -> None:
            machine = self._machines[len(done)]
            if done == path:
                judge = Judge(machine)
                self._end(seed, path, judge)
                found[0] = digest(machine)
                return
            machine.live(watch=partial(crash, done))

        def crash(done: Path, step: int) -> None:
            if step != path[len(done)] or found[0]:
                return
            moment, luck = self._machines[len(done)].moment(), random.getstate()
            machine = self._machines[len(done) + 1]
            with self._disk.aside():
                machine.restore(moment)
                machine.world.site.daemon_died()
                machine.rest(_down(seed, path[: len(done) + 1]))
                go_on(path[: len(done) + 1])
            random.setstate(luck)

        with self.one(), self.hearing():
            self.machine.begin(scenario)
            go_on(())
        return found[0]

    def replay(
        self, seed: int, path: Path, *, scenario: Scenario | None = None
    ) -> tuple[Machine, str | None]:
        """Play one history by itself, and return its machine and what was wrong with it.

        Its log has all that the daemon said. To be read before the next history is played.
        """
        machine = self._machines[0]
        with overheard(machine.note, level=logging.INFO):
            machine.begin(scenario or draw(str(seed)))
            judge = Judge(machine)
            try:
                for i, step in enumerate(path):
                    _live(machine, judge, ends_before=step)
                    machine.rest(_down(seed, path[: i + 1]))
                self._end(seed, path, judge)
            except (Violation, Fell, Stuck) as error:
                return machine, str(error)
        return machine, None

    @staticmethod
    def _end(
        seed: int, path: Path, judge: Judge, watch: Callable[[int], None] | None = None
    ) -> None:
        """Live, again if need be, until all is over."""
        machine, stop = judge.machine, _stop(seed, path)
        if stop is not None:
            _live(machine, judge, ends_before=stop, gently=True)
        while not machine.is_over:
            _live(machine, judge, watch=watch)
        machine.rest(_AFTER)
        judge.end()

    @property
    def machine(self) -> Machine:
        """Return the machine that lives through a seed."""
        return self._machines[0]

    def hearing(self) -> AbstractContextManager[None]:
        """Let that machine keep what its daemon logs."""
        return overheard(self.machine.note)

    @contextmanager
    def one(self) -> Iterator[None]:
        """Play what is played inside on a disk that is taken back at the end."""
        with self._disk.aside():
            yield
        with self.hearing():  # what is cut off while it is closed may complain
            self.bury()

    def close(self) -> None:
        """Let go of everything: what is on a world's agenda may know a dead life."""
        for machine in self._machines:
            machine.leave()
        self.bury()

    def bury(self, *, now: bool = True) -> None:
        """Dispose of the dead, now and then."""
        self._unforgotten += 1
        if now or self._unforgotten >= _FORGOTTEN:
            self._unforgotten = 0
            forget([machine.graves for machine in self._machines])


@contextmanager
def told(seed: int, path: Path) -> Iterator[None]:
    """Say of which trial it was that something was wrong."""
    try:
        yield
    except (Violation, Fell, Stuck) as error:
        raise Broken(seed, path, str(error)) from error


def _live(machine: Machine, judge: Judge, **how: Any) -> None:
    """Live, and have the judge look at it."""
    try:
        machine.live(**how)
    except NotUnderstood as error:
        judge.look()  # what nobody understands may have been mutilated
        raise Violation(f"the simulation is too old for this: {error}") from error
    judge.look()


def _down(seed: int, path: Path) -> float:
    """Return for how long (seconds) no daemon runs after a crash."""
    return Random(f"{seed} down after {path}").choice(_DOWN)


def _stop(seed: int, path: Path) -> int | None:
    """Return before which step a recovery is stopped by SIGTERM, if it is."""
    rng = Random(f"{seed} stopped after {path}")
    return rng.randrange(_STOPPED_BY) if path and rng.random() < _STOPPED else None


def digest(machine: Machine) -> str:
    """Return one word for everything that happened: the same for the same history."""
    site, books = machine.world.site, machine.disk
    told: list[object] = [
        [tuple(row) for row in books.execute(f"SELECT * FROM {table} ORDER BY rowid")]
        for table in ("runs", "jobs", "transitions")
    ]
    told += [site.accepted, site.starts, site.twins, site.rpcs, machine.world.age]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


@contextmanager
def playing(metrics: Metrics | None = None) -> Iterator[Player]:
    """Make a player, in memory where there is a place for files in it; take all away at the end."""
    shared = Folder("/dev/shm")
    home = Folder(tempfile.mkdtemp(prefix="sim-", dir=shared if shared.is_dir() else None))
    was_on = gc.isenabled()
    swaps: list[tuple[Any, str, object]] = [
        (store, "scripts", cache(store.scripts)),  # read once, not in each life
        (store, "secrets", random),  # the instance's name follows from the seed
        (engine, "LONGEST_SLEEP", PULSE),
    ]
    was = [getattr(owner, name) for owner, name, _ in swaps]
    for owner, name, value in swaps:
        setattr(owner, name, value)
    gc.collect()
    gc.freeze()  # modules are not looked through again and again
    gc.disable()  # a coroutine of a dead life must not be closed inside of another's step
    player = Player(home, metrics)
    try:
        yield player
    finally:
        player.close()
        for (owner, name, _), value in zip(swaps, was, strict=True):
            setattr(owner, name, value)
        gc.unfreeze()
        if was_on:
            gc.enable()
        shutil.rmtree(home, ignore_errors=True)
