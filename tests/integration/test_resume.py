"""What a paused cluster says, and what resuming it takes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchd.cli import ctl
from benchd.sim import EmbeddedCluster
from support.inside import RECIPE, Inside, daemon_on
from support.near import until

pytestmark = pytest.mark.asyncio


async def resume(inside: Inside, *words: str) -> int:
    """Run ``benchctl cluster resume`` as a process would; return its status."""
    socket = str(inside.daemon.settings.socket)
    asked = ["--socket", socket, "cluster", "resume", "sim", *words]
    return await asyncio.to_thread(ctl.main, asked)


async def test_a_taken_workdir_is_resumed_only_by_its_own_command(
    slurm: EmbeddedCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plain resume is refused with the command that helps; that one works, and is asked once."""
    async with daemon_on(slurm, tmp_path) as inside:
        await inside.daemon.sites["sim"].cluster.open()
        (number,) = [path for path in slurm.workdir.glob("epoch-*") if path.is_file()]
        number.write_text("7\n")
        pacing = inside.daemon.sites["sim"].pacing
        inside.drop(RECIPE)
        await until(lambda: pacing.paused is not None)
        assert 4 == await resume(inside)
        assert "`benchctl cluster resume sim --take-over`" in capsys.readouterr().err
        assert pacing.paused is not None
        assert 0 == await resume(inside, "--take-over")
        assert "sim is resumed\n" in capsys.readouterr().out
        await inside.wait_run()
        assert 0 == await resume(inside)
        assert "sim was not paused; " in capsys.readouterr().out


async def test_old_books_without_live_jobs_are_found_out_by_reap(
    slurm: EmbeddedCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Asking for strays is a look at the workdir: one that the books do not know pauses it."""
    async with daemon_on(slurm, tmp_path) as inside:
        await inside.daemon.store.set_meta("epoch:sim", "3")
        pacing = inside.daemon.sites["sim"].pacing
        asked = ["--socket", str(inside.daemon.settings.socket), "reap", "--dry-run"]
        assert 1 == await asyncio.to_thread(ctl.main, asked)
        assert "`benchctl cluster resume sim --take-over`" in str(capsys.readouterr())
        assert pacing.taken_over


async def test_a_daemon_that_ends_blames_no_cluster(
    slurm: EmbeddedCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is not tried any more, for the links are being left, is no trouble of the cluster."""
    async with daemon_on(slurm, tmp_path) as inside:
        site = inside.daemon.sites["sim"]
        site.shell.retire()
        inside.drop(RECIPE)
        await until(lambda: site.pacing.failures > 0)
        assert "is stopping" in site.pacing.trouble
    assert "cluster.unreachable" not in capsys.readouterr().out


async def test_a_remembered_pause_says_since_when(slurm: EmbeddedCluster, tmp_path: Path) -> None:
    """After a restart a refused key is still told with the moment at which it was refused."""
    slurm.inject("auth")
    async with daemon_on(slurm, tmp_path) as inside:
        pacing = inside.daemon.sites["sim"].pacing
        inside.drop(RECIPE)
        await until(lambda: pacing.paused is not None)
        said = str(pacing.paused)
    year = datetime.now(UTC).year
    assert f"(paused since {year}-" in said
    assert "(if that changed the configuration, restart benchd first)" in said
    async with daemon_on(slurm, tmp_path) as inside:
        assert said == inside.daemon.sites["sim"].pacing.paused
