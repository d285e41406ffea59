"""Troubles that a run must survive, or end from with a sentence: none may hang or take others."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchd.app import Daemon
from benchd.cli import ctl
from benchd.config import Settings
from benchd.core.model import (
    CancelWhy,
    Event,
    Evidence,
    JobState,
    Refused,
    RunOutcome,
    Submission,
    Trigger,
)
from benchd.core.spec import Role
from benchd.edge.submission import SubmitOrder
from benchd.sim import EmbeddedCluster
from support.inside import RECIPE, WAITING, Inside, daemon_on, settings_for

pytestmark = pytest.mark.asyncio


async def test_a_client_that_is_refused_for_now_is_sent_again(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quota that clears costs a pause; the run passes."""
    monkeypatch.setattr("benchd.core.lifecycle.REFUSAL_PAUSE", 0.1)
    cluster = inside.daemon.sites["sim"].cluster
    send, refusals = cluster.submit, [1]

    async def submit(order: SubmitOrder) -> Submission:
        if "-c-" in order.token and refusals:
            refusals.pop()
            return Refused(why="QOS limit", final=False, evidence=Evidence(source="sbatch"))
        return await send(order)

    monkeypatch.setattr(cluster, "submit", submit)
    inside.drop(RECIPE)
    assert RunOutcome.PASSED is (await inside.wait_run()).outcome
    client = await inside.job(Role.CLIENT)
    assert client is not None
    assert 2 == client.tries


async def test_a_cluster_that_left_the_configuration_takes_nobody_along(
    slurm: EmbeddedCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its jobs wait, as status and log say; cancelling them is recorded; the daemon goes on."""
    async with daemon_on(slurm, tmp_path) as first:
        first.drop(WAITING)
        job = await first.wait_job(Role.CLIENT, state=JobState.RUNNING)
    renamed: Settings = settings_for(slurm, tmp_path)
    clusters = {"other": renamed.clusters["sim"]}
    renamed = renamed.model_copy(update={"clusters": clusters, "default_cluster": "other"})
    async with Daemon(renamed) as daemon, asyncio.TaskGroup() as group:
        running = group.create_task(daemon.run())
        second = Inside(daemon, slurm)
        await daemon.steering.cancel(job.run_id)
        asked = await second.wait_job(Role.CLIENT, cancel_why=CancelWhy.ASKED)
        assert JobState.RUNNING is asked.state
        assert "not in the configuration" in await daemon.steering.waiting(job.token)
        socket = str(daemon.settings.socket)
        assert 0 == await asyncio.to_thread(ctl.main, ["--socket", socket, "status"])
        said = capsys.readouterr().out
        assert "cluster.not_configured " in said
        assert "2 jobs live on sim, which is not in the configuration any more: put it " in said
        assert not running.done()
        daemon.stop()


async def test_a_restart_that_no_poll_saw_spoils_the_result(
    inside: Inside, slurm: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service restarts and answers again between two polls: the numbers describe both."""
    inside.drop(WAITING.replace('["300"]', '["4"]').replace("interval: 0.2", "interval: 8"))
    await inside.wait_job(Role.CLIENT, state=JobState.RUNNING)
    service = await inside.job(Role.SERVICE)
    assert service is not None
    pacing = inside.daemon.sites["sim"].pacing
    monkeypatch.setattr(type(pacing), "soon", lambda self, now: None)
    pacing.next_poll_at = inside.daemon.clock() + 1e6
    slurm.inject("requeue", service.token)
    while not (slurm.jobs(service.token)[0].restarts and slurm.jobs()[-1].base == "COMPLETED"):
        await inside.turn()
    while slurm.jobs(service.token)[0].base != "RUNNING":
        await inside.turn()
    pacing.next_poll_at = 0.0
    inside.daemon.engine.wake()
    await inside.wait_job(Role.SERVICE, generation=1)
    while not await inside.daemon.store.results():
        await inside.turn()
    result = json.loads((await inside.daemon.store.results())[0])
    assert not result["validity"]["valid"]
    assert "service_not_steady" in [flag["code"] for flag in result["validity"]["flags"]]


async def test_cancelling_many_jobs_tells_slurm_once_and_then_looks(
    slurm: EmbeddedCluster, tmp_path: Path
) -> None:
    """With the budget of a strict site the ends are seen, and no scancel is repeated unseen."""
    strict = {"rpc_per_minute": 240.0, "burst": 10, "submits_per_minute": 600.0, "channels": 5}
    async with daemon_on(slurm, tmp_path, budget=strict) as inside:
        text = WAITING.partition("client:")[0].replace("max_attempts: 2, ", "")
        text = text.replace(", back_off: 0.1", "")
        many = text.replace("  name: sim-llm\n", "  name: sim-llm\n  replicas: 8\n")
        inside.drop(many)
        await inside.wait_job(Role.SERVICE, state=JobState.RUNNING)
        while any(j.state is not JobState.RUNNING for j in (await inside.jobs()).values()):
            await inside.turn()
        before = slurm.calls.get("scancel", 0)
        await inside.daemon.steering.cancel_all()
        run = await inside.wait_run()
        assert RunOutcome.CANCELLED is run.outcome
        assert slurm.calls["scancel"] - before <= 2 * 8


async def test_a_job_that_is_over_in_the_books_and_alive_in_slurm_is_ended(
    inside: Inside, slurm: EmbeddedCluster
) -> None:
    """A job that was given up as LOST and comes back does not run on unnoticed."""
    inside.drop(WAITING)
    client = await inside.wait_job(Role.CLIENT, state=JobState.RUNNING)
    store = inside.daemon.store
    ended = replace(client, state=JobState.FAILED, why="LOST", ended_at=inside.daemon.clock())
    move = await store.job(client.token)
    assert move is not None
    await store.apply(
        move, replace(ended, rev=move.rev), Event(trigger=Trigger.NOT_SEEN), inside.daemon.clock()
    )
    while any(job.base == "RUNNING" for job in slurm.jobs(client.token)):
        await inside.turn()
    assert "CANCELLED" == slurm.jobs(client.token)[0].base
