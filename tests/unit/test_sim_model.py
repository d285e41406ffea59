"""The model of slurmctld by itself: no process, no socket, a clock that is a number."""

from __future__ import annotations

import pytest

from benchd.sim.cluster import build_model
from benchd.sim.nouns import Config, End, Job, Launch, Rejected, Request
from benchd.sim.slurmctld import Slurmctld

START = 1000.0


def model(nodes: int = 2, cpus: int = 4, **config: float) -> Slurmctld:
    return build_model(Config(**config), nodes=nodes, cpus=cpus)  # type: ignore[arg-type] # numbers


def submit(slurm: Slurmctld, name: str = "job", **wishes: object) -> Job:
    request = Request(name=name, script=b"#!/bin/sh\n", chdir="/w", **wishes)  # type: ignore[arg-type] # passed on
    return slurm.submit(request, user="u", uid=1, now=START)


def run(slurm: Slurmctld, now: float = START) -> list[str]:
    """Tick, note what was launched, and return the orders as text."""
    slurm.tick(now)
    orders = slurm.take_orders()
    for order in orders:
        if isinstance(order, Launch):
            slurm.launched(order.job_id)
    return [f"{type(order).__name__.lower()} {order.job_id}.{order.restarts}" for order in orders]


def test_jobs_start_first_in_first_out() -> None:
    """What does not fit waits for Resources, and what comes later waits behind it."""
    slurm = model(nodes=1, cpus=4)
    jobs = [submit(slurm, cpus_per_task=cpus) for cpus in (3, 2, 1)]
    assert ["launch 1.0"] == run(slurm)
    assert ["None", "Resources", "Priority"] == [job.reason for job in jobs]
    slurm.ended(1, 0, START + 1)
    assert ["launch 2.0", "launch 3.0"] == run(slurm, START + 1)


@pytest.mark.parametrize(
    ("wishes", "reason"),
    [
        ({"partition": "down"}, "PartitionDown"),
        ({"partition": "short", "minutes": 6}, "PartitionTimeLimit"),
        ({"hold": True}, "JobHeldUser"),
        ({"nodes": 3}, "PartitionNodeLimit"),
        ({"tasks": 9}, "PartitionConfig"),
    ],
)
def test_a_job_that_cannot_start_says_why(wishes: dict[str, object], reason: str) -> None:
    """Each obstacle has Slurm's own reason."""
    slurm = model()
    job = submit(slurm, **wishes)
    assert [] == run(slurm)
    assert ("PENDING", reason) == (job.base, job.reason)


@pytest.mark.parametrize(
    ("wishes", "nodes"),
    [
        ({"nodes": 2}, ("n1", "n2")),
        ({"tasks": 5}, ("n1", "n2")),
        ({"tasks": 4}, ("n1",)),
        ({"nodes": 2, "tasks_per_node": 4}, ("n1", "n2")),
        ({"exclude": ("n1",)}, ("n2",)),
        ({"nodelist": ("n2",)}, ("n2",)),
        ({"gpus": 3}, ("n1", "n2")),
        ({"gpus_per_node": 2}, ("n1",)),
        ({"memory_mb": 16000}, ("n1",)),
    ],
)
def test_what_is_asked_decides_the_nodes(wishes: dict[str, object], nodes: tuple[str, ...]) -> None:
    """Nodes, tasks, GPUs, memory and node lists are placed first fit."""
    slurm = model()
    job = submit(slurm, **wishes)
    run(slurm)
    assert nodes == job.nodes


def test_a_node_for_itself_is_shared_with_nobody() -> None:
    """An exclusive job waits for an empty node and keeps others off it."""
    slurm = model(nodes=1)
    submit(slurm, exclusive=True)
    second = submit(slurm)
    assert ["launch 1.0"] == run(slurm)
    assert "Resources" == second.reason
    slurm.ended(1, 0, START)
    third = submit(slurm, exclusive=True)
    assert ["launch 2.0"] == run(slurm)
    assert "Resources" == third.reason


def test_everything_taken_is_given_back() -> None:
    """After any ending no CPU, byte or GPU is missing."""
    slurm = model()
    for number in range(5):
        submit(slurm, nodes=2, gpus=4, memory_mb=4000)
        run(slurm, START + number * 10)
        job_id = number + 1
        ends = [
            lambda j: slurm.ended(j, 0, START),
            lambda j: slurm.cancel(j, uid=1, now=START),
            lambda j: slurm.end(j, "TIMEOUT", now=START),
            lambda j: slurm.node_down("n1", START),
            lambda j: slurm.requeue(j, START),
        ]
        ends[number](job_id)
        slurm.ended(job_id, 15, START)
        if slurm.jobs[job_id].base == "PENDING":
            slurm.cancel(job_id, uid=1, now=START)
        slurm.node_up("n1")
    left = {
        (n.cpus_taken, n.memory_taken, n.gpus_taken, len(n.jobs), n.owner)
        for n in slurm.nodes.values()
    }
    assert {(0, 0, 0, 0, None)} == left
    assert slurm.is_idle


def test_a_time_limit_is_kept_to_the_second() -> None:
    """A job runs until its limit, then it is TIMEOUT and its processes are ended."""
    slurm = model()
    job = submit(slurm, minutes=1)
    run(slurm)
    assert [] == run(slurm, START + 59.9)
    assert ["end 1.0"] == run(slurm, START + 60)
    assert ("COMPLETING", "TimeLimit") == (job.word, job.reason)
    slurm.ended(1, 15, START + 61)
    assert ("TIMEOUT", START + 60, 15) == (job.word, job.end, job.raw_exit)


def test_configuring_lasts_as_long_as_nodes_boot() -> None:
    """With boot time a job is CONFIGURING first, and launched when the nodes are up."""
    slurm = model(boot_seconds=30)
    job = submit(slurm)
    assert [] == run(slurm)
    assert "CONFIGURING" == job.word
    assert ["launch 1.0"] == run(slurm, START + 30)
    assert "RUNNING" == job.word


def test_a_requeued_job_comes_back_after_a_while() -> None:
    """Requeue ends the processes, counts the restart, waits, and launches under the same id."""
    slurm = model(requeue_delay=120)
    job = submit(slurm)
    run(slurm)
    slurm.requeue(1, START + 5)
    assert [End(1, 0, " DUE TO JOB REQUEUE")] == slurm.take_orders()
    assert "COMPLETING" == job.word
    slurm.ended(1, 15, START + 6)
    assert [] == run(slurm, START + 7)
    assert ("PENDING", "BeginTime", 1, START + 6) == (
        job.word,
        job.reason,
        job.restarts,
        job.submit,
    )
    assert ["launch 1.1"] == run(slurm, START + 126)


def test_a_lost_node_requeues_or_fails_its_jobs() -> None:
    """Jobs of a lost node go back to the queue, unless they may not; then they are NODE_FAIL."""
    slurm = model(nodes=1)
    again, never = submit(slurm), submit(slurm, requeue=False)
    run(slurm)
    slurm.node_down("n1", START + 1)
    assert [End(1, 0, "", grace=False), End(2, 0, "", grace=False)] == [
        End(o.job_id, o.restarts, "", grace=o.grace)
        for o in slurm.take_orders()
        if isinstance(o, End)
    ]
    assert ("PENDING", "NODE_FAIL") == (again.word, never.word)
    slurm.ended(1, 9, START + 2)
    run(slurm, START + 10)
    assert "ReqNodeNotAvail, UnavailableNodes:n1" == again.reason
    slurm.node_up("n1")
    assert ["launch 1.1"] == run(slurm, START + 11)


def test_the_old_processes_are_gone_before_a_job_starts_again() -> None:
    """A requeued job does not start while processes of its last span live."""
    slurm = model(requeue_delay=0)
    job = submit(slurm)
    run(slurm)
    slurm.node_down("n1", START)
    slurm.take_orders()
    assert [] == run(slurm, START + 1)
    assert "Cleaning" == job.reason
    slurm.ended(1, 9, START + 2)
    assert ["launch 1.1"] == run(slurm, START + 2)


def test_a_job_cancelled_while_it_is_requeued_stays_cancelled() -> None:
    """Cancel wins over a requeue that is on its way."""
    slurm = model()
    job = submit(slurm)
    run(slurm)
    slurm.requeue(1, START)
    slurm.cancel(1, uid=1, now=START + 1)
    slurm.ended(1, 15, START + 2)
    assert [] == run(slurm, START + 500)[1:]
    assert "CANCELLED" == job.word


def test_finished_jobs_are_purged_and_accounted() -> None:
    """MinJobAge after its end a job is unknown to slurmctld, and known to accounting."""
    slurm = model(min_job_age=10)
    submit(slurm)
    run(slurm)
    slurm.ended(1, 0, START)
    run(slurm, START + 9)
    assert [1] == list(slurm.jobs)
    run(slurm, START + 10)
    assert [] == list(slurm.jobs)
    with pytest.raises(Rejected, match="Invalid job id specified"):
        slurm.cancel(1, uid=1, now=START)
    assert ["COMPLETED"] == [row.state for row in slurm.accounting.rows(START + 10)]


def test_accounting_may_be_behind() -> None:
    """With a lag of 10 s accounting says what was true 10 s ago."""
    slurm = model()
    submit(slurm)
    slurm.tick(START + 5)
    states = [
        [row.state for row in slurm.accounting.rows(now, lag=10)]
        for now in (START + 9, START + 10, START + 15)
    ]
    assert [[], ["PENDING"], ["RUNNING"]] == states


@pytest.mark.parametrize(
    ("wishes", "text"),
    [
        ({"minutes": 6, "partition": "short"}, "Requested time limit is invalid"),
        ({"tasks": 9}, "More processors requested than permitted"),
        ({"nodes": 3}, "Node count specification invalid"),
    ],
)
def test_a_strict_site_refuses_at_once(wishes: dict[str, object], text: str) -> None:
    """With EnforcePartLimits=ALL what could never start is refused; it stays behind as FAILED."""
    slurm = model(enforce_limits=True)
    with pytest.raises(Rejected, match=text):
        submit(slurm, **wishes)
    assert ("FAILED", "BadConstraints") == (slurm.jobs[1].base, slurm.jobs[1].reason)
