"""The virtual cluster: jobs go their way, faults act, copies go on, unknown words are refused."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from benchd.config import Budget
from benchd.core.model import Accepted, Job, JobState
from benchd.core.spec import RestartPolicy
from benchd.edge import submission
from benchd.edge.cluster import Cluster
from benchd.edge.pack import build
from benchd.edge.submission import Place
from benchd.errors import BenchdError
from benchd.metrics import Metrics
from simulation.agenda import START, Agenda
from simulation.bash import NotUnderstood
from simulation.faults import _RANGES, Faults
from simulation.phrases import BOOK
from simulation.said_script import BOOK as SCRIPTS
from simulation.site import Site
from simulation.virtualloop import VirtualLoop
from support.builders import INSTANCE, client, service
from support.near_slurm import Words, order
from support.script_cases import case

# What is always so, and so is not counted.
CONDITIONS = {"min_job_age", "accounting_lag", "clock_skew", "slurm_skew"}


def service_job(token: str = "serve-1") -> Job:
    """Return a service that Slurm may requeue."""
    script = case(
        "serve", ports=("auto",), restart=RestartPolicy(requeue=True), health_check=None
    ).render(token)
    return service(script=script, ports=("auto",), token=token)


def cluster_of(site: Site) -> Cluster:
    """Return the daemon's view of a site, with money for everything."""
    budget = Budget(rpc_per_minute=60_000.0, burst=1000, submits_per_minute=60_000.0)
    settings = site.settings(budget=budget)
    return Cluster(
        site.name,
        shell=site.shell(settings),
        settings=settings,
        instance=INSTANCE,
        metrics=Metrics(),
        epochs=Words(),
        clock=site.now,
    )


def play(agenda: Agenda, story: Coroutine[Any, Any, None]) -> None:
    """Let a story happen in virtual time."""
    VirtualLoop(agenda).run_until_complete(story)


def seen(job: Job, slurm_id: str, state: JobState = JobState.RUNNING) -> Job:
    """Return a job as it is in the books after a submission."""
    return replace(job, state=state, slurm_id=slurm_id, generation=0)


async def whole_life(site: Site, job: Job) -> None:
    """Submit a service, look at it, end it, bring home what it left."""
    cluster = cluster_of(site)
    answer = await cluster.submit(order(job, site.now()))
    assert isinstance(answer, Accepted)
    await site.sleep(600.0)
    running = seen(job, answer.slurm_id)
    found = await cluster.poll([running])
    assert ["RUNNING"] == [row.word for row in found.seen[job.token]]
    assert (await cluster.probe(running)).endpoint is not None
    await cluster.cancel(running)
    await site.sleep(60.0)
    left = await cluster.fetch(seen(job, answer.slurm_id, JobState.CANCELLED))
    assert b'"status":143' in left.files["exit.json"]


def test_a_job_goes_its_way() -> None:
    """A service is queued, started behind the claim, answers, is ended, and leaves its word."""
    agenda = Agenda()
    site = Site(agenda, Random(1))
    play(agenda, whole_life(site, service_job()))
    assert (1, 1, 0) == (len(site.accepted), len(site.starts), len(site.twins))
    assert (["sbatch", "squeue", "scancel"], 1) == ([n for _, n, _ in site.rpcs], len(site.logins))


def test_one_seed_is_one_history() -> None:
    """The same seed gives the same moments, to the last digit."""
    histories = []
    for _ in range(2):
        agenda = Agenda()
        site = Site(agenda, Random(8), faults=Faults(attribute_cache=0.5, slow_shell=0.5))
        play(agenda, whole_life(site, service_job()))
        histories.append((site.accepted, site.starts, site.rpcs, agenda.now))
    assert histories[0] == histories[1]


def test_a_copy_goes_on_as_the_original_does() -> None:
    """A virtual cluster that is copied in the middle of everything has the same future."""
    agenda = Agenda()
    site = Site(agenda, Random(3), faults=Faults(requeue=1.0, preempt=1.0))

    async def begin() -> None:
        cluster = cluster_of(site)
        with suppress(asyncio.TimeoutError):
            async with asyncio.timeout(1.08):  # in the middle of a submission
                await cluster.submit(order(service_job(), site.now()))

    play(agenda, begin())
    assert [] == site.accepted  # what was begun goes on without the daemon
    site.daemon_died()
    copied, again = pickle.loads(pickle.dumps((agenda, site)))
    for each in (agenda, copied):
        each.run_until(START + 7200.0)
    assert site.starts == again.starts
    assert len(site.starts) > 1
    assert list(site.disk.walk("/scratch")) == list(again.disk.walk("/scratch"))


def test_the_claim_stops_a_twin() -> None:
    """Of two Slurm jobs of one job the second finds the claim taken and leaves."""
    agenda = Agenda()
    site = Site(agenda, Random(5))
    job = service_job()

    async def twice() -> None:
        cluster = cluster_of(site)
        for k in (1, 2):
            await cluster.submit(order(job, site.now(), k=k))
        await site.sleep(1000.0)

    play(agenda, twice())
    assert ([1, 2], 1, 1) == ([q.k for q in site.accepted], len(site.starts), len(site.twins))


def test_a_dead_site_does_not_touch_another() -> None:
    """Two clusters in one world: what happens to one changes nothing of the other's history."""
    histories = []
    for faults in (Faults(), Faults(outages=60.0, cold_starts=60.0, downs=60.0)):
        agenda = Agenda()
        Site(agenda, Random(11), name="ill", faults=faults)
        site = Site(agenda, Random(12), name="well")
        play(agenda, whole_life(site, service_job()))
        histories.append((site.accepted, site.starts, site.rpcs))
    assert histories[0] == histories[1]


def test_ids_are_given_again_after_a_cold_start() -> None:
    """After a cold start slurmctld knows no job, and counts from the beginning."""
    agenda = Agenda()
    site = Site(agenda, Random(5))

    async def story() -> None:
        cluster = cluster_of(site)
        await cluster.submit(order(service_job("one"), site.now()))
        await site.sleep(400.0)
        site.nodes.abort()
        site.slurm.cold_start()
        await site.sleep(100.0)
        await cluster.submit(order(service_job("two"), site.now()))
        assert [] == await cluster.slurm.named("one")

    play(agenda, story())
    assert 1 == len({queued.slurm_id for queued in site.accepted})
    assert ["one", "two"] == [queued.token for queued in site.accepted]


async def restless(site: Site, jobs: list[Job]) -> None:
    """Do everything the daemon does, whatever comes of it, for two hours."""
    cluster = cluster_of(site)
    for turn in range(60):
        job = jobs[turn % len(jobs)]
        token = f"{job.token}-{turn}"
        sent = replace(job, token=token, script=job.script.replace(job.token, token))
        with suppress(BenchdError):
            ship = (build("load").file_name,) if turn == 1 else ()
            await cluster.submit(order(sent, site.now(), ship=ship))
        with suppress(BenchdError):
            await cluster.poll([seen(sent, "1")])
        with suppress(BenchdError):
            await cluster.probe(seen(sent, "1"))
        if turn % 5 == 4:
            with suppress(BenchdError):
                await cluster.end_by_name([token])
        await site.sleep(120.0)


@pytest.mark.parametrize("name", sorted(_RANGES))
def test_every_fault_acts(name: str) -> None:
    """A site on which one thing often goes wrong counts that it did."""
    per_hour = name in {"outages", "stalls", "downs", "cold_starts", "sacct_downs", "full_disk"}
    faults = Faults(**{name: 30.0 if per_hour else 0.7})
    if name == "zombies":
        faults = Faults(zombies=1.0, node_failure=1.0)
    if name == "stall_drops":
        faults = Faults(stall_drops=1.0, stalls=30.0)
    agenda = Agenda()
    site = Site(agenda, Random(2), faults=faults)
    script = case("measure", role=client().role).render("c-1")
    play(agenda, restless(site, [service_job(), client(script=script, token="c-1")]))
    assert [] == site.misunderstood
    if name not in CONDITIONS:
        assert site.struck[name] > 0, site.struck
    site.calm()
    struck = site.struck[name]
    agenda.run_until(agenda.now + 7200.0)
    assert struck == site.struck[name]  # nothing goes wrong any more


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("umask 077", "umask 022"),
        ('mkdir "$T"', 'mkdir -p "$T"'),
        ("stop epoch", "stop epochs"),
        (" -eq ", " -le "),
        ('>"$T/out"', '>>"$T/out"'),
        ("--export=NONE", "--export=ALL"),
        ("; show", "; shows"),
    ],
)
def test_a_changed_command_is_not_simulated(old: str, new: str) -> None:
    """A command with one other word is refused, whatever the word would mean."""
    place = Place(workdir="/scratch/benchd", instance=INSTANCE, cluster="alpha", epoch=1)
    wanted = order(client(script="#!/bin/sh\n"), START)
    _, lengths = submission.payload(wanted)
    command = submission.command(wanted, place, lengths)
    assert old in command
    assert BOOK.read(command)
    with pytest.raises(NotUnderstood):
        BOOK.read(command.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new"), [("exit 75", "exit 76"), ("ln -sT", "ln -sfT"), ("rm -f", "rm -rf")]
)
def test_a_changed_script_is_not_simulated(old: str, new: str) -> None:
    """A job's script with one other word is refused and remembered as not understood."""
    site = Site(Agenda(), Random(0))
    job = service_job()
    assert old in job.script
    with pytest.raises(NotUnderstood):
        site.understand(SCRIPTS, job.script.replace(old, new, 1))
    assert 1 == len(site.misunderstood)
