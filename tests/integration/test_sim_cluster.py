"""The embedded cluster as a client sees it: through a real SSH connection."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import asyncssh
import pytest

from benchd.sim import Clock, EmbeddedCluster
from support.simclient import QUEUE, SACCT, connected, eventually


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.asyncio
async def test_a_job_runs_ends_and_is_in_accounting(tmp_path: Path) -> None:
    """A submitted script is seen RUNNING, then COMPLETED, also in sacct, with its output."""
    async with connected(tmp_path) as client:
        body = "echo $SLURM_JOB_NAME $SLURM_JOB_NODELIST; read -r < go"
        await client.out(f"mkfifo {client.cluster.workdir}/go")
        job = await client.submit("one", body)
        assert await client.until(job, "RUNNING")
        await client.out(f"echo > {client.cluster.workdir}/go")
        row = await client.until(job, "COMPLETED")
        assert ("one", "0", "0", "None") == (
            row["name"],
            row["restarts"],
            row["exit"],
            row["reason"],
        )
        assert f"{job}|COMPLETED|0:0" == await client.out(SACCT.format("one"))
        assert "one n1" == (client.cluster.workdir / f"{job}.out").read_text().strip()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("body", "raw", "reason", "accounted"),
    [
        ("exit 7", "1792", "NonZeroExitCode", "FAILED|7:0"),
        ("kill -9 $$", "9", "JobLaunchFailure", "FAILED|0:9"),
    ],
)
async def test_how_a_script_ends_is_reported(
    tmp_path: Path, body: str, raw: str, reason: str, accounted: str
) -> None:
    """Exit status and signal reach squeue raw and sacct as rc:signal."""
    async with connected(tmp_path) as client:
        job = await client.submit("bad", body)
        row = await client.until(job, "FAILED")
        assert (raw, reason) == (row["exit"], row["reason"])
        assert f"{job}|{accounted}" == await client.out(SACCT.format("bad"))


@pytest.mark.asyncio
async def test_a_step_runs_once_for_each_node_and_ends_with_the_first_that_fails(
    tmp_path: Path,
) -> None:
    """Each process of srun knows its node; one that fails ends the others, with its status."""
    async with connected(tmp_path) as client:
        body = (
            "srun --overlap --nodes=2 bash -c 'echo $SLURM_NODEID $SLURM_NNODES >n$SLURM_NODEID'\n"
            "srun --overlap --nodes=2 bash -c '((SLURM_NODEID)) && exit 7; sleep 600'\necho $?"
        )
        job = await client.submit("steps", body, "--nodes=2")
        await client.until(job, "COMPLETED")
        here = client.cluster.workdir
        assert "7" == (here / f"{job}.out").read_text().strip()
        assert ["0 2", "1 2"] == [(here / f"n{i}").read_text().strip() for i in (0, 1)]


@pytest.mark.asyncio
async def test_output_that_cannot_be_opened_fails_the_job(tmp_path: Path) -> None:
    """A missing output directory is 0:53 in sacct, as on the real thing."""
    async with connected(tmp_path) as client:
        job = await client.submit("blind", "true", "--output=/nonexistent/%j.out")
        assert "4021" == (await client.until(job, "FAILED"))["exit"]
        assert f"{job}|FAILED|0:53" == await client.out(SACCT.format("blind"))


@pytest.mark.asyncio
async def test_cancel_ends_a_job_that_ignores_sigterm(tmp_path: Path) -> None:
    """Scancel sends SIGTERM, then SIGKILL after KillWait, to everything the job started."""
    async with connected(tmp_path) as client:
        body = (
            "trap 'echo term' TERM; setsid sleep 300 & echo $! > pid; while :; do sleep 0.1; done"
        )
        job = await client.submit("stubborn", body)
        pid_file = client.cluster.workdir / "pid"
        await eventually(lambda: pid_file.exists() and pid_file.read_text().strip() != "")
        pid = int(pid_file.read_text())
        await client.out(f"scancel {job}")
        assert "COMPLETING" == (await client.row(job))["state"]
        assert "9" == (await client.until(job, "CANCELLED"))["exit"]
        assert not _lives(pid)
        assert "term" in (client.cluster.workdir / f"{job}.out").read_text()
        assert f"{job}|CANCELLED by {client.cluster.jobs()[0].uid}|0:0" == await client.out(
            SACCT.format("stubborn")
        )


@pytest.mark.asyncio
async def test_a_time_limit_ends_a_job(tmp_path: Path) -> None:
    """A job over its time limit becomes TIMEOUT; the limit follows the clock that was handed in."""
    clock = Clock()
    async with connected(tmp_path, clock=clock) as client:
        job = await client.submit("long", "sleep 300", "--time=1")
        await client.until(job, "RUNNING")
        clock.advance(61)
        row = await client.until(job, "TIMEOUT")
        assert ("15", "TimeLimit") == (row["exit"], row["reason"])


@pytest.mark.asyncio
async def test_finished_jobs_are_forgotten_after_min_job_age(tmp_path: Path) -> None:
    """Squeue forgets a finished job after MinJobAge, sacct does not."""
    clock = Clock()
    async with connected(tmp_path, clock=clock) as client:
        job = await client.submit("brief", "true")
        await client.until(job, "COMPLETED")
        clock.advance(301)
        assert "" == await client.out(QUEUE)
        assert (1, "", "slurm_load_jobs error: Invalid job id specified\n") == await client.run(
            f"squeue -h -j {job}"
        )
        assert f"{job}|COMPLETED|0:0" == await client.out(SACCT.format("brief"))


@pytest.mark.asyncio
async def test_script_with_arguments_runs_where_it_was_told(tmp_path: Path) -> None:
    """Arguments, --chdir, --export=NONE and --open-mode are honoured."""
    async with connected(tmp_path) as client:
        work = client.cluster.workdir
        (work / "s.sh").write_text('#!/bin/bash\necho "$PWD $1 $2 ${SECRET-unset}"\n')
        (work / "x.out").write_text("before\n")
        command = (
            f"SECRET=1 sbatch --parsable --job-name=args --output={work}/x.out --open-mode=append"
            f" --chdir={work} --export=NONE {work}/s.sh a 'b c'"
        )
        job = int(await client.out(command))
        await client.until(job, "COMPLETED")
        assert f"before\n{work} a b c unset\n" == (work / "x.out").read_text()


@pytest.mark.asyncio
async def test_a_cut_link_submits_what_arrived(tmp_path: Path) -> None:
    """A connection cut while the script travels is an end of file for sbatch, as with sshd."""
    async with connected(tmp_path) as client:
        process = await client.connection.create_process("sbatch -J cut", encoding=None)
        process.stdin.write(b"#!/bin/bash\necho half")
        await process.stdin.drain()
        await eventually(lambda: client.cluster.calls["sbatch"] == 1)
        client.cluster.drop_connections()
        await eventually(lambda: client.cluster.jobs("cut") != [])


@pytest.mark.asyncio
async def test_a_command_outlives_its_connection(tmp_path: Path) -> None:
    """What runs on the login node goes on when the connection is lost."""
    async with connected(tmp_path) as client:
        mark = client.cluster.workdir / "done"
        await client.connection.create_process(f"cat; touch {mark}; read -r x", encoding=None)
        client.cluster.drop_connections()
        await eventually(mark.exists)


@pytest.mark.asyncio
async def test_sessions_are_limited_as_sshd_limits_them(tmp_path: Path) -> None:
    """The eleventh session on one connection is refused, and a slot is free again after an exit."""
    async with connected(tmp_path) as client:
        open_ = [await client.connection.create_process("cat", encoding=None) for _ in range(10)]
        with pytest.raises(asyncssh.ChannelOpenError, match="open failed"):
            await client.connection.create_process("cat", encoding=None)
        for process in open_:
            process.stdin.write_eof()
            await process.wait()
        assert "ok" == await client.out("echo ok")


@pytest.mark.asyncio
async def test_forwarding_reaches_this_machine_only(tmp_path: Path) -> None:
    """direct-tcpip goes to this machine by name and address; other hosts are prohibited."""

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, connected(tmp_path) as client:
        for host in ("127.0.0.1", "localhost"):
            reader, writer = await client.connection.open_connection(host, port)
            assert b"hello" == await reader.read()
            writer.close()
        with pytest.raises(asyncssh.ChannelOpenError) as prohibited:
            await client.connection.open_connection("192.0.2.1", port)
        assert asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED == prohibited.value.code
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            with pytest.raises(asyncssh.ChannelOpenError, match="Connection refused"):
                await client.connection.open_connection("127.0.0.1", unused.getsockname()[1])


@pytest.mark.asyncio
async def test_sftp_starts_at_home(tmp_path: Path) -> None:
    """SFTP is on, and relative paths are below the user's home."""
    async with connected(tmp_path) as client, client.connection.start_sftp_client() as sftp:
        async with sftp.open("note", "wb") as file:
            await file.write(b"text")
        assert b"text" == (client.cluster.home / "note").read_bytes()


@pytest.mark.asyncio
async def test_only_the_one_key_is_let_in(tmp_path: Path) -> None:
    """Another key and another user are refused."""
    async with EmbeddedCluster(tmp_path) as cluster:
        for user, key in [
            (cluster.user, asyncssh.generate_private_key("ssh-ed25519")),
            ("nobody-here", asyncssh.read_private_key(cluster.key)),
        ]:
            with pytest.raises(asyncssh.PermissionDenied):
                await asyncssh.connect(
                    cluster.host,
                    cluster.port,
                    username=user,
                    client_keys=[key],
                    known_hosts=str(cluster.known_hosts),
                    config=None,
                    agent_path=None,
                )


@pytest.mark.asyncio
async def test_a_deep_directory_still_has_sockets(tmp_path: Path) -> None:
    """A directory whose name is too long for a Unix socket works all the same."""
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    async with connected(deep) as client:
        assert "" == await client.out("squeue -h")


@pytest.mark.asyncio
async def test_ids_are_not_used_again_after_a_restart(tmp_path: Path) -> None:
    """A cluster started again on its directory goes on counting."""
    async with connected(tmp_path) as client:
        first = await client.submit("a", "true")
    async with connected(tmp_path) as client:
        assert first + 1 == await client.submit("b", "true")


@pytest.mark.asyncio
async def test_stopping_leaves_no_process(tmp_path: Path) -> None:
    """Jobs and login commands end with the cluster, also those in sessions of their own."""
    async with connected(tmp_path) as client:
        work = client.cluster.workdir
        await client.submit("job", "setsid sleep 300 & echo $! > j1; echo $$ > j2; sleep 300")
        await client.connection.create_process(
            f"sleep 300 & echo $! > {work}/l1; echo $$ > {work}/l2; wait", encoding=None
        )
        files = [work / name for name in ("j1", "j2", "l1", "l2")]
        await eventually(lambda: all(f.exists() and f.read_text().strip() for f in files))
        pids = [int(file.read_text()) for file in files]
        assert [True] * 4 == [_lives(pid) for pid in pids]
    assert [False] * 4 == [_lives(pid) for pid in pids]
