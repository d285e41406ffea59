"""Tried again by cause, on the embedded cluster: elsewhere, with more, or not at all."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from benchd.core.model import Job, JobState, ProbeAnswer, Readiness, RunOutcome, Verdict
from benchd.core.spec import Role
from benchd.errors import UserError
from benchd.sim import EmbeddedCluster
from support.inside import PATIENCE, WAITING, Inside, daemon_on

pytestmark = pytest.mark.asyncio

SERVICE = """\
name: again
service:
  name: sim-llm
  ports: [auto]
  resources: {cpus_per_task: 1, time: "00:05:00", mem: 100M}
  health_check: {type: http, endpoint: /health, interval: 0.2, timeout: 2}
  restart: {max_attempts: 2, back_off: 0.1}
"""
PASSWORD = """\
name: password
service:
  name: dies
  kind: generic
  command: sh
  args: ["-c", "exit 3"]
  environment: {A_PASSWORD: swordfish}
  resources: {cpus_per_task: 1, time: "00:05:00"}
"""


async def test_after_a_failed_node_the_next_attempt_runs_on_another(
    inside: Inside, slurm: EmbeddedCluster
) -> None:
    """The node is excluded in the script that was sent, though it is back; ``why`` says so."""
    inside.drop(SERVICE)
    first = await inside.wait_job(Role.SERVICE, state=JobState.RUNNING)
    slurm.inject("node-fail", first.token)
    await inside.wait_job(Role.SERVICE, attempt=2)
    slurm.heal()
    second = await inside.wait_job(Role.SERVICE, attempt=2, state=JobState.RUNNING)
    (request,) = (job.request for job in slurm.jobs(second.token))
    assert (first.nodes,) == request.exclude
    assert first.nodes != second.nodes
    said = await inside.daemon.steering.waiting(first.token)
    assert f"it is followed by attempt 2: {second.token}" == said


@pytest.mark.parametrize(
    ("more", "memory", "outcome"),
    [(", more_memory: 1.5", "150M", None), ("", "100M", RunOutcome.FAILED)],
)
async def test_more_memory_is_asked_for_only_if_the_recipe_says_so(
    inside: Inside, slurm: EmbeddedCluster, more: str, memory: str, outcome: RunOutcome | None
) -> None:
    """Without it the same would happen again, so the run ends."""
    inside.drop(SERVICE.replace(", back_off", f"{more}, back_off"))
    first = await inside.wait_job(Role.SERVICE, state=JobState.RUNNING)
    slurm.inject("oom", first.token)
    if outcome is not None:
        assert outcome is (await inside.wait_run()).outcome
        said = await inside.daemon.steering.waiting(first.token)
        assert "it is not tried again: the same mem would not do again" in said
    last = await inside.wait_job(Role.SERVICE, attempt=1 if outcome else 2)
    assert memory == last.spec.resources.mem
    if outcome is None:
        said = await inside.daemon.steering.waiting(first.token)
        assert f"it is followed by attempt 2 with mem {memory}" in said
        kept = inside.daemon.archive.folder(last.run_id) / "scripts" / f"{last.token}.sh"
        async with asyncio.timeout(PATIENCE):
            while not kept.is_file():
                await inside.turn()
        assert f"# Job {last.token}, written by benchd." in kept.read_text()


async def test_a_service_that_dies_at_once_is_no_storm(
    inside: Inside, slurm: EmbeddedCluster
) -> None:
    """Pauses grow between its attempts, and there are as many as the recipe allows."""
    crashing = SERVICE.replace("  ports: [auto]\n", "  kind: generic\n  command: 'false'\n")
    crashing = crashing.replace("type: http, endpoint: /health", "type: tcp")
    inside.drop(crashing.replace("max_attempts: 2", "max_attempts: 3"))
    assert RunOutcome.FAILED is (await inside.wait_run()).outcome
    jobs = list((await inside.jobs()).values())
    assert [1, 2, 3] == [job.attempt for job in jobs]
    pauses = [job.not_before - job.created_at for job in jobs[1:]]
    assert [0.1, 0.2] == [round(pause, 3) for pause in pauses]
    assert 3 == len(slurm.jobs())


async def test_what_slurm_lost_before_it_started_is_tried_again(
    slurm: EmbeddedCluster, tmp_path: Path
) -> None:
    """Its claim is sealed first, so that it can never start beside the attempt that follows."""
    slurm.inject("sacct-off")
    async with daemon_on(slurm, tmp_path, patience=0.5) as inside:
        inside.drop(SERVICE.replace("mem: 100M", "mem: 100M, exclusive: true, nodelist: n1"))
        await inside.wait_job(Role.SERVICE, state=JobState.RUNNING)
        inside.drop(SERVICE.replace("mem: 100M", "mem: 100M, nodelist: n1"), name="b.yaml")
        queued = await inside.wait_job(Role.SERVICE, state=JobState.PENDING)
        del slurm.model.jobs[int(queued.slurm_id or 0)]
        second = await inside.wait_job(Role.SERVICE, attempt=2, state=JobState.PENDING)
        lost = (await inside.jobs())[queued.token]
        assert (JobState.FAILED, "NEVER_STARTED") == (lost.state, lost.why)
        assert second.run_id == queued.run_id
        place = await inside.daemon.sites["sim"].cluster.open()
        claim = Path(place.job_dir(queued.run_id, queued.token)) / "claim"
        assert "sealed" == str(claim.readlink())


async def test_what_slurm_lost_after_it_started_waits_for_a_human(
    slurm: EmbeddedCluster, tmp_path: Path
) -> None:
    """It may still run: nobody sends another beside it."""
    slurm.inject("sacct-off")
    async with daemon_on(slurm, tmp_path, patience=0.5) as inside:
        inside.drop(SERVICE)
        running = await inside.wait_job(Role.SERVICE, state=JobState.RUNNING)
        slurm.model.jobs.pop(int(running.slurm_id or 0))
        assert RunOutcome.FAILED is (await inside.wait_run()).outcome
        (lost,) = (await inside.jobs()).values()
        assert (JobState.FAILED, "LOST") == (lost.state, lost.why)


async def test_a_requeue_that_no_poll_saw_is_measured_anew(
    inside: Inside, slurm: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm's count tells: the client of the first life is cancelled, the second one bound anew."""
    inside.drop(WAITING)
    first = await inside.wait_job(Role.CLIENT, state=JobState.RUNNING)
    service = await inside.job(Role.SERVICE)
    assert service is not None
    pacing = inside.daemon.sites["sim"].pacing
    monkeypatch.setattr(type(pacing), "soon", lambda self, now: None)
    pacing.next_poll_at = inside.daemon.clock() + 1e6
    slurm.inject("requeue", service.token)
    (job,) = slurm.jobs(service.token)
    while not (job.restarts == 1 and job.base == "RUNNING"):
        await inside.turn()
    monkeypatch.undo()
    pacing.next_poll_at = 0.0
    inside.daemon.engine.wake()
    again = await inside.wait_job(Role.CLIENT, attempt=2, state=JobState.RUNNING)
    assert [(service.token, 1)] == [(b.token, b.generation) for b in again.bindings]
    history = [row.new for row in await inside.daemon.store.transitions(service.token)]
    assert "PENDING" not in history[history.index("READY") :]
    assert JobState.CANCELLED is (await inside.jobs())[first.token].state


async def test_slurm_is_asked_soon_about_a_service_that_fell_silent(
    inside: Inside, slurm: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it ended, was suspended or hangs must be known before it is given up."""
    inside.drop(SERVICE)
    up = await inside.wait_job(Role.SERVICE, readiness=Readiness.READY)
    pacing = inside.daemon.sites["sim"].pacing
    looking = inside.daemon.sites["sim"].cluster.probe

    async def silent(job: Job) -> ProbeAnswer:
        answer = await looking(job)
        return replace(answer, verdict=Verdict.BAD, detail="refused")

    monkeypatch.setattr(inside.daemon.sites["sim"].cluster, "probe", silent)
    pacing.next_poll_at = inside.daemon.clock() + 1e6
    fell = await inside.wait_job(Role.SERVICE, readiness=Readiness.UNREADY)
    async with asyncio.timeout(10):
        while (pacing.last_poll_at or 0.0) < (fell.readiness_since or 0.0):
            await inside.turn()
    assert up.token == fell.token


async def test_without_its_password_nothing_is_tried_again(inside: Inside) -> None:
    """A retry is refused at once when a secret stood in the recipe and went with the run."""
    inside.drop(PASSWORD)
    run = await inside.wait_run()
    await inside.daemon.keyring.drop(run.id)
    with pytest.raises(UserError, match=r"A_PASSWORD stood in the recipe.*submit the recipe again"):
        await inside.daemon.steering.retry(run.id)
    assert (1, run) == (len(await inside.jobs()), await inside.daemon.store.run(run.id))


async def test_a_retry_by_hand_leaves_its_script_too(inside: Inside) -> None:
    """Beside the script of the first attempt lies that of the one that was asked for."""
    inside.drop(PASSWORD.replace("A_PASSWORD", "A_WORD"))
    run = await inside.wait_run()
    (token,) = await inside.daemon.steering.retry(run.id)
    scripts = inside.daemon.archive.folder(run.id) / "scripts"
    assert f"# Job {token}, written by benchd." in (scripts / f"{token}.sh").read_text()
    assert 2 == len(list(scripts.iterdir()))
