"""A seed and the steps of its crashes are a history: the same whenever and however it is played."""

from __future__ import annotations

import pytest

from simulation.crashes import calm
from simulation.player import Path, Player, Tally, digest, playing
from simulation.scenario import draw


class Noting(Tally):
    """Counts, and notes what became of every history that it counts."""

    def __init__(self) -> None:
        super().__init__()
        self.digests: list[str] = []

    def count(self, machine) -> None:  # type: ignore[no-untyped-def] # as the one above
        """Count one history."""
        super().count(machine)
        self.digests.append(digest(machine))


def _digest(player: Player, seed: int, path: Path = ()) -> str:
    with player.one():
        machine, wrong = player.replay(seed, path)
        assert wrong is None
        return digest(machine)


@pytest.mark.parametrize("seed", range(6))
def test_a_seed_is_one_history(seed: int) -> None:
    """Played twice, and by another player, a seed gives the same books and the same truth."""
    with playing() as player:
        first = [_digest(player, seed), _digest(player, seed)]
    with playing() as player:
        _digest(player, seed + 1)
        assert [_digest(player, seed)] * 2 == first


def test_other_seeds_are_other_histories() -> None:
    """No two seeds give the same history."""
    with playing() as player:
        found = {_digest(player, seed) for seed in range(8)}
    assert 8 == len(found)


@pytest.mark.parametrize("path", [(40,), (100,), (160, 30), (120, 60, 25)], ids=str)
def test_a_trial_can_be_played_by_itself(path: Path) -> None:
    """A trial that was played aside of others is what it is when it is played alone."""
    with playing() as player:
        alone = [_digest(player, 5, path) for _ in range(2)]
        aside = player.aside(5, path)
    assert [aside, aside] == alone


@pytest.mark.parametrize("scenario", [calm(4), draw("9")], ids=["calm", "troubled"])
def test_steps_between_two_moments_leave_nothing(scenario) -> None:  # type: ignore[no-untyped-def] # of pytest
    """A crash before any step between two moments leaves the same disk, files and site."""
    left: dict[tuple[object, ...], set[object]] = {}
    with playing() as player, player.one():
        machine = player.machine
        machine.begin(scenario)

        def watch(_step: int) -> None:
            key = (*machine.version, machine.world.agenda.now)
            moment = machine.moment()
            books = tuple(map(tuple, machine.disk.execute("SELECT * FROM jobs")))
            left.setdefault(key, set()).add((moment.world, moment.files, books))

        with player.hearing():
            machine.live(watch=watch)
    assert [] == [key for key, found in left.items() if len(found) > 1]
    assert len(left) > 50
