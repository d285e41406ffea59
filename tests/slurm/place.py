"""A job directory on a real cluster, and what Slurm says about its job."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchd.core.model import Event, Trigger
from benchd.core.slurm import (
    SbatchKind,
    classify_sbatch,
    event,
    parse_sacct,
    parse_squeue,
    sacct_argv,
    squeue_argv,
)
from slurm.testbed import until
from support.realslurm import RealSlurm
from support.script_cases import Case

DEADLINE = 60.0  # seconds: Slurm looks at its queue once a second, a busy machine is slower


@dataclass
class Place:
    """One job directory on the real cluster, and what Slurm says about its job."""

    slurm: RealSlurm
    job: Path
    name: str

    def submit(self, what: Case, *options: str) -> str:
        """Submit as the login node's wrapper does; return the Slurm id."""
        attempt = self.job / "try-1"
        attempt.mkdir(exist_ok=True)
        (attempt / "script.sh").write_text(what.render(self.name))
        argv = ["sbatch", "--parsable", f"--job-name={self.name}", f"--output={self.job}/%j.out"]
        argv += [f"--error={self.job}/%j.err", "--open-mode=append", f"--chdir={self.job}"]
        argv += [*options, "--export=NONE", f"{attempt}/script.sh", str(self.job), "1"]
        verdict = classify_sbatch(0, self.slurm.run(*argv), "")
        assert verdict.kind is SbatchKind.ACCEPTED
        return verdict.slurm_id or ""

    def queued(self, slurm_id: str) -> Event | None:
        """Return what squeue tells about the job now."""
        rows = parse_squeue(self.slurm.run(*squeue_argv(self.name)).encode())
        assert rows.malformed == ()
        return next((event(row) for row in rows if row.slurm_id == slurm_id), None)

    def sees(self, slurm_id: str, *triggers: Trigger) -> Event:
        """Wait until squeue tells one of these, and return it."""
        seen: list[Event] = []

        def told() -> bool:
            said = self.queued(slurm_id)
            if said is not None and said.trigger in triggers:
                seen.append(said)
            return bool(seen)

        assert until(told, DEADLINE), self.told(slurm_id)
        return seen[0]

    def told(self, slurm_id: str) -> str:
        """Say what Slurm and the job directory tell, for a test that waited in vain."""
        shown = self.slurm.run("scontrol", "show", "job", slurm_id)
        files = {f.name: f.read_text() for f in self.job.iterdir() if f.is_file()}
        return f"{shown}\n{files}"

    def accounted(self, slurm_id: str) -> Event:
        """Wait until sacct tells how the job ended, and return it."""
        seen: list[Event] = []

        def told() -> bool:
            rows = parse_sacct(self.slurm.run(*sacct_argv([self.name], 0.0)).encode())
            assert rows.malformed == ()
            seen.extend(
                said
                for row in rows
                for said in (event(row),)
                if row.slurm_id == slurm_id and row.ended_at and said
            )
            return bool(seen)

        assert until(told, DEADLINE)
        return seen[0]

    def json(self, name: str) -> dict[str, Any]:
        """Return one of the job's JSON files."""
        value: dict[str, Any] = json.loads((self.job / name).read_text())
        return value


def place_for(slurm: RealSlurm, test: str) -> Place:
    """Make a job directory whose job is named after the test."""
    name = test.replace("_", "-")
    job = slurm.workdir() / "runs" / "r" / "jobs" / name
    job.mkdir(parents=True)
    return Place(slurm, job, name)
