"""The store and its file: places, damage, versions, full disks, cancelled callers, kills."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from benchd.core.model import JobState
from benchd.edge.store import Store, place
from benchd.edge.store.rows import durable
from benchd.errors import StoreError
from support import builders, stored
from support.stored import NOW

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT / 'daemon'}:{ROOT / 'tests'}"}
CHILD = (sys.executable, "-m", "support.store_child")
DEADLINE = 60.0  # seconds for a child that normally needs less than one


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "benchd.sqlite3"


def _child(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*arguments], env=ENVIRONMENT, text=True, capture_output=True, timeout=DEADLINE, check=False
    )


def _names(directory: Path) -> list[str]:
    return sorted(p.name for p in directory.iterdir())


@pytest.mark.asyncio
async def test_what_was_stored_is_there_after_a_restart(path: Path) -> None:
    """Closing and opening keeps the instance and every record."""
    async with Store(path) as store:
        await stored.added(store, builders.job())
        job = await stored.submitted(store, builders.job())
        instance = store.instance

    async with Store(path) as store:
        assert store.instance == instance
        assert (await store.world()).jobs == stored.bare(job)


@pytest.mark.asyncio
async def test_the_instance_can_stand_in_a_token(path: Path) -> None:
    """The instance id is six characters of lower-case base 32 and begins with a letter."""
    async with Store(path) as store:
        assert len(store.instance) == 6
        assert store.instance[0].isalpha()
        assert set(store.instance) <= set("abcdefghijklmnopqrstuvwxyz234567")


@pytest.mark.asyncio
async def test_nobody_else_reads_the_file(path: Path) -> None:
    """The state directory is 0700 and each file of the database 0600."""
    async with Store(path) as store:
        await store.set_meta("a", "b")
        modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()}

    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert modes == dict.fromkeys(
        ("benchd.sqlite3", "benchd.sqlite3-wal", "benchd.sqlite3-shm"), 0o600
    )


@pytest.mark.asyncio
async def test_commits_are_durable_and_readers_read_only(path: Path) -> None:
    """The writer uses WAL with full synchronisation; the reading connection cannot write."""
    async with Store(path) as store:
        settings = [
            (await store._db.write(lambda tx, p=pragma: tx.rows(f"PRAGMA {p}")))[0][0]
            for pragma in ("journal_mode", "synchronous", "foreign_keys", "trusted_schema")
        ]
        with pytest.raises(StoreError):
            await store._db.read("DELETE FROM meta")

    assert settings == ["wal", 2, 1, 0]


@pytest.mark.asyncio
async def test_each_commit_is_timed(path: Path) -> None:
    """The hook is told the seconds of each commit, and of nothing else."""
    seconds: list[float] = []
    async with Store(path, on_commit=seconds.append) as store:
        seconds.clear()
        await store.set_meta("a", "b")
        await store.meta("a")

    assert len(seconds) == 1
    assert 0 < seconds[0] < DEADLINE


@pytest.mark.asyncio
async def test_a_closed_store_says_so(path: Path) -> None:
    """Using a store after its end is an error that names the file."""
    async with Store(path) as store:
        pass

    with pytest.raises(StoreError, match="is not open"):
        await store.set_meta("a", "b")
    with pytest.raises(StoreError, match="is not open"):
        await store.world()


@pytest.mark.asyncio
async def test_a_cancelled_caller_leaves_no_open_transaction(path: Path) -> None:
    """However early or late its caller is cancelled, a write ends whole and the next one works."""
    async with Store(path) as store:
        for turns in range(12):
            run = builders.run(id=f"run{turns}", recipe_path=f"{turns}.yaml")
            job = builders.job(run_id=run.id)
            task = asyncio.create_task(store.create_run(run, [job]))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        await store.set_meta("next", "works")
        world = await store.world()

    assert {run.id for run in world.runs} == {job.run_id for job in world.jobs}
    assert len(world.runs) >= 11  # a task cancelled before its first step writes nothing


MOUNTS = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:41 / /home rw shared:2 - nfs4 server:/home rw
31 30 8:2 / /home/me/local\040disk rw - xfs /dev/sdb1 rw
32 22 0:50 / /scratch rw - lustre mds@tcp:/scratch rw
33 22 0:51 / /gone rw - nfs server:/gone rw
34 33 8:3 / /gone rw - ext4 /dev/sdc1 rw
35 22 0:52 / /mnt/x rw shared:9 master:1 - fuse.sshfs me@there: rw
"""


@pytest.mark.parametrize(
    ("directory", "found"),
    [
        ("/var/lib/benchd", None),
        ("/home", "nfs4"),
        ("/home/me/benchd", "nfs4"),
        ("/home/me/local disk/benchd", None),
        ("/homestead", None),
        ("/scratch/me", "lustre"),
        ("/gone/benchd", None),  # mounted over
        ("/mnt/x", "fuse.sshfs"),
    ],
)
def test_network_file_systems_are_recognised(directory: str, found: str | None) -> None:
    """The mount that a directory really is on decides, network or local."""
    assert place.network_type(Path(directory), MOUNTS) == found


@pytest.mark.asyncio
async def test_a_network_file_system_is_refused(path: Path, tmp_path: Path) -> None:
    """On a shared disk the store does not start, and the message says why and what to set."""
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text("22 1 0:1 / / rw - nfs4 server:/ rw\n")

    with pytest.raises(StoreError, match=r"network file system \(nfs4\).*set state_dir"):
        await Store(path, mountinfo=mountinfo).open()
    assert _names(tmp_path / "state") == []


@pytest.mark.asyncio
async def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """A state directory that is no directory is one clear message."""
    (tmp_path / "state").write_text("in the way")

    with pytest.raises(StoreError, match=r"state directory .*state cannot be used"):
        await Store(tmp_path / "state" / "benchd.sqlite3").open()


def _squeezed(answer: subprocess.CompletedProcess[str]) -> list[str]:
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.splitlines()[1:]


def test_a_used_up_quota_is_survived(path: Path) -> None:
    """When files may not grow, all that was acknowledged is read, and writing resumes by itself."""
    full, *rest = _squeezed(_child(*CHILD, "squeeze", str(path), "limit"))

    assert full.startswith(f"full no space left for the database in {path.parent}")
    assert rest == ["kept True False", "again True True [False, True]"]


@pytest.mark.real("user-namespaces")
def test_a_full_disk_is_survived(tmp_path: Path) -> None:
    """On a full disk all that was acknowledged is read, and writing resumes once there is room."""
    story = (
        'mount -t tmpfs -o size=2m small "$1" && head -c 1000000 /dev/zero > "$1/ballast" && '
        'shift && exec "$@"'
    )
    disk = tmp_path / "disk"
    disk.mkdir()
    store, ballast = str(disk / "state" / "benchd.sqlite3"), str(disk / "ballast")

    full, *rest = _squeezed(
        _child(
            "unshare", "-rm", "sh", "-c", story, "sh", str(disk), *CHILD, "squeeze", store, ballast
        )
    )

    assert full.startswith("full no space left")
    assert rest == ["kept True False", "again True True [False, True]"]


def test_a_process_that_used_the_store_ends(path: Path) -> None:
    """A program that leaves by an error while something is written still ends at once."""
    answer = _child(*CHILD, "leave", str(path))

    assert (answer.returncode, answer.stderr.strip()) == (1, "left")


def _killed_after(path: Path, commits: int) -> dict[str, str]:
    """Return token -> the last revision that a killed child said it had committed."""
    command = [*CHILD, "hammer", str(path)]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        lines = [child.stdout.readline() for _ in range(commits)]
        child.kill()
        lines += child.stdout
    return dict(line.split() for line in lines if line.endswith("\n"))


@pytest.mark.asyncio
@pytest.mark.parametrize("commits", [1, 40, 500])
async def test_a_kill_loses_nothing_that_was_acknowledged(path: Path, commits: int) -> None:
    """Of many writers killed at once, each finds all it was told of, and histories add up."""
    acked = _killed_after(path, commits)

    async with Store(path) as store:
        jobs = await store.jobs()
        assert len(jobs) == 32
        for job in jobs:
            assert job.rev >= int(acked.get(job.token, "0"))
            assert await store.fold(job.token) == durable(job)
            assert len(await store.transitions(job.token)) == job.rev
        moved = await store.intend(jobs[0], (), NOW)
    assert moved.state is JobState.CREATED
