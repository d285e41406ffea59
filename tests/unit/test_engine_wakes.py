"""When the loop looks again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest

from benchd.config import PollSettings
from benchd.core.model import Job, Run
from benchd.engine import Engine
from benchd.metrics import Metrics
from benchd.pacing import Pacing
from support.builders import CREATED_AT, run, service

pytestmark = pytest.mark.asyncio


@dataclass(frozen=True)
class Books:
    """Rows that nobody moves."""

    jobs: tuple[Job, ...]

    async def world(self) -> tuple[tuple[Run, ...], tuple[Job, ...], dict[str, bool]]:
        """Return one run with these jobs."""
        return (run(),), self.jobs, {}


async def test_a_cluster_that_rests_is_looked_at_when_its_rest_ends() -> None:
    """A job that was never sent goes out when the cluster may be reached, not at the next turn."""
    pacing = Pacing("alpha", PollSettings())
    pacing.rests(CREATED_AT, 3.0, why="the next login is due in 3 s")
    engine = Engine(
        store=cast("Any", Books((service(),))),
        pacings={"alpha": pacing},
        metrics=Metrics(),
        clock=lambda: CREATED_AT,
    )
    assert CREATED_AT + 3.0 == await engine.turn()
