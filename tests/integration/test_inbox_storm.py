"""A storm of files in the inbox of a whole daemon: each is answered once, and people still are."""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from pathlib import Path

import pytest

from benchd.sim import EmbeddedCluster
from support.inside import Inside, daemon_on

pytestmark = pytest.mark.asyncio
GOOD, BAD = 500, 100  # files; the whole storm of 10,000 takes a minute and shows the same
ROOM = 100 * 1024  # KiB of memory that a storm may take
DEADLINE = 90.0  # seconds for all of it on a busy machine; it takes 5
STATUS = b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def storm(inbox: Path) -> None:
    """Drop all files at once: some written in place, some renamed into it, some of them wrong."""
    for number in range(GOOD):
        text = f"name: n{number}\nservice: {{name: redis}}\n"
        target = inbox / f"good-{number}.yaml"
        if number % 2:
            target.write_text(text)
        else:
            beside = inbox / f".{number}.part"
            beside.write_text(text)
            beside.rename(target)
    for number in range(BAD):
        (inbox / f"bad-{number}.yaml").write_text(f"service: {{nam: redis-{number}}}\n")


async def is_answered(socket: Path) -> bool:
    """Ask for the status, as benchctl does."""
    reader, writer = await asyncio.open_unix_connection(str(socket))
    writer.write(STATUS)
    answer = await reader.read()
    writer.close()
    return answer.startswith(b"HTTP/1.1 200")


async def ask_until_over(inside: Inside, socket: Path) -> list[bool]:
    """Ask for the status again and again until the inbox is empty; return the answers."""
    inbox = inside.daemon.state_dir / "inbox"
    answers = []
    async with asyncio.timeout(DEADLINE):
        while any(path.is_file() for path in inbox.iterdir()):
            answers.append(await is_answered(socket))
            await inside.turn()
    return answers


async def test_every_file_of_a_storm_is_answered_once(
    slurm: EmbeddedCluster, tmp_path: Path
) -> None:
    """Good files are runs, bad ones have their mistakes beside them, the socket answers."""
    async with daemon_on(slurm, tmp_path) as inside:
        await inside.daemon.steering.pause("sim")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        inbox = inside.daemon.state_dir / "inbox"
        storm(inbox)
        answers = await ask_until_over(inside, tmp_path / "control.sock")
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        runs = await inside.daemon.store.runs(limit=2 * GOOD)
        kept = Counter(path.parent.name for path in inbox.glob("*/*"))
        said = {path.name for path in (inbox / "rejected").glob("*.error.txt")}
    assert {f"n{number}" for number in range(GOOD)} == {run.name for run in runs}
    assert {"accepted": GOOD, "rejected": 2 * BAD} == kept
    assert {f"bad-{number}.yaml.error.txt" for number in range(BAD)} == said
    assert GOOD == len(runs)
    assert {True} == set(answers)
    assert len(answers) > 10  # while it went on, not only at its ends
    assert grown < ROOM
