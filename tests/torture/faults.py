"""The stories: each starts a run, breaks something real, mends it, and waits for the end.

None looks at what Slurm accepted or what ran twice: every story is judged for that afterwards.
"""

# ruff: noqa: D401, D403 - a story says what happens; nobody is told to do it

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

from slurm.testbed import until
from torture.stage import Stage

# Megabytes of the small disk under a state directory: a database and its log take 5.
SMALL_MB = 12
# Seconds a run is watched while nothing may happen.
STILL_S = 3.0

# --- the daemon ----------------------------------------------------------------------------------


def killed(stage: Stage) -> None:
    """SIGKILL at random times, also while it starts, until the run is over."""
    stage.start()
    for _ in range(4 if stage.quick else 20):
        stage.pause(0.1, 2.5)
        stage.daemon.kill()
        stage.fault()
        stage.daemon.spawn()
    stage.until_over()


def terminated(stage: Stage) -> None:
    """SIGTERM at random times of a run that always has something to submit."""
    stage.start()
    for _ in range(2 if stage.quick else 6):
        stage.pause(0.3, 3.0)
        stage.terminate()
        stage.daemon.start()
    stage.until_over()


def terminated_while_ssh_hangs(stage: Stage) -> None:
    """SIGTERM while the login node has stopped in mid-submission."""
    stage.start()
    stage.door.arm("before")
    stage.door.wait_at_gate()
    stage.door.pause()
    stage.fault()
    stage.terminate()
    stage.door.resume()
    stage.door.open_gate()
    stage.daemon.start()
    stage.until_over()


# --- the connection ------------------------------------------------------------------------------


def cut_when_made(stage: Stage) -> None:
    """The connection dies when the try is made and nothing is written yet."""
    _hurt_in_submission(stage, "made", "cut")


def cut_before_sbatch(stage: Stage) -> None:
    """The connection dies while a submission has not called Slurm yet."""
    _hurt_in_submission(stage, "before", "cut")


def cut_after_sbatch(stage: Stage) -> None:
    """The connection dies when Slurm has the job and nobody has heard of it."""
    _hurt_in_submission(stage, "after", "cut")


def frozen_in_sbatch(stage: Stage) -> None:
    """The login node's session stops in mid-submission, and goes on later."""
    _hurt_in_submission(stage, stage.random.choice(("before", "after")), "freeze")


def reset_in_sbatch(stage: Stage) -> None:
    """The connection is reset in mid-submission."""
    _hurt_in_submission(stage, stage.random.choice(("before", "after")), "reset")


def every_submission_hurt(stage: Stage) -> None:
    """Each submission of a run meets another fault of the connection."""
    plan = [("made", "cut"), ("after", "reset"), ("before", "freeze")]
    stage.door.arm(plan[0][0])
    stage.start()
    for number, (_, how) in enumerate(plan):
        _at_the_gate(stage, how)
        stage.door.open_gate()
        if number + 1 < len(plan):
            stage.door.arm(plan[number + 1][0])
    stage.until_over()


def _hurt_in_submission(stage: Stage, when: str, how: str) -> None:
    stage.door.arm(when)
    stage.start()
    _at_the_gate(stage, how)
    stage.door.open_gate()
    stage.until_over()


def _at_the_gate(stage: Stage, how: str) -> None:
    stage.door.wait_at_gate()
    stage.fault()
    if how == "cut":
        stage.door.drop()
    elif how == "reset":
        stage.reset()
    else:
        logins = stage.cluster()["logins"]
        frozen = stage.door.freeze()
        stage.until_left_behind(logins)
        stage.door.thaw(frozen)


def cut_at_random(stage: Stage) -> None:
    """The connection is cut again and again, at random times."""
    stage.start()
    for _ in range(4 if stage.quick else 12):
        stage.pause(0.1, 2.0)
        stage.door.drop()
        stage.fault()
    stage.until_over()


def no_login_node(stage: Stage) -> None:
    """The login node is gone for a while in the middle of a run."""
    stage.start()
    stage.until_sent()
    stage.door.close()
    stage.fault()
    stage.until_trouble()
    stage.pause(2.0, 10.0)
    stage.door.reopen()
    stage.until_over()


def silent_login_node(stage: Stage) -> None:
    """The login node takes connections and says nothing, then comes back."""
    stage.start()
    stage.until_sent()
    stage.door.pause()
    stage.fault()
    stage.until_trouble()
    stage.pause(1.0, 8.0)
    stage.door.resume()
    stage.until_over()


# --- manners of a login node ---------------------------------------------------------------------


def few_sessions(stage: Stage) -> None:
    """The login node allows two sessions, and there is more to do at once."""
    stage.fault()
    stage.start()
    stage.until_over()


def no_forwarding(stage: Stage) -> None:
    """The login node forwards no connections."""
    stage.fault()
    stage.start()
    stage.until_over()


def taken_startups(stage: Stage) -> None:
    """Somebody else holds the one place for logins when the connection is lost."""
    stage.start()
    stage.until_sent()
    stage.door.drop()
    with socket.create_connection(("127.0.0.1", stage.door.port)) as rude:
        rude.recv(64)  # sshd's greeting: the place is ours, for LoginGraceTime at most
        stage.fault()
        stage.until_trouble()
    stage.until_over()


_BANNER = "echo; echo '*** Welcome. Maintenance on Monday. ***'; echo 'quota: 93%' >&2\n"


def slow_shell(stage: Stage) -> None:
    """Every session prints a banner and takes two seconds to begin."""
    stage.door.set_profile(_BANNER + "sleep 2\n")
    stage.fault()
    stage.start()
    stage.until_over()


def rubbish(stage: Stage) -> None:
    """Every session prints bytes that are no text, on both streams."""
    stage.door.set_profile("printf 'a\\377\\376\\000b\\033[2J\\n'; printf '\\200\\n' >&2\n")
    stage.fault()
    stage.start()
    stage.until_over()


def bad_manners(stage: Stage) -> None:
    """Few sessions, no forwarding, banners, rubbish and delay, all at once."""
    stage.door.set_profile(_BANNER + "printf '\\377\\376\\n'; sleep 0.2\n")
    stage.fault()
    stage.start()
    stage.until_over()


def flood(stage: Stage) -> None:
    """A start-up file prints 50 MB before every command, until the first job is in Slurm."""
    mark = stage.door.home / "flood"
    mark.touch()
    stage.door.set_profile(f'[ -e "{mark}" ] && head -c 52428800 /dev/zero | tr "\\0" x\n')
    stage.fault()
    stage.start()
    stage.until_sent()
    mark.unlink()
    stage.until_over()
    process = stage.daemon.process
    assert process is not None
    told = Path(f"/proc/{process.pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in told.splitlines() if line.startswith("VmHWM"))
    # it is 90,000 without any noise
    stage.expect(peak < 200_000, f"took {peak} kB of memory for 50 MB of noise")


# --- keys ----------------------------------------------------------------------------------------


def key_revoked(stage: Stage) -> None:
    """The key is taken away in the middle of a run: paused after one refusal, until resumed."""
    stage.start()
    stage.until_sent()
    stage.door.revoke()
    stage.fault()
    stage.until_paused("refuses the key")
    stage.door.admit()
    stage.resume()
    stage.until_over()


def host_key_changed(stage: Stage) -> None:
    """The login node shows another host key: paused at once, until resumed."""
    stage.start()
    stage.until_sent()
    stage.door.change_host_key()
    stage.fault()
    stage.until_paused("host key")
    stage.door.restore_host_key()
    stage.resume()
    stage.until_over()


def keys(stage: Stage) -> None:
    """First the host key, then our own: each pauses the cluster, each time it is resumed."""
    stage.start()
    stage.until_sent()
    stage.door.change_host_key()
    stage.fault()
    stage.until_paused("host key")
    stage.door.restore_host_key()
    stage.resume()
    stage.until(lambda: stage.cluster()["link"] == "up", "the link is up again")
    stage.door.revoke()
    stage.fault()
    stage.until_paused("refuses the key")
    stage.door.admit()
    stage.resume()
    stage.until_over()


# --- Slurm ---------------------------------------------------------------------------------------


def controller_stalled(stage: Stage) -> None:
    """slurmctld stops in mid-submission: sbatch says 'Socket timed out', the job is queued."""
    ctl = stage.slurm.ctl
    stage.afterwards(lambda: ctl("resume", "slurmctld"))
    stage.door.arm("before")
    stage.start()
    stage.door.wait_at_gate()
    ctl("pause", "slurmctld")
    stage.fault()
    calls = len(stage.door.calls())
    stage.door.open_gate()
    # until sbatch has given up
    stage.until(lambda: _recorded(stage) or len(stage.door.calls()) > calls, "sbatch gave up")
    stage.until_trouble()
    ctl("resume", "slurmctld")
    stage.until_over()


def _recorded(stage: Stage) -> bool:
    return any(stage.workdir.glob("runs/*/jobs/*/try-*/rc"))


def controller_restarted(stage: Stage) -> None:
    """slurmctld is restarted at random times, and comes back with its jobs."""
    _without_controller(stage, "down")


def controller_killed(stage: Stage) -> None:
    """slurmctld is killed at random times: what it had not saved is gone, ids come again."""
    _without_controller(stage, "kill")


def _without_controller(stage: Stage, how: str) -> None:
    ctl = stage.slurm.ctl
    stage.afterwards(lambda: ctl("up", "slurmctld"))
    stage.start()
    for _ in range(1 if stage.quick else 3):
        stage.pause(0.5, 4.0)
        ctl(how, "slurmctld")
        stage.fault()
        stage.pause(0.5, 4.0 if stage.quick else 12.0)
        ctl("up", "slurmctld")
    stage.until_over()


def no_accounting(stage: Stage) -> None:
    """slurmdbd is down while jobs end and Slurm forgets them within seconds."""
    ctl = stage.slurm.ctl
    stage.afterwards(lambda: ctl("up", "slurmdbd"))
    forgetful(stage)
    stage.start()
    stage.until_sent()
    ctl("down", "slurmdbd")
    stage.fault()
    stage.until_over()
    ctl("up", "slurmdbd")


def purged(stage: Stage) -> None:
    """The login node is away while the jobs end and slurmctld forgets them."""
    forgetful(stage)
    stage.start()
    stage.until_sent("client")
    client = stage.job("client")["slurm_id"]
    stage.door.close()
    stage.fault()
    gone = until(lambda: not _is_known(stage, client), 90.0)
    stage.expect(gone, f"slurmctld still knows job {client} after MinJobAge: nothing was tested")
    stage.door.reopen()
    stage.until_over()


def _is_known(stage: Stage, job: str) -> bool:
    return bool(
        stage.testbed.run("squeue", "-h", "-t", "all", "-j", job, "-o", "%i").stdout.strip()
    )


def forgetful(stage: Stage) -> None:
    """Let slurmctld forget a job two seconds after its end, until the stage is left."""
    stage.afterwards(lambda: _remember_for(stage, stage.testbed.plan.options.min_job_age_s))
    _remember_for(stage, 2)
    stage.fault()


def _remember_for(stage: Stage, seconds: int) -> None:
    conf = stage.testbed.conf
    lines = [line for line in conf.read_text().splitlines() if not line.startswith("MinJobAge=")]
    conf.write_text("\n".join([*lines, f"MinJobAge={seconds}"]) + "\n")
    stage.slurm.run("scontrol", "reconfigure")


def cold_start(stage: Stage) -> None:
    """slurmctld starts without its state in the middle of a run: jobs are gone, ids come again."""
    ctl = stage.slurm.ctl
    stage.afterwards(lambda: ctl("up", "slurmctld"))
    stage.start()
    stage.until_ready()
    ctl("kill", "slurmctld")
    stage.fault()
    for file in (stage.testbed.dir / "state").glob("**/*"):
        if file.is_file() and file.name != "clustername":
            file.unlink()
    ctl("up", "slurmctld")
    stage.until_over()
    stage.again()


# --- the disk ------------------------------------------------------------------------------------


def small_disk(stage: Stage) -> Path:
    """Put the state directory on a disk of a few megabytes."""
    state = stage.daemon.state
    state.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_MB}m,mode=700", "small", str(state)]
    subprocess.run(mount, check=True)
    stage.afterwards(lambda: subprocess.run(["umount", str(state)], check=True))
    return state


def full_disk(stage: Stage) -> None:
    """The disk fills up at a random time of a run, and is emptied later: no restart."""
    state = small_disk(stage)
    stage.start()
    stage.until_sent()
    stage.pause(0.0, 1.5)
    fill(state / "ballast")
    stage.fault()
    stage.until(lambda: not stage.daemon.ask("status")["daemon"]["store_writable"], "it is told")
    calls = len(stage.door.calls())
    stage.pause(STILL_S, STILL_S + 1)
    stage.cluster()
    stage.expect(len(stage.door.calls()) == calls, "submitted although nothing could be recorded")
    (state / "ballast").unlink()
    process = stage.daemon.process
    stage.until_over()
    stage.expect(process is stage.daemon.process, "needed a restart")


def fill(file: Path) -> None:
    """Write until nothing more fits."""
    with file.open("wb", buffering=0) as ballast:
        size = 1 << 20
        while size:
            try:
                ballast.write(b"\0" * size)
            except OSError:
                size //= 2


def read_only(stage: Stage) -> None:
    """The state directory cannot be written when the daemon starts, and can later."""
    state = small_disk(stage)
    stage.start()
    stage.until_sent()
    stage.daemon.kill()
    subprocess.run(["mount", "-o", "remount,ro", str(state)], check=True)
    stage.refuses_to_start(2, "make it writable")
    subprocess.run(["mount", "-o", "remount,rw", str(state)], check=True)
    stage.daemon.start()
    stage.until_over()


def damaged(stage: Stage) -> None:
    """The database is damaged: the daemon says so, touches nothing, and starts with a copy."""
    stage.start()
    stage.until_sent()
    stage.terminate()
    file = stage.daemon.state / "benchd.sqlite3"
    sound = file.read_bytes()
    at = stage.random.randrange(0, len(sound) - 8192, 4096)
    broken = sound[:at] + os.urandom(8192) + sound[at + 8192 :]
    file.write_bytes(broken)
    stage.refuses_to_start(78, "is damaged")
    stage.expect(file.read_bytes() == broken, "wrote into a damaged database")
    file.write_bytes(sound)
    stage.daemon.start()
    stage.until_over()


# --- all at once ---------------------------------------------------------------------------------


def everything(stage: Stage) -> None:
    """Kills, cuts, freezes and a stalled controller, one after another in random order."""
    ctl = stage.slurm.ctl
    stage.afterwards(lambda: ctl("resume", "slurmctld"))
    stage.start()
    for _ in range(12):
        stage.pause(0.1, 2.5)
        stage.fault()
        match stage.random.randrange(5):
            case 0:
                stage.daemon.kill()
                stage.daemon.spawn()
            case 1:
                stage.door.drop()
            case 2:
                frozen = stage.door.freeze()
                stage.pause(0.5, 6.0)
                stage.door.thaw(frozen)
            case 3:
                ctl("pause", "slurmctld")
                stage.pause(0.5, 12.0)
                ctl("resume", "slurmctld")
            case 4:
                stage.door.close()
                stage.pause(0.5, 5.0)
                stage.door.reopen()
    stage.until_over()
