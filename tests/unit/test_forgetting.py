"""Taking secrets back, whatever state cluster and books are in."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from benchd.core.model import Job, JobState, Run
from benchd.edge.keyring import ORPHAN_AGE, Keyring
from benchd.errors import Unreachable
from benchd.forgetting import Forgetting
from support import builders

pytestmark = pytest.mark.asyncio
RUN = "k5wz3tqa2f"
SENT = {"attempted_at": 5.0, "tries": 1}


class Books:
    """A store of one run."""

    def __init__(self, run: Run | None, *jobs: Job) -> None:
        self.found = run
        self.rows = list(jobs)

    async def run(self, run_id: str) -> Run | None:
        """Return the run."""
        assert run_id == RUN
        return self.found

    async def jobs(self, run: str | None = None) -> Sequence[Job]:
        """Return its jobs."""
        assert run == RUN
        return self.rows


class Site:
    """A cluster that may be away."""

    def __init__(self) -> None:
        self.away = False
        self.swept: list[str] = []

    async def forget(self, jobs: Sequence[Job]) -> None:
        """Note whose directories were cleaned."""
        if self.away:
            raise Unreachable("the link is down")
        self.swept += [job.token for job in jobs]


RUNNING = builders.service(run_id=RUN, state=JobState.RUNNING, slurm_id="7", **SENT)
ENDED = builders.client(run_id=RUN, state=JobState.FAILED, slurm_id="8", **SENT)
UNSENT = builders.client(run_id=RUN, repeat=1, state=JobState.CANCELLED)
OPEN = builders.run(id=RUN, cluster="alpha")
CLOSED = replace(OPEN, finished_at=9.0, outcome="PASSED")


@pytest_asyncio.fixture
async def keyring(tmp_path: Path) -> Keyring:
    """Return a keyring with the secrets of one run."""
    found = Keyring(tmp_path / "secrets")
    await found.keep(RUN, {"redis": {"A_KEY": "a"}})
    return found


async def test_ended_jobs_are_swept_once_and_the_run_keeps_its_secrets(keyring: Keyring) -> None:
    """While a job lives the secrets stay here; those of ended jobs are removed there, once."""
    site, books = Site(), Books(OPEN, RUNNING, ENDED, UNSENT)
    forgetting = Forgetting(keyring=keyring, store=books, clusters={"alpha": site})
    await forgetting.turn()
    await forgetting.turn()
    assert ([ENDED.token], {RUN}) == (site.swept, keyring.runs)


async def test_with_the_run_all_is_gone(keyring: Keyring) -> None:
    """When the run is over its last jobs are swept and the file here is removed."""
    site = Site()
    over = replace(RUNNING, state=JobState.CANCELLED)
    books = Books(CLOSED, over, ENDED, UNSENT)
    await Forgetting(keyring=keyring, store=books, clusters={"alpha": site}).turn()
    assert ({over.token, ENDED.token}, frozenset()) == (set(site.swept), keyring.runs)


async def test_a_cluster_that_is_away_is_not_forgotten(keyring: Keyring, tmp_path: Path) -> None:
    """The removal waits for the link, also through a restart of the daemon."""
    site, books = Site(), Books(CLOSED, ENDED)
    site.away = True
    await Forgetting(keyring=keyring, store=books, clusters={"alpha": site}).turn()
    assert ([], {RUN}) == (site.swept, keyring.runs)

    site.away = False
    again = Keyring(tmp_path / "secrets")
    await Forgetting(keyring=again, store=books, clusters={"alpha": site}).turn()
    assert ([ENDED.token], frozenset()) == (site.swept, again.runs)


async def test_a_cluster_that_is_no_longer_configured_is_not_waited_for(keyring: Keyring) -> None:
    """What nobody can reach any more does not keep the secrets here."""
    await Forgetting(keyring=keyring, store=Books(CLOSED, ENDED), clusters={}).turn()
    assert frozenset() == keyring.runs


@pytest.mark.parametrize(("age", "expected"), [(0.0, {RUN}), (ORPHAN_AGE + 60.0, set())])
async def test_secrets_without_a_run(
    keyring: Keyring, tmp_path: Path, age: float, expected: set[str]
) -> None:
    """A recipe that is being accepted keeps its secrets; one that never was loses them."""
    path = tmp_path / "secrets" / f"{RUN}.json"
    then = path.stat().st_mtime - age
    os.utime(path, (then, then))
    await Forgetting(keyring=keyring, store=Books(None), clusters={}).turn()
    assert expected == keyring.runs
