"""Crashes at every step of many histories: the odd seeds. The even ones run beside, elsewhere."""

from __future__ import annotations

from simulation.crashes import played
from simulation.player import playing

# Seeds without faults, all moments of each; and seeds with all faults, some moments of each.
GOOD = range(1, 187, 2)
BAD = range(1, 61, 2)


def test_nothing_is_lost_or_done_twice_when_the_daemon_dies_at_any_step() -> None:
    """Killed before every step, and again in the recovery, benchd breaks no promise."""
    with playing() as player:
        tally = played(player, GOOD, most=None, good=True)
    assert tally.trials >= 50 * len(GOOD)
    assert (1, 1) == (tally.accepted_per_try, tally.starts_per_generation)
    assert tally.crashes > tally.trials  # some died more than once


def test_nothing_is_lost_or_done_twice_when_all_else_goes_wrong_as_well() -> None:
    """With faults of link, files, Slurm and clocks on top, benchd breaks no promise either."""
    with playing() as player:
        tally = played(player, BAD, most=5, good=False)
    assert tally.trials >= 5 * len(BAD)
    assert (1, 1) == (tally.accepted_per_try, tally.starts_per_generation)
    assert len(tally.struck) >= 20  # kinds of faults
    assert tally.twins > 0  # so the claim had something to stop
