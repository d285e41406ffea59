"""A whole sweep of an open loop, made up: what reports and their speed are tried with."""

from __future__ import annotations

import random
from dataclasses import replace

from benchd.core.compare import Document, compare
from benchd.core.comparison import Compared, Sides
from benchd.core.model import Job, JobState, RunOutcome
from benchd.core.numbers import histogram, summarise
from benchd.core.report import build
from benchd.core.reported import Report
from benchd.core.results import Result
from support.builders import CREATED_AT as T0
from support.builders import RUN_ID, client, run
from support.documents import result, value

SAMPLES = 400  # requests of one repeat: enough for a p99
COLUMNS = ["t", "started", "ok", "errors", "out_tokens", "in_flight_avg"]


def latency(formula: str, samples: list[float]) -> dict[str, object]:
    """Return a latency with its histogram."""
    metric = summarise(samples, formula=f"{formula}/v1").model_dump(mode="json")
    return {**metric, "hist": histogram(samples)}


def measurement(job: Job, rate: float, draw: random.Random, slower: float = 1.0) -> Result:
    """Return one repeat: tokens at a rate, and a queue that grows with it."""
    first = [slower * draw.lognormvariate(3.7, 0.3) for _ in range(SAMPLES)]
    queued = [x + draw.expovariate(1 / (2 + rate)) for x in first]
    rows = [[t, rate, rate, int(t == 7), rate * draw.gauss(32, 3), rate / 3] for t in range(60)]
    return result(
        job,
        id=job.token,
        metrics={
            "req_s": value(rate * draw.gauss(1, 0.01)),
            "out_tok_s": value(rate * draw.gauss(32, 0.3), "tok/s"),
            "ttft_sched": latency("ttft_sched", queued),
            "ttft_service": latency("ttft_service", first),
            "tpot": latency("tpot", [draw.gauss(5, 0.4) for _ in range(SAMPLES)]),
            "e2e_sched": latency("e2e_sched", [150 + x for x in queued]),
            "e2e_service": latency("e2e_service", [150 + x for x in first]),
        },
        timeline={"bucket_s": 1, "columns": COLUMNS, "rows": rows},
        workload={"load": {"model": "open", "rate": rate}, "slo": {"ttft_sched_ms": 100}},
        provenance={"hardware": [{"node": "n1", "role": "service", "gpus": [{"count": 4}]}]},
    )


def swept(points: int, repeats: int, slower: float = 1.0) -> tuple[list[Job], list[Result]]:
    """Return jobs and results of so many rates, each measured so often; always the same."""
    draw = random.Random(5)
    jobs = [
        replace(
            client(cell={"client.parameters.rate": 2.0 + p}, point=p, repeat=r),
            token=f"aaaaaa-{RUN_ID}-c-load-p{p}r{r}-0-a1",
            state=JobState.COMPLETED,
            slurm_id=str(p * repeats + r),
            submitted_at=T0,
            started_at=T0 + 2,
            ended_at=T0 + 9,
            collected_at=T0 + 9,
        )
        for p in range(points)
        for r in range(repeats)
    ]
    return jobs, [measurement(job, 2.0 + job.point, draw, slower) for job in jobs]


def report(jobs: list[Job], results: list[Result]) -> Report:
    """Return the report of a run that passed."""
    done = run(finished_at=T0 + 10, outcome=RunOutcome.PASSED)
    return build(done, jobs, results, {}, now=T0 + 10)


def comparison(points: int, repeats: int) -> Sides:
    """Return a run beside one whose first tokens are a third slower."""
    sides: list[list[Document]] = [
        [r.model_dump(mode="json", by_alias=True) for r in swept(points, repeats, slower)[1]]
        for slower in (1.0, 1.3)
    ]
    other = Compared(run="b" * 10, name="slower", comparison=compare(*sides))
    return Sides(run="a" * 10, name="base", others=(other,), threshold=0.05, now=T0)
