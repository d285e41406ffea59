"""What the tests play: seeds of the whole simulation, and what has to come of all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from simulation.faults import Faults
from simulation.player import Player, Tally
from simulation.scenario import Scenario, draw

_CLIENT = """\
name: client
client:
  name: load
  kind: generic
  command: measure
  resources: {cpus_per_task: 1, time: "00:20:00"}
  restart: {policy: on-failure, max_attempts: 2, requeue: true}
"""


def calm(seed: int) -> Scenario:
    """Return a seed's story on a good day: one client, and nothing goes wrong but the crashes."""
    return replace(
        draw(str(seed)),
        recipes=((1.0 + seed % 30, "client.yaml", _CLIENT),),
        cancels=((90.0 + seed % 60, "client.yaml"),) if seed % 5 == 0 else (),
        clock_steps=(),
        suspensions=(),
        faults=Faults(),
        calm_at=600.0,
        over_at=4 * 3600.0,
        is_brisk=True,
    )


def played(player: Player, seeds: Iterable[int], *, most: int | None, good: bool) -> Tally:
    """Play seeds; the first history that must not be raises ``Broken``."""
    tally = Tally()
    for seed in seeds:
        tally.add(player.play(seed, most=most, scenario=calm(seed) if good else None))
    return tally
