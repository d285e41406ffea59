"""What a cluster bears from a whole daemon, and what the daemon says about it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from benchd.app import Daemon
from benchd.cli import ctl
from benchd.config import Settings
from benchd.core.model import Job, JobState, RunOutcome
from benchd.core.spec import Role
from benchd.errors import NeedsHuman
from benchd.sim import EmbeddedCluster
from support.inside import RECIPE, WAITING, Inside, daemon_on, settings_for
from support.near import known_under, sample, until
from support.near_slurm import Now, near
from support.wire import Wire

pytestmark = pytest.mark.asyncio

# A service that fails, and a client that waits for another one for ever.
LEFT = """\
name: left
service:
  name: dies
  kind: generic
  command: sh
  args: ["-c", "exit 3"]
  secrets: {A_PASSWORD: {generate: 24}}
  resources: {cpus_per_task: 1, time: "00:05:00"}
client:
  name: hold
  kind: generic
  command: sleep
  args: ["300"]
  target_service: {name: elsewhere}
"""


def through(settings: Settings, cluster: EmbeddedCluster, wire: Wire) -> Settings:
    """Return the settings with the cluster's login node behind a wire."""
    near_one = settings.clusters["sim"]
    assert near_one.ssh is not None
    over = {"port": wire.port, "known_hosts": known_under(cluster, wire.port)}
    ssh = near_one.ssh.model_copy(update=over)
    changed = {"sim": near_one.model_copy(update={"ssh": ssh})}
    return settings.model_copy(update={"clusters": changed})


@asynccontextmanager
async def running(settings: Settings, cluster: EmbeddedCluster) -> AsyncIterator[Inside]:
    """Run a daemon with these settings."""
    async with Daemon(settings) as daemon, asyncio.TaskGroup() as group:
        task = group.create_task(daemon.run(), name="daemon")
        await until((daemon.state_dir / "inbox").is_dir)
        try:
            yield Inside(daemon, cluster)
        finally:
            daemon.stop()
            await task


def status(inside: Inside, name: str = "sim") -> Any:
    """Return what the daemon says about a cluster."""
    return next(c for c in inside.daemon.steering.status()["clusters"] if c["name"] == name)


# --- unplugging -----------------------------------------------------------------------------------


async def test_an_unplugged_cluster_is_told_of_and_comes_back_by_itself(
    slurm: EmbeddedCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status says since when, why and what is next; after the return nothing needs a hand."""
    async with Wire(slurm.port) as wire:
        settings = through(settings_for(slurm, tmp_path), slurm, wire)
        async with running(settings, slurm) as inside:
            inside.drop(WAITING.replace('["300"]', '["3"]'))
            await inside.wait_job(Role.CLIENT, state=JobState.RUNNING)
            assert (None, "up") == (status(inside)["unreachable_since"], status(inside)["link"])
            before = inside.daemon.clock()
            wire.unplug()
            while "login attempt" not in status(inside)["next"]:
                await inside.turn()
            seen = status(inside)
            words = ["--socket", str(inside.daemon.settings.socket), "status"]
            assert 0 == await asyncio.to_thread(ctl.main, words)
            said = capsys.readouterr().out
            assert "no answer for " in said
            assert before <= seen["unreachable_since"] <= inside.daemon.clock()
            assert seen["detail"]
            wire.plug()
            assert RunOutcome.PASSED is (await inside.wait_run()).outcome
            assert (None, "", "up") == tuple(
                status(inside)[key] for key in ("unreachable_since", "detail", "link")
            )


async def test_status_answers_while_the_login_node_hangs(
    slurm: EmbeddedCluster, tmp_path: Path
) -> None:
    """A login that hangs keeps nobody from being told so."""
    async with Wire(slurm.port) as wire:
        settings = through(settings_for(slurm, tmp_path), slurm, wire)
        async with running(settings, slurm) as inside:
            wire.freeze()
            inside.drop(RECIPE)
            while status(inside)["link"] != "connecting":
                await inside.turn()
            words = ["--socket", str(inside.daemon.settings.socket), "status", "--json"]
            assert 0 == await asyncio.to_thread(ctl.main, words)
            assert ("connecting", "logging in now") == (
                status(inside)["link"],
                status(inside)["next"],
            )
            wire.thaw()


# --- isolation ------------------------------------------------------------------------------------


async def test_a_frozen_cluster_never_slows_another(slurm: EmbeddedCluster, tmp_path: Path) -> None:
    """While one login node says nothing, a run on another goes from its drop to its report."""
    async with EmbeddedCluster(tmp_path / "far") as far, Wire(far.port) as wire:
        settings = settings_for(slurm, tmp_path)
        frozen = through(settings_for(far, tmp_path), far, wire).clusters["sim"]
        both = {"sim": settings.clusters["sim"], "far": frozen}
        settings = settings.model_copy(update={"clusters": both})
        async with running(settings, slurm) as inside:
            # The embedded login node loses a forwarded connection that its client gave up.
            far_one = WAITING.replace(
                "type: http, endpoint: /health", 'type: command, endpoint: "true"'
            )
            inside.drop("cluster: far\n" + far_one, "far.yaml")
            held = await inside.wait_job(Role.CLIENT, state=JobState.RUNNING)
            polls = far.calls["squeue"]
            wire.freeze()
            inside.drop(RECIPE)
            while len(await inside.daemon.store.runs()) < 2:
                await inside.turn()
            run = await inside.wait_run()
            assert ("sim", RunOutcome.PASSED) == (run.cluster, run.outcome)
            still = await inside.daemon.store.job(held.token)
            assert still is not None
            assert (JobState.RUNNING, None) == (still.state, still.missing_since)
            assert far.calls["squeue"] - polls <= 1  # one may have been on its way
            while status(inside, "far")["unreachable_since"] is None:
                await inside.turn()
            assert status(inside, "sim")["unreachable_since"] is None
            wire.thaw()
            await inside.daemon.steering.cancel(held.run_id)
            while (await inside.jobs())[held.token].state is not JobState.CANCELLED:
                await inside.turn()


async def test_two_clusters_may_share_a_workdir(slurm: EmbeddedCluster, tmp_path: Path) -> None:
    """Login nodes with one home directory between them, opened at once: none disturbs another."""
    settings = settings_for(slurm, tmp_path)
    one = settings.clusters["sim"]
    both = settings.model_copy(update={"clusters": {"sim": one, "gpu": one}})
    for _ in range(2):  # the second life finds two epochs
        async with running(both, slurm) as inside:
            while any(s.shell.report().next_login_in for s in inside.daemon.sites.values()):
                await inside.turn()  # after the login of the life before
            opened = (site.cluster.open() for site in inside.daemon.sites.values())
            assert [slurm.workdir.resolve()] * 2 == [
                Path(place.workdir) for place in await asyncio.gather(*opened)
            ]
    async with running(both, slurm) as inside:
        for name in ("sim", "gpu"):
            assert not status(inside, name)["paused"]
            inside.drop(f"cluster: {name}\n{RECIPE}", f"{name}.yaml")
            while len(await inside.daemon.store.runs()) < 1 + (name == "gpu"):
                await inside.turn()
            assert RunOutcome.PASSED is (await inside.wait_run()).outcome


# --- logins ---------------------------------------------------------------------------------------


async def test_logins_are_counted_across_restarts(slurm: EmbeddedCluster, tmp_path: Path) -> None:
    """Two lives of the daemon log in once each, and the second one knows of both."""
    for life in (1, 2):
        async with daemon_on(slurm, tmp_path) as inside:
            inside.drop(RECIPE, f"{life}.yaml")
            await inside.wait_job(Role.CLIENT, attempt=1)
            while inside.daemon.sites["sim"].shell.report().state != "up":
                await inside.turn()
            seen = status(inside)
    assert (1, 2, 2) == (seen["logins"], seen["logins_today"], slurm.logins)


async def test_the_day_is_full_also_for_the_next_daemon(
    slurm: EmbeddedCluster, tmp_path: Path
) -> None:
    """At its ceiling a daemon rests, says until when, and a human may let one login through."""
    strict = {
        "testbed": False,
        "poll": {"interval": 10.0, "floor": 10.0},
        "budget": {"rpc_per_minute": 600.0, "burst": 100, "logins_per_10_minutes": 1},
    }
    async with daemon_on(slurm, tmp_path, **strict) as inside:
        inside.drop(RECIPE)
        while status(inside)["logins"] == 0:
            await inside.turn()
    async with daemon_on(slurm, tmp_path, **strict) as inside:
        while "left alone until" not in status(inside)["next"]:
            await inside.turn()
        seen = status(inside)
        before = slurm.logins
        assert (0, 1) == (seen["logins"], seen["logins_today"])
        assert "1 logins in 10 minutes are the limit" in seen["next"]
        await inside.daemon.steering.resume("sim", take_over=False)
        while status(inside)["link"] != "up":
            await inside.turn()
        assert 1 == slurm.logins - before


async def test_a_refused_key_is_not_shown_again_by_the_next_daemon(
    slurm: EmbeddedCluster, tmp_path: Path
) -> None:
    """After a refusal nothing is tried, not even after a restart, until a human resumes it."""
    slurm.inject("auth")
    async with daemon_on(slurm, tmp_path) as inside:
        inside.drop(RECIPE)
        while not status(inside)["paused"]:
            await inside.turn()
        tried = slurm.logins
    async with daemon_on(slurm, tmp_path) as inside:
        seen = status(inside)
        assert (True, "paused") == (seen["paused"], seen["link"])
        assert "refuses the key" in seen["detail"]
        assert "`benchctl cluster resume sim`" in seen["next"]
        assert 1.0 == sample(inside.daemon.metrics, "benchd_cluster_paused", cluster="sim")
        inside.daemon.engine.wake()
        job = await inside.wait_job(Role.SERVICE, state=JobState.CREATED)
        assert tried == slurm.logins
        slurm.heal("auth")
        await inside.daemon.steering.resume("sim", take_over=False)
        assert RunOutcome.PASSED is (await inside.wait_run()).outcome
        assert job.token in await inside.jobs()


@pytest.mark.parametrize("asks", ["reap", "gc", "secrets"])
async def test_a_refusal_is_remembered_whoever_met_it(
    slurm: EmbeddedCluster, tmp_path: Path, asks: str
) -> None:
    """A key that was refused to upkeep, too, is not shown again by the next daemon."""
    if asks == "secrets":
        async with daemon_on(slurm, tmp_path) as inside:
            await _with_leftovers(inside)
    slurm.inject("auth")
    tried = []
    for _ in range(2):
        async with daemon_on(slurm, tmp_path) as inside:
            await _ask(inside, asks)
            while status(inside)["link"] == "down":  # it rests after the login of the life before
                await inside.turn()
                await _ask(inside, asks)
            seen = status(inside)
            assert (True, "paused") == (seen["paused"], seen["link"])
            assert "refuses the key" in seen["detail"]
            tried.append(seen["logins"])
    assert [1, 0] == tried


async def test_a_paused_cluster_hears_nothing(slurm: EmbeddedCluster, tmp_path: Path) -> None:
    """Whatever is asked for while it is paused, nobody logs in; a run can end, and resume helps."""
    async with daemon_on(slurm, tmp_path) as inside:
        failed = await _with_leftovers(inside)
        await inside.daemon.steering.pause("sim")
    async with daemon_on(slurm, tmp_path) as inside:
        daemon = inside.daemon
        for asks in ("reap", "gc", "secrets"):
            await _ask(inside, asks)
        with pytest.raises(NeedsHuman, match="sim is paused: paused by hand"):
            await daemon.steering.log(failed.token, "out", 0, 10)
        with pytest.raises(NeedsHuman, match="sim is paused: paused by hand"):
            await daemon.upkeep.adopt("sim", "1")
        (old,) = await daemon.upkeep.gc(0.0, dry_run=True)
        assert "sim is paused: paused by hand" in old["kept"]
        await daemon.steering.cancel(failed.run_id)
        assert RunOutcome.CANCELLED is (await inside.wait_run()).outcome
        assert 0 == status(inside)["logins"]
        await daemon.steering.resume("sim", take_over=False)
        await daemon.steering.log(failed.token, "out", 0, 10)
        assert 1 == status(inside)["logins"]


async def _with_leftovers(inside: Inside) -> Job:
    """Leave a failed service whose secrets may still lie there, and a run that goes on."""
    inside.drop(LEFT)
    return await inside.wait_job(Role.SERVICE, state=JobState.FAILED)


async def _ask(inside: Inside, what: str) -> None:
    """Do what people or the daemon itself do beside the main path; refusals are its answer."""
    with suppress(NeedsHuman):
        if what == "reap":
            await inside.daemon.upkeep.reap("sim", dry_run=False)
        elif what == "gc":
            await inside.daemon.upkeep.gc(0.0, dry_run=False)
        else:
            await inside.daemon.forgetting.turn()


# --- pressure -------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["Rate limit exceeded", "RPC rate limited 3 times, backing off"])
async def test_words_about_a_limit_are_pressure(
    slurm: EmbeddedCluster, now: Now, said: str
) -> None:
    """What Slurm says about limits is counted and told to who paces the polls."""
    told: list[str] = []
    squeue = slurm.dir / "bin" / "squeue"
    real = squeue.read_text()
    squeue.unlink()
    squeue.write_text(real.replace("\n", f"\necho 'squeue: {said}' >&2\n", 1))
    squeue.chmod(0o755)
    async with near(slurm, now, pressed=lambda: told.append(said)) as at:
        await at.cluster.poll([])
        counted = sample(at.metrics, "benchd_slurm_rate_limited_total", cluster="alpha")
    assert ([said], 1.0) == (told, counted)
