"""Slurm asked through a real slurmrestd with tokens; files through the real sshd."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchd.cli.check import check_all
from benchd.config import Budget, ClusterSettings, RestSettings, SSHSettings, load
from benchd.core.model import Accepted, Job, JobState, Refused, Trigger, Unknown
from benchd.core.script import sbatch_lines
from benchd.core.slurm_rest import VERSIONS, offered
from benchd.edge.breaker import Circuit
from benchd.edge.cluster import Cluster
from benchd.edge.link import Link
from benchd.edge.login import Pace
from benchd.edge.rest import Rest
from benchd.edge.shell import LoginRefused
from benchd.errors import Unreachable
from benchd.fields import Resources
from benchd.metrics import Metrics
from support.builders import INSTANCE, client
from support.near import sample, until, until_answered
from support.near_slurm import FENCED, Words, live, order
from support.realslurm import RealSlurm

pytestmark = [pytest.mark.asyncio, pytest.mark.real("slurm", "sshd", "slurmrestd")]

HELD = "#!/bin/bash\n#SBATCH --hold\n" + FENCED.partition("\n")[2]
STAYS = FENCED + "exec sleep 120\n"
PACE = Pace(floor=0.1, ceiling=0.5, keepalive=1.0, connect_timeout=5.0, login_timeout=10.0)


@pytest.fixture
def rest(real_slurm: RealSlurm) -> Iterator[RealSlurm]:
    """Return the real cluster with its slurmrestd, which goes down again."""
    real_slurm.ctl("up", "slurmrestd")
    yield real_slurm
    real_slurm.ctl("resume", "slurmrestd")
    real_slurm.ctl("down", "slurmrestd")


def settings(slurm: RealSlurm, **over: Any) -> ClusterSettings:
    """Return how to reach the cluster: files over ssh, Slurm through slurmrestd."""
    told: dict[str, Any] = {"url": f"http://127.0.0.1:{slurm.rest_port}", "timeout": 15.0, **over}
    if "token_file" not in told:
        conf = slurm.dir / "slurm.conf"
        told.setdefault("token_command", f"SLURM_CONF={conf} scontrol token lifespan=600")
    return ClusterSettings(
        ssh=SSHSettings(
            host=slurm.host,
            port=slurm.port,
            user=slurm.user,
            identity=str(slurm.key),
            known_hosts=str(slurm.known_hosts),
        ),
        rest=RestSettings(**told),
        workdir=str(slurm.workdir()),
        budget=Budget(rpc_per_minute=60_000.0, burst=1000, submits_per_minute=60_000.0),
        testbed=True,
    )


@asynccontextmanager
async def opened(slurm: RealSlurm, **over: Any) -> AsyncIterator[tuple[Cluster, Metrics]]:
    """Open the real cluster in a new work directory."""
    chosen, metrics = settings(slurm, **over), Metrics()
    link = Link("alpha", chosen, metrics=Metrics(), pace=PACE)
    cluster = Cluster(
        "alpha",
        shell=link,
        settings=chosen,
        instance=INSTANCE,
        metrics=metrics,
        epochs=Words(),
    )
    try:
        yield cluster, metrics
    finally:
        await link.close()


def fresh(script: str, **over: Any) -> Job:
    """Return a job whose name no other test of this session has used."""
    return client(script=script, run_id=f"e{time.time_ns():x}"[-10:], **over)


def states(slurm: RealSlurm, job: Job) -> list[str]:
    """Return what Slurm's own squeue says of a job."""
    rows = slurm.run("squeue", "-h", "-t", "all", f"--name={job.token}", "-o", "%T").split()
    return sorted(rows)


def tries_of(job_dir: str) -> list[str]:
    """Return the names of the try directories of a job."""
    return [path.name for path in Path(job_dir).glob("try-*")]


async def _submit_when_up(cluster: Cluster, job: Job) -> Accepted:
    async def settled() -> Accepted | None:
        with suppress(Unreachable):
            answer = await cluster.submit(order(job, time.time()))
            return answer if isinstance(answer, Accepted) else None
        return None

    return await until_answered(settled, 60, pause=PACE.floor)


# --- the same job ---------------------------------------------------------------------------------

ASKED: dict[str, Any] = {
    "nodes": {"nodes": 2},
    "tasks": {"ntasks": 2, "cpus_per_task": 2},
    "tasks per node": {"nodes": 2, "ntasks_per_node": 2},
    "mem": {"mem": "300M"},
    "mem per core": {"mem_per_cpu": "50M"},
    "time": {"time": "0-01:02:03"},
    "partition": {"partition": "short", "time": "4"},
    "account": {"account": "testbed", "qos": "normal"},
    "gres": {"gres": "gpu:a100:2"},
    "gpus": {"gpus": "2"},
    "gpus per node": {"gpus_per_node": "1", "nodes": 2},
    "gpus per task": {"gpus_per_task": "1", "ntasks": 2},
    "exclusive": {"exclusive": True},
    "nodelist": {"nodelist": "n2"},
    "exclude": {"exclude": "n[1-2]"},
    "signal": {"signal": "USR1@60"},
    "hint": {"hint": "nomultithread"},
    "threads": {"threads_per_core": 1},
    "nothing": {},
}
# What is of the submission and not of the job, and what only sbatch knows: its own host and file.
_OWN = re.compile(
    r"^(JobId|JobName|\w*Time|LastSchedEval|AllocNode:Sid|Command|Priority|StdErr|StdOut|WorkDir|"
    r"Scheduler|Reason|Requeue|OOMKillStep|SubmitLine|TresPerTask=cpu)="
)
# Variables that say which job it is, or from where sbatch was called.
_DIFFERS = re.compile(
    r"^(SLURM_JOB(_?ID|_NAME)?|SLURM_TASK_PID|SLURM_SUBMIT_(DIR|HOST)|SLURM_PRIO_PROCESS|_|PWD|"
    r"SLURM_RLIMIT_\w+|SLURM_TOPOLOGY\w*|SLURM_WORKING_CLUSTER|SLURMD_NODENAME|HOSTNAME|"
    r"SLURM_(JOB_)?NODELIST|SLURM_OPEN_MODE|OLDPWD|TMPDIR|SLURM_CONF|SLURM_JOB_(START|END)_TIME|"
    # What sbatch of 24.11 says to MPI, and once more of the CPUs.
    r"\w*(HYDRA|OMPI|PRTE)\w*|SLURM_TRES_PER_TASK)="
)


def scontrol(slurm: RealSlurm, slurm_id: str) -> set[str]:
    """Return what scontrol says a job asks for."""
    told = slurm.run("scontrol", "-o", "show", "job", slurm_id).split()
    words = [word for word in told if "=" in word]  # Command= is followed by its arguments
    return {word for word in words if not _OWN.match(word)} | {
        word for word in words if word.startswith(("TimeLimit=", "Requeue="))
    }


def by_sbatch(slurm: RealSlurm, folder: Path, script: str) -> str:
    """Submit a script as benchd does over ssh; return its id."""
    folder.mkdir(parents=True)
    (folder / "script.sh").write_text(script)
    argv = ["sbatch", "--parsable", "--export=NONE", "--open-mode=append", f"--chdir={folder}"]
    argv += [f"--output={folder}/%j.out", str(folder / "script.sh"), str(folder), "1"]
    return slurm.run(*argv).strip()


async def spoken(slurm: RealSlurm) -> list[str]:
    """Return the versions that this slurmrestd and benchd both know."""
    async with opened(slurm) as (cluster, _):
        assert isinstance(cluster.slurm, Rest)
        answer = await cluster.slurm.link.ask("rest:openapi", "GET", "/openapi/v3", op="open")
    return [version for version in VERSIONS if version in offered(answer)]


async def test_every_resource_asks_for_the_same_as_through_sbatch(rest: RealSlurm) -> None:
    """Whatever a recipe asks for, in every version slurmctld holds the same job as after sbatch."""
    seen: dict[str, tuple[set[str], set[str]]] = {}
    for version in await spoken(rest):
        async with opened(rest, version=version) as (cluster, _):
            for name, asked in ASKED.items():
                lines = sbatch_lines(Resources(**asked), requeue=name == "nothing")
                script = "\n".join(["#!/bin/bash", "#SBATCH --hold", *lines, "true", ""])
                answer = await cluster.submit(order(fresh(script), time.time()))
                assert isinstance(answer, Accepted), f"{version}: {name}: {answer}"
                theirs = by_sbatch(rest, rest.workdir() / "job", script)
                both = scontrol(rest, theirs), scontrol(rest, answer.slurm_id)
                seen[f"{version}: {name}"] = both
    assert len(seen) >= len(ASKED)
    assert {} == {name: (a - b, b - a) for name, (a, b) in seen.items() if a != b}
    # Of these the private cluster has none to give.
    covered = {key for asked in ASKED.values() for key in asked}
    assert {"constraint", "reservation", "licenses"} == set(Resources.model_fields) - covered


async def test_a_job_finds_the_same_around_it_as_through_sbatch(rest: RealSlurm) -> None:
    """Arguments, directory, umask and environment are those that sbatch would have made."""
    resources = Resources(
        ntasks=1, cpus_per_task=2, gpus_per_node="1", mem="200M", hint="nomultithread", time="5"
    )
    script = "\n".join(
        [
            "#!/bin/bash",
            *sbatch_lines(resources, requeue=False),
            'umask 077; { echo "$#"; [ "$1" = "$PWD" ]; echo "$?,$2"; umask; env; } >"$1/around"',
            'mv "$1/around" "$1/seen"',
            "",
        ]
    )
    job = fresh(script)
    async with opened(rest) as (cluster, _):
        place = await cluster.open()
        await cluster.submit(order(job, time.time()))
        theirs, ours = rest.workdir() / "job", Path(place.job_dir(job.run_id, job.token))
        by_sbatch(rest, theirs, script)
        await until(lambda: (theirs / "seen").exists() and (ours / "seen").exists(), 30)
    told = [set((folder / "seen").read_text().splitlines()) for folder in (theirs, ours)]
    kept = [{line for line in lines if not _DIFFERS.match(line)} for lines in told]
    assert (set(), set()) == (kept[0] - kept[1], kept[1] - kept[0])


# --- the verbs ------------------------------------------------------------------------------------


async def test_one_job_from_submission_to_results(rest: RealSlurm) -> None:
    """A job is submitted once, seen to its end, accounted for, and its files come home."""
    job = fresh(FENCED + 'mkdir -p "$1/result"; echo 42 >"$1/result/answer"; echo out; exit 7\n')
    async with opened(rest) as (cluster, metrics):
        answers = [await cluster.submit(order(job, time.time())) for _ in range(3)]
        alive = live(job, answers[0])
        await until(lambda: states(rest, job) == ["FAILED"], 30)
        answer = await cluster.poll([alive])
        fetched = await cluster.fetch(alive)
        await until(lambda: [r["State"] for r in rest.sacct(job.token)] == ["FAILED"], 30)
        accounted = await cluster.slurm.accounted([job.token, "no-such-job"])
        nobody = await cluster.slurm.accounted(["no-such-job"])
        assert isinstance(cluster.slurm, Rest)
        told = None if await cluster.slurm.link.version() == "v0.0.38" else 7  # that says 0 of all
        sent = [
            sample(metrics, "benchd_slurm_rpcs_total", cluster="alpha", command=f"rest:{what}",
                   outcome="ok")
            for what in ("submit", "jobs", "openapi")
        ]  # fmt: skip
    row = answer.seen[job.token][0]
    assert ("FAILED", 7, 1) == (row.word, row.exit_code, len({a.slurm_id for a in answers}))  # type: ignore[union-attr] # else it fails as it should
    assert (b"42\n", b"out\n") == (fetched.files["result/answer"], fetched.files["out"])
    assert accounted is not None
    assert [("FAILED", told)] == [(row.word, row.exit_code) for row in accounted]
    assert [] == nobody
    assert [1.0, 1.0, 1.0] == sent


async def test_a_refusal_is_final_with_advice(rest: RealSlurm) -> None:
    """A partition that Slurm does not have is refused for good, in Slurm's words."""
    job = fresh("#!/bin/bash\n#SBATCH --partition=nope\n")
    async with opened(rest) as (cluster, _):
        answers = [await cluster.submit(order(job, time.time())) for _ in range(2)]
    assert [(True, True)] * 2 == [
        (a.final, "Invalid partition name specified" in a.why)
        for a in answers
        if isinstance(a, Refused)
    ]


async def test_cancel_ends_a_running_and_proves_an_unknown_job(rest: RealSlurm) -> None:
    """A live job ends CANCELLED by id; an unknown one is sealed, ended by name, proved absent."""
    running, unknown = fresh(STAYS), fresh(HELD)
    async with opened(rest) as (cluster, _):
        alive = live(running, await cluster.submit(order(running, time.time())))
        await until(lambda: states(rest, running) == ["RUNNING"], 30)
        assert await cluster.cancel(alive) is None
        await cluster.submit(order(unknown, time.time()))
        event = await cluster.cancel(replace(unknown, tries=1, attempted_at=time.time()))
        await until(lambda: states(rest, running) == ["CANCELLED"], 60)
        await cluster.slurm.end_ids([str(alive.slurm_id), "99999999"])  # ended, and never known
    assert event is not None
    assert (Trigger.PROVED_ABSENT, ["CANCELLED"]) == (event.trigger, states(rest, unknown))


async def test_a_lost_answer_makes_one_job_all_the_same(rest: RealSlurm) -> None:
    """The controller stalls, our patience ends, the job is queued: it is found by name, once."""
    job = fresh(HELD)
    async with opened(rest, timeout=2.0) as (cluster, _):
        place = await cluster.open()
        await cluster.slurm.everything()  # the token and the version are known
        rest.ctl("pause", "slurmctld")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("benchd.edge.rest._SUBMIT_TIMEOUT", 2.0)
            first = await cluster.submit(order(job, time.time()))
        rest.ctl("resume", "slurmctld")
        settled = await _submit_when_up(cluster, job)
        await cluster.cancel(live(job, settled))
        await until(lambda: states(rest, job) == ["CANCELLED"], 30)
    assert isinstance(first, Unknown)
    assert not (Path(place.job_dir(job.run_id, job.token)) / "try-1" / "rc").exists()


async def test_a_slurmrestd_that_is_down_costs_nothing(rest: RealSlurm) -> None:
    """What could not be connected was not sent: no try is used up, no state moves, and it heals."""
    job = fresh(HELD)
    ghost = replace(fresh(FENCED), state=JobState.RUNNING, slurm_id="999999", tries=1)
    async with opened(rest) as (cluster, _):
        place = await cluster.open()
        await cluster.slurm.everything()
        rest.ctl("down", "slurmrestd")
        for ask in (lambda: cluster.submit(order(job, time.time())), lambda: cluster.poll([ghost])):
            with pytest.raises(Unreachable, match="no connection to slurmrestd") as caught:
                await ask()
            assert not caught.value.sent
        tries = tries_of(place.job_dir(job.run_id, job.token))
        for _ in range(3):  # with the two above five
            with pytest.raises(Unreachable):
                await cluster.poll([])
        circuits = [breaker.state for breaker in cluster.breakers]
        cluster.breakers[1].reset()
        rest.ctl("up", "slurmrestd")
        settled = await _submit_when_up(cluster, job)
        await cluster.cancel(live(job, settled))
    assert [] == tries
    assert [Circuit.CLOSED, Circuit.OPEN] == circuits


# --- tokens ---------------------------------------------------------------------------------------


async def test_a_token_in_a_file_is_read_again(rest: RealSlurm, tmp_path: Path) -> None:
    """A token that has ended is not shown to anybody; a new one in its place is used at once."""
    file = tmp_path / "token"

    def write(lifespan: int) -> float:
        file.touch(mode=0o600)
        file.write_text(rest.token(lifespan))
        return time.time() + lifespan

    end = write(1)
    async with opened(rest, token_file=str(file)) as (cluster, metrics):
        await until(lambda: time.time() > end + 1.0)
        with pytest.raises(Unreachable, match=r"token ended at .* UTC: make a new one"):
            await cluster.slurm.everything()
        counted = sample(
            metrics,
            "benchd_slurm_rpcs_total",
            cluster="alpha",
            command="rest:jobs",
            outcome="error",
        )
        write(600)
        await cluster.slurm.everything()
    assert 0.0 == counted


async def test_a_refused_token_is_renewed_once(rest: RealSlurm, tmp_path: Path) -> None:
    """A token that slurmctld does not accept is replaced by what the command prints next."""
    good, calls = tmp_path / "good", tmp_path / "calls"
    good.write_text(rest.token())
    bad = good.read_text()[:-6] + "AAAAAA"
    command = f"echo x >>{calls}; [ $(wc -l <{calls}) = 1 ] && echo {bad} || cat {good}"
    async with opened(rest, token_command=command) as (cluster, _):
        await cluster.slurm.everything()
        await cluster.slurm.everything()
    assert 2 == len(calls.read_text().splitlines())


async def test_a_token_that_stays_refused_needs_a_human(rest: RealSlurm, tmp_path: Path) -> None:
    """After one renewal the gate is closed, and the message does not say the token."""
    forged = rest.token()[:-6] + "AAAAAA"
    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text(forged)
    async with opened(rest, token_file=str(file)) as (cluster, _):
        with pytest.raises(LoginRefused, match="slurmrestd refuses the token of") as caught:
            await cluster.slurm.everything()
    assert forged not in str(caught.value)


async def test_benchd_check_proves_it(
    rest: RealSlurm,
    real_config: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Token, version and a tiny job through slurmrestd are fine; a wrong token is said to be."""
    good = real_config(way="rest")
    assert await check_all(load(good), only=None, with_job=True, patience=60.0) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert re.search(r"token of \w+, until \d{4}-.* UTC", told)
    assert re.search(r"slurmrestd v0\.0\.\d+, slurmctld answers", told)
    assert "runs only once there" in told

    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text(rest.token()[:-6] + "AAAAAA")
    text = re.sub(r"token_command: .*", f"token_file: {file}", good.read_text())
    good.write_text(text)
    assert await check_all(load(good), only=None, with_job=False, patience=60.0) == 1
    told = " ".join(capsys.readouterr().out.split())
    # 22.05 says as little of a bad token as of a dead controller; later ones name the token.
    assert "does it accept the token?" in told or "rest.token_file" in told
