"""What every story has to end with, told by Slurm, by the payloads and by the books."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from dataclasses import dataclass

from benchd.edge.store import Store
from benchd.edge.store.rows import durable
from slurm.testbed import until
from support.realslurm import LAG_S
from torture.stage import Stage

# The number of a try, in the path of the script that was given to sbatch.
_TRY = re.compile(r"/(try-\d+)/script\.sh")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of one round of one scenario."""

    scenario: str
    seed: int
    faults: int
    seconds: float
    violations: tuple[str, ...]
    sbatch_per_try: int  # accepted ones, at most
    starts_per_generation: int  # of a payload, at most
    slowest_status: float


def judge(stage: Stage, scenario: str, seed: int, seconds: float) -> Verdict:
    """Judge a story that has been told; the daemon may still run, and is ended here."""
    if stage.daemon.process is not None and stage.daemon.process.poll() is None:
        stage.terminate()
    sent, per_try = _accepted(stage)
    starts = Counter(tuple(line.split()[::2]) for line in stage.starts.read_text().splitlines())
    wrong = [*stage.violations]
    wrong += [f"{n} Slurm jobs of {token}" for token, n in sent.items() if n > 1]
    wrong += [f"{n} starts of {' generation '.join(s)}" for s, n in starts.items() if n > 1]
    if not stage.setting.forgets:
        wrong += [f"{token} ran and is not in sacct" for token, _ in starts if token not in sent]
    wrong += _log_troubles(stage.log())
    wrong += asyncio.run(_book_troubles(stage, sent))
    return Verdict(
        scenario=scenario,
        seed=seed,
        faults=stage.faults,
        seconds=seconds,
        violations=tuple(wrong),
        sbatch_per_try=max(per_try.values(), default=0),
        starts_per_generation=max(starts.values(), default=0),
        slowest_status=stage.slowest_status,
    )


def _accepted(stage: Stage) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """Return how many Slurm jobs there are of each token, and of each of its tries."""
    instance = _instance(stage)
    tokens = {line.split()[0] for line in stage.starts.read_text().splitlines()}
    jobs: dict[tuple[str, str], str] = {}

    def has_caught_up() -> bool:
        told = stage.slurm.run(
            *("sacct", "-X", "-n", "-P", "-D", "-S", "now-1days", "-E", "now"),
            "--format=JobIDRaw,JobName,SubmitLine",
        )
        rows = (row.split("|", 2) for row in told.splitlines())
        jobs.update({(n, name): line for n, name, line in rows if name.startswith(f"{instance}-")})
        return tokens <= {name for _, name in jobs}

    until(has_caught_up, LAG_S)
    if tokens:
        stage.slurm.sacct(",".join(sorted(tokens)))  # as far as slurmctld still knows them
        has_caught_up()
    tries = Counter(
        (name, found[1]) for (_, name), line in jobs.items() if (found := _TRY.search(line))
    )
    return Counter(name for _, name in jobs), tries


def _instance(stage: Stage) -> str:
    """Return the id that every token of this stage's daemon begins with."""
    lines = stage.starts.read_text().splitlines()
    if lines:
        return lines[0].partition("-")[0]
    epochs = [path.name for path in stage.workdir.glob("epoch-*") if path.suffix == ""]
    return epochs[0].split("-")[1] if epochs else ""


def _log_troubles(log: str) -> list[str]:
    """Return what no log of a well daemon has: tracebacks and broken effects."""
    found = []
    if "Traceback (most recent call last)" in log:
        at = log.index("Traceback (most recent call last)")
        found.append(f"a traceback in the log: {log[max(0, at - 200) : at + 1500]}")
    broken = [line for line in log.splitlines() if "effect.failed" in line or "poll.row" in line]
    found += [f"{len(broken)} broken effects in the log: {broken[0][:2000]}"] if broken else []
    return found


async def _book_troubles(stage: Stage, sent: Counter[str]) -> list[str]:
    """Return what is wrong in the database: it is sound, and each history adds up to its row."""
    file = stage.daemon.state / "benchd.sqlite3"
    if not file.exists():
        return []
    found = []
    async with Store(file) as store:
        for job in await store.jobs():
            if await store.fold(job.token) != durable(job):
                found.append(f"the history of {job.token} does not add up to its row")
            if len(await store.transitions(job.token)) != job.rev:
                found.append(f"{job.token} has revision {job.rev} and another number of moves")
            known = sent[job.token] or stage.setting.forgets
            if job.slurm_id is not None and not known:
                found.append(f"{job.token} has Slurm id {job.slurm_id}, which sacct does not know")
    return found
