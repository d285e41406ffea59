"""A daemon of the next release takes over what one of this release accepted."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from benchd.core.model import RunOutcome
from benchd.core.spec import Role
from benchd.edge import pack
from benchd.sim import EmbeddedCluster
from support.inside import RECIPE, daemon_on


@pytest.mark.asyncio
async def test_a_waiting_run_is_measured_with_what_it_was_accepted_with(
    slurm: EmbeddedCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scripts of an earlier release find the programs of that release, also when never sent yet."""
    async with daemon_on(slurm, tmp_path) as inside:
        inside.daemon.engine.draining = True
        inside.drop(RECIPE)
        old = (await inside.wait_job(Role.CLIENT)).script
    assert not (slurm.workdir / "ship").exists()

    this_release = {name: pack.build(name) for name in pack.SHIPPED}

    def build(name: str) -> pack.Package:
        other = this_release[name]
        return replace(other, data=b"#!/bin/false\n", sha256=f"{name:0<64}")

    monkeypatch.setattr(pack, "build", build)
    async with daemon_on(slurm, tmp_path) as inside:
        run = await inside.wait_run()
        assert old == (await inside.wait_job(Role.CLIENT)).script
    assert RunOutcome.PASSED is run.outcome
    sent = {this_release[name].file_name for name in ("llm", "load")}
    assert sent == {file.name for file in (slurm.workdir / "ship").iterdir()}


def test_the_shelf_gives_back_only_what_is_whole(tmp_path: Path) -> None:
    """A file that is not what its name says, or not there, is none."""
    shelf = pack.Shelf(tmp_path / "ship")
    shelf.fill()
    file = tmp_path / "ship" / pack.build("llm").file_name
    older = pack.Package(name="llm", data=b"old", sha256=sha256(b"old").hexdigest())
    (file.parent / older.file_name).write_bytes(older.data)
    file.write_bytes(b"")
    shelf.fill()
    assert file.read_bytes() == pack.build("llm").data
    found = shelf.find(older.file_name)
    assert found is not None
    assert older.data == found.data
    (file.parent / older.file_name).write_bytes(b"ol")
    assert [None, None] == [shelf.find(older.file_name), shelf.find("llm-0123456789abcdef.pyz")]
    assert {each.file_name for each in map(pack.build, pack.SHIPPED)} | {older.file_name} == {
        each.name for each in file.parent.iterdir()
    }
