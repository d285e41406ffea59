"""The judge catches what it is there for: eight mistakes in the protocol, put in on purpose."""

from __future__ import annotations

import pytest

from simulation.mutants import LIMIT, MUTANTS, Mutant, hunt, shaped
from simulation.player import playing


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_a_mistake_in_the_protocol_is_caught(mutant: Mutant) -> None:
    """With the mistake, some history breaks a promise, and soon."""
    why, seconds = hunt(mutant)
    assert why is not None, f"not caught in {seconds:.0f} s of CPU"
    assert seconds < LIMIT


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_without_the_mistake_there_is_nothing_to_catch(mutant: Mutant) -> None:
    """The same scenarios break no promise when the protocol is as it should be."""
    with playing() as player:
        for seed in range(3):
            tally = player.play(seed, most=6, scenario=shaped(mutant, seed))
            assert tally.trials > 0


def test_there_are_eight() -> None:
    """No mistake was dropped from the list because it was hard to catch."""
    assert 8 == len({mutant.name for mutant in MUTANTS})
