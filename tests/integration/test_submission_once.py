"""Exactly one Slurm job per try, whatever happens on the way."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from benchd.core.model import Accepted, Binding, Expired, Refused, Unknown
from benchd.edge.link import Link
from benchd.edge.pack import build
from benchd.errors import NeedsHuman, Unreachable
from benchd.sim import EmbeddedCluster
from support.builders import client
from support.near import QUICK, sample, settings_for, until_answered
from support.near_slurm import FENCED, Near, Now, Opened, Words, age, job_dir, near, order
from support.wire import Wire

pytestmark = pytest.mark.asyncio


async def test_a_submission_is_accepted_with_its_id(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """A script that Slurm takes is answered with the id, which also stands in the try directory."""
    job = client(script=FENCED)
    async with opened() as at:
        answer = await at.cluster.submit(order(job, now()))
    assert isinstance(answer, Accepted)
    place = job_dir(slurm, job)
    assert answer.slurm_id == (place / "try-1" / "id").read_text().strip()
    assert [answer.slurm_id] == [str(j.id) for j in slurm.jobs(job.token)]
    assert (FENCED, "0\n") == (
        (place / "try-1" / "script.sh").read_text(),
        (place / "try-1" / "rc").read_text(),
    )


async def test_the_same_order_again_is_the_same_job(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """Sending one order many times, also at once, makes one Slurm job and one answer."""
    job = client(script=FENCED)
    async with opened() as at:
        first = order(job, now())
        answers = await asyncio.gather(*(at.cluster.submit(first) for _ in range(4)))
        answers.append(await at.cluster.submit(first))
    ids = {a.slurm_id for a in answers if isinstance(a, Accepted)}
    assert (1, 1) == (len(slurm.jobs(job.token)), len(ids))


async def test_a_script_arrives_byte_for_byte(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """Quotes, blank lines, dollars and letters of any alphabet are what Slurm gets."""
    script = FENCED + "cat <<'E'\n\n  $(rm -rf /) `id` \"'\\ \u00e9\u65e5 !x %j\nE\n\n\n"
    job = client(script=script)
    async with opened() as at:
        await at.cluster.submit(order(job, now()))
    assert script.encode() == slurm.jobs(job.token)[0].request.script


async def test_targets_travel_with_the_try(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """What a client measures is written beside its script, ready to be sourced."""
    job = client(script=FENCED)
    first = Binding(name="redis-a", token="t", generation=1, host="node-7.site", ports=(7000, 7001))
    second = replace(first, token="u", host="10.0.0.8")
    async with opened() as at:
        await at.cluster.submit(order(job, now(), targets=(first, second)))
    env = (job_dir(slurm, job) / "try-1" / "targets.env").read_text()
    urls = "http://node-7.site:7000,http://10.0.0.8:7000"
    said = {"HOST": "node-7.site", "PORT": "7000", "URL": "http://node-7.site:7000", "URLS": urls}
    named = {f"BENCHD_TARGET_REDIS_A_{key}": value for key, value in said.items()}
    plain = {f"BENCHD_TARGET_{key}": value for key, value in said.items()}
    listed = {"BENCHD_TARGETS": "'node-7.site:7000 10.0.0.8:7000'"}
    expected = {**named, **plain, **listed}
    assert "".join(f"export {key}={value}\n" for key, value in expected.items()) == env


async def test_a_target_host_that_is_no_host_is_refused(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """A host name that would be shell is refused before anything is sent."""
    job = client(script=FENCED)
    bad = Binding(name="x", token="t", generation=0, host="a;reboot", ports=(1,))
    async with opened() as at:
        answer = await at.cluster.submit(order(job, now(), targets=(bad,)))
    assert isinstance(answer, Refused)
    assert (True, []) == (answer.final, slurm.jobs(job.token))


async def test_a_refused_partition_is_final_and_says_what_to_do(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """A partition that does not exist is refused for good, with Slurm's words and the fix."""
    script = "#!/bin/bash\n#SBATCH --partition=nope\n"
    async with opened() as at:
        answer = await at.cluster.submit(order(client(script=script), now()))
    assert isinstance(answer, Refused)
    assert answer.final
    assert "Invalid partition name specified" in answer.why
    assert "sinfo" in answer.why


async def test_a_controller_that_is_down_is_a_passing_refusal(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """When sbatch surely did not reach the controller, the next try may be made."""
    slurm.inject("sbatch-error")
    job = client(script=FENCED)
    async with opened() as at:
        first = await at.cluster.submit(order(job, now()))
        again = await at.cluster.submit(order(job, now()))
        second = await at.cluster.submit(order(job, now(), k=2))
    assert isinstance(first, Refused)
    assert not first.final
    assert isinstance(again, Refused)
    assert isinstance(second, Accepted)
    assert 1 == len(slurm.jobs(job.token))


async def test_timed_out_but_queued_is_found_by_name(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """When sbatch says 'timed out' and the job is queued all the same, it is found and kept."""
    slurm.inject("socket-timeout")
    job = client(script=FENCED)
    async with opened() as at:
        answer = await at.cluster.submit(order(job, now()))
    assert isinstance(answer, Accepted)
    assert [answer.slurm_id] == [str(j.id) for j in slurm.jobs(job.token)]


async def test_a_lost_answer_settles_to_the_one_job(slurm: EmbeddedCluster, now: Now) -> None:
    """A link that drops after sbatch leaves 'unknown'; the same order then finds the one job."""
    slurm.inject("answer-lost")
    job = client(script=FENCED)
    async with near(slurm, now) as at:
        lost = await at.cluster.submit(order(job, now()))
        settled = await _submit_when_up(at, order(job, now()))
    assert isinstance(lost, Unknown)
    assert isinstance(settled, Accepted)
    assert [settled.slurm_id] == [str(j.id) for j in slurm.jobs(job.token)]


async def test_a_killed_wrapper_is_found_by_name(slurm: EmbeddedCluster, now: Now) -> None:
    """When the login node kills the command after sbatch, the job without record is found."""
    slurm.inject("login-killed")
    job = client(script=FENCED)
    async with near(slurm, now) as at:
        lost = await at.cluster.submit(order(job, now()))
        settled = await _submit_when_up(at, order(job, now()))
    assert isinstance(lost, Unknown)
    assert isinstance(settled, Accepted)
    assert 1 == len(slurm.jobs(job.token))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.95])
async def test_a_cut_while_the_script_travels_submits_nothing(
    slurm: EmbeddedCluster, now: Now, share: float
) -> None:
    """A link cut in the middle of the script leaves nothing behind, and the try is still good."""
    job = client(script=FENCED + "# filler\n" * 40_000)
    async with Wire(slurm.port) as wire:
        settings = settings_for(slurm, port=wire.port, known_hosts=_known(slurm, wire.port))
        async with near(slurm, now, settings=settings) as at:
            await at.cluster.open()
            wire.cut_after = wire.sent + 4096 + int(share * len(job.script))
            with suppress(Unreachable):  # cut so early that it surely did not start
                assert isinstance(await at.cluster.submit(order(job, now())), Unknown)
            assert [] == slurm.jobs(job.token)
            assert not job_dir(slurm, job).exists()
            settled = await _submit_when_up(at, order(job, now()))
    assert isinstance(settled, Accepted)
    assert [job.script.encode()] == [j.request.script for j in slurm.jobs(job.token)]


async def test_a_try_without_a_sign_expires_only_after_the_quiet_time(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """A try directory without a record stays unknown for 155 s and the quiet time, then expires."""
    job = client(script=FENCED)
    started = now()
    made = job_dir(slurm, job) / "try-1"
    made.mkdir(parents=True)
    async with opened() as at:
        quiet = 155.0 + 2 * at.cluster.settings.message_timeout + 60.0
        first = await at.cluster.submit(order(job, started, make_run_dir=False))
        now.now = started + quiet - 5.0
        age(made, quiet - 5.0)
        before = await at.cluster.submit(order(job, started, make_run_dir=False))
        now.now = started + quiet + 5.0
        age(made, quiet + 5.0)
        after = await at.cluster.submit(order(job, started, make_run_dir=False))
    assert [Unknown, Unknown, Expired] == [type(first), type(before), type(after)]
    assert [] == slurm.jobs(job.token)


async def test_a_clock_that_is_set_ahead_expires_no_try(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """How long a try is silent is asked of the file server, not of a clock that may be set."""
    job = client(script=FENCED)
    made = job_dir(slurm, job) / "try-1"
    made.mkdir(parents=True)
    (made / "rc").write_text("1\n")
    (made / "err").write_text("sbatch: error: Socket timed out on send/recv operation\n")
    async with opened() as at:
        await at.cluster.open()
        now.now += 3600.0
        young = await at.cluster.submit(order(job, now(), make_run_dir=False))
        age(made / "rc", 10_000.0)
        old = await at.cluster.submit(order(job, now(), make_run_dir=False))
    assert [Unknown, Expired] == [type(young), type(old)]


async def test_an_unanswered_question_never_expires_a_try(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """While squeue or sacct do not answer, a try without a sign stays unknown."""
    job = client(script=FENCED)
    started = now()
    made = job_dir(slurm, job) / "try-1"
    made.mkdir(parents=True)
    async with opened() as at:
        await at.cluster.open()
        now.now = started + 10_000.0
        age(made, 10_000.0)
        slurm.inject("squeue-error")
        blind = await at.cluster.submit(order(job, started, make_run_dir=False))
        slurm.heal()
        slurm.inject("sacct-down")
        half_blind = await at.cluster.submit(order(job, started, make_run_dir=False))
    assert [Unknown, Unknown] == [type(blind), type(half_blind)]


@pytest.mark.parametrize("fault", ["sacct-off", "no-sacct"])
async def test_without_accounting_squeue_alone_expires_a_try(
    slurm: EmbeddedCluster, now: Now, opened: Opened, fault: str
) -> None:
    """Where there is no accounting, nobody waits for its answer."""
    job = client(script=FENCED)
    started = now()
    made = job_dir(slurm, job) / "try-1"
    made.mkdir(parents=True)
    if fault == "no-sacct":
        program = slurm.dir / "bin" / "sacct"
        program.unlink()
        program.write_text("#!/bin/bash\nexit 127\n")
        program.chmod(0o755)
    else:
        slurm.inject(fault)
    async with opened() as at:
        await at.cluster.open()
        now.now = started + 10_000.0
        age(made, 10_000.0)
        answer = await at.cluster.submit(order(job, started, make_run_dir=False))
    assert Expired is type(answer)


async def test_a_job_is_not_found_only_when_both_say_so(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """Looking for a job while sacct is down does not answer that there is none."""
    slurm.inject("sacct-down")
    async with opened() as at:
        with pytest.raises(Unreachable, match="sacct does not answer"):
            await at.cluster.find("nobody")
        slurm.heal("sacct-down")
        assert [] == await at.cluster.find("nobody")


async def test_a_claim_settles_what_nothing_else_knows(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """A job that ran and left squeue and sacct is known by the claim it made."""
    job = client(script=FENCED)
    place = job_dir(slurm, job)
    (place / "try-1").mkdir(parents=True)
    (place / "claim").symlink_to("4711")
    async with opened() as at:
        answer = await at.cluster.submit(order(job, now(), make_run_dir=False))
        next_try = await at.cluster.submit(order(job, now(), k=2, make_run_dir=False))
    assert isinstance(answer, Accepted)
    assert isinstance(next_try, Accepted)
    assert ("4711", "4711", []) == (answer.slurm_id, next_try.slurm_id, slurm.jobs(job.token))


async def test_a_run_directory_that_is_gone_stops_its_jobs(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """When a scratch cleaner took the run's directory, nothing of the run is submitted again."""
    job = client(script=FENCED)
    async with opened() as at:
        answer = await at.cluster.submit(order(job, now(), make_run_dir=False))
    assert isinstance(answer, Refused)
    assert (True, []) == (answer.final, slurm.jobs(job.token))
    assert answer.why.startswith("RUN_DIR_GONE: ")
    assert not (slurm.workdir / "runs" / job.run_id).exists()


async def test_a_job_directory_that_cannot_be_made_is_a_passing_refusal(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """A directory that cannot be made is refused for now, with the reason and what to look at."""
    job = client(script=FENCED)
    run = slurm.workdir / "runs" / job.run_id
    run.mkdir(parents=True)
    (run / "jobs").write_text("a file stands where the directory should be")
    async with opened() as at:
        answer = await at.cluster.submit(order(job, now()))
    assert isinstance(answer, Refused)
    assert (False, True) == (answer.final, "is it full, over quota or read-only" in answer.why)


async def test_a_sealed_job_is_not_submitted(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """A try that starts after the seal calls no sbatch."""
    job = client(script=FENCED)
    place = job_dir(slurm, job)
    place.mkdir(parents=True)
    (place / "claim").symlink_to("sealed")
    async with opened() as at:
        answer = await at.cluster.submit(order(job, now()))
    assert isinstance(answer, Refused)
    assert (True, []) == (answer.final, slurm.jobs(job.token))


async def test_a_foreign_epoch_stops_submission_until_taken_over(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """When another daemon with our state opened the workdir, ours submits nothing more."""
    job = client(script=FENCED)
    words = Words()
    async with opened(words=words) as at:
        await at.cluster.open()
        (slurm.workdir / f"epoch-{at.cluster.instance}-alpha").write_text("7\n")
        with pytest.raises(NeedsHuman, match=r"another benchd .*--take-over"):
            await at.cluster.submit(order(job, now()))
    async with opened(words=words) as at:
        with pytest.raises(NeedsHuman, match="--take-over"):
            await at.cluster.open()
        at.cluster.take_over()
        answer = await at.cluster.submit(order(job, now()))
        assert "8\n" == (slurm.workdir / f"epoch-{at.cluster.instance}-alpha").read_text()
    assert isinstance(answer, Accepted)


async def test_an_epoch_that_was_set_back_is_raised_again(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """A lower number is an earlier raising that landed late: nobody is asked, the job goes out."""
    job = client(script=FENCED)
    async with opened(words=Words()) as at:
        await at.cluster.open()
        epoch = slurm.workdir / f"epoch-{at.cluster.instance}-alpha"
        epoch.write_text("0\n")
        with pytest.raises(Unreachable, match="went back from 1 to 0"):
            await at.cluster.submit(order(job, now()))
        assert [] == slurm.jobs(job.token)
        answer = await at.cluster.submit(order(job, now()))
        assert "2\n" == epoch.read_text()
    assert isinstance(answer, Accepted)


@pytest.mark.parametrize(
    ("known", "expected"), [("4 -", "5\n"), ("3 4", "5\n"), ("3 -", None), ("- -", None)]
)
async def test_an_epoch_without_a_clusters_name_is_renamed_if_it_is_ours(
    slurm: EmbeddedCluster, now: Now, opened: Opened, known: str, expected: str | None
) -> None:
    """The file of an older benchd goes on under its new name; of a foreign one nothing is moved."""
    words = Words()
    words.words["epoch:alpha"] = known
    async with opened(words=words) as at:
        old = slurm.workdir / f"epoch-{at.cluster.instance}"
        new = slurm.workdir / f"{old.name}-alpha"
        old.write_text("4\n")
        (slurm.workdir / f"{old.name}.4").mkdir()
        if expected is None:
            with pytest.raises(NeedsHuman, match=f"{old.name} says '4'.*--take-over"):
                await at.cluster.open()
            assert ("4\n", False) == (old.read_text(), new.exists())
            at.cluster.take_over()
        await at.cluster.open()
        assert {f"{new.name}", f"{new.name}.5"} == {p.name for p in slurm.workdir.glob("epoch-*")}
        assert "5\n" == new.read_text()


async def test_an_interrupted_opening_is_no_foreign_one(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """A crash before or after the new epoch is written leaves a workdir that is still ours."""
    words = Words()
    async with opened(words=words) as at:
        words.words["epoch:alpha"] = "- 1"  # crashed in the very first opening
        await at.cluster.open()
        assert {"epoch:alpha": "2 -"} == words.words
    words.words["epoch:alpha"] = "1 2"  # crashed after writing 2, before noting it
    async with opened(words=words) as at:
        await at.cluster.open()
    assert {"epoch:alpha": "3 -"} == words.words


async def test_a_shipped_file_is_sent_once_and_whole(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """A zipapp is written with its hash checked, and not sent again over the same connection."""
    package = build("llm")
    file = slurm.workdir / "ship" / package.file_name
    file.parent.mkdir()
    file.write_bytes(package.data[:100])  # what a cut link without our care would leave
    async with opened() as at:
        await at.cluster.submit(order(client(script=FENCED), now(), ship=(package.file_name,)))
        whole = file.read_bytes()
        await at.cluster.submit(
            order(client(script=FENCED, repeat=1), now(), ship=(package.file_name,))
        )
        sent = sample(
            at.metrics, "benchd_ssh_commands_total", cluster="alpha", op="ship", outcome="ok"
        )
    assert (package.data, 1.0) == (whole, sent)


async def test_rpcs_are_counted_for_what_was_called(
    slurm: EmbeddedCluster, now: Now, opened: Opened
) -> None:
    """A call of sbatch is counted once, and reading a settled try costs the controller nothing."""
    job = client(script=FENCED)
    async with opened() as at:
        for _ in range(3):
            await at.cluster.submit(order(job, now()))
        count = sample(
            at.metrics,
            "benchd_slurm_rpcs_total",
            cluster="alpha",
            command="sbatch",
            outcome="ok",
        )
    assert (1.0, 1) == (count, slurm.calls["sbatch"])


async def _submit_when_up(at: Near, what: Any) -> Any:
    """Submit again as soon as the link may log in again."""
    assert isinstance(at.shell, Link)

    async def settled() -> Any:
        with suppress(Unreachable):
            answer = await at.cluster.submit(what)
            return None if isinstance(answer, Unknown) else answer
        return None

    return await until_answered(settled, 20, pause=QUICK.floor)


def _known(slurm: EmbeddedCluster, port: int) -> str:
    path = slurm.dir / f"known_hosts_{port}"
    path.write_text(slurm.known_hosts.read_text().replace(f":{slurm.port} ", f":{port} "))
    return str(path)
