"""Telling a running job where the services are that it watches: one file in its directory."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from benchd.core.effects import Publish
from benchd.core.model import JobState
from benchd.core.monitoring import TARGETS
from benchd.engine import Engine
from benchd.ports import ClusterPort, Ledger

log = structlog.get_logger()


async def publish(
    effect: Publish, *, engine: Engine, store: Ledger, clusters: Mapping[str, ClusterPort]
) -> None:
    """Write the list, unless the job has ended meanwhile; remember what it says now.

    What is remembered is lost with the daemon, and then everything is written once more.
    """
    job = await store.job(effect.token)
    if job is None or job.state is not JobState.RUNNING:
        return
    await clusters[job.cluster].put(job, TARGETS, effect.text.encode())
    engine.published[job.token] = effect.text
    log.info("targets.published", bytes=len(effect.text), **job.log_context())
