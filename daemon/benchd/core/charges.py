"""What jobs cost: what Slurm gave them, for how long, what their site bills and measures. Pure.

Nothing is asked for it: it is what came with the polls. While a job runs the queue tells what it
was given, and when it has ended its energy as well; so a result knows the whole cost of its client,
and of a service that goes on the cost up to the client's end. No prices: only the site knows those.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import JsonValue

from benchd.core.model import Job, Used
from benchd.core.usage import count

_HOUR = 3600.0
# What people are told the sum of, as Slurm calls it.
_SUMMED = {
    "node": "node_hours",
    "cpu": "cpu_hours",
    "gres/gpu": "gpu_hours",
    "billing": "billing_hours",
}


def charged(job: Job, until: float | None = None) -> dict[str, JsonValue]:
    """Return what a job was given and has used; what is not known is absent.

    ``until``: up to when a job counts that has not ended, by Slurm's clock.
    """
    told = job.used or Used()
    seconds, rate = _seconds(job, until), count(told, "billing")
    facts: dict[str, JsonValue | None] = {
        "tres": told.tres or None,
        "elapsed_s": seconds,
        "running": True if seconds is not None and not job.is_terminal else None,
        "billing": rate,
        "billing_hours": None if rate is None or seconds is None else _hours(rate, seconds),
        "energy_j": told.energy_j,
        # Energy is measured of whole nodes: that of the neighbours may be in it.
        "exclusive": None if told.energy_j is None else bool(job.spec.resources.exclusive),
    }
    return {key: value for key, value in facts.items() if value is not None}


def _seconds(job: Job, until: float | None = None) -> float | None:
    told = job.used.elapsed_s if job.used else None
    end = job.ended_at if job.is_terminal else until
    if told is not None:
        return float(told)
    if job.started_at is None or end is None:
        return None
    return round(max(0.0, end - job.started_at), 3)


def _hours(rate: float, seconds: float) -> float:
    return round(rate * seconds / _HOUR, 6)


def totals(jobs: Sequence[Job]) -> Iterator[tuple[str, str]]:
    """Yield the sums of what jobs were charged, where it is known of any, and of how many."""
    ran = [job for job in jobs if job.started_at is not None and job.is_terminal]
    for name, said in _SUMMED.items():
        spent = [
            _hours(rate, seconds)
            for job in ran
            if (rate := count(job.used, name)) is not None
            and (seconds := _seconds(job)) is not None
        ]
        # A job that was given no GPU is known to have used none.
        missing = 0 if name == "gres/gpu" else len(ran) - len(spent)
        if spent:
            yield f"charged.{said}", f"{sum(spent):.6g}{_but(missing, len(ran))}"
    joules = [job.used.energy_j for job in ran if job.used and job.used.energy_j is not None]
    if joules:
        yield "charged.energy_j", f"{sum(joules)}{_but(len(ran) - len(joules), len(ran))}"


def _but(missing: int, jobs: int) -> str:
    return f" ({jobs - missing} of {jobs} jobs: of the others it is not known)" if missing else ""
