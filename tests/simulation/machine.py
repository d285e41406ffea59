"""The machine benchd runs on, and the lives of benchd on it, one after another.

A ``World`` is all that no crash of the daemon touches, except for two things that are handed on by
themselves: the database (``Disk``) and the files of the state directory. So a world can be copied
at any step (``Moment``) and gone on with from there, as often as one likes: what happened before a
crash has to be played once only.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import random
import shutil
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from benchd.app import Daemon
from benchd.config import Budget, ClusterSettings, PollSettings, Settings
from benchd.core.model import Job, Run
from benchd.edge.archive import Archive
from benchd.edge.link import Link
from benchd.edge.shell import Shell
from benchd.edge.store import Store
from benchd.errors import UserError
from benchd.metrics import Metrics
from simulation.agenda import START, Agenda
from simulation.inlinedisk import Disk, Port
from simulation.scenario import Scenario, brisk
from simulation.silence import Silent
from simulation.site import Site
from simulation.virtualloop import Crash, VirtualLoop
from simulation.wires import VirtualDial

CLUSTER = "sim"
# Seconds between two attempts of a user whom the daemon did not answer.
ASKS_AGAIN = 60.0
# Seconds in which a daemon that is asked to stop has stopped.
STOPS_WITHIN = 10.0
# Seconds after which somebody looks at a cluster that benchd paused, and resumes it.
HUMAN = 1200.0
# Seconds in which an accounting database is repaired, once somebody sets about it.
REPAIRED = 600.0
# Seconds of waiting for a login that are too long for them: the day's logins are used up.
LONG = 1800.0


class Fell(AssertionError):
    """The daemon ended by itself, or broke a rule of its own."""


class World:
    """Everything outside the daemon: time, the site, the users, the machine's clock."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.agenda = Agenda()
        rng = Random(f"{scenario.seed} site")
        if scenario.is_brisk:
            self.site = Site(
                self.agenda,
                rng,
                name=CLUSTER,
                faults=scenario.faults,
                planner=brisk,
                waits=(0.2, 4.0),
            )
        else:
            self.site = Site(self.agenda, rng, name=CLUSTER, faults=scenario.faults)
        self.offset = 0.0  # the machine's clock minus the true time
        self.answered: set[int] = set()  # wishes that the daemon has acknowledged
        self.struck: Counter[str] = Counter()
        self.pauses: list[str] = []
        self.is_calm = False
        self.machine: Machine | None = None
        after = self.agenda.after
        for i, (at, _, _) in enumerate(scenario.recipes):
            after(at, partial(self._drop, i))
        for i, (at, _) in enumerate(scenario.cancels):
            after(at, partial(self._wish, i))
        for at, seconds in scenario.clock_steps:
            after(at, partial(self._step_clock, seconds))
        for at, seconds in scenario.suspensions:
            after(at, partial(self._suspend, seconds))
        after(scenario.calm_at, self._calm)
        after(HUMAN, self._look_after)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "machine": None}

    def wall(self) -> float:
        """Return what the machine's clock says."""
        return self.agenda.now + self.offset

    @property
    def age(self) -> float:
        """Seconds since the beginning."""
        return self.agenda.now - START

    def _here(self) -> Machine:
        assert self.machine is not None
        return self.machine

    # --- what happens by itself -------------------------------------------------------------------

    def _drop(self, i: int) -> None:
        _, name, text = self.scenario.recipes[i]
        self._here().drop(name, text, mtime_ns=int(START * 1e9) + i)

    def _wish(self, i: int) -> None:
        if i in self.answered:
            return
        self._here().ask(partial(self._cancel, i))
        self.agenda.after(ASKS_AGAIN, partial(self._wish, i))

    async def _cancel(self, i: int, daemon: Daemon) -> None:
        name = self.scenario.cancels[i][1]
        for run in await daemon.store.runs():
            if run.recipe_path == name:
                if run.finished_at is None:
                    with suppress(UserError):
                        await daemon.steering.cancel(run.id)
                self.answered.add(i)

    def _step_clock(self, seconds: float) -> None:
        self.struck["clock step"] += 1
        self.offset += seconds

    def _suspend(self, seconds: float) -> None:
        self.struck["suspension"] += 1
        self._here().sleep_through(seconds)

    def _calm(self) -> None:
        """Let nothing go wrong any more; what is out of order for hours is repaired."""
        self.is_calm = True
        self.site.calm()
        slurm, now = self.site.slurm, self.agenda.now
        slurm.sacct_down_until = min(slurm.sacct_down_until, now + REPAIRED)

    def _look_after(self) -> None:
        """Come by, as a human does, read why a cluster is paused, and let it go on."""
        self._here().ask(self._resume)
        self.agenda.after(HUMAN, self._look_after)

    async def _resume(self, daemon: Daemon) -> None:
        for name, site in daemon.sites.items():
            report = site.shell.report()
            why = site.pacing.paused or report.resting
            if site.pacing.paused or (report.next_login_in or 0.0) > LONG:
                self.pauses.append(why)
                await daemon.steering.resume(name, take_over=False)


# A file of the inbox: its name, what is in it, when it was changed (ns).
File = tuple[str, bytes, int]
# A line of the log: when, how bad, which event, what else.
Line = tuple[float, str, str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Moment:
    """A copy of everything that survives a crash, but for the disk."""

    births: tuple[float, ...]
    world: bytes
    files: tuple[File, ...]


class Nowhere(Archive):
    """Keeps no copies for people, and no reports: nothing that benchd decides rests on them.

    Writing and rendering them takes longer than all the rest of a short history.
    """

    def __init__(self) -> None:
        super().__init__(Path(os.devnull))

    def keep_recipe(self, run: Run, jobs: tuple[Job, ...]) -> None:
        """Do nothing, well."""

    def keep_script(self, job: Job) -> None:
        """Do nothing, well."""

    def keep_files(self, job: Job, files: Mapping[str, bytes]) -> list[str]:
        """Do nothing, well."""
        return []

    def keep_result(self, job: Job, document: str) -> None:
        """Do nothing, well."""


class Virtual(Daemon):
    """The daemon as it is wired, on virtual parts. What only measures itself stays out."""

    is_up = False  # users find its door open

    def __init__(self, settings: Settings, machine: Machine) -> None:
        super().__init__(settings, clock=machine.world.wall, metrics=machine.metrics)
        self._machine = machine

    def let_go(self) -> None:
        """Close what the kernel closes when a process ends."""
        if hasattr(self, "lock"):
            self.lock.__exit__(None, None, None)

    def _store(self) -> Store:
        return Store(
            self.state_dir / "benchd.sqlite3",
            mountinfo=Path(os.devnull),
            connect=self._machine.disk.connect,
        )

    def _shell(self, name: str, settings: ClusterSettings) -> Shell:
        return Link(
            name,
            settings,
            metrics=self.metrics,
            clock=asyncio.get_running_loop().time,
            dial=VirtualDial(self._machine.world.site),
        )

    def _wire(self) -> None:
        self.archive = Nowhere()
        super()._wire()
        self.steering.performing.closing.write_report = self._no_report  # type: ignore[attr-defined,method-assign] # see Nowhere

    async def _no_report(self, run: Run, _now: float) -> None:
        await self.store.jobs(run=run.id)  # a crash may come while it is written

    async def _listen(self, stack: AsyncExitStack) -> None:
        """No sockets: users speak to ``steering`` itself."""

    async def _measure_lag(self) -> None:
        await asyncio.Event().wait()

    async def _draw_gauges(self) -> None:
        await asyncio.Event().wait()


class Machine:
    """One machine: its disk, its state directory, and the process that runs on it, if any."""

    def __init__(self, root: Path, disk: Disk, metrics: Metrics | Silent) -> None:
        self.root = root
        self.disk = Port(disk)
        self.metrics = metrics
        self.settings = _settings(root)
        self.log: list[Line] = []
        self.graves: list[VirtualLoop] = []

    def begin(self, scenario: Scenario) -> None:
        """Be the machine of this scenario, at its beginning."""
        self._take(World(scenario), ())

    def restore(self, moment: Moment) -> None:
        """Be as at that moment; what was on the disk then has to be on it now."""
        world: World = pickle.loads(moment.world)
        self._take(world, moment.files)
        self.lives, self.births = len(moment.births), list(moment.births)

    def _take(self, world: World, files: tuple[File, ...]) -> None:
        self.world = world
        world.machine = self
        self.loop: VirtualLoop | None = None
        self.daemon: Virtual | None = None
        self.lives = self.steps = 0
        self.is_over = False
        self.births: list[float] = []  # when each life began
        self.over_at = world.scenario.over_at
        self.log.clear()
        self._set_up(files)

    def leave(self) -> None:
        """Have no world any more; and no numbers, some of which ask the dead for their values."""
        if hasattr(self, "world"):
            del self.world
        self.metrics = Silent()

    def _set_up(self, files: tuple[File, ...]) -> None:
        """Make the inbox hold these files and no others."""
        inbox = self.root / "inbox"
        if tuple(_files(inbox)) == files:
            return
        shutil.rmtree(inbox, ignore_errors=True)
        for name, data, mtime_ns in files:
            path = inbox / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            os.utime(path, ns=(mtime_ns, mtime_ns))

    # --- what the world does here -----------------------------------------------------------------

    def drop(self, name: str, text: str, mtime_ns: int) -> None:
        """Put a recipe into the inbox, whole."""
        inbox = self.root / "inbox"
        inbox.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self.root / f"{name}.draft"
        draft.write_text(text)
        os.utime(draft, ns=(mtime_ns, mtime_ns))
        draft.rename(inbox / name)

    def ask(self, question: Callable[[Daemon], Coroutine[Any, Any, None]]) -> None:
        """Have a user speak to the daemon, if it is there."""
        if self.loop is not None and self.daemon is not None and self.daemon.is_up:
            self.loop.create_task(question(self.daemon), name="user")

    def sleep_through(self, seconds: float) -> None:
        """Close the lid."""
        if self.loop is not None:
            self.loop.sleep_through(seconds)

    def note(self, method: str, event: dict[str, Any]) -> None:
        """Keep a line that the daemon logged."""
        if event.get("exc_info") is True:
            event["exc_info"] = repr(sys.exc_info()[1])  # itself, it would keep what it passed
        self.log.append((self.world.age, method, str(event.pop("event", "")), event))

    # --- lives ------------------------------------------------------------------------------------

    def live(
        self,
        *,
        ends_before: int | None = None,
        gently: bool = False,
        watch: Callable[[int], None] | None = None,
    ) -> bool:
        """Let a daemon live until all is done (True), or until it is ended before a step."""
        self.lives += 1
        self.births.append(self.world.agenda.now)
        random.seed(f"{self.world.scenario.seed} life {self.lives}")
        if gently and ends_before is not None:
            watch, ends_before = partial(self._stop_at, ends_before), None
        loop = self.loop = VirtualLoop(
            self.world.agenda, ends_before=ends_before, watch=watch, idle=self._idle
        )
        self._looked, self._stopped_at = -1, -1.0
        try:
            loop.run_until_complete(self._serve())
        except Crash:
            pass
        finally:
            self._bury()
        return self.is_over

    async def _serve(self) -> None:
        self.daemon = Virtual(self.settings, self)
        async with self.daemon as daemon:
            daemon.is_up = True
            await daemon.run()
        took = self.world.agenda.now - self._stopped_at
        if self._stopped_at < 0 or took > STOPS_WITHIN:
            raise Fell(f"the daemon ended by itself, or took {took:.0f} s to stop")

    def _stop_at(self, last: int, step: int) -> None:
        if step >= last and self._stopped_at < 0 and self.daemon is not None:
            self._stopped_at = self.world.agenda.now
            self.daemon.stop()

    def _idle(self) -> None:
        assert self.loop is not None
        if self.world.age > self.over_at:
            raise Fell("time is over, and not every run has ended: " + self.unfinished())
        if self.disk.commits != self._looked:
            self._looked = self.disk.commits
            if self.is_done():
                self.is_over = True
                self.loop.stop()

    def is_done(self) -> bool:
        """Tell whether every recipe became a run, and every run has ended."""
        runs, ended = self.disk.execute("SELECT count(*), count(finished_at) FROM runs").fetchone()
        return bool(runs == ended == len(self.world.scenario.recipes))

    def unfinished(self) -> str:
        """Return what is not over, in words."""
        rows = self.disk.execute(
            "SELECT token, state FROM jobs WHERE state NOT IN ('COMPLETED', 'FAILED', 'CANCELLED')"
        ).fetchall()
        said = ", ".join(f"{row['token']} is {row['state']}" for row in rows)
        return said or "no job is open"

    def rest(self, seconds: float) -> None:
        """Let the world go on while no daemon runs."""
        self.world.agenda.run_until(self.world.agenda.now + seconds)
        self.over_at += seconds

    def _bury(self) -> None:
        """End the process: the kernel closes what it had open, the site hears nothing more."""
        assert self.loop is not None
        self.graves.append(self.loop)
        self.steps += self.loop.steps
        self.disk.power_cut()
        self.world.site.daemon_died()
        if self.daemon is not None:
            self.daemon.let_go()
        self.loop = self.daemon = None

    # --- copies -----------------------------------------------------------------------------------

    @property
    def version(self) -> tuple[int, ...]:
        """Return what differs when something has changed that a crash would leave."""
        site, outside = self.world.site, self.loop.outside if self.loop else 0
        return self.disk.commits, outside, site.login._count, len(site.logins)

    def moment(self) -> Moment:
        """Copy what a crash at this moment would leave."""
        return Moment(
            births=tuple(self.births),
            world=pickle.dumps(self.world, protocol=pickle.HIGHEST_PROTOCOL),
            files=tuple(_files(self.root / "inbox")),
        )


def forget(graves: Iterable[list[VirtualLoop]]) -> None:
    """Dispose of the dead. Their coroutines are closed here, where they can touch nothing."""
    hook, sys.unraisablehook = sys.unraisablehook, _unheard
    outer = asyncio._get_running_loop()  # perhaps a history is under way that these were beside
    # A loop on which nothing can be begun: closing is what ``finally`` is for, and it would.
    asyncio._set_running_loop(asyncio.AbstractEventLoop())
    try:
        with warnings.catch_warnings():  # that tasks were never begun is what death is
            warnings.simplefilter("ignore", RuntimeWarning)
            for loops in graves:
                for loop in loops:
                    loop.forget()
                loops.clear()
            for _ in range(_ROUNDS):  # what awaits on its way out is closed once more
                if not gc.collect():
                    break
    finally:
        asyncio._set_running_loop(outer)
        sys.unraisablehook = hook


# Rounds of closing: as deep as what is to be closed awaits in its ``finally``, at most.
_ROUNDS = 8


def _unheard(_raised: object) -> None:
    """Ignore a coroutine that was closed at an await and complains."""


def _settings(root: Path) -> Settings:
    cluster = Site(Agenda(), Random(0)).settings(poll=PollSettings(), budget=Budget())
    return Settings(
        state_dir=str(root),
        http=None,
        # Two looks at a new file are an interval apart; rare looks make a history short.
        scan_interval=60.0,
        default_cluster=CLUSTER,
        clusters={CLUSTER: cluster},
    )


def _files(top: Path) -> Iterator[File]:
    for folder, folders, names in os.walk(top):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            yield str(path.relative_to(top)), path.read_bytes(), path.stat().st_mtime_ns
