"""The main job on the embedded cluster: what a user sees, with and without things going wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchd.core.model import CancelWhy, JobState, Readiness, RunOutcome
from benchd.core.spec import Role
from benchd.edge.store.rows import durable
from benchd.sim import EmbeddedCluster
from support.inside import RECIPE, WAITING, Inside, daemon_on

pytestmark = pytest.mark.asyncio


async def passed(inside: Inside) -> None:
    """Check that the run passed, with one Slurm job for every token."""
    run = await inside.wait_run()
    assert (RunOutcome.PASSED, None) == (run.outcome, run.why)
    tokens = list(await inside.jobs())
    assert [1] * len(tokens) == [inside.accepted(token) for token in tokens]


async def test_a_dropped_recipe_becomes_a_valid_result_and_a_report(inside: Inside) -> None:
    """Service, client, result, report, and a service that is stopped when it is not needed."""
    inside.drop(RECIPE)
    await passed(inside)
    run = (await inside.daemon.store.runs())[0]
    (document,) = await inside.daemon.store.results(run.id)
    result = json.loads(document)
    assert (True, 40) == (result["validity"]["valid"], result["counts"]["ok"])
    service = await inside.job(Role.SERVICE)
    assert service is not None
    assert (JobState.CANCELLED, CancelWhy.DONE) == (service.state, service.cancel_why)
    folder = inside.daemon.state_dir / "runs" / run.id
    assert run.id in (folder / "report.html").read_text()
    moved = [p.name for p in (inside.daemon.state_dir / "inbox" / "accepted").iterdir()]
    assert [f"{run.id}-tiny.yaml"] == moved


@pytest.mark.parametrize(
    "fault",
    ["answer-lost=2", "socket-timeout=2", "squeue-error=3", "slow=1.0", "drop=1.5", "sacct-down"],
)
async def test_a_run_passes_with_one_job_per_token_under(inside: Inside, fault: str) -> None:
    """Lost answers, errors, slowness and dropped links cost time and nothing else."""
    inside.cluster.inject(fault)
    inside.drop(RECIPE)
    await passed(inside)


async def test_a_requeued_service_is_measured_anew(inside: Inside) -> None:
    """The client of the first span is cancelled as SIBLING, and a second attempt follows."""
    inside.drop(WAITING)
    first = await inside.wait_job(Role.CLIENT, state=JobState.RUNNING)
    service = await inside.job(Role.SERVICE)
    assert service is not None
    inside.cluster.inject("requeue", service.token)
    again = await inside.wait_job(Role.CLIENT, attempt=2, state=JobState.RUNNING)
    ended = (await inside.jobs())[first.token]
    assert (JobState.CANCELLED, CancelWhy.SIBLING) == (ended.state, ended.cancel_why)
    assert [1] == [b.generation for b in again.bindings]


async def test_a_node_failure_replaces_the_service_and_its_client(inside: Inside) -> None:
    """With attempts left, the service comes back as a new job and is measured again."""
    inside.drop(WAITING.replace("requeue: true", "requeue: false"))
    await inside.wait_job(Role.CLIENT, state=JobState.RUNNING)
    service = await inside.job(Role.SERVICE)
    assert service is not None
    inside.cluster.inject("node-fail", service.nodes)
    again = await inside.wait_job(Role.CLIENT, attempt=2, state=JobState.RUNNING)
    dead = (await inside.jobs())[service.token]
    assert (JobState.FAILED, "NODE_FAIL") == (dead.state, dead.why)
    assert service.token != again.bindings[0].token


async def test_a_refused_partition_fails_the_run_with_slurms_words(inside: Inside) -> None:
    """One clear sentence where the user looks; nothing waits for what will never come."""
    inside.drop(RECIPE.replace("cpus_per_task: 1,", "cpus_per_task: 1, partition: nope,", 1))
    run = await inside.wait_run()
    assert RunOutcome.FAILED is run.outcome
    assert "artition" in (run.why or "")


async def test_a_changed_host_key_pauses_the_cluster_until_it_is_resumed(inside: Inside) -> None:
    """Nothing is sent to who may be somebody else; the run goes on after a human said so."""
    inside.drop(RECIPE)
    await inside.wait_job(Role.SERVICE, readiness=Readiness.READY)
    inside.cluster.inject("host-key")
    site = inside.daemon.sites["sim"]
    while site.pacing.paused is None:
        await inside.turn()
    assert "host key" in site.pacing.paused
    inside.cluster.heal("host-key")
    await inside.daemon.steering.resume("sim", take_over=False)
    await passed(inside)


async def test_a_bad_recipe_is_rejected_beside_its_mistakes_and_others_go_on(
    inside: Inside,
) -> None:
    """Every mistake with line and column in the file beside it; the good recipe runs."""
    inside.drop(RECIPE.replace("requests: 40", "reqests: 40, concurrency: 0"), "bad.yaml")
    inside.drop(RECIPE)
    await passed(inside)
    said = (inside.daemon.state_dir / "inbox" / "rejected" / "bad.yaml.error.txt").read_text()
    assert said.count("bad.yaml:") >= 2
    assert "requests" in said


async def test_cancelling_a_run_ends_everything(inside: Inside) -> None:
    """Both jobs are gone from Slurm, and the run says why."""
    inside.drop(WAITING)
    client = await inside.wait_job(Role.CLIENT, state=JobState.RUNNING)
    await inside.daemon.steering.cancel(client.run_id)
    run = await inside.wait_run()
    assert RunOutcome.CANCELLED is run.outcome
    states = {job.state for job in (await inside.jobs()).values()}
    assert {JobState.CANCELLED} == states


async def test_a_restarted_daemon_goes_on_where_it_was(
    slurm: EmbeddedCluster, tmp_path: Path
) -> None:
    """A daemon that is stopped leaves its jobs alone; the next one follows the same jobs."""
    async with daemon_on(slurm, tmp_path) as first:
        first.drop(WAITING)
        before = await first.wait_job(Role.CLIENT, state=JobState.RUNNING)
    async with daemon_on(slurm, tmp_path) as second:
        after = await second.wait_job(Role.CLIENT, state=JobState.RUNNING)
        assert (before.token, before.slurm_id) == (after.token, after.slurm_id)
        await second.daemon.steering.cancel_all()
        assert RunOutcome.CANCELLED is (await second.wait_run()).outcome


async def test_the_history_of_every_job_folds_to_its_row(inside: Inside) -> None:
    """Transitions carry revisions 1..n, and replaying them gives the job but for its last look."""
    inside.drop(RECIPE)
    await passed(inside)
    store = inside.daemon.store
    for job in (await inside.jobs()).values():
        assert durable(job) == await store.fold(job.token)
