"""From a dropped file to a recorded run: what is refused, and what is said about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchd.catalog import CATALOG
from benchd.config import ClusterSettings, Settings
from benchd.core.model import Job, Run
from benchd.edge.archive import Archive
from benchd.edge.inbox import Inbox
from benchd.edge.keyring import Keyring
from benchd.errors import RecipeError
from benchd.intake import Intake
from benchd.metrics import Metrics

pytestmark = pytest.mark.asyncio
NOW = 1_700_000_000.0  # seconds since the epoch; any moment will do
RECIPE = b"service: {name: redis}\ncluster: %b\n"


class Shelf:
    """A store that only remembers runs."""

    instance = "abcdef"

    def __init__(self) -> None:
        self.runs: list[Run] = []

    async def create_run(self, run: Run, jobs: tuple[Job, ...]) -> bool:
        """Keep a run."""
        assert jobs
        self.runs.append(run)
        return True


def intake(place: Path, store: Shelf) -> Intake:
    """Return an intake with two clusters, of which ``near`` is the default."""
    local = ClusterSettings(local=True)
    return Intake(
        inbox=Inbox(place / "inbox"),
        store=store,
        settings=Settings(clusters={"near": local, "meluxina": local}, default_cluster="near"),
        catalog=CATALOG,
        ship={},
        archive=Archive(place / "runs"),
        keyring=Keyring(place / "secrets"),
        metrics=Metrics(),
        clock=lambda: NOW,
    )


async def test_an_unknown_cluster_is_refused_where_it_stands(tmp_path: Path) -> None:
    """The message has line and column, and the name that was probably meant."""
    store = Shelf()
    with pytest.raises(RecipeError) as caught:
        await intake(tmp_path, store).submit("web.yaml", RECIPE % b"meluxna", 0, {})

    expected = "web.yaml:2:10: cluster: no cluster 'meluxna' in the configuration; did you mean "
    assert f"{expected}meluxina?" == str(caught.value)
    assert [] == store.runs


@pytest.mark.parametrize(("said", "expected"), [(b"meluxina", "meluxina"), (b"null", "near")])
async def test_a_run_goes_where_its_recipe_says(tmp_path: Path, said: bytes, expected: str) -> None:
    """A recipe that names no cluster goes to the default one."""
    store = Shelf()
    text = RECIPE % said if said != b"null" else RECIPE.partition(b"cluster")[0]
    await intake(tmp_path, store).submit("web.yaml", text, 0, {})

    assert [expected] == [run.cluster for run in store.runs]
