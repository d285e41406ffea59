"""Stories that the simulation once told of a run that went wrong: they end well now."""

from __future__ import annotations

import pytest

from simulation.player import playing


@pytest.mark.parametrize(
    ("seed", "path"),
    [
        (53, (96, 3810)),  # a replica more than there may be, while others were ending
        (53, (1179, 305, 3)),  # a late twin hid that slurmctld had forgotten the job itself
    ],
)
def test_a_story_that_went_wrong_ends_well(seed: int, path: tuple[int, ...]) -> None:
    """The judge finds nothing wrong with what it once found something wrong with."""
    with playing() as player:
        _, wrong = player.replay(seed, path)
    assert wrong is None
