"""The long form: every scenario, as many rounds as wanted, with random seeds that are printed.

    python -m torture.run [--rounds N] [--seed S] [--only NAME ...] [--list]

Round r of a scenario is told with seed S + r; the same seed draws the same random times. Exit
status 1 if anything was violated.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from slurm.lease import Lease
from support.reality import missing
from support.realslurm import RealSlurm
from torture.judge import Verdict
from torture.table import SCENARIOS, Scenario


def main(argv: Sequence[str] | None = None) -> int:
    """Tell the stories; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="make torture",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=None, help="default: a random one")
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--list", action="store_true", help="print the names and what they do")
    args = parser.parse_args(argv)
    chosen = [s for s in SCENARIOS if not args.only or s.name in args.only]
    unknown = set(args.only) - {s.name for s in SCENARIOS}
    if unknown:
        parser.error(f"no scenario {', '.join(sorted(unknown))}; --list prints them")
    if args.list:
        for scenario in chosen:
            print(f"{scenario.name:<28}{scenario.story.__doc__}")
        return 0
    seed = random.randrange(10**6) if args.seed is None else args.seed
    runnable = [s for s in chosen if not _absent(s)]
    print(f"torture: {len(runnable)} scenarios, {args.rounds} rounds, seed {seed}", flush=True)
    print(_HEAD, flush=True)
    with Lease() as lease:
        slurm = RealSlurm(lease)
        told = [_rounds(slurm, scenario, args.rounds, seed) for scenario in runnable]
    return _summary([verdict for verdicts in told for verdict in verdicts])


def _absent(scenario: Scenario) -> bool:
    whys = [why for name in scenario.needs if (why := missing(name)) is not None]
    if whys:
        print(f"{scenario.name}: not run here: {'; '.join(whys)}")
    return bool(whys)


def _rounds(slurm: RealSlurm, scenario: Scenario, rounds: int, seed: int) -> list[Verdict]:
    verdicts = []
    for number in range(rounds):
        with tempfile.TemporaryDirectory(prefix="benchd-torture-") as home:
            verdict = scenario.play(slurm, Path(home), seed=seed + number)
        slurm.make_whole()
        verdicts.append(verdict)
        for sentence in verdict.violations:
            print(f"VIOLATION {scenario.name} seed {verdict.seed}: {sentence}", file=sys.stderr)
    print(_row(scenario.name, verdicts), flush=True)
    return verdicts


_HEAD = (
    f"{'scenario':<28}{'rounds':>7}{'faults':>8}{'violations':>12}{'sbatch/try':>12}"
    f"{'starts/gen':>12}{'status s':>10}{'seconds':>9}"
)


def _row(name: str, verdicts: Sequence[Verdict]) -> str:
    """Return one line: what was done, and the worst that came of it."""
    return (
        f"{name:<28}{len(verdicts):>7}{sum(v.faults for v in verdicts):>8}"
        f"{sum(len(v.violations) for v in verdicts):>12}"
        f"{max((v.sbatch_per_try for v in verdicts), default=0):>12}"
        f"{max((v.starts_per_generation for v in verdicts), default=0):>12}"
        f"{max((v.slowest_status for v in verdicts), default=0.0):>10.2f}"
        f"{sum(v.seconds for v in verdicts):>9.1f}"
    )


def _summary(verdicts: Sequence[Verdict]) -> int:
    print(_row("all", verdicts))
    violations = sum(len(v.violations) for v in verdicts)
    print(
        f"torture: {len(verdicts)} runs, {sum(v.faults for v in verdicts)} faults, "
        f"{violations} violations"
    )
    return 1 if violations or not verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
