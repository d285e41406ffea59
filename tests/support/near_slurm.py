"""A cluster as benchd sees it, near an embedded Slurm, over SSH or on the login node itself."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchd.config import ClusterSettings
from benchd.core.model import Accepted, Job, JobState, Submission
from benchd.edge.cluster import Cluster
from benchd.edge.link import Link
from benchd.edge.local import LocalShell
from benchd.edge.shell import Shell
from benchd.edge.submission import SubmitOrder
from benchd.metrics import Metrics
from benchd.sim import EmbeddedCluster
from support import builders
from support.near import QUICK, settings_for

Opened = Callable[..., AbstractAsyncContextManager["Near"]]
# What every real script begins with, as short as it can be: the claim decides who works.
FENCED = """#!/bin/bash
ln -sT "$SLURM_JOB_ID" "$1/claim" 2>/dev/null
[ "$(readlink "$1/claim")" = "$SLURM_JOB_ID" ] || exit 75
echo "$SLURM_JOB_ID" >>"$1/ran"
"""


class Words:
    """The store's memory for words, without the store."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    async def meta(self, key: str) -> str | None:
        """Return a word."""
        return self.words.get(key)

    async def set_meta(self, key: str, value: str) -> None:
        """Remember a word."""
        self.words[key] = value


class Now:
    """A clock that tests move; it begins at the real time, so file times mean something."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@dataclass
class Near:
    """A cluster and what it was made of."""

    cluster: Cluster
    shell: Shell
    slurm: EmbeddedCluster
    metrics: Metrics
    now: Now
    words: Words = field(default_factory=Words)


@asynccontextmanager
async def near(
    slurm: EmbeddedCluster,
    now: Now,
    *,
    local: bool = False,
    words: Words | None = None,
    settings: ClusterSettings | None = None,
    **over: Any,
) -> AsyncIterator[Near]:
    """Open a cluster near ``slurm``; with ``local`` its commands must be in this PATH."""
    metrics = Metrics()
    settings = settings or settings_for(slurm)
    shell: Shell
    if local:
        shell = LocalShell("alpha", metrics=metrics)
    else:
        shell = Link("alpha", settings, metrics=metrics, pace=QUICK)
    remembered = words or Words()
    cluster = Cluster(
        "alpha",
        shell=shell,
        settings=settings,
        instance=builders.INSTANCE,
        metrics=metrics,
        epochs=remembered,
        clock=now,
        **over,
    )
    try:
        yield Near(cluster, shell, slurm, metrics, now, remembered)
    finally:
        await shell.close()


def age(path: Path, seconds: float) -> None:
    """Let a file or directory be so old by its file server's clock."""
    changed = time.time() - seconds
    os.utime(path, (changed, changed))


def order(job: Job, now: float, **over: Any) -> SubmitOrder:
    """Return the first try of a job, as it was just committed."""
    values: dict[str, Any] = {
        "token": job.token,
        "run_id": job.run_id,
        "k": 1,
        "attempted_at": now,
        "script": job.script,
        "make_run_dir": True,
    }
    return SubmitOrder(**{**values, **over})


def live(job: Job, answer: Submission, **over: Any) -> Job:
    """Return the job as it is after its submission was accepted."""
    assert isinstance(answer, Accepted), answer
    values: dict[str, Any] = {"state": JobState.SUBMITTED, "tries": 1, **over}
    return replace(job, slurm_id=answer.slurm_id, **values)


def job_dir(slurm: EmbeddedCluster, job: Job) -> Path:
    """Return the job's directory on the shared file system."""
    return slurm.workdir / "runs" / job.run_id / "jobs" / job.token
