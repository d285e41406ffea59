"""The recipe folder while others write: real programs, pauses, the saving habits of editors."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchd.edge.inbox import Inbox

pytestmark = pytest.mark.asyncio
FIRST = b"name: web\nservice: {name: redis}\n"
WHOLE = FIRST + b"client: {name: redis-benchmark, target_service: {name: redis}}\n"

# Writes the file's first half, then waits for a line on stdin before each further step.
WRITER = """
import os, sys
path, first, whole, how = sys.argv[1:5]
def step():
    print("waiting", flush=True)
    sys.stdin.readline()
if how == "append":
    with open(path, "w") as file:
        for part in (first, whole[len(first):]):
            file.write(part)
            file.flush()
            step()
elif how == "truncate":
    with open(path, "r+") as file:
        file.truncate(0)
        step()
        file.write(whole)
        file.flush()
        step()
elif how == "mapped":
    import mmap
    with open(path, "r+b") as file:
        file.truncate(len(whole))
        with mmap.mmap(file.fileno(), len(whole)) as memory:
            memory[: len(first)] = first.encode()
            step()
            memory[:] = whole.encode()
            step()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an empty inbox."""
    directory = tmp_path / "inbox"
    directory.mkdir()
    return directory


class Writer:
    """Another process that writes a file in steps."""

    def __init__(self, path: Path, how: str) -> None:
        words = (sys.executable, "-c", WRITER, str(path), FIRST.decode(), WHOLE.decode(), how)
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._wait()

    def _wait(self) -> None:
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def go_on(self) -> None:
        """Let it take the next step, and wait until that is done."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        self._wait()

    def close(self) -> None:
        """Let it end."""
        self._process.communicate(b"\n" * 9)


async def offered(inbox: Inbox, scans: int = 4) -> list[bytes]:
    """Return the content of whatever some scans offer; nothing changes between them."""
    found = [drop.data for _ in range(scans) for drop in await inbox.scan()]
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("how", ["append", "truncate", "mapped"])
async def test_who_pauses_in_writing_is_waited_for(folder: Path, how: str) -> None:
    """However long nothing changes, a file that is still open for writing is not offered."""
    path = folder / "web.yaml"
    if how != "append":
        path.write_bytes(b"# what was there before\n")
    inbox = Inbox(folder)
    writer = Writer(path, how)
    try:
        during = [await offered(inbox)]
        writer.go_on()
        during.append(await offered(inbox))
    finally:
        writer.close()
    assert ([[], []], [WHOLE]) == (during, await offered(inbox))


def _vim(path: Path) -> Iterator[None]:
    """Save as vim does: a swap file, a probe called 4913, a backup, then the new file."""
    swap, probe = path.with_name(f".{path.name}.swp"), path.with_name("4913")
    swap.write_bytes(b"b0VIM")
    yield
    probe.write_bytes(b"")
    probe.unlink()
    path.rename(path.with_name(path.name + "~"))
    yield
    path.write_bytes(WHOLE)
    path.with_name(path.name + "~").unlink()
    yield
    swap.unlink()


def _atomic(path: Path) -> Iterator[None]:
    """Save as most do: a temporary file beside it, renamed over it."""
    beside = path.with_name(f".{path.name}.tmp")
    beside.write_bytes(FIRST)
    yield
    beside.write_bytes(WHOLE)
    yield
    beside.replace(path)


def _emacs(path: Path) -> Iterator[None]:
    """Save as emacs does: a lock that is a dangling link, an auto-save file, a backup."""
    lock, auto = path.with_name(f".#{path.name}"), path.with_name(f"#{path.name}#")
    lock.symlink_to("me@here.123")
    auto.write_bytes(FIRST)
    yield
    path.rename(path.with_name(path.name + "~"))
    path.write_bytes(WHOLE)
    yield
    lock.unlink()
    auto.unlink()


@pytest.mark.parametrize("save", [_vim, _atomic, _emacs])
async def test_editors_are_not_read_half_way(
    folder: Path, save: Callable[[Path], Iterator[None]]
) -> None:
    """Swap, lock, backup and auto-save files are no recipes, and what is saved is offered whole."""
    inbox, path = Inbox(folder), folder / "web.yaml"
    path.write_bytes(b"old\n")
    seen: list[bytes] = []
    for _ in save(path):
        seen += [drop.data for drop in await inbox.scan()]
    seen += await offered(inbox)
    assert set(seen) <= {b"old\n", WHOLE}
    assert WHOLE == seen[-1]


async def test_a_copy_slower_than_our_looks_is_offered_whole(folder: Path) -> None:
    """Cp through a pipe that stands still between its lines gives one drop: the whole file."""
    inbox, during = Inbox(folder), []
    with (folder / "slow.yaml").open("wb") as target:
        copy = await asyncio.create_subprocess_exec("cat", stdin=subprocess.PIPE, stdout=target)
    assert copy.stdin is not None
    for line in WHOLE.splitlines(keepends=True):
        copy.stdin.write(line)
        await copy.stdin.drain()
        during += await offered(inbox, 3)
    copy.stdin.close()
    await copy.wait()
    assert ([], [WHOLE]) == (during, await offered(inbox))


async def test_a_writer_that_comes_back_is_not_disturbed(folder: Path) -> None:
    """While we read, others may open the file for writing at once, and our process lives on."""
    path = folder / "web.yaml"
    path.write_bytes(WHOLE)
    inbox = Inbox(folder)
    for number in range(50):
        await inbox.scan()
        with path.open("ab") as file:
            file.write(b"# %d\n" % number)
    (last,) = await offered(inbox)
    assert last.startswith(WHOLE)
    assert last.endswith(b"# 49\n")
