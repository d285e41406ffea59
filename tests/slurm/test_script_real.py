"""Batch scripts on a real Slurm: it takes them, and they do there what bash promised."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest

from benchd.core.model import SubState, Trigger
from benchd.core.payload import Sh, Step
from benchd.core.slurm import read_config
from benchd.core.spec import RestartPolicy
from benchd.fields import Resources
from slurm.place import DEADLINE, Place, place_for
from slurm.testbed import until
from support.realslurm import RealSlurm
from support.script_cases import GOLDEN, TOKEN, case

pytestmark = pytest.mark.real("slurm", "sshd")

RESTART_S = 5.0  # seconds from the requeue to the second start: the node has killed the first


@pytest.fixture(name="place")
def a_place(real_slurm: RealSlurm, request: pytest.FixtureRequest) -> Place:
    """Return a job directory whose job is named after the test."""
    return place_for(real_slurm, request.node.originalname)


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_slurm_takes_the_script(name: str, real_slurm: RealSlurm) -> None:
    """``sbatch --test-only`` reads every line of every kept script and finds a place for it."""
    script = real_slurm.workdir() / "script.sh"
    script.write_text(GOLDEN[name].render())
    # What only some sites have is replaced; it was read and understood all the same.
    ours = ["--partition=debug", "--constraint=", "--gres=none", "--cpus-per-task=1", "--mem=50"]
    argv = ["sbatch", "--test-only", *ours, str(script), "/j", "1"]
    done = real_slurm.lease.testbed.run(*argv)
    assert (0, True) == (done.returncode, " to start at " in done.stderr)


def test_the_real_status_comes_home(place: Place) -> None:
    """A payload's status reaches exit.json, squeue and sacct alike."""
    slurm_id = place.submit(case("sh", "-c", "exit 7", ports=("auto",)))
    said = place.sees(slurm_id, Trigger.SEEN_FAILED)
    assert (7, None, 0) == (said.exit_code, said.signal, said.generation)
    booked = place.accounted(slurm_id)
    assert (Trigger.SEEN_FAILED, 7, None) == (booked.trigger, booked.exit_code, booked.signal)
    exit_json = place.json("exit.json")
    assert (slurm_id, 0, 7) == tuple(exit_json[k] for k in ("slurm_id", "generation", "status"))
    assert said.started_at is not None
    assert said.ended_at is not None
    assert said.started_at - 2 <= exit_json["started_at"] <= exit_json["ended_at"]
    assert exit_json["ended_at"] <= said.ended_at + 2
    assert slurm_id == place.json("endpoint.json")["slurm_id"]
    assert str((place.job / "claim").readlink()) == slurm_id


def test_scancel_lets_the_script_say_how_it_ended(place: Place) -> None:
    """The payload is told by SIGTERM, and exit.json is written before Slurm kills the rest."""
    up = place.job / "up"
    text = """'trap "exit 3" TERM; : >"$0"; while :; do sleep 0.05; done'"""
    slurm_id = place.submit(case("bash", "-c", Sh(text), Sh('"$JOB/up"')))
    assert place.sees(slurm_id, Trigger.SEEN_RUNNING).nodes
    assert until(up.exists, DEADLINE)
    place.slurm.run("scancel", slurm_id)
    place.sees(slurm_id, Trigger.SEEN_CANCELLED)
    assert until((place.job / "exit.json").exists, DEADLINE)
    assert place.json("exit.json")["status"] == 3
    assert place.accounted(slurm_id).by is not None


def test_a_second_job_of_the_same_name_is_a_twin(place: Place) -> None:
    """Of two Slurm jobs with one directory only the claimant works; the other says 75."""
    what = case("sh", "-c", Sh("""'echo ran >>"$0"'"""), Sh('"$JOB/ran"'))
    ids = [place.submit(what) for _ in range(2)]
    ends = {i: place.sees(i, Trigger.SEEN_COMPLETED, Trigger.SEEN_FAILED) for i in ids}
    owner = str((place.job / "claim").readlink())
    (twin,) = set(ids) - {owner}
    assert (0, 75) == (ends[owner].exit_code, ends[twin].exit_code)
    assert (place.job / "ran").read_text() == "ran\n"
    assert (place.job / f"twin-{twin}").exists()


def test_a_requeued_job_comes_back_as_the_next_generation(place: Place) -> None:
    """After a requeue the same id passes its claim, and every witness tells generation 1."""
    text = """'echo "$SLURM_RESTART_COUNT" >>"$0"; [ "$SLURM_RESTART_COUNT" = 1 ] || sleep 600'"""
    what = case("sh", "-c", Sh(text), Sh('"$JOB/up"'), restart=RestartPolicy(requeue=True))
    slurm_id = place.submit(what)
    assert place.sees(slurm_id, Trigger.SEEN_RUNNING).generation == 0
    assert until((place.job / "up").exists, DEADLINE)
    place.slurm.run("scontrol", "requeue", slurm_id)
    assert place.sees(slurm_id, Trigger.SEEN_PENDING).generation == 1

    # Slurm keeps a requeued job back for two minutes, counted from the end of its first span: what
    # is asked for before that end is forgotten. A start in the second in which the node was told to
    # kill the first span would fail with "Job credential revoked".
    start = time.strftime("StartTime=%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + RESTART_S))

    def is_brought_forward() -> bool:
        said = place.queued(slurm_id)
        if said is not None and said.trigger is Trigger.SEEN_PENDING:
            with suppress(AssertionError):  # it may start in between
                place.slurm.run("scontrol", "update", f"JobId={slurm_id}", start)
            return False
        return said is not None and said.trigger is not Trigger.SEEN_PENDING

    assert until(is_brought_forward, DEADLINE)
    assert place.sees(slurm_id, Trigger.SEEN_COMPLETED).generation == 1
    assert (1, 0) == tuple(place.json("exit.json")[key] for key in ("generation", "status"))
    assert str((place.job / "claim").readlink()) == slurm_id


def test_a_held_job_is_seen_as_held(place: Place) -> None:
    """A hold is told as a sub-state of pending, with Slurm's reason."""
    slurm_id = place.submit(case("true", resources=Resources(nodes=1)), "--hold")
    said = place.sees(slurm_id, Trigger.SEEN_PENDING)
    assert (SubState.HELD, "JobHeldUser") == (said.substate, said.reason)
    place.slurm.run("scancel", slurm_id)


def test_what_the_cluster_says_about_itself_is_read(real_slurm: RealSlurm) -> None:
    """Version and times come out of the real ``scontrol show config``."""
    facts = read_config(real_slurm.run("scontrol", "show", "config"))
    assert (True, True) == (facts.accounting, facts.version != "")
    assert facts.message_timeout > 0
    assert TOKEN not in facts.cluster


def test_the_other_nodes_work_until_the_first_is_done(place: Place) -> None:
    """A worker runs on each of them, knows where the first is, and is gone with the job."""
    worker = Step(
        argv=(
            *("bash", "-c", 'echo "$SLURMD_NODENAME $BENCHD_HEAD_IP" >"$1/at-$2"; exec sleep 600'),
            *("bash", Sh('"$JOB"'), Sh('"$BENCHD_NODE_INDEX"')),
        )
    )
    text = 'until [ -s "$0/at-1" ] && [ -s "$0/at-2" ]; do sleep 0.1; done; cat "$0"/at-* >"$0/all"'
    text += '; echo "$SLURMD_NODENAME" "$BENCHD_HOST_IP" >>"$0/all"; exit 4'
    what = case(
        *("bash", "-c", text, Sh('"$JOB"')),
        payload={"workers": worker, "after": ('[ -s "$JOB/all" ] && : >"$JOB/after"',)},
        resources=Resources(nodes=3),
    )
    slurm_id = place.submit(what)
    assert place.sees(slurm_id, Trigger.SEEN_FAILED).exit_code == 4, place.told(slurm_id)
    lines = [line.split() for line in (place.job / "all").read_text().splitlines()]
    assert (3, 1) == (len({line[0] for line in lines}), len({line[1] for line in lines}))
    assert (place.job / "after").exists()


def test_a_program_runs_on_every_node(place: Place) -> None:
    """Each knows its number; cancelled, all are told, and the worst status is the job's."""
    text = """trap "exit $BENCHD_NODE_INDEX" TERM; : >"$0/at-$BENCHD_NODE_INDEX"
        while :; do sleep 0.05; done"""
    what = case(
        *("bash", "-c", text, Sh('"$JOB"')),
        payload={"each_node": True},
        resources=Resources(nodes=3),
    )
    slurm_id = place.submit(what)
    here = [place.job / f"at-{index}" for index in range(3)]
    assert until(lambda: all(path.exists() for path in here), DEADLINE), place.told(slurm_id)
    place.slurm.run("scancel", slurm_id)
    place.sees(slurm_id, Trigger.SEEN_CANCELLED)
    assert until((place.job / "exit.json").exists, DEADLINE)
    assert place.json("exit.json")["status"] != 0
