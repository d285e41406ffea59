"""Link, submission and the six verbs against a real sshd and a real Slurm."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchd.config import Budget, ClusterSettings, SSHSettings
from benchd.core.model import Accepted, Job, JobState, Refused, Trigger, Unknown
from benchd.edge.cluster import Cluster
from benchd.edge.link import Link
from benchd.edge.login import LinkState, Pace
from benchd.edge.shell import Completed
from benchd.errors import NeedsHuman, Unreachable
from benchd.metrics import Metrics
from support.builders import INSTANCE, client
from support.near import until, until_answered
from support.near_slurm import FENCED, Words, live, order
from support.realslurm import RealSlurm
from support.wire import Wire

pytestmark = [pytest.mark.asyncio, pytest.mark.real("slurm", "sshd")]

HELD = "#!/bin/bash\n#SBATCH --hold\n" + FENCED.partition("\n")[2]
STAYS = FENCED + "exec sleep 120\n"
PACE = Pace(floor=0.1, ceiling=0.5, keepalive=1.0, connect_timeout=5.0, login_timeout=10.0)


def settings(slurm: RealSlurm, workdir: Path, **ssh: Any) -> ClusterSettings:
    values: dict[str, Any] = {
        "host": slurm.host,
        "port": slurm.port,
        "user": slurm.user,
        "identity": str(slurm.key),
        "known_hosts": str(slurm.known_hosts),
    }
    return ClusterSettings(
        ssh=SSHSettings(**{**values, **ssh}),
        workdir=str(workdir),
        budget=Budget(rpc_per_minute=60_000.0, burst=1000, submits_per_minute=60_000.0),
        testbed=True,
    )


@asynccontextmanager
async def opened(
    slurm: RealSlurm, *, workdir: Path | None = None, **ssh: Any
) -> AsyncIterator[tuple[Cluster, Link, Path]]:
    """Open the real cluster over its real login node, in a new work directory."""
    workdir = workdir or slurm.workdir()
    chosen = settings(slurm, workdir, **ssh)
    link = Link("alpha", chosen, metrics=Metrics(), pace=PACE)
    cluster = Cluster(
        "alpha",
        shell=link,
        settings=chosen,
        instance=INSTANCE,
        metrics=Metrics(),
        epochs=Words(),
    )
    try:
        yield cluster, link, workdir
    finally:
        await link.close()


def fresh(script: str, **over: Any) -> Job:
    """Return a job whose name no other test of this session has used."""
    return client(script=script, run_id=f"e{time.time_ns():x}"[-10:], **over)


def states(slurm: RealSlurm, job: Job) -> list[str]:
    rows = slurm.run("squeue", "-h", "-t", "all", f"--name={job.token}", "-o", "%T").split()
    return sorted(rows)


async def test_a_real_login_node_answers(real_slurm: RealSlurm) -> None:
    """Status, bytes and lengths survive a real sshd, also with many commands at once."""
    async with opened(real_slurm) as (_, link, _):
        done = await link.run("cat; echo no >&2; exit 3", op="x", stdin=b"\x00\xff", timeout=20)
        big = await link.run("head -c 5000000 /dev/zero", op="x", timeout=20)
        many = await asyncio.gather(*(link.run(f"echo {i}", op="x", timeout=60) for i in range(40)))
    assert (3, b"\x00\xff", b"no\n") == (done.status, done.stdout, done.stderr)
    assert (5_000_000, [f"{i}\n".encode() for i in range(40)]) == (
        len(big.stdout),
        [d.stdout for d in many],
    )


async def test_a_real_sshd_tells_refused_from_unknown(real_slurm: RealSlurm) -> None:
    """A closed port is the target's no; a host that the login node cannot resolve is not."""
    async with opened(real_slurm) as (_, link, _):
        reader, writer = await link.connect("127.0.0.1", real_slurm.port, 5)
        banner = await reader.readline()
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await link.connect("127.0.0.1", 1, 20)
        with pytest.raises(Unreachable, match=r"opens no connection to no-such-host\.invalid:1: "):
            await link.connect("no-such-host.invalid", 1, 20)
    assert banner.startswith(b"SSH-2.0-OpenSSH")


async def test_a_real_sshd_refuses_a_wrong_key_once(real_slurm: RealSlurm, tmp_path: Path) -> None:
    """A key that the real sshd does not accept pauses the link with advice."""
    key = tmp_path / "id"
    real_slurm.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
    async with opened(real_slurm, identity=str(key)) as (_, link, _):
        for _ in range(2):
            with pytest.raises(NeedsHuman, match=r"refuses the key .*authorized_keys"):
                await link.run("true", op="x", timeout=5)
        assert (LinkState.PAUSED, 1) == (link.state, link.tried)


async def test_a_key_with_a_passphrase_is_said_to_be_one(
    real_slurm: RealSlurm, tmp_path: Path
) -> None:
    """A key that needs a passphrase cannot be used by a daemon, and the message says so."""
    key = tmp_path / "id"
    real_slurm.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(key))
    async with opened(real_slurm, identity=str(key)) as (_, link, _):
        with pytest.raises(NeedsHuman, match=r"[Pp]assphrase"):
            await link.run("true", op="x", timeout=5)
        assert 0 == link.tried


async def test_a_dropped_session_is_unknown_and_the_link_comes_back(
    real_slurm: RealSlurm, tmp_path: Path
) -> None:
    """When sshd's session dies in mid-command nothing is concluded, and the next login works."""
    mark = tmp_path / "started"
    async with opened(real_slurm) as (_, link, _):
        running = asyncio.create_task(link.run(f"touch {mark}; sleep 20", op="x", timeout=30))
        await until(mark.exists)
        real_slurm.ctl("drop", "sshd")
        with pytest.raises(Unreachable) as caught:
            await running
        assert caught.value.sent

        async def back() -> Completed | None:
            with suppress(Unreachable):
                return await link.run("true", op="x", timeout=5)
            return None

        await until_answered(back, 20, pause=PACE.floor)
        assert 2 == link.generation


async def test_one_real_job_from_submission_to_results(real_slurm: RealSlurm) -> None:
    """A job is submitted once, seen to its end, accounted for, and its files come home."""
    job = fresh(FENCED + 'mkdir -p "$1/result"; echo 42 >"$1/result/answer"; echo out; exit 7\n')
    async with opened(real_slurm) as (cluster, _, _):
        answers = [await cluster.submit(order(job, time.time())) for _ in range(3)]
        alive = live(job, answers[0])
        await until(lambda: states(real_slurm, job) == ["FAILED"], 30)
        answer = await cluster.poll([alive])
        fetched = await cluster.fetch(alive)
        await until(lambda: [r["State"] for r in real_slurm.sacct(job.token)] == ["FAILED"], 30)
        accounted = await cluster.slurm.accounted([job.token])
    row = answer.seen[job.token][0]
    assert ("FAILED", 7, 1) == (row.word, row.exit_code, len({a.slurm_id for a in answers}))  # type: ignore[union-attr] # else it fails as it should
    assert (b"42\n", b"out\n") == (fetched.files["result/answer"], fetched.files["out"])
    assert accounted is not None
    assert [("FAILED", 7)] == [(row.word, row.exit_code) for row in accounted]


@pytest.mark.parametrize(
    ("option", "said", "advice"),
    [
        ("--partition=nope", "Invalid partition name specified", "partition"),
        ("--gres=gpu:99", "Requested node configuration is not available", "lower resources"),
        ("--gpus=99", "Requested node configuration is not available", "lower resources"),
        ("--gres=tpu:1", "Invalid generic resource (gres) specification", "resources.gres"),
    ],
)
async def test_a_real_refusal_is_final_with_advice(
    real_slurm: RealSlurm, option: str, said: str, advice: str
) -> None:
    """A partition that is not there, and more GPUs than there are, in Slurm's words and ours."""
    job = fresh(f"#!/bin/bash\n#SBATCH {option}\n")
    async with opened(real_slurm) as (cluster, _, _):
        answer = await cluster.submit(order(job, time.time()))
    assert isinstance(answer, Refused)
    assert (True, True, True) == (answer.final, said in answer.why, advice in answer.why)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
async def test_a_real_link_cut_while_the_script_travels_submits_nothing(
    real_slurm: RealSlurm, tmp_path: Path, share: float
) -> None:
    """A script of which only a part arrived is never submitted, and the try is still good."""
    job = fresh(HELD + "# filler\n" * 40_000)
    async with Wire(real_slurm.port) as wire:
        known = real_slurm.known_hosts.read_text().replace(f":{real_slurm.port} ", f":{wire.port} ")
        hosts = tmp_path / "known_hosts"
        hosts.write_text(known)
        async with opened(real_slurm, port=wire.port, known_hosts=str(hosts)) as (cluster, _, _):
            await cluster.open()
            wire.cut_after = wire.sent + 4096 + int(share * len(job.script))
            with suppress(Unreachable):
                assert isinstance(await cluster.submit(order(job, time.time())), Unknown)
            assert [] == states(real_slurm, job)
            settled = await _submit_when_up(cluster, job)
            await cluster.cancel(live(job, settled))
    assert ["CANCELLED"] == states(real_slurm, job)


async def test_a_stalled_controller_makes_one_job_all_the_same(real_slurm: RealSlurm) -> None:
    """Sbatch 'timed out' while the job was queued: it is found by name, and it is one."""
    job = fresh(HELD)
    async with opened(real_slurm) as (cluster, _, _):
        await cluster.open()
        real_slurm.ctl("pause", "slurmctld")
        first = await cluster.submit(order(job, time.time()))
        real_slurm.ctl("resume", "slurmctld")
        settled = await _submit_when_up(cluster, job)
        await cluster.cancel(live(job, settled))
    assert isinstance(first, Unknown)
    assert ["CANCELLED"] == states(real_slurm, job)


async def test_accounting_that_is_down_proves_nothing(real_slurm: RealSlurm) -> None:
    """With slurmdbd down a job that squeue does not know is neither seen nor absent."""
    ghost = replace(fresh(FENCED), state=JobState.PENDING, slurm_id="999999", tries=1)
    async with opened(real_slurm) as (cluster, _, workdir):
        (workdir / "runs" / ghost.run_id / "jobs" / ghost.token).mkdir(parents=True)
        sure = await cluster.poll([ghost])
        real_slurm.ctl("down", "slurmdbd")
        unsure = await cluster.poll([ghost])
    assert [ghost.token] == list(sure.absent)
    assert ({}, {}) == (unsure.absent, unsure.seen)


async def test_cancel_ends_a_running_and_proves_an_unknown_job(real_slurm: RealSlurm) -> None:
    """A live job ends CANCELLED by id and name; an unknown one is sealed and proved absent."""
    running, unknown = fresh(STAYS), fresh(HELD)
    async with opened(real_slurm) as (cluster, _, _):
        alive = live(running, await cluster.submit(order(running, time.time())))
        await until(lambda: states(real_slurm, running) == ["RUNNING"], 30)
        assert await cluster.cancel(alive) is None
        await cluster.submit(order(unknown, time.time()))
        event = await cluster.cancel(replace(unknown, tries=1, attempted_at=time.time()))
        await until(lambda: states(real_slurm, running) == ["CANCELLED"], 60)
    assert event is not None
    assert (Trigger.PROVED_ABSENT, ["CANCELLED"]) == (event.trigger, states(real_slurm, unknown))


async def test_a_real_twin_meets_the_claim(real_slurm: RealSlurm) -> None:
    """Of two real jobs of one name one works, the other exits 75, and the poll shows both."""
    job = fresh(FENCED)
    async with opened(real_slurm) as (cluster, link, workdir):
        first = await cluster.submit(order(job, time.time()))
        assert isinstance(first, Accepted)
        await until(lambda: states(real_slurm, job) == ["COMPLETED"], 30)
        place = workdir / "runs" / job.run_id / "jobs" / job.token
        command = (
            f"sbatch --job-name={job.token} --output=/dev/null {place}/try-1/script.sh {place} 1"
        )
        await link.run(command, op="x", timeout=20)
        await until(lambda: states(real_slurm, job) == ["COMPLETED", "FAILED"], 30)
        answer = await cluster.poll([live(job, first)])
    codes = {row.word: row.exit_code for row in answer.seen[job.token]}
    assert {"COMPLETED": 0, "FAILED": 75} == codes
    assert {job.token: first.slurm_id} == answer.claims


async def _submit_when_up(cluster: Cluster, job: Job) -> Accepted:
    """Submit the same order again until its outcome is known."""

    async def settled() -> Accepted | None:
        with suppress(Unreachable):
            answer = await cluster.submit(order(job, time.time()))
            return answer if isinstance(answer, Accepted) else None
        return None

    return await until_answered(settled, 60, pause=PACE.floor)
