"""The recipe folder against what should not lie in it: real FIFOs, links, devices, odd names."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchd.edge import inbox as inbox_module
from benchd.edge.inbox import SIZE_LIMIT, Drop, Inbox, safe_name

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


def _device(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def _hard_link(path: Path) -> None:
    (path.parent / "other").write_bytes(RECIPE)
    path.hardlink_to(path.parent / "other")


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "fifo": (os.mkfifo, "is a FIFO"),
    "symlink": (lambda path: path.symlink_to("/etc/passwd"), "is a symbolic link"),
    "endless": (lambda path: path.symlink_to("/dev/zero"), "is a symbolic link"),
    "dangling": (lambda path: path.symlink_to("/nowhere"), "is a symbolic link"),
    "directory": (Path.mkdir, "is a directory"),
    "device": (_device, "is a device"),
    "socket": (_socket, "is a socket"),
    "hard link": (_hard_link, "has 2 hard links"),
    "sparse": (_sparse, f"is too large: {1 << 40} bytes, a recipe may have {SIZE_LIMIT}"),
    "large": (lambda path: path.write_bytes(b"#" * (SIZE_LIMIT + 1)), "is too large"),
}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "kind",
    [pytest.param(k, marks=pytest.mark.real("mknod")) if k == "device" else k for k in HOSTILE],
)
async def test_hostile_files_are_refused_unread(folder: Path, kind: str) -> None:
    """What is no plain small file is offered with its problem, never read, and can be moved."""
    make, problem = HOSTILE[kind]
    make(folder / "web.yaml")
    (folder / "good.yaml").write_bytes(RECIPE)
    inbox = Inbox(folder)

    drops = {drop.name: drop for drop in await _scans(inbox)}

    bad = drops["web.yaml"]
    assert bad.problem is not None
    assert bad.problem.startswith(problem)
    assert bad.data == b""
    assert drops["good.yaml"].data == RECIPE
    await inbox.reject(bad, bad.problem)
    assert {p.name for p in (folder / "rejected").iterdir()} == {"web.yaml", "web.yaml.error.txt"}
    assert (folder / "rejected" / "web.yaml.error.txt").read_text() == f"{bad.problem}\n"
    assert [drop.name for drop in await _scans(inbox)] == ["good.yaml"]


@pytest.mark.asyncio
async def test_a_file_exchanged_for_a_fifo_does_not_block(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that becomes a FIFO between being seen and being opened is not waited for."""
    path = folder / "web.yaml"
    path.write_bytes(RECIPE)
    inbox = Inbox(folder)
    await inbox.scan()
    real = os.open

    def exchanged(name: Path, flags: int, *rest: int) -> int:
        path.unlink()
        os.mkfifo(path)
        return real(name, flags, *rest)

    monkeypatch.setattr(inbox_module.os, "open", exchanged)
    during = await asyncio.wait_for(inbox.scan(), DEADLINE)
    monkeypatch.undo()

    assert during == []


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"\xff.yaml", "\\xff.yaml"),
        (b"a\nb.yaml", "a\\nb.yaml"),
        (b"\x1b[2J.yaml", "\\x1b[2J.yaml"),
        ("\u202egnp.yaml".encode(), "\\u202egnp.yaml"),
        ("größe.yaml".encode(), "größe.yaml"),
        (b"-rf.yaml", "-rf.yaml"),
        (b"$(touch x).yaml", "$(touch x).yaml"),
        (b"x" * 250 + b".yaml", "x" * 195 + ".yaml"),
    ],
)
async def test_odd_names_are_spelled_out(folder: Path, raw: bytes, name: str) -> None:
    """A name is safe to print and store from the door on, and its file moves under that name."""
    (folder / os.fsdecode(raw)).write_bytes(RECIPE)
    inbox = Inbox(folder)

    (drop,) = await _scans(inbox)
    await inbox.reject(drop, "bad")

    assert drop.name == name == safe_name(raw)
    assert _tree(folder) == {f"rejected/{name}", f"rejected/{name}.error.txt"}


def _as_nobody(work: Callable[[], object]) -> None:
    """Do something without root's rights, where the tests run as root."""
    if os.geteuid() != 0:
        work()
        return
    os.seteuid(65534)
    try:
        work()
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Yield a folder below no private one, so that another user gets there."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)
        Path(name).chmod(0o700)


def test_what_cannot_be_moved_is_told_once(open_folder: Path) -> None:
    """A bad file in a folder that refuses the move is offered once, and again when it changes."""
    folder = open_folder
    (folder / "web.yaml").write_bytes(b"bad")
    folder.chmod(0o555)
    inbox = Inbox(folder)
    offered: list[int] = []

    async def story() -> None:
        for _ in range(2):
            drops = await _scans(inbox)
            offered.append(len(drops))
            for drop in drops:
                await inbox.reject(drop, "bad")

    def work() -> None:
        asyncio.run(story())

    _as_nobody(work)
    (folder / "web.yaml").write_bytes(b"also bad")
    _as_nobody(work)

    assert offered == [1, 0, 1, 0]
