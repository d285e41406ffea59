"""An embedded Slurm per test, and a way to open it as benchd does: over SSH and locally."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from benchd.sim import EmbeddedCluster
from support.inside import Inside, daemon_on
from support.near_slurm import Near, Now, Opened, near


@pytest_asyncio.fixture
async def slurm(tmp_path: Path) -> AsyncIterator[EmbeddedCluster]:
    """Run an embedded Slurm with a login node."""
    async with EmbeddedCluster(tmp_path / "sim") as running:
        yield running


@pytest_asyncio.fixture
async def inside(slurm: EmbeddedCluster, tmp_path: Path) -> AsyncIterator[Inside]:
    """Run a whole daemon on that Slurm, in this process."""
    async with daemon_on(slurm, tmp_path) as running:
        yield running


@pytest.fixture
def now() -> Now:
    """Return a clock that a test moves."""
    return Now(time.time())


@pytest.fixture(params=["ssh", "local"])
def opened(
    request: pytest.FixtureRequest,
    slurm: EmbeddedCluster,
    now: Now,
    monkeypatch: pytest.MonkeyPatch,
) -> Opened:
    """Open a cluster over SSH, and as benchd on the login node itself."""
    local = request.param == "local"
    if local:
        monkeypatch.setenv("PATH", f"{slurm.dir / 'bin'}:{os.environ['PATH']}")

    def make(**over: Any) -> AbstractAsyncContextManager[Near]:
        return near(slurm, now, local=local, **over)

    return make
