"""The recipe folder, with real files of every kind."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from benchd.edge import inbox as inbox_module
from benchd.edge.inbox import Drop, Inbox, run_id
from benchd.errors import StoreError, StoreFull
from support.bad_disk import no_room

RECIPE = b"name: web\nservice: {name: redis}\n"
DEADLINE = 30.0  # seconds a scan that blocks would be noticed after


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    directory = tmp_path / "inbox"
    directory.mkdir()
    return directory


async def _scans(inbox: Inbox, times: int = 2) -> list[Drop]:
    """Return what the last of so many scans offers."""
    drops: list[Drop] = []
    for _ in range(times):
        drops = await asyncio.wait_for(inbox.scan(), DEADLINE)
    return drops


def _tree(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir()}


def _replaced(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(RECIPE)
    other.rename(path)


@pytest.mark.asyncio
async def test_what_is_no_recipe_by_its_name_is_told_once(folder: Path) -> None:
    """The log names each such file when it stays, not again later, and nothing of our own."""
    for name in ("notes.txt", "noext", ".hidden.yaml", "web.yaml", ".spool-1-ab"):
        (folder / name).write_bytes(RECIPE)
    (folder / "accepted").mkdir()
    inbox = Inbox(folder)
    with capture_logs() as first:
        await _scans(inbox, 4)
    (folder / "late.json").write_bytes(RECIPE)
    with capture_logs() as second:
        await _scans(inbox, 3)

    told = [line["files"] for line in first + second if line["event"] == "inbox.ignored"]
    assert told == [[".hidden.yaml", "noext", "notes.txt"], ["late.json"]]


@pytest.mark.asyncio
async def test_a_file_is_offered_when_two_scans_agree(folder: Path) -> None:
    """The first look notes a file, the second offers it with content, hash, owner and time."""
    path = folder / "web.yaml"
    path.write_bytes(RECIPE)
    inbox = Inbox(folder)

    first, second = await inbox.scan(), await inbox.scan()

    assert first == []
    (drop,) = second
    assert (drop.name, drop.data, drop.problem) == ("web.yaml", RECIPE, None)
    assert (drop.uid, drop.mtime_ns) == (os.getuid(), path.stat().st_mtime_ns)
    assert drop.sha256 == hashlib.sha256(RECIPE).hexdigest()


@pytest.mark.asyncio
async def test_the_folder_is_made(tmp_path: Path) -> None:
    """A missing inbox appears, for nobody but its owner, at the first look."""
    inbox = Inbox(tmp_path / "state" / "inbox")

    assert await _scans(inbox) == []
    assert stat.S_IMODE(inbox.directory.stat().st_mode) == 0o700


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(RECIPE + b"#"),
        lambda path: os.utime(path, ns=(1, 1)),
        _replaced,
    ],
    ids=["size", "time", "inode"],
)
async def test_a_file_that_changes_waits(folder: Path, change: Callable[[Path], object]) -> None:
    """A file with another size, time or inode than at the last look is not offered yet."""
    path = folder / "web.yaml"
    path.write_bytes(RECIPE)
    inbox = Inbox(folder)
    await inbox.scan()
    change(path)

    assert await inbox.scan() == []
    assert len(await inbox.scan()) == 1


@pytest.mark.asyncio
async def test_a_file_that_grows_while_it_is_read_waits(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written to between the looks before and after reading is not offered."""
    path = folder / "web.yaml"
    path.write_bytes(RECIPE)
    real = os.fdopen

    def grown(descriptor: int, mode: str) -> object:
        with path.open("ab") as more:
            more.write(b"# more\n")
        return real(descriptor, mode)

    inbox = Inbox(folder)
    await inbox.scan()
    monkeypatch.setattr(inbox_module.os, "fdopen", grown)
    during = await inbox.scan()
    monkeypatch.undo()

    assert during == []
    assert [drop.data for drop in await _scans(inbox)] == [RECIPE + b"# more\n"]


@pytest.mark.asyncio
async def test_a_slow_writer_is_never_read_half(folder: Path) -> None:
    """However the writer and the scans interleave, only the whole file is ever offered."""
    whole = b"".join(b"# line %d\n" % n for n in range(60))
    path = folder / "slow.yml"
    inbox = Inbox(folder)
    with path.open("wb", buffering=0) as file:
        for line in whole.splitlines(keepends=True):
            file.write(line)
            assert await inbox.scan() == []

    (drop,) = await _scans(inbox)
    assert drop.data == whole


@pytest.mark.asyncio
async def test_what_is_no_recipe_is_left_alone(folder: Path) -> None:
    """Hidden, temporary, swap and backup files and other suffixes are neither offered nor moved."""
    names = {".web.yaml", "web.yaml~", ".web.yaml.swp", "#web.yaml#", "~$web.yaml", "web.yaml.tmp",
             "web.txt", "README", "4913", ".hidden.yml", "web.yaml.part"}  # fmt: skip
    for name in names:
        (folder / name).write_bytes(RECIPE)

    assert await _scans(Inbox(folder)) == []
    assert _tree(folder) == names


@pytest.mark.asyncio
async def test_accepted_files_move(folder: Path) -> None:
    """An accepted file goes to accepted/<run>-<name> and is not offered again."""
    (folder / "web.yaml").write_bytes(RECIPE)
    inbox = Inbox(folder)
    (drop,) = await _scans(inbox)

    await inbox.accept(drop, ["k5wz3tqa2f"])

    assert _tree(folder) == {"accepted/k5wz3tqa2f-web.yaml"}
    assert await _scans(inbox) == []


@pytest.mark.asyncio
async def test_refused_files_move_with_their_mistakes(folder: Path) -> None:
    """A refused file goes to rejected/, its mistakes beside it, and nothing there is lost."""
    inbox = Inbox(folder)
    for attempt in ("one", "two", "three"):
        (folder / "web.yaml").write_bytes(attempt.encode())
        (drop,) = await _scans(inbox)
        await inbox.reject(drop, f"web.yaml:1:1: {attempt} \udcff")

    rejected = {p.name: p.read_bytes() for p in (folder / "rejected").iterdir()}
    assert rejected == {
        "web.yaml": b"one",
        "web.yaml.error.txt": b"web.yaml:1:1: one \\udcff\n",
        "web.1.yaml": b"two",
        "web.1.yaml.error.txt": b"web.yaml:1:1: two \\udcff\n",
        "web.2.yaml": b"three",
        "web.2.yaml.error.txt": b"web.yaml:1:1: three \\udcff\n",
    }


@pytest.mark.asyncio
@pytest.mark.parametrize("verdict", ["accept", "reject"])
async def test_a_newer_version_is_not_moved_away(folder: Path, verdict: str) -> None:
    """A file that was saved again while its old version was looked at stays, as another drop."""
    path = folder / "web.yaml"
    path.write_bytes(RECIPE)
    inbox = Inbox(folder)
    (drop,) = await _scans(inbox)
    path.write_bytes(b"name: newer\n")

    await (inbox.accept(drop, ["r"]) if verdict == "accept" else inbox.reject(drop, "bad"))

    assert _tree(folder) == {"web.yaml"}
    assert [drop.data for drop in await _scans(inbox)] == [b"name: newer\n"]


@pytest.mark.asyncio
async def test_a_crash_before_the_move_is_harmless(folder: Path) -> None:
    """Another process that finds the same file offers the same drop, hence the same run."""
    (folder / "web.yaml").write_bytes(RECIPE)
    (before,) = await _scans(Inbox(folder))
    (after,) = await _scans(Inbox(folder))

    assert after == before
    assert run_id("abc234", after) == run_id("abc234", before)


def test_run_ids_tell_drops_apart(tmp_path: Path) -> None:
    """Instance, name, content, time and cluster each make another id of ten safe characters."""

    def made(instance: str = "abc234", cluster: str = "", **over: object) -> str:
        values: dict[str, object] = {
            "path": tmp_path, "name": "web.yaml", "data": b"", "sha256": "0" * 64, "mtime_ns": 1,
            "uid": 0, "signature": (0, 1, 2), **over,
        }  # fmt: skip
        return run_id(instance, Drop(**values), cluster)  # type: ignore[arg-type] # a mapping

    ids = [made(), made(instance="abc235"), made(cluster="b"), made(name="w.yaml"),
           made(sha256="1" * 64), made(mtime_ns=2)]  # fmt: skip

    assert len(set(ids)) == len(ids)
    assert made() == made(uid=7, path=tmp_path / "elsewhere")
    assert all(len(i) == 10 and set(i) <= set("abcdefghijklmnopqrstuvwxyz234567") for i in ids)


@pytest.mark.asyncio
async def test_a_spooled_recipe_is_an_ordinary_drop(folder: Path) -> None:
    """What came over the socket is on disk before it is offered, and a scan finds the same."""
    inbox = Inbox(folder)

    drop = await inbox.spool("recipes/web.yaml", RECIPE, 4711)

    assert (drop.name, drop.data, drop.problem) == ("web.yaml", RECIPE, None)
    assert _tree(folder) == {"web.yaml"}
    (found,) = await _scans(Inbox(folder))
    assert found in (drop, _with_owner(drop, os.getuid()))  # no attributes: the file's own uid
    await inbox.accept(drop, ["r1"])
    assert _tree(folder) == {"accepted/r1-web.yaml"}


def _with_owner(drop: Drop, uid: int) -> Drop:
    return replace(drop, uid=uid)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("web.yaml", "web.1.yaml"),
        ("../../etc/cron.yml", "cron.yml"),
        ("..", "recipe.yaml"),
        ("", "recipe.yaml"),
        ("stdin", "stdin.yaml"),
        (".hidden.yaml", "hidden.yaml"),
        ("a\nb.yaml", "a\\nb.yaml"),
    ],
)
async def test_a_spooled_name_stays_in_the_folder(folder: Path, name: str, file: str) -> None:
    """Whatever name was sent, one new file appears in the folder itself, replacing nothing."""
    (folder / "web.yaml").write_bytes(b"waiting")

    drop = await Inbox(folder).spool(name, RECIPE, 0)

    assert drop.path == folder / file
    assert _tree(folder) == {"web.yaml", file}
    assert (folder / "web.yaml").read_bytes() == b"waiting"


@pytest.mark.asyncio
async def test_a_storm_comes_in_portions(folder: Path) -> None:
    """Of thousands of files each scan offers a bounded number, and each file is offered once."""
    for number in range(1000):
        (folder / f"{number:04}.yaml").write_bytes(b"name: n%d\n" % number)
    inbox = Inbox(folder)
    await inbox.scan()
    taken: list[str] = []
    portions: list[int] = []
    while drops := await inbox.scan():
        portions.append(len(drops))
        for drop in drops:
            taken.append(drop.name)
            await inbox.accept(drop, ["r"])

    assert portions == [200] * 5
    assert len(set(taken)) == len(taken) == 1000


@pytest.mark.asyncio
async def test_files_that_come_and_go_do_not_disturb(folder: Path) -> None:
    """While another process makes and removes files, scans go on and offer what stays."""
    (folder / "stays.yaml").write_bytes(RECIPE)
    stop = threading.Event()

    def disturb() -> None:
        while not stop.is_set():
            path = folder / "goes.yaml"
            path.write_bytes(str(time.time_ns()).encode())
            path.unlink()

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        inbox = Inbox(folder)
        await inbox.scan()
        offered = [{drop.name for drop in await inbox.scan()} for _ in range(200)]
    finally:
        stop.set()
        thread.join()

    assert all("stays.yaml" in names for names in offered)


@pytest.mark.asyncio
async def test_a_recipe_without_room_is_refused_and_leaves_nothing(folder: Path) -> None:
    """On a full disk the sender is told so; with room the same recipe is taken in."""
    inbox = Inbox(folder)
    with no_room(), pytest.raises(StoreFull, match="no room for the recipe in"):
        await inbox.spool("web.yaml", RECIPE, 0)
    assert set() == _tree(folder)
    assert "web.yaml" == (await inbox.spool("web.yaml", RECIPE, 0)).name


@pytest.mark.asyncio
async def test_a_folder_that_is_none_is_said_with_its_path(tmp_path: Path) -> None:
    """A file in the folder's place is told as what it is, not as a mistake of ours."""
    (tmp_path / "inbox").touch()
    with pytest.raises(StoreError, match=f"cannot write the recipe into {tmp_path}/inbox"):
        await Inbox(tmp_path / "inbox").spool("web.yaml", RECIPE, 0)
