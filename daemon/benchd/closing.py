"""From what came home to results, and from results to the report that closes a run."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import structlog

from benchd import __version__
from benchd.catalog import Catalog
from benchd.core.doubts import doubts
from benchd.core.effects import Finish
from benchd.core.html import render_html
from benchd.core.kept import reread, written
from benchd.core.markdown import render_markdown
from benchd.core.model import Fetched, Job, JobState, Run, RunOutcome, Transition
from benchd.core.origins import without_notes
from benchd.core.readiness import unseen
from benchd.core.reasons import reason
from benchd.core.report import build
from benchd.core.results import Flag, Measured, Result, Severity, assemble
from benchd.core.steadiness import restarted, span, unsteady
from benchd.edge.archive import Archive
from benchd.metrics import Metrics

log = structlog.get_logger()

# How many files that could not be kept are named in the log: a full disk loses them all.
LOST_SHOWN = 5


# Characters of what is wrong with a result that are told; pydantic quotes what it refuses.
REASON_SHOWN = 300


def _window(measured: Measured, since: float, until: float) -> tuple[float, float]:
    """Return when was measured: the client's own window, where its clock is near ours."""
    start, end = measured.times.measure_start, measured.times.measure_end
    if start is None or end is None or not max(start, since) < min(end, until):
        return since, until
    return max(start, since), min(end, until)


class Books(Protocol):
    """What is needed of the store."""

    async def job(self, token: str) -> Job | None:
        """Return one job."""

    async def jobs(self, run: str | None = None) -> Sequence[Job]:
        """Return the jobs of a run."""

    async def transitions(self, token: str) -> Sequence[Transition]:
        """Return one job's history, oldest first."""

    async def results(self, run_id: str | None = None) -> Sequence[str]:
        """Return result documents, oldest first."""

    async def add_result(self, token: str, document: str, valid: bool, now: float) -> bool:
        """Keep a result; False when there is one already."""

    async def finish_run(
        self, run_id: str, outcome: RunOutcome, why: str | None, now: float
    ) -> bool:
        """Close a run."""


class Closing:
    """Makes results and reports, keeps them in the store and on disk."""

    def __init__(
        self,
        *,
        store: Books,
        archive: Archive,
        catalog: Catalog,
        metrics: Metrics,
        clock: Callable[[], float],
        facts: Callable[[str], Mapping[str, str]],
    ) -> None:
        self.store = store
        self.archive = archive
        self.catalog = catalog
        self.metrics = metrics
        self.clock = clock
        self.facts = facts  # cluster -> what is known about it

    async def collect(self, run: Run, job: Job, fetched: Fetched) -> None:
        """Make the result of an ended client from the files it left; keep both."""
        lost: list[str | None] = [
            *await asyncio.to_thread(self.archive.keep_files, job, fetched.files)
        ]
        result, document = await self._result(run, job, fetched)
        lost.append(await asyncio.to_thread(self.archive.keep_result, job, document))
        for sentence in filter(None, lost[:LOST_SHOWN]):  # copies for people: the store has it
            log.warning("archive.incomplete", what=sentence, **job.log_context())
        if await self.store.add_result(job.token, document, result.validity.valid, self.clock()):
            valid = str(result.validity.valid).lower()
            self.metrics.results.labels(kind=job.kind, valid=valid).inc()
            flags = [flag.code for flag in result.validity.flags]
            log.info("result.kept", valid=valid, flags=flags, **job.log_context())

    async def _result(self, run: Run, job: Job, fetched: Fetched) -> tuple[Result, str]:
        """Return the result of a client and its document, whatever came home."""
        services = [s for b in job.bindings if (s := await self.store.job(b.token)) is not None]
        histories = {b.token: await self.store.transitions(b.token) for b in job.bindings}
        since, until = span(job, await self.store.transitions(job.token))
        unsteadiness = unsteady(job.bindings, histories, since, until) or restarted(
            job.bindings, services, job.ended_at
        )

        def made(measured: Measured, files: Mapping[str, bytes]) -> tuple[Result, str]:
            unobserved = unseen(services, *_window(measured, since, until))
            result = assemble(
                run=run,
                job=job,
                bindings=job.bindings,
                services=services,
                measured=measured,
                service_steady=unsteadiness is None,
                service_detail=unsteadiness or "",
                doubts=doubts(job, job.bindings, unobserved, files, measured),
                cluster=dict(self.facts(job.cluster)),
                versions={"version": __version__, "python": platform.python_version()},
                files=files,
                now=self.clock(),
            )
            return result, written(result)

        try:
            return made(self._measured(job, fetched), fetched.files)
        except Exception as error:  # what came home is kept as it is, and the run goes on
            what = f"{type(error).__name__}: {' '.join(str(error).split())}"[:REASON_SHOWN]
            log.exception("result.malformed", **job.log_context())
        nothing = Measured.nothing("malformed", f"it does not fit its own schema: {what}")
        try:
            return made(nothing, fetched.files)
        except Exception:  # nor do the files beside the numbers: nothing is made of them
            log.exception("result.malformed", **job.log_context())
            return made(nothing, {})

    def _measured(self, job: Job, fetched: Fetched) -> Measured:
        if fetched.gone:
            detail = "the job's directory is not in the workdir any more (a scratch cleaner?)"
            return Measured.nothing("files_gone", detail)
        kind = self.catalog.client(job.kind)
        if kind is None:
            return Measured.nothing("unknown_kind", f"no client kind {job.kind!r} to read it with")
        try:
            measured = kind.parse(without_notes(fetched.files), job.spec)
        except Exception as error:  # a parser's mistake costs this result its validity, no more
            log.exception("result.unreadable", **job.log_context())
            return Measured.nothing("unreadable", f"{type(error).__name__}: {error}")
        if not fetched.truncated:
            return measured
        detail = "more was left than is fetched; the rest is still in the job's directory"
        cut = Flag(code="files_truncated", severity=Severity.WARN, detail=detail)
        return replace(measured, flags=(*measured.flags, cut))

    async def keep_script(self, job: Job) -> None:
        """Keep the script of an attempt that was added for people to read."""
        if lost := await asyncio.to_thread(self.archive.keep_script, job):
            log.warning("archive.incomplete", what=lost, **job.log_context())

    async def keep(self, job: Job, fetched: Fetched) -> None:
        """Keep what a job left for people to read; nothing is made of it."""
        await asyncio.to_thread(self.archive.keep_files, job, fetched.files)

    async def finish(self, run: Run, effect: Finish) -> None:
        """Write the report of a run, then close it."""
        now = self.clock()
        why = await self._reason(run, effect)
        closed = replace(run, finished_at=now, outcome=effect.outcome, why=why)
        await self.write_report(closed, now)
        if await self.store.finish_run(run.id, effect.outcome, why, now):
            said = {"outcome": str(effect.outcome), "why": why}
            log.info("run.finished", run=run.id, name=run.name, **said)

    async def _reason(self, run: Run, effect: Finish) -> str | None:
        """Return why a run ended as it did, with what came home about it."""
        if effect.outcome not in {RunOutcome.FAILED, RunOutcome.INVALID}:
            return effect.why
        jobs = await self.store.jobs(run=run.id)
        documents = await self.store.results(run.id)
        words = await self._last_words(jobs)

        def said() -> str | None:
            results = [reread(text, run.id) for text in documents]
            return reason(effect.outcome, effect.why, jobs, results, words)

        try:
            return await asyncio.to_thread(said)
        except Exception:  # the run is over all the same
            log.exception("reason.failed", run=run.id)
            return effect.why

    async def _last_words(self, jobs: Sequence[Job]) -> Mapping[str, str]:
        failed = [job for job in jobs if job.state is JobState.FAILED]
        return await asyncio.to_thread(self.archive.last_words, failed)

    async def write_report(self, run: Run, now: float) -> None:
        """Write both forms of a run's report from what is stored."""
        jobs = await self.store.jobs(run=run.id)
        documents = await self.store.results(run.id)
        histories = {job.token: await self.store.transitions(job.token) for job in jobs}
        words = await self._last_words(jobs)

        def pages() -> tuple[str, str]:
            results = [reread(text, run.id) for text in documents]
            report = build(run, jobs, results, histories, now=now, last_words=words)
            return render_html(report), render_markdown(report)

        try:  # of a thousand results it takes seconds, in which services are looked at
            html, markdown = await asyncio.to_thread(pages)
        except Exception:  # the run is over all the same; its results are kept
            log.exception("report.failed", run=run.id)
            return
        lost = await asyncio.to_thread(self.archive.keep_report, run, html, markdown)
        if lost:
            log.warning("archive.incomplete", run=run.id, what=lost)
