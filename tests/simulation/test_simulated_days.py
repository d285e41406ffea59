"""The daemon for days on end, in one life: budgets are kept, and nothing accumulates."""

from __future__ import annotations

import gc

from simulation.player import playing
from simulation.week import live


def test_days_of_work_cost_the_site_little_and_benchd_nothing() -> None:
    """Three days of faults stay within the budgets, and end with what the second day ended with."""
    with playing() as player:
        gc.enable()
        tally, evenings, wrong = live(player, 3, 60, seed=1)
    assert [] == wrong
    assert 3 == len(evenings)
    assert tally.payloads >= 60
