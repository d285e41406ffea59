"""Find, poll, cancel, fetch and log against an embedded Slurm, over SSH and locally."""

from __future__ import annotations

import json
import tarfile
from dataclasses import replace
from io import BytesIO

import pytest

from benchd.core.model import Accepted, JobState, Trigger
from benchd.edge.breaker import Circuit
from benchd.edge.parcels import unpack
from benchd.errors import NeedsHuman, Unreachable
from benchd.sim import EmbeddedCluster
from support.builders import INSTANCE, client, service
from support.near import sample, settings_for, until
from support.near_slurm import FENCED, Now, Opened, job_dir, live, near, order

pytestmark = pytest.mark.asyncio

STAYS = FENCED + "exec sleep 60\n"
HELD = "#!/bin/bash\n#SBATCH --hold\n" + FENCED.partition("\n")[2]


def base(slurm: EmbeddedCluster, token: str) -> list[str]:
    return [job.base for job in slurm.jobs(token)]


async def test_one_poll_sees_every_job(slurm: EmbeddedCluster, now: Now, opened: Opened) -> None:
    """Running, waiting and finished jobs come from one squeue, and nothing else is asked."""
    jobs = [client(script=s, repeat=i) for i, s in enumerate((STAYS, HELD, FENCED))]
    async with opened() as at:
        alive = [live(j, await at.cluster.submit(order(j, now()))) for j in jobs]
        await until(lambda: base(slurm, jobs[2].token) == ["COMPLETED"])
        await until(lambda: base(slurm, jobs[0].token) == ["RUNNING"])
        answer = await at.cluster.poll(alive)
    words = [answer.seen[job.token][0].word for job in jobs]
    assert ["RUNNING", "PENDING", "COMPLETED"] == words
    assert ({}, ()) == (answer.absent, answer.strays)
    assert (1, 0) == (slurm.calls["squeue"], slurm.calls.get("sacct", 0))


async def test_what_squeue_forgot_is_asked_of_sacct_once(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """Jobs that left squeue are found by one sacct for all of them."""
    jobs = [client(script=FENCED, repeat=i) for i in range(3)]
    async with opened() as at:
        alive = [live(j, await at.cluster.submit(order(j, now()))) for j in jobs]
        for job in jobs:
            await until(lambda job=job: base(slurm, job.token) == ["COMPLETED"])  # type: ignore[misc] # bound now
        slurm.inject("purge")
        await until(lambda: slurm.jobs() == [])
        answer = await at.cluster.poll(alive)
    assert ["sacct"] * 3 == [answer.seen[job.token][0].evidence.source for job in jobs]
    assert (1, {}) == (slurm.calls["sacct"], answer.absent)


async def test_a_job_that_nobody_knows_is_absent_by_two_witnesses(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """Absence needs an answer of squeue and one of sacct, and both are named as evidence."""
    ghost = replace(client(), state=JobState.PENDING, slurm_id="99", tries=1)
    async with opened() as at:
        answer = await at.cluster.poll([ghost])
    assert ["squeue and sacct"] == [e.source for e in answer.absent.values()]


@pytest.mark.parametrize("fault", ["squeue-error", "sacct-down"])
async def test_a_witness_that_does_not_answer_proves_nothing(
    slurm: EmbeddedCluster, now: Now, opened: Opened, fault: str
) -> None:
    """A failing squeue is no answer at all, and a failing sacct makes nothing absent."""
    ghost = replace(client(), state=JobState.PENDING, slurm_id="99", tries=1)
    job_dir(slurm, ghost).mkdir(parents=True)
    slurm.inject(fault)
    async with opened() as at:
        if fault == "squeue-error":
            with pytest.raises(Unreachable, match="squeue failed"):
                await at.cluster.poll([ghost])
        else:
            answer = await at.cluster.poll([ghost])
            assert ({}, {}) == (answer.seen, answer.absent)


@pytest.mark.parametrize(
    ("left", "known"), [("nothing", "absent"), ("exit", "seen"), ("no-directory", "unknown")]
)
async def test_without_accounting_the_job_directory_is_the_witness(
    slurm: EmbeddedCluster, now: Now, opened: Opened, left: str, known: str
) -> None:
    """A site without sacct: exit.json says how it ended, a silent directory that it is gone."""
    job = replace(client(), state=JobState.RUNNING, slurm_id="99", tries=1)
    slurm.inject("sacct-off")
    if left != "no-directory":
        job_dir(slurm, job).mkdir(parents=True)
    if left == "exit":
        (job_dir(slurm, job) / "exit.json").write_text(exit_json("99", 0, 3))
    async with opened() as at:
        answer = await at.cluster.poll([job])
    states = {"seen": answer.seen, "absent": answer.absent}
    assert {known} & set(states) == {name for name, found in states.items() if found}
    if known == "seen":
        row = answer.seen[job.token][0]
        assert ("FAILED", 3, "exit.json") == (row.word, row.exit_code, row.evidence.source)


@pytest.mark.parametrize(("slurm_id", "generation"), [("98", 1), ("99", 0)])
async def test_an_exit_file_of_another_span_is_ignored(
    slurm: EmbeddedCluster, now: Now, opened: Opened, slurm_id: str, generation: int
) -> None:
    """What a twin or an earlier span left does not end the job."""
    job = replace(client(), state=JobState.RUNNING, slurm_id="99", tries=1, generation=1)
    job_dir(slurm, job).mkdir(parents=True)
    (job_dir(slurm, job) / "exit.json").write_text(exit_json(slurm_id, generation, 0))
    async with opened() as at:
        answer = await at.cluster.poll([job])
    assert {} == answer.seen


async def test_twins_are_seen_both_with_the_claim(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """Two Slurm jobs of one name are both reported, and who holds the claim."""
    job = client(script=FENCED)
    async with opened() as at:
        first = await at.cluster.submit(order(job, now()))
        await until(lambda: base(slurm, job.token) == ["COMPLETED"])
        # What a stalled controller can do: the name a second time, past our wrapper.
        place = job_dir(slurm, job)
        await at.shell.run(
            f"sbatch --job-name={job.token} --chdir={place} {place}/try-1/script.sh {place} 1",
            op="x",
            timeout=20,
        )
        await until(lambda: base(slurm, job.token) == ["COMPLETED", "FAILED"])
        answer = await at.cluster.poll([live(job, first)])
    assert isinstance(first, Accepted)
    assert {job.token: first.slurm_id} == answer.claims
    assert [None, 75] == sorted(
        (row.exit_code or None for row in answer.seen[job.token]), key=lambda code: code or 0
    )
    assert f"{first.slurm_id}\n" == (job_dir(slurm, job) / "ran").read_text()


async def test_a_stray_with_our_prefix_is_reported_not_touched(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """A live job with our prefix that nobody asked about is reported; foreign jobs are not."""
    async with opened() as at:
        for name in (f"{INSTANCE}-lost-c-x-p0r0-0-a1", "somebody-elses"):
            await at.shell.run(f"sbatch --job-name={name} --hold --wrap true", op="x", timeout=20)
        answer = await at.cluster.poll([])
        rows = await at.cluster.find("somebody-elses")
    assert [f"{INSTANCE}-lost-c-x-p0r0-0-a1"] == [row.token for row in answer.strays]
    assert ["PENDING"] == [row.word for row in rows]


async def test_a_job_that_was_never_known_is_sealed_and_proved_absent(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """Cancelling a try of unknown outcome seals the claim and proves that nothing is queued."""
    job = replace(client(script=FENCED), tries=1, attempted_at=now())
    job_dir(slurm, job).mkdir(parents=True)
    async with opened() as at:
        event = await at.cluster.cancel(job)
        again = await at.cluster.cancel(job)
    assert event is not None
    assert again is not None
    assert [Trigger.PROVED_ABSENT] * 2 == [event.trigger, again.trigger]
    assert "sealed" == str((job_dir(slurm, job) / "claim").readlink())


async def test_what_lands_after_the_seal_does_no_work(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """A submission that was under way when the job was sealed meets the seal."""
    job = client(script=FENCED)
    attempted = replace(job, tries=1, attempted_at=now())
    job_dir(slurm, job).mkdir(parents=True)
    async with opened() as at:
        await at.cluster.cancel(attempted)
        place = job_dir(slurm, job)
        (place / "late.sh").write_text(job.script)
        await at.shell.run(
            f"sbatch --job-name={job.token} --chdir={place} {place}/late.sh {place} 1",
            op="x",
            timeout=20,
        )
        await until(lambda: base(slurm, job.token) == ["FAILED"])
        rows = await at.cluster.find(job.token)
    assert ([75], False) == ([row.exit_code for row in rows], (place / "ran").exists())


async def test_a_queued_job_of_unknown_outcome_is_cancelled_by_name(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """Cancelling a CREATED row whose job is queued after all ends that job and proves it."""
    job = client(script=HELD)
    async with opened() as at:
        await at.cluster.submit(order(job, now()))
        event = await at.cluster.cancel(replace(job, tries=1, attempted_at=now()))
    assert event is not None
    assert (Trigger.PROVED_ABSENT, ["CANCELLED"]) == (event.trigger, base(slurm, job.token))


async def test_a_job_that_claimed_its_work_cannot_be_sealed(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """Cancelling a CREATED row whose job runs already learns its id instead."""
    job = client(script=STAYS)
    async with opened() as at:
        accepted = await at.cluster.submit(order(job, now()))
        await until((job_dir(slurm, job) / "claim").is_symlink)
        event = await at.cluster.cancel(replace(job, tries=1, attempted_at=now()))
    assert isinstance(accepted, Accepted)
    assert event is not None
    assert (Trigger.SUBMIT_ACCEPTED, accepted.slurm_id) == (event.trigger, event.slurm_id)


async def test_without_a_run_directory_absence_waits_for_the_quiet_time(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """Where there is nothing to seal, a first submission may still arrive until it is too late."""
    job = replace(client(), tries=1, attempted_at=now())
    async with opened() as at:
        early = await at.cluster.cancel(job)
        now.now += 155.0 + 2 * 10.0 + 60.0
        late = await at.cluster.cancel(job)
    assert early is None
    assert late is not None
    assert Trigger.PROVED_ABSENT == late.trigger


async def test_pruning_ends_jobs_by_id(slurm: EmbeddedCluster, now: Now, opened: Opened) -> None:
    """Twins are ended by their ids; the holder of the name goes on."""
    async with opened() as at:
        for _ in range(2):
            await at.shell.run("sbatch --job-name=pair --hold --wrap true", op="x", timeout=20)
        await at.cluster.prune([str(slurm.jobs("pair")[1].id)])
    assert ["PENDING", "CANCELLED"] == base(slurm, "pair")


async def test_results_and_the_ends_of_logs_come_home(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """Fetching brings exit.json, everything in result/ and the tails of both logs."""
    job = replace(client(), state=JobState.COMPLETED, slurm_id="5")
    place = job_dir(slurm, job)
    (place / "result" / "deep").mkdir(parents=True)
    (place / "exit.json").write_text("{}")
    (place / "result" / "result.json").write_bytes(b"\x00\xff")
    (place / "result" / "deep" / "a b").write_text("x")
    (place / "result" / "link").symlink_to("/etc/passwd")
    (place / "5.out").write_text("o" * 300_000 + "end")
    (place / "5.err").write_text("e")
    (place / "try-1").mkdir()
    (place / "try-1" / "targets.env").write_text("not wanted")
    async with opened() as at:
        fetched = await at.cluster.fetch(job)
    expected = {
        "exit.json": b"{}",
        "result/result.json": b"\x00\xff",
        "result/deep/a b": b"x",
        "out": b"o" * (256 * 1024 - 3) + b"end",
        "err": b"e",
    }
    assert expected == fetched.files


async def test_a_job_that_left_nothing_is_fetched_all_the_same(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """A job without result and logs comes home empty."""
    job = replace(client(), state=JobState.FAILED, slurm_id="5")
    job_dir(slurm, job).mkdir(parents=True)
    async with opened() as at:
        fetched = await at.cluster.fetch(job)
    assert ({"out": b"", "err": b""}, False) == (fetched.files, fetched.truncated)


@pytest.mark.parametrize(
    ("piece", "expected"),
    [
        ((0, 4), b"0123"),
        ((4, 100), b"456789"),
        ((10, 5), b""),
        ((99, 5), b""),
        ((-3, 2), b"78"),
    ],
)
async def test_logs_are_read_in_pieces(
    slurm: EmbeddedCluster, now: Now, opened: Opened, piece: tuple[int, int], expected: bytes
) -> None:
    """A log is read from any offset, also counted from the end."""
    job = replace(client(), state=JobState.RUNNING, slurm_id="5")
    job_dir(slurm, job).mkdir(parents=True)
    (job_dir(slurm, job) / "5.out").write_text("0123456789")
    async with opened() as at:
        assert expected == await at.cluster.log(job, "out", *piece)
        assert await at.cluster.log(job, "err", *piece) is None
        assert await at.cluster.log(service(), "out", 0, 10) is None


async def test_link_failures_open_the_circuit(slurm: EmbeddedCluster, now: Now) -> None:
    """After five link failures in two minutes the cluster is left alone for one minute."""
    async with near(slurm, now) as at:
        await at.cluster.open()
        for _ in range(5):
            with pytest.raises(Unreachable):
                await at.cluster.remote.run("sleep 9", op="x", timeout=0.05)
        opened = sample(at.metrics, "benchd_circuit_open", cluster="alpha")
        with pytest.raises(Unreachable, match="left alone for 60 s") as caught:
            await at.cluster.poll([])
        assert (1.0, False, Circuit.OPEN) == (
            opened,
            caught.value.sent,
            at.cluster.remote.breaker.state,
        )
        now.now += 61.0
        await at.cluster.poll([])
        assert Circuit.CLOSED is at.cluster.remote.breaker.state
        assert 0.0 == sample(at.metrics, "benchd_circuit_open", cluster="alpha")


@pytest.mark.parametrize(
    ("workdir", "message"),
    [
        ("$NO_SUCH_VARIABLE/x", "has no value on the login node: .*NO_SUCH_VARIABLE"),
        ("/no/such/place", "does not exist .*: make it, or set `workdir`"),
        ("$HOME/with space", "has characters that sbatch would not take"),
        ("/proc", "is not writable .*: make it, or set `workdir`"),
    ],
)
async def test_an_unusable_workdir_is_one_clear_message(
    slurm: EmbeddedCluster, now: Now, opened: Opened, workdir: str, message: str
) -> None:
    """A workdir that is missing, closed or oddly named is said so, with what to do."""
    settings = settings_for(slurm).model_copy(update={"workdir": workdir})
    async with opened(settings=settings) as at:
        with pytest.raises(NeedsHuman, match=message):
            await at.cluster.open()


async def test_a_workdir_with_variables_is_made_and_resolved(
    slurm: EmbeddedCluster, now: Now
) -> None:
    """The default workdir in the home directory is made at the first opening."""
    settings = settings_for(slurm).model_copy(update={"workdir": "${HOME}/benchd"})
    async with near(slurm, now, settings=settings) as at:
        place = await at.cluster.open()
    assert str((slurm.home / "benchd").resolve()) == place.workdir


async def test_hostile_archives_are_unpacked_without_harm() -> None:
    """Links, devices, sparse giants and names outside of the job are left out."""
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind in (
            ("result/ok", tarfile.REGTYPE),
            ("/etc/cron.d/x", tarfile.REGTYPE),
            ("result/../../up", tarfile.REGTYPE),
            ("other", tarfile.REGTYPE),
            ("result/link", tarfile.SYMTYPE),
            ("result/hard", tarfile.LNKTYPE),
            ("result/pipe", tarfile.FIFOTYPE),
            ("result/disk", tarfile.BLKTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type = kind
            member.linkname = "/etc/passwd"
            tar.addfile(member)
    files, truncated = unpack(buffer.getvalue(), 10**9)
    cut, _ = unpack(buffer.getvalue()[:700], 10**9)
    assert ({"result/ok": b""}, True, {"result/ok": b""}) == (files, truncated, cut)
    assert ({}, True) == unpack(b"no tar at all", 10**9)


def exit_json(slurm_id: str, generation: int, status: int) -> str:
    return json.dumps(
        {
            "slurm_id": slurm_id,
            "generation": generation,
            "status": status,
            "started_at": 1_700_000_000,
            "ended_at": 1_700_000_100,
        }
    )
