"""Slurm in our words: submit, find, poll, cancel, probe, fetch. Slurm's own stop in ``core.slurm``.

Nothing here remembers a job. What is remembered can be asked for again: where the workdir is,
whether accounting answers, what was sent over this connection. A question that was not answered
raises ``Unreachable`` and so moves nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from shlex import quote

import structlog

from benchd.catalog import checks
from benchd.config import ClusterSettings
from benchd.core.model import (
    Accepted,
    Endpoint,
    Event,
    Evidence,
    Expired,
    Fetched,
    Job,
    Observation,
    PollAnswer,
    ProbeAnswer,
    Refused,
    Submission,
    Trigger,
    Unknown,
    Verdict,
)
from benchd.core.news import failed_at_once
from benchd.core.readiness import DEFAULT_CHECK
from benchd.edge import home, pack, parcels, submission, witness
from benchd.edge.backend import Slurm, is_over
from benchd.edge.breaker import LONGEST, OPEN, Breaker
from benchd.edge.budget import Purse, Sleep, Urgency
from benchd.edge.images import ImageFiles
from benchd.edge.looks import Looks
from benchd.edge.programs import Programs
from benchd.edge.remote import Gate, Remote
from benchd.edge.rest import Rest
from benchd.edge.rest_link import rest_link
from benchd.edge.shell import Shell, printable
from benchd.edge.submission import Place, Record, SubmitOrder
from benchd.errors import NeedsHuman, Unreachable
from benchd.metrics import Metrics

log = structlog.get_logger()

# The signal number with which Slurm reports that a job could not be launched at all (0:53).
_NOT_LAUNCHED = 53


class Cluster:
    """One Slurm installation, through any ``Shell``."""

    def __init__(
        self,
        name: str,
        *,
        shell: Shell,
        settings: ClusterSettings,
        instance: str,
        metrics: Metrics,
        epochs: home.Words,
        clock: Callable[[], float] = time.time,
        sleep: Sleep = asyncio.sleep,
        packed: parcels.Pack = pack.find,
        quiet_slack: float = submission.QUIET_SLACK,
        measure: Callable[[], float] | None = None,
        pressed: Callable[[], None] = lambda: None,
        gate: Gate | None = None,
    ) -> None:
        """``measure``: seconds that no jump of the clock adds to; what is rationed goes by them."""
        self.name = name
        self.settings = settings
        self.instance = instance
        self._metrics = metrics
        self._clock = clock
        self._quiet_slack = quiet_slack
        measure = measure or clock
        self._purse = Purse(name, settings.budget, metrics=metrics, clock=measure, pressed=pressed)
        longest = OPEN if settings.testbed else LONGEST  # nobody is disturbed there
        breaker = Breaker(name, metrics=metrics, clock=measure, longest=longest)
        self.breakers: tuple[Breaker, ...] = (breaker,)
        self.remote = Remote(name, shell, gate=gate or Gate(), purse=self._purse, breaker=breaker)
        self.slurm: Slurm = Programs(self.remote, clock=clock, sleep=sleep)
        if settings.rest is not None:
            beside = Breaker(name, metrics=metrics, clock=measure, longest=longest, beside=breaker)
            self.breakers = (breaker, beside)
            link = rest_link(self.remote, settings, metrics=metrics, clock=clock, breaker=beside)
            self.slurm = Rest(link, self.remote, instance=instance, clock=clock)
        self._looks = Looks(self.remote)
        self.images = ImageFiles(
            self.remote,
            runtime=settings.runtime,
            channels=settings.budget.channels,
            open=self.open,
        )
        self._parcels = parcels.Parcels(self.remote, packed)
        self._epochs = home.StoredEpoch(epochs, name)
        self._place: Place | None = None
        self._opening = asyncio.Lock()
        self._take_over = False

    # --- opening ----------------------------------------------------------------------------------

    async def open(self) -> Place:
        """Find the workdir and make it ours. Every verb does so first; calling it is optional."""
        async with self._opening:
            if self._place is None:
                try:
                    self._place = await home.enter(
                        self.remote,
                        workdir=self.settings.workdir,
                        instance=self.instance,
                        epochs=self._epochs,
                        clock=self._clock,
                        take_over=self._take_over,
                    )
                except NeedsHuman as error:  # also of a workdir that is not ours
                    await self.remote.gate.close(error)
                    raise
                self._take_over = False
                log.info("cluster.opened", cluster=self.name, workdir=self._place.workdir)
            return self._place

    def take_over(self) -> None:
        """Claim the workdir at the next opening, whatever epoch it says: a human checked."""
        self._take_over = True
        self._place = None

    # --- submit -----------------------------------------------------------------------------------

    async def submit(self, order: SubmitOrder) -> Submission:
        """Send one try, or settle it: safe to call any number of times for the same order."""
        place = await self.open()
        await self._parcels.send(place, order.ship)
        if not await self._purse.afford_submission():
            return Unknown(evidence=self._evidence(order, "not sent: the budget is spent for now"))
        with self._metrics.submit_seconds.labels(self.name).time():
            try:
                record = await self.slurm.submit(order, place)
            except ValueError as error:
                self._purse.unspent("sbatch")
                why = str(error)
                return Refused(why=why, final=True, evidence=self._evidence(order, why))
            except Unreachable as error:
                if not error.sent:
                    raise
                return Unknown(evidence=self._evidence(order, str(error)))
            if submission.is_set_back(record, place):
                self._place = None  # opening raises it again
                raise Unreachable(
                    f"{self.name}: the epoch went back from {place.epoch} to {record.said}: an "
                    "earlier raising landed late; nothing was submitted, it is raised again",
                    sent=False,
                )
            evidence = self._evidence(order, submission.shown(record), record.rc)
            return (
                submission.stopped(record, order, place, evidence)
                or submission.settled(record, evidence)
                or await self._search(order, record, evidence)
            )

    async def _search(self, order: SubmitOrder, record: Record, evidence: Evidence) -> Submission:
        """Look for a job that neither an id nor a definite refusal settles."""
        try:
            rows = await self.find(order.token)
        except Unreachable as error:
            log.info("submission.unsettled", cluster=self.name, job=order.token, why=str(error))
            return Unknown(evidence=evidence)
        if rows:
            found = min(rows, key=lambda row: (is_over(row), len(row.slurm_id), row.slurm_id))
            return Accepted(slurm_id=found.slurm_id, evidence=found.evidence)
        until = submission.quiet_until(
            record, order.attempted_at, self.settings.message_timeout, self._quiet_slack
        )
        return Expired(evidence=evidence) if self._clock() >= until else Unknown(evidence=evidence)

    def _evidence(self, order: SubmitOrder, raw: str, rc: int | None = None) -> Evidence:
        return Evidence(
            source=f"{self.slurm.names.sends} (try {order.k})",
            exit_status=rc,
            raw=printable(raw),
            at=self._clock(),
        )

    # --- find and poll ----------------------------------------------------------------------------

    async def find(self, token: str) -> list[Observation]:
        """Look for a job by its name, in the queue and then in the books.

        Nothing found is certain: where there is accounting and it does not answer, ``Unreachable``.
        """
        rows = await self.slurm.named(token)
        if rows:
            return rows
        accounted = await self.slurm.accounted([token])
        if accounted is None and not self.slurm.no_accounting:
            books = self.slurm.names.books
            raise Unreachable(f"{self.name}: {books} does not answer, so {token} may yet be found")
        return accounted or []

    async def poll(self, jobs: Sequence[Job]) -> PollAnswer:
        """Ask about all our jobs at once: squeue, and for what it forgot sacct and exit.json."""
        with self._metrics.poll_seconds.labels(self.name).time():
            return await self._poll(jobs)

    async def _poll(self, jobs: Sequence[Job]) -> PollAnswer:
        place = await self.open()
        seen: dict[str, list[Observation]] = {job.token: [] for job in jobs}
        strays: list[Observation] = []
        for row in await self.slurm.everything():
            if row.token in seen:
                seen[row.token].append(row)
            elif row.token.startswith(f"{self.instance}-") and not is_over(row):
                strays.append(row)
        live = [job for job in jobs if job.is_live]
        missing = [job for job in live if not any(_speaks(r, job) for r in seen[job.token])]
        doubtful = [job for job in jobs if _needs_claim(seen[job.token])]
        absent: dict[str, Evidence] = {}
        dirs = await witness.read_dirs(self.remote, place, [*missing, *doubtful])
        if missing:
            absent = await self._second_witness(missing, dirs, seen)
        return PollAnswer(
            seen={token: tuple(rows) for token, rows in seen.items() if rows},
            absent=absent,
            claims={token: found.claim for token, found in dirs.items() if found.claim},
            unclaimed=frozenset(token for token, found in dirs.items() if found.is_untouched),
            strays=tuple(strays),
        )

    async def _second_witness(
        self,
        missing: Sequence[Job],
        dirs: Mapping[str, witness.JobDir],
        seen: dict[str, list[Observation]],
    ) -> dict[str, Evidence]:
        """Ask sacct and exit.json about what squeue forgot; return what nobody knows."""
        names, tokens = self.slurm.names, [job.token for job in missing]
        answer = await self.slurm.accounted(tokens, urgency=Urgency.POLL)
        absent: dict[str, Evidence] = {}
        for job in missing:
            found = dirs[job.token]
            told = (row for row in answer or () if row.token == job.token)
            rows = [row for row in told if _speaks(row, job, found.claim)]
            left = witness.observation(job, found)
            if left is not None and not any(is_over(row) for row in rows):
                rows = [left]  # accounting lags behind what the script itself wrote
            seen[job.token].extend(rows)
            rows = [row for row in seen[job.token] if _speaks(row, job, found.claim)]
            # No accounting: a readable job directory in which nothing ended is the second witness.
            silent = self.slurm.no_accounting and found.readable and not found.exit_json
            if not rows and (answer is not None or silent):
                second = names.books if answer is not None else "exit.json"
                witnesses = f"{names.queue} and {second}"
                absent[job.token] = Evidence(
                    source=witnesses, raw="neither knows the job's name", at=self._clock()
                )
        return absent

    # --- cancel -----------------------------------------------------------------------------------

    async def cancel(self, job: Job) -> Event | None:
        """Tell Slurm to end a job; for one that was never known, prove its absence."""
        if job.is_terminal or not (job.is_live or job.is_attempted):
            return None
        place = await self.open()
        if job.is_live and job.slurm_id is not None:
            await self.slurm.end(job.slurm_id, job.token)
            return None
        if job.is_live:
            await self.slurm.end_names([job.token])
            return None
        done = await self.remote.run(
            submission.seal(job.run_id, job.token, max(job.tries, 1), place), op="seal"
        )
        record = submission.read(done.stdout, place, self._clock())
        if record.owner:
            return self._event(job, Trigger.SUBMIT_ACCEPTED, "claim", record.owner, record.owner)
        await self.slurm.end_names([job.token])
        sealed = record.claim == submission.SEALED
        if not sealed and not self._surely_unsent(job, record):
            return None  # asked again later
        if any(not is_over(row) for row in await self.slurm.named(job.token)):
            return None
        queue, claim = self.slurm.names.queue, record.claim or "none, no run directory"
        raw = f"claim {claim}; {queue} knows no live job of it"
        return self._event(job, Trigger.PROVED_ABSENT, f"seal and {queue}", raw)

    def _surely_unsent(self, job: Job, record: Record) -> bool:
        """Tell whether a job without a run directory can no longer come: nothing to seal there."""
        quiet = submission.quiet_until(
            record, job.attempted_at or 0.0, self.settings.message_timeout, self._quiet_slack
        )
        return record.stop == "rundir" and self._clock() >= quiet

    def _event(
        self, job: Job, trigger: Trigger, source: str, raw: str, slurm_id: str | None = None
    ) -> Event:
        evidence = Evidence(source=source, exit_status=0, raw=raw, at=self._clock())
        return Event(trigger=trigger, slurm_id=slurm_id, evidence=evidence)

    async def seal(self, jobs: Sequence[Job]) -> frozenset[str]:
        """Take the claims of jobs that Slurm lost; return the tokens of those that never ran."""
        return await witness.seal_dirs(self.remote, await self.open(), jobs)

    async def prune(self, slurm_ids: Sequence[str]) -> None:
        """End twins by their ids."""
        await self.slurm.end_ids(slurm_ids)

    async def end_by_name(self, tokens: Sequence[str]) -> None:
        """End whatever of ours has one of these names: jobs that are over for us, not for Slurm."""
        await self.slurm.end_names(tokens)

    # --- probe ------------------------------------------------------------------------------------

    async def probe(self, job: Job) -> ProbeAnswer:
        """Look whether a service answers. Trouble of our own is no verdict about it."""
        started = time.monotonic()
        try:
            endpoint = await self._endpoint(job)
            verdict, detail = await self._look(job, endpoint)
        except Unreachable as error:
            endpoint, verdict, detail = None, Verdict.NONE, str(error)
        return ProbeAnswer(
            verdict=verdict, detail=detail, seconds=time.monotonic() - started, endpoint=endpoint
        )

    async def _look(self, job: Job, endpoint: Endpoint | None) -> tuple[Verdict, str]:
        if endpoint is None:
            return Verdict.BAD, "the job has not written its endpoint.json yet"
        check = job.spec.health_check or DEFAULT_CHECK
        look = checks.request(check, endpoint)
        if look is None:
            return Verdict.GOOD, "running; it has no port that could be asked"
        place = await self.open()
        logs = [parcels.log_file(place, job, stream) for stream in ("out", "err")]
        response = await self._looks.take(
            look, seconds=check.timeout, logs=[file for file in logs if file]
        )
        return checks.verdict(look, response)

    async def _endpoint(self, job: Job) -> Endpoint | None:
        """Return where the service answers; read again when it is of another id or span."""
        if job.endpoint is not None and witness.fits(job, job.endpoint):
            return job.endpoint
        place = await self.open()
        file = quote(f"{place.job_dir(job.run_id, job.token)}/endpoint.json")
        # Without the workdir every file is missing; then that says nothing about the service.
        read = f"cd {quote(place.workdir)} || exit 93; cat -- {file}"
        done = await self.remote.run(read, op="endpoint", limit=65536)
        if done.status == 93 or (done.status != 0 and parcels.MISSING not in done.stderr):
            raise Unreachable(f"{self.name}: cannot read {file}: {done.said()}")
        endpoint = witness.parse_endpoint(done.stdout)
        return endpoint if endpoint is not None and witness.fits(job, endpoint) else None

    # --- put and fetch ----------------------------------------------------------------------------

    async def put(self, job: Job, name: str, data: bytes) -> None:
        """Write a file in a job's directory, whole or not at all."""
        await parcels.put(self.remote, await self.open(), job, name, data)

    async def fetch(self, job: Job) -> Fetched:
        """Bring home what a job left; ``NotYet`` while the shared file system may lag behind."""
        grace = parcels.TESTBED_GRACE if self.settings.testbed else parcels.GRACE
        place, patient = await self.open(), parcels.may_still_come(job, self._clock(), grace)
        return await parcels.fetch(self.remote, place, job, patient=patient)

    async def forget(self, jobs: Sequence[Job]) -> None:
        """Remove the secrets that ended jobs may have left."""
        await parcels.forget(self.remote, await self.open(), jobs)

    async def log(self, job: Job, stream: str, offset: int, limit: int) -> bytes | None:
        """Return a piece of a job's output, as ``parcels.log`` does."""
        return await parcels.log(
            self.remote, await self.open(), job, stream, offset=offset, limit=limit
        )


def _speaks(row: Observation, job: Job, claim: str | None = None) -> bool:
    """Tell whether a row says anything of a live job: it is its own, the claim's, or may be yet.

    A twin that ended without the claim would hide for ever that Slurm forgot the job itself.
    """
    return job.slurm_id is None or row.slurm_id in (job.slurm_id, claim) or not is_over(row)


def _needs_claim(rows: Sequence[Observation]) -> bool:
    """Tell whether only the claim says which row, if any, speaks for the job."""
    return len(rows) > 1 or any(
        row.exit_code in parcels.NOT_THE_WORK or row.signal == _NOT_LAUNCHED or failed_at_once(row)
        for row in rows
    )
