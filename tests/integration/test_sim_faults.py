"""Every fault switch of the embedded cluster, seen from the client's side."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from pathlib import Path

import asyncssh
import pytest

from benchd.cli import daemon as program
from benchd.config import load
from benchd.errors import UserError
from benchd.sim import Config, EmbeddedCluster
from benchd.sim.faults import KINDS
from support.simclient import SACCT, Client, connected, eventually

TIMED_OUT = "Socket timed out on send/recv operation"
NO_CONTROLLER = "Unable to contact slurm controller (connect failure)"
SUBMIT = "cd scratch 2>/dev/null || cd ../scratch; sbatch --parsable --job-name={} > id; cat id"
SCRIPT = b"#!/bin/bash\nsleep 300\n"
QUICK = Config(requeue_delay=0.1)


@pytest.mark.asyncio
async def test_a_lost_answer_leaves_the_job_queued(tmp_path: Path) -> None:
    """answer-lost=2: twice the connection drops, sbatch itself goes on, and the job is there."""
    async with connected(tmp_path, faults=["answer-lost=2"]) as client:
        for number in (1, 2):
            done = await client.connection.run(SUBMIT.format("lost"), input=SCRIPT, encoding=None)
            assert done.exit_status is None
            file = client.cluster.workdir / "id"
            await eventually(lambda n=number, f=file: f.exists() and f.read_text() == f"{n}\n")
            await client.connect()
        assert 2 == len(client.cluster.jobs("lost"))
        assert "3" == await client.out(SUBMIT.format("fine"), SCRIPT)


@pytest.mark.asyncio
async def test_a_killed_login_session_leaves_the_job_queued(tmp_path: Path) -> None:
    """login-killed: the job is queued, the wrapper never gets to record its id."""
    async with connected(tmp_path, faults=["login-killed"]) as client:
        done = await client.connection.run(SUBMIT.format("gone"), input=SCRIPT, encoding=None)
        assert done.exit_status is None
        assert 1 == len(client.cluster.jobs("gone"))
        assert "" == (client.cluster.workdir / "id").read_text()


@pytest.mark.asyncio
async def test_a_socket_timeout_leaves_the_job_queued(tmp_path: Path) -> None:
    """socket-timeout: sbatch fails with Slurm's words, and the job is queued all the same."""
    async with connected(tmp_path, faults=["socket-timeout"]) as client:
        expected = (1, "", f"sbatch: error: Batch job submission failed: {TIMED_OUT}\n")
        assert expected == await client.run("sbatch -J late", SCRIPT)
        assert 1 == len(client.cluster.jobs("late"))


@pytest.mark.asyncio
async def test_an_unreachable_controller_queues_nothing(tmp_path: Path) -> None:
    """sbatch-error and squeue-error: exit status 1 and the connect failure, once each."""
    async with connected(tmp_path) as client:
        client.cluster.inject("sbatch-error")
        client.cluster.inject("squeue-error", 1)
        expected = (1, "", f"sbatch: error: Batch job submission failed: {NO_CONTROLLER}\n")
        assert expected == await client.run("sbatch", SCRIPT)
        expected = (1, "", f"slurm_load_jobs error: {NO_CONTROLLER}\n")
        assert expected == await client.run("squeue")
        assert "" == await client.out("squeue -h")
        assert [] == client.cluster.jobs()


@pytest.mark.asyncio
async def test_a_stalled_controller_times_out_and_acts_later(tmp_path: Path) -> None:
    """stall: commands fail after MessageTimeout, what they asked for is done when it wakes."""
    config = Config(message_timeout=0.1)
    async with connected(tmp_path, config=config) as client:
        client.cluster.inject("stall", 1.5)
        expected = (1, "", f"sbatch: error: Batch job submission failed: {TIMED_OUT}\n")
        assert expected == await client.run("sbatch -J late", SCRIPT)
        expected = (1, "", f"slurm_load_jobs error: {TIMED_OUT}\n")
        assert expected == await client.run("squeue")
        assert [] == client.cluster.jobs("late")
        await eventually(lambda: len(client.cluster.jobs("late")) == 1)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("command", "status", "err"),
    [
        ("sbatch", 1, f"sbatch: error: Batch job submission failed: {NO_CONTROLLER}\n"),
        ("squeue", 1, f"slurm_load_jobs error: {NO_CONTROLLER}\n"),
        ("scancel 7", 8, f"scancel: error: Kill job error on job id 7: {NO_CONTROLLER}\n"),
        ("scancel --me", 1, f"slurm_load_jobs error: {NO_CONTROLLER}\n"),
        ("scontrol show job 7", 1, f"slurm_load_jobs error: {NO_CONTROLLER}\n"),
        ("sinfo", 1, f"slurm_load_partitions: {NO_CONTROLLER}\n"),
        ("sdiag", 255, f"slurm_get_statistics: {NO_CONTROLLER}\n"),
        ("sacct -n", 0, ""),
    ],
)
async def test_a_controller_that_is_down_is_not_reached(
    tmp_path: Path, command: str, status: int, err: str
) -> None:
    """slurmctld-down: every command but sacct fails in its own words and with its own status."""
    async with connected(tmp_path, faults=["slurmctld-down"]) as client:
        assert (status, "", err) == await client.run(command, SCRIPT)


@pytest.mark.asyncio
async def test_slow_answers_are_late(tmp_path: Path) -> None:
    """slow=0.3: every Slurm command takes that much longer."""
    async with connected(tmp_path, faults=["slow=0.3"]) as client:
        began = time.monotonic()
        await client.out("squeue -h; squeue -h")
        assert time.monotonic() - began >= 0.6
        client.cluster.heal("slow")


@pytest.mark.asyncio
async def test_purged_jobs_are_only_in_accounting(tmp_path: Path) -> None:
    """purge: a finished job is gone from squeue at once and still in sacct."""
    async with connected(tmp_path, faults=["purge"]) as client:
        job = await client.submit("brief", "true")
        await eventually(lambda: client.cluster.jobs() == [])
        assert f"{job}|COMPLETED|0:0" == await client.out(SACCT.format("brief"))


@pytest.mark.asyncio
async def test_accounting_can_be_down_off_and_late(tmp_path: Path) -> None:
    """sacct-down, sacct-off and sacct-lag fail or lag in Slurm's way, and heal."""
    async with connected(tmp_path) as client:
        await client.submit("a", "sleep 300")
        client.cluster.inject("sacct-down")
        status, out, err = await client.run("sacct -X")
        assert (1, "") == (status, out)
        assert "Problem talking to the database: Connection refused" in err
        client.cluster.heal("sacct-down")
        client.cluster.inject("sacct-off")
        off = (1, "", "Slurm accounting storage is disabled\n")
        assert off == await client.run("sacct -X")
        client.cluster.heal()
        client.cluster.inject("sacct-lag", 3600)
        assert "" == await client.out(SACCT.format("a"))
        client.cluster.heal()
        assert re.fullmatch(r"1\|(PENDING|RUNNING)\|0:0", await client.out(SACCT.format("a")))


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("fault", "accounted"),
    [("requeue", "REQUEUED"), ("preempt", "PREEMPTED"), ("node-fail=n1", "NODE_FAIL")],
)
async def test_a_requeued_job_runs_again_under_its_id(
    tmp_path: Path, fault: str, accounted: str
) -> None:
    """requeue, preempt, node-fail: same id, restart count 1, and accounting keeps both spans."""
    async with connected(tmp_path, config=QUICK) as client:
        body = "echo run ${SLURM_RESTART_COUNT-0} $$ >> runs; sleep 300"
        job = await client.submit("again", body, "--open-mode=append")
        runs = client.cluster.workdir / "runs"
        await eventually(lambda: runs.exists() and "run 0" in runs.read_text())
        client.cluster.inject(fault)
        await eventually(lambda: "run 1" in runs.read_text())
        assert "1" == (await client.until(job, "RUNNING"))["restarts"]
        duplicates = await client.out("sacct -X -n -P -D --format=JobIDRaw,State -S now-1hours")
        assert f"{job}|{accounted}\n{job}|RUNNING" == duplicates
        assert f"{job}|RUNNING|0:0" == await client.out(SACCT.format("again"))


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("fault", "state", "reason"),
    [
        ("node-fail", "NODE_FAIL", "NodeDown"),
        ("preempt", "PREEMPTED", "None"),
        ("oom", "OUT_OF_MEMORY", "OutOfMemory"),
    ],
)
async def test_a_job_that_may_not_be_requeued_ends(
    tmp_path: Path, fault: str, state: str, reason: str
) -> None:
    """node-fail, preempt and oom end a --no-requeue job in the state of that name, once."""
    async with connected(tmp_path, faults=[f"{fault}=victim"]) as client:
        other = await client.submit("other", "sleep 300", "--no-requeue")
        await client.until(other, "RUNNING")
        client.cluster.model.nodes["n1"].owner = -1  # the victim goes to another node
        victim = await client.submit("victim", "sleep 300", "--no-requeue")
        assert reason == (await client.until(victim, state))["reason"]
        assert "RUNNING" == (await client.row(other))["state"]


@pytest.mark.asyncio
async def test_connections_drop_now_and_again(tmp_path: Path) -> None:
    """Drop cuts all connections once; drop=SECONDS again and again until healed."""
    async with connected(tmp_path) as client:
        client.cluster.inject("drop")
        await asyncio.wait_for(client.connection.wait_closed(), 5)
        client.cluster.inject("drop", 0.1)
        for _ in range(2):
            with contextlib.suppress(asyncssh.ConnectionLost):  # cut while it was being made
                await client.connect()
            await asyncio.wait_for(client.connection.wait_closed(), 5)
        client.cluster.heal()
        await client.connect()
        assert "ok" == await client.out("echo ok")


@pytest.mark.asyncio
async def test_the_host_key_changes_and_comes_back(tmp_path: Path) -> None:
    """host-key: connections drop and a strict client refuses the new key, until healed."""
    async with connected(tmp_path) as client:
        client.cluster.inject("host-key")
        with pytest.raises(asyncssh.HostKeyNotVerifiable):
            await client.connect()
        client.cluster.heal("host-key")
        await client.connect()


@pytest.mark.asyncio
async def test_a_revoked_key_is_refused(tmp_path: Path) -> None:
    """auth: connections drop and the key is refused, until healed."""
    async with connected(tmp_path) as client:
        client.cluster.inject("auth")
        with pytest.raises(asyncssh.PermissionDenied):
            await client.connect()
        client.cluster.heal("auth")
        await client.connect()


@pytest.mark.asyncio
async def test_forwarding_can_be_forbidden(tmp_path: Path) -> None:
    """no-forwarding: direct-tcpip is administratively prohibited."""
    async with connected(tmp_path, faults=["no-forwarding"]) as client:
        with pytest.raises(asyncssh.ChannelOpenError) as prohibited:
            await client.connection.open_connection("127.0.0.1", client.cluster.port)
        assert asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED == prohibited.value.code


@pytest.mark.asyncio
@pytest.mark.parametrize("fault", ["nonsense", "slow=soon", "answer-lost=some", "purge=1"])
async def test_a_fault_that_is_none_is_refused(tmp_path: Path, fault: str) -> None:
    """An unknown fault or argument is a mistake of the user, with what would be right."""
    with pytest.raises(UserError, match=r"the faults are|it takes"):
        async with EmbeddedCluster(tmp_path, faults=[fault]):
            pass


def test_the_faults_are_listed_with_what_they_take(capsys: pytest.CaptureFixture[str]) -> None:
    """Each fault that there is is named with the meaning of its argument, and nothing is run."""
    with pytest.raises(SystemExit) as ended:
        program.main(["sim", "--list-faults"])
    listed = capsys.readouterr().out
    assert 0 == ended.value.code
    assert [] == [name for name in KINDS if f"\n{name} " not in f"\n{listed}"]
    assert "ARG: how often, or `all` (without it: once)" in listed


def test_every_fault_is_tested() -> None:
    """A new fault needs a test here."""
    text = Path(__file__).read_text()
    assert [] == [name for name in KINDS if f'"{name}' not in text]


async def _serve(directory: Path) -> tuple[asyncio.subprocess.Process, Client, list[int]]:
    code = (
        "import asyncio, sys; from pathlib import Path; from benchd.sim import serve;"
        "asyncio.run(serve(Path(sys.argv[1])))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(directory),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "daemon")},
    )  # fmt: skip
    assert process.stdout is not None
    assert b"ready\n" == await process.stdout.readline()
    ssh = load(directory / "benchd.yaml").clusters["sim"].ssh
    assert ssh is not None
    assert process.stderr is not None
    told = [(await process.stderr.readline()).decode() for _ in range(2)]
    assert f" -p {ssh.port} " in told[0]
    assert told[1].endswith(f" --config {directory}/benchd.yaml\n")
    cluster = EmbeddedCluster(directory, port=ssh.port)
    client = Client(cluster)
    await client.connect()
    await client.submit("left", "setsid sleep 300 & echo $! > job.pid; echo $$ > sh.pid; wait")
    files = [cluster.workdir / "job.pid", cluster.workdir / "sh.pid"]
    await eventually(lambda: all(f.exists() and f.read_text().strip() for f in files))
    return process, client, [int(file.read_text()) for file in files]


@pytest.mark.asyncio
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGKILL, -9)])
async def test_the_program_leaves_nothing_behind(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    """``serve`` writes a valid configuration, says ready, answers, and its jobs end with it."""
    process, client, pids = await _serve(tmp_path)
    process.send_signal(number)
    assert status == await process.wait()
    client.connection.abort()
    await eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
