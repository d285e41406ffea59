"""Bringing an image: see whether it is there, make it on the login node, or announce its job."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from benchd.core.effects import Finish, Look
from benchd.core.image_looks import Busy, Missing, There, Wrong, judged, last_lines
from benchd.core.images import path_of
from benchd.core.lifecycle import Rules
from benchd.core.model import TERMINAL, CancelWhy, Event, Evidence, Job, JobState, Run, Trigger
from benchd.core.spec import Role
from benchd.engine import Engine
from benchd.errors import Stale, Unreachable
from benchd.ports import Closing, ClusterPort, ImagesPort, Ledger, MadeHere

log = structlog.get_logger()

# Seconds before an image that somebody else makes is looked for again: making one takes minutes.
BUSY_PAUSE = 10.0
# Seconds between two looks whether an image that is being made is still wanted.
WANTED_PAUSE = 2.0
# What a shell says of a program that HUP, INT, KILL or TERM ended: somebody tidied the login node,
# or it went down. That says nothing about the image; a runtime's own 255 does.
KILLED = frozenset({129, 130, 137, 143})


@dataclass(frozen=True, slots=True)
class _Stopped:
    """Making an image ended because nobody wanted it any more."""

    status: int = 143
    said: str = "it was not wanted any more"


STOPPED = _Stopped()


class Means(Protocol):
    """What it takes; whoever performs effects has it."""

    engine: Engine
    store: Ledger
    closing: Closing
    clusters: Mapping[str, ClusterPort]


async def look(effect: Look, means: Means) -> float | None:
    """End an image job whose image is there; else make the image, or announce the job.

    Return seconds to wait before the next look, when somebody else makes it.
    """
    engine, store = means.engine, means.store
    job = await store.job(effect.token)
    if job is None or job.is_terminal or job.attempted_at or job.cancel_requested_at:
        return None
    images = means.clusters[job.cluster].images
    answer = judged(job, await images.look(job))
    if isinstance(answer, Busy) and await _is_over(answer, store):
        await images.free(job, answer.owner)  # its job was killed while it held the lock
        answer = judged(job, await images.look(job))
    box = job.spec.container
    if isinstance(answer, Missing) and box is not None and box.build == "login":
        answer = await _made_here(job, images, store)
    match answer:
        case There():
            await _ended(engine, job, answer.detail)
        case Wrong():
            await _refused(engine, job, answer)
        case Busy():
            return 1.0 if engine.pacings[job.cluster].testbed else BUSY_PAUSE
        case Missing():
            with suppress(Stale):  # it was cancelled, or moved otherwise, in the meantime
                await engine.store.intend(job, (), engine.clock())
    return None


async def _is_over(busy: Busy, store: Ledger) -> bool:
    """Tell whether the holder of a lock is a job of ours that has ended."""
    states = await store.known([busy.by]) if busy.by else {}
    return states.get(busy.by) in TERMINAL


async def _made_here(job: Job, images: ImagesPort, store: Ledger) -> There | Wrong | Busy:
    """Make the image on the login node and look what came of it."""
    path = path_of(job)
    if not images.may_make_here:
        why = "a login node is used for that only with budget.channels of 2 or more"
        return Wrong(why=f"{path} is not there, and {why}")
    log.info("image.making", path=path, **job.log_context())
    made = await _made(job, images, store)
    if made.status != 0:
        said = last_lines(made.said) or f"exit status {made.status}"
        why = f"{path} could not be made on the login node: {said}"
        killed = made.status in KILLED
        return Wrong(why=why, may_pass=killed, said=made.said, status=made.status)
    answer = judged(job, await images.look(job))
    if isinstance(answer, There):
        return replace(answer, detail=f"made on the login node: {path}, {answer.digest}")
    if isinstance(answer, Missing):
        raise Unreachable(f"{job.cluster}: {path} was made and is not seen yet", sent=False)
    return answer


async def _made(job: Job, images: ImagesPort, store: Ledger) -> MadeHere:
    """Make an image; stop the one who makes it when nobody wants it any more."""
    making = asyncio.ensure_future(images.make(job))
    try:
        while not (await asyncio.wait({making}, timeout=WANTED_PAUSE))[0]:
            row = await store.job(job.token)
            if row is not None and (row.is_terminal or row.cancel_requested_at is not None):
                await images.stop(job)
                return STOPPED
        return making.result()
    finally:
        making.cancel()


async def _ended(engine: Engine, job: Job, detail: str) -> None:
    evidence = Evidence(source="look", exit_status=0, raw=detail, at=engine.clock())
    event = Event(
        trigger=Trigger.CANCEL_REQUESTED, cancel_why=CancelWhy.DONE, why=detail, evidence=evidence
    )
    await engine.learn(job.token, event, Rules())


async def _refused(engine: Engine, job: Job, wrong: Wrong) -> None:
    evidence = Evidence(
        source="look", exit_status=wrong.status, raw=wrong.said or wrong.why, at=engine.clock()
    )
    event = Event(
        trigger=Trigger.SUBMIT_REFUSED, why=wrong.why, final=not wrong.may_pass, evidence=evidence
    )
    await engine.learn(job.token, event, Rules())


# --- the end of a run -----------------------------------------------------------------------------


async def with_last_words(effect: Finish, run: Run, means: Means) -> Finish:
    """Bring home what failed services and image jobs left: the report quotes the last line of it.

    The sentence about a run that failed for want of an image ends with what its maker said last.
    """
    said, clusters = "", means.clusters
    _, jobs, _ = await means.store.world()
    for job in jobs:
        failed = job.role is not Role.CLIENT and job.state is JobState.FAILED
        if failed and job.run_id == run.id and job.slurm_id and job.cluster in clusters:
            with suppress(Unreachable):  # the report is worth more than the quotation
                fetched = await clusters[job.cluster].fetch(job)
                await means.closing.keep(job, fetched)
                if job.role is Role.IMAGE and (effect.why or "").startswith(f"image {job.name} "):
                    said = last_lines(fetched.files.get("err", b"").decode(errors="replace"))
    return replace(effect, why=f"{effect.why}: {said}") if said else effect
