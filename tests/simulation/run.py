"""``make sim``: play seeds on all cores, and say what came of it.

``--seed0 N --crash K`` plays one trial and tells its story.
"""

from __future__ import annotations

import argparse
import multiprocessing
import multiprocessing.util
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

from simulation.machine import Machine
from simulation.player import Broken, Player, Tally, digest, playing

EVERY = 20  # seeds between two words of progress: about half a minute on two cores
_player: list[Player] = []  # of this worker process


def main() -> int:
    """Play what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds to play")
    parser.add_argument("--seed0", type=int, default=0, help="the first of them")
    parser.add_argument("--crash", help="play one trial only: 133, 133.57 for two crashes, or none")
    parser.add_argument("--most", type=int, help="trials of a seed, about; default: all there are")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    if asked.crash is not None:
        steps = () if asked.crash == "none" else tuple(map(int, asked.crash.split(".")))
        return _story(asked.seed0, steps)
    started = time.monotonic()
    tally, broken = Tally(), []
    seeds = range(asked.seed0, asked.seed0 + asked.seeds)
    for done, played in enumerate(_played(seeds, asked.most, asked.cores), start=1):
        if isinstance(played, str):
            broken.append(played)
            print(f"sim: {played}", file=sys.stderr)
        else:
            tally.add(played)
        if done % EVERY == 0 and done < len(seeds):
            so_far = f"{done} of {len(seeds)} seeds, {len(broken)} broken"
            print(f"sim: {so_far}, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    report(tally, len(broken), time.monotonic() - started, asked.cores)
    return 1 if broken else 0


def _played(seeds: range, most: int | None, cores: int) -> Iterator[Tally | str]:
    fork = multiprocessing.get_context("fork")
    # Not multiprocessing's own pool: that starts workers that cannot begin again and again.
    with ProcessPoolExecutor(min(cores, len(seeds)), fork, initializer=_enter) as pool:
        plays = [pool.submit(_play, seed, most) for seed in seeds]
        for each in as_completed(plays):
            yield each.result()


def _enter() -> None:
    # Kept open for as long as the process lives; what it leaves is a directory in memory.
    context: Any = playing()
    _player.append(context.__enter__())
    multiprocessing.util.Finalize(None, context.__exit__, (None, None, None), exitpriority=1)


def _play(seed: int, most: int | None) -> Tally | str:
    try:
        return _player[0].play(seed, most=most)
    except Broken as error:
        return f"{error}\n     its story: make sim SEED0={seed} K={error.path}"


def report(tally: Tally, violations: int, seconds: float, cores: int) -> None:
    """Print the figures."""
    speed = tally.trials / max(tally.cpu, 1e-9)
    struck = ", ".join(f"{name} {n:,}" for name, n in sorted(tally.struck.items()))
    ends = ", ".join(f"{name} {n:,}" for name, n in sorted(tally.outcomes.items()))
    print(
        f"sim: {tally.seeds:,} seeds; {tally.steps:,} steps at which the process may die, "
        f"{tally.moments:,} of them leave something else\n"
        f"sim: trials {tally.trials:,}, crashes {tally.crashes:,}, lives {tally.lives:,}, "
        f"payloads {tally.payloads:,}\n"
        f"sim: faults injected: {struck or 'none'}\n"
        f"sim: runs ended: {ends}; clusters paused and resumed by hand {tally.pauses:,}\n"
        f"sim: accepted sbatch per try max = {tally.accepted_per_try}, "
        f"payload starts per generation max = {tally.starts_per_generation}; "
        f"extra tries {tally.extra_tries:,}, twins stopped by the claim {tally.twins:,}\n"
        f"sim: violations = {violations}\n"
        f"sim: {speed:,.0f} trials/s on one core; {seconds:.0f} s on {cores}; "
        f"virtual time / CPU time = {tally.virtual / max(tally.cpu, 1e-9):,.0f}"
    )


def _story(seed: int, path: tuple[int, ...]) -> int:
    with playing() as player, player.one():
        machine, wrong = player.replay(seed, path)
        print(f"seed {seed}: {machine.world.scenario}\n")
        _tell(machine)
        print(f"\ndigest {digest(machine)}; {'violation: ' + wrong if wrong else 'nothing wrong'}")
        return 1 if wrong else 0


def _tell(machine: Machine) -> None:
    """Print what the daemon said, what the books say, and what the site saw."""
    start = machine.world.agenda.now - machine.world.age
    told: list[tuple[float, str]] = [
        (at, f"{event} " + " ".join(f"{k}={v}" for k, v in values.items() if v is not None))
        for at, _, event, values in machine.log
    ]
    site = machine.world.site
    told += [(birth - start, "-- a life begins") for birth in machine.births]
    told += [(each.at - start, f"-- slurmctld queued {each}") for each in site.accepted]
    told += [(each.at - start, f"-- a payload started: {each}") for each in site.starts]
    told += [(each.at - start, f"-- a twin gave way: {each}") for each in site.twins]
    for at, line in sorted(told, key=lambda pair: pair[0]):
        print(f"{at:10.2f}  {line}")
    print()
    for row in machine.disk.execute("SELECT * FROM transitions ORDER BY id"):
        print(f"{row['token']} {row['rev']}: {row['trigger']} {row['old']} -> {row['new']}")


if __name__ == "__main__":
    sys.exit(main())
