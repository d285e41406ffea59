"""The shell of a daemon on the login node itself: no SSH, the same promises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from benchd.edge.local import LocalShell
from benchd.errors import NeedsHuman, Unreachable
from benchd.metrics import Metrics
from support.near import sample, until

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def shell() -> AsyncIterator[LocalShell]:
    made = LocalShell("here", metrics=Metrics())
    yield made
    await made.close()


async def test_a_command_answers_with_status_output_and_errors(shell: LocalShell) -> None:
    """A command's status, stdout and stderr come back as bytes."""
    done = await shell.run("cat; echo no >&2; exit 3", op="x", stdin=b"\x00\xff", timeout=10)
    assert (3, b"\x00\xff", b"no\n") == (done.status, done.stdout, done.stderr)


async def test_large_output_is_cut_at_the_limit(shell: LocalShell) -> None:
    """Output beyond the limit is dropped and the status kept."""
    done = await shell.run("head -c 5000000 /dev/zero; exit 4", op="x", timeout=30, limit=1000)
    assert (4, 1000, True) == (done.status, len(done.stdout), done.truncated)


async def test_large_input_that_nobody_reads_does_no_harm(shell: LocalShell) -> None:
    """A command may end without reading what it was sent."""
    done = await shell.run("exit 5", op="x", stdin=b"x" * 5_000_000, timeout=30)
    assert 5 == done.status


async def test_time_out_ends_the_whole_group(shell: LocalShell, tmp_path: Path) -> None:
    """What a command started ends with it when its time is over."""
    mark = tmp_path / "alive"
    child = f"trap 'rm {mark}; exit' TERM; touch {mark}; while :; do sleep 0.02; done"
    with pytest.raises(Unreachable, match=r"stopped on this host after 0\.5 s") as caught:
        await shell.run(f'bash -c "{child}" & wait', op="x", timeout=0.5)
    assert caught.value.sent
    await until(lambda: not mark.exists())


async def test_a_command_given_up_by_its_caller_ends(shell: LocalShell, tmp_path: Path) -> None:
    """Cancelling the caller ends the command."""
    mark = tmp_path / "alive"
    command = f"trap 'rm {mark}; exit' TERM; touch {mark}; while :; do sleep 0.02; done"
    task = asyncio.create_task(shell.run(command, op="x", timeout=30))
    await until(mark.exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not mark.exists())


async def test_commands_are_counted_by_what_became_of_them() -> None:
    """Every command is counted once, under its purpose and outcome."""
    metrics = Metrics()
    shell = LocalShell("here", metrics=metrics)
    await shell.run("true", op="poll", timeout=10)
    await shell.run("false", op="poll", timeout=10)
    with pytest.raises(Unreachable):
        await shell.run("sleep 9", op="poll", timeout=0.05)
    counts = [
        sample(metrics, "benchd_ssh_commands_total", cluster="here", op="poll", outcome=outcome)
        for outcome in ("ok", "nonzero", "lost")
    ]
    assert [1.0, 1.0, 1.0] == counts


async def test_a_host_without_bash_needs_a_human(
    shell: LocalShell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without bash nothing can be run, and the message says so."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NeedsHuman, match="bash is not installed"):
        await shell.run("true", op="x", timeout=5)


async def test_a_closed_port_is_a_refusal_and_an_unknown_host_is_none(shell: LocalShell) -> None:
    """Only the target's own refusal is one; a name that does not resolve says nothing about it."""
    with pytest.raises(ConnectionRefusedError, match="Connection refused"):
        await shell.connect("127.0.0.1", 1, 5)
    with pytest.raises(Unreachable, match=r"this host opens no connection to no-such-host"):
        await shell.connect("no-such-host.invalid", 1, 10)
