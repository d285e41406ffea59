"""A house for the HTTP interface: a store and a daemon in memory, and the real sockets in front."""

# ruff: noqa: D102 - the protocols in api/control.py say what each method is

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge

from benchd.access import Access
from benchd.api.control import (
    Adopted,
    ClusterStatus,
    DaemonStatus,
    Drained,
    OldRun,
    Stray,
    Stream,
    Swept,
)
from benchd.api.server import Interface
from benchd.config import HttpSettings
from benchd.core.model import Job, JobState, Run, Transition
from benchd.errors import BenchdError, Mistake, RecipeError, UserError
from support.builders import CREATED_AT, INSTANCE, RUN_ID

NOW = CREATED_AT + 100.0


@dataclass(slots=True)
class MemoryReads:
    """What the store would answer."""

    run_rows: list[Run] = field(default_factory=list)
    job_rows: list[Job] = field(default_factory=list)
    history: dict[str, list[Transition]] = field(default_factory=dict)
    documents: dict[str, list[str]] = field(default_factory=dict)
    notes: list[tuple[int, str, bool]] = field(default_factory=list)

    async def run(self, run_id: str) -> Run | None:
        return next((r for r in self.run_rows if r.id == run_id), None)

    async def runs(self, limit: int = 100) -> Sequence[Run]:
        return self.run_rows[::-1][:limit]

    async def job(self, token: str) -> Job | None:
        return next((j for j in self.job_rows if j.token == token), None)

    async def jobs(self, run: str | None = None, state: JobState | None = None) -> Sequence[Job]:
        return [
            job
            for job in self.job_rows
            if (run is None or job.run_id == run) and (state is None or job.state is state)
        ]

    async def counts(self) -> Sequence[tuple[str, str, str, int]]:
        tally = Counter((j.cluster, str(j.role), str(j.state)) for j in self.job_rows)
        return [(*key, number) for key, number in tally.items()]

    async def transitions(self, token: str) -> Sequence[Transition]:
        return self.history.get(token, [])

    async def results(self, run_id: str | None = None) -> Sequence[str]:
        if run_id is not None:
            return self.documents.get(run_id, [])
        return [text for texts in self.documents.values() for text in texts]

    async def result(self, token: str) -> str | None:
        each = (text for texts in self.documents.values() for text in texts)
        return next((text for text in each if json.loads(text)["job"] == token), None)

    async def note_command(self, uid: int, line: str, ok: bool, answer: str, now: float) -> None:
        self.notes.append((uid, line, ok))


@dataclass(slots=True)
class MemoryControl:
    """What the daemon would do: it writes down what was wanted."""

    wishes: list[tuple[str, ...]] = field(default_factory=list)
    logs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    trouble: BenchdError | None = None
    writable: bool = True
    sentence: str = "its service has to answer first"

    async def submit(
        self, name: str, data: bytes, uid: int, overrides: Mapping[str, str]
    ) -> tuple[Sequence[str], Sequence[str]]:
        if b"serivce" in data:
            raise RecipeError(
                name, [Mistake(2, 1, "serivce", "unknown key; did you mean service?")]
            )
        self.wishes.append(("submit", name, data.decode(), repr(dict(overrides))))
        return ["newrun2345"], []

    async def cancel(self, target: str) -> Sequence[str]:
        self._wish("cancel", target)
        return [f"{target}-token"]

    async def cancel_all(self) -> Sequence[str]:
        self._wish("cancel_all")
        return []

    async def retry(self, target: str) -> Sequence[str]:
        self._wish("retry", target)
        return [f"{target}-a2"]

    def status(self) -> DaemonStatus:
        return DaemonStatus(
            version="0.0",
            instance=INSTANCE,
            pid=42,
            started_at=CREATED_AT,
            state_dir="/var/lib/benchd",
            inbox="/var/lib/benchd/inbox",
            store_writable=self.writable,
            draining=False,
            strays={"alpha": 2},
            clusters=[
                ClusterStatus(
                    name="alpha",
                    link="up",
                    detail="",
                    paused=False,
                    circuit_open=False,
                    circuit="closed",
                    unreachable_since=None,
                    next="next poll in 25 s",
                    next_at=NOW + 25,
                    poll_interval=60.0,
                    rpcs_used=3.0,
                    rpcs_per_minute=4.0,
                    submits_used=1.0,
                    submits_per_minute=60.0,
                    logins_today=2,
                    logins_per_day=60,
                    channels=1,
                    channel_limit=5,
                    last_poll_at=NOW - 5,
                    next_poll_at=NOW + 25,
                    budget_tokens=9.6,
                    logins=1,
                )
            ],
        )

    async def log(self, token: str, stream: Stream, offset: int, limit: int) -> bytes:
        return self.logs.get((token, stream), b"")[offset : offset + limit]

    async def pause(self, cluster: str) -> None:
        self._wish("pause", cluster)

    async def resume(self, cluster: str, take_over: bool) -> None:
        self._wish("resume", cluster, str(take_over))

    async def waiting(self, token: str) -> str:
        return self.sentence

    def wake(self) -> None:
        self.wishes.append(("wake",))

    def _wish(self, *words: str) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.wishes.append(words)


@dataclass(slots=True)
class MemoryKeeping:
    """What upkeep would answer: one stray, one old run, and whatever is to be adopted."""

    wishes: list[tuple[str, ...]] = field(default_factory=list)
    trouble: BenchdError | None = None
    slow: asyncio.Event | None = None  # what takes its time takes it until this is set

    async def _wanted(self, *words: str) -> None:
        self.wishes.append(words)
        if self.slow is not None:
            await self.slow.wait()

    async def drain(self, on: bool) -> Drained:
        self.wishes.append(("drain", str(on)))
        return Drained(draining=on, waiting=3, sent=2)

    async def reap(self, cluster: str | None, *, dry_run: bool) -> Swept:
        await self._wanted("reap", str(cluster), str(dry_run))
        stray = Stray(
            cluster="alpha",
            slurm_id="99",
            token=f"{INSTANCE}-aaaaaaaaaa-s-redis-p0r0-0-a1",
            state="RUNNING",
            nodes="n1",
            why="not in the books",
            ended=not dry_run,
        )
        return Swept(strays=[stray], unseen={} if cluster else {"beta": "cannot be reached"})

    async def adopt(self, cluster: str, slurm_id: str) -> Adopted:
        if self.trouble is not None:
            raise self.trouble
        await self._wanted("adopt", cluster, slurm_id)
        return Adopted(run="aaaaaaaaaa", jobs=[f"{INSTANCE}-aaaaaaaaaa-s-redis-p0r0-0-a1"])

    async def gc(self, older_than: float, *, dry_run: bool) -> Sequence[OldRun]:
        await self._wanted("gc", str(older_than), str(dry_run))
        old = OldRun(cluster="alpha", run="bbbbbbbbbb", name="web", kept="", removed=not dry_run)
        return [old, OldRun(cluster="alpha", run=RUN_ID, name="", kept="not over", removed=False)]


@dataclass(slots=True)
class House:
    """One interface with everything behind it."""

    path: Path
    control: MemoryControl = field(default_factory=MemoryControl)
    keeping: MemoryKeeping = field(default_factory=MemoryKeeping)
    reads: MemoryReads = field(default_factory=MemoryReads)
    http: HttpSettings | None = None
    access: Access | None = None
    port: int | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[House]:
        """Listen until the block ends."""
        registry = CollectorRegistry()
        Gauge("benchd_answer", "it", registry=registry).set(42)
        interface = Interface(
            control=self.control,
            keeping=self.keeping,
            reads=self.reads,
            registry=registry,
            clock=lambda: NOW,
            path=self.path,
            http=self.http,
            access=self.access,
        )
        async with interface:
            self.port = interface.tcp_port
            yield self


REFUSAL = UserError("nothing to retry: only what has failed can be tried again")
