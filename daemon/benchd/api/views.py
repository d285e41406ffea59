"""Records as users see them: plain dictionaries, ready for JSON. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from benchd.api.control import ClusterStatus
from benchd.core.attention import Attention, judged
from benchd.core.charges import charged
from benchd.core.model import (
    LIVE,
    TERMINAL,
    CancelWhy,
    Endpoint,
    Job,
    JobState,
    Readiness,
    Run,
    Transition,
)
from benchd.core.spec import Role
from benchd.core.tally import latest_attempts, progress

View = dict[str, object]


def job_id(token: str) -> str:
    """Return the token without the instance, which is the same for every job of a daemon."""
    return token.partition("-")[2] or token


def _endpoint(endpoint: Endpoint | None) -> View | None:
    if endpoint is None:
        return None
    return {"host": endpoint.host, "ports": list(endpoint.ports)}


def job_view(job: Job) -> View:
    """Return one job as a row of a table."""
    return {
        "token": job.token,
        "id": job_id(job.token),
        "run": job.run_id,
        "cluster": job.cluster,
        "role": str(job.role),
        "name": job.name,
        "kind": job.kind,
        "point": job.point,
        "repeat": job.repeat,
        "replica": job.replica,
        "attempt": job.attempt,
        "cell": dict(job.spec.cell),
        "state": str(job.state),
        "substate": str(job.substate),
        "readiness": str(job.readiness) if job.role is Role.SERVICE else None,
        "slurm_id": job.slurm_id,
        "slurm_state": job.slurm_state,
        "reason": job.reason,
        "nodes": job.nodes,
        "endpoint": _endpoint(job.endpoint),
        "why": job.why,
        "detail": job.detail,
        "exit_code": job.exit_code,
        "signal": job.signal,
        "cancel_why": str(job.cancel_why) if job.cancel_why else None,
        "collected": job.collected_at is not None,
        "times": _times(job),
    }


def _times(job: Job) -> View:
    """Return the moments of a job's life, in seconds since the epoch; null for what was not."""
    return {
        "created": job.created_at,
        "submitted": job.submitted_at,
        "started": job.started_at,
        "ready": job.ready_at,
        "ended": job.ended_at,
        "missing_since": job.missing_since,
        "not_before": job.not_before or None,
    }


def job_detail(job: Job) -> View:
    """Return everything about one job."""
    return {
        **job_view(job),
        **_queued(job),
        "generation": job.generation,
        "tries": job.tries,
        "submit_failures": job.submit_failures,
        "resources": job.spec.resources.model_dump(exclude_none=True),
        "used": charged(job),
        "parameters": dict(job.spec.parameters),
        "targets": [b.token for b in job.bindings] or [t.name for t in job.spec.targets],
        "script": job.script,
    }


def _queued(job: Job) -> View:
    """Return what Slurm's reason means for a job that waits in its queue."""
    says = judged(job) if job.state is JobState.PENDING and job.reason else None
    return {
        "reason_class": str(says.cls) if says else None,
        "reason_advice": says.advice if says else None,
    }


def transition_view(row: Transition) -> View:
    """Return one row of a job's history with its evidence."""
    return {
        "at": row.at,
        "trigger": row.trigger,
        "old": row.old,
        "new": row.new,
        "evidence": {
            "source": row.evidence.source,
            "exit_status": row.evidence.exit_status,
            "raw": row.evidence.raw,
        },
    }


def run_view(run: Run, jobs: Sequence[Job]) -> View:
    """Return one run as a row of a table."""
    latest = latest_attempts(jobs)
    done, total = progress(latest)
    return {
        "id": run.id,
        "name": run.name,
        "cluster": run.cluster,
        "phase": run_phase(run, latest),
        "outcome": str(run.outcome) if run.outcome else None,
        "why": run.why,
        "created": run.created_at,
        "finished": run.finished_at,
        "cancel_requested": run.cancel_requested_at is not None,
        "jobs": len(latest),
        "states": dict(Counter(str(j.state) for j in latest)),
        "measurements": {"done": done, "total": total},
    }


def run_detail(run: Run, jobs: Sequence[Job]) -> View:
    """Return everything about one run, with the rows of all its jobs."""
    return {
        **run_view(run, jobs),
        "recipe": run.recipe,
        "recipe_path": run.recipe_path,
        "recipe_sha256": run.recipe_sha256,
        "owner_uid": run.owner_uid,
        "limits": run.limits.model_dump(exclude_none=True),
        "job_list": [job_view(j) for j in jobs],
    }


def run_trouble(run: Run, clusters: Iterable[ClusterStatus]) -> View | None:
    """Return why nothing can be learned about a run now, since when, and when it is tried next."""
    for each in clusters:
        unwell = each["paused"] or each["unreachable_since"] is not None
        if run.outcome is None and each["name"] == run.cluster and unwell:
            next_at = each["next_at"]
            return {
                "cluster": each["name"],
                "since": each["unreachable_since"],
                "why": each["detail"],
                "next_at": None if next_at is None else round(next_at),
            }
    return None


def run_phase(run: Run, jobs: Sequence[Job]) -> str:
    """Return in one word how far a run is: derived from its jobs, never stored."""
    if run.outcome is not None:
        return "finished"
    if run.cancel_requested_at is not None:
        return "cancelling"
    clients = [j for j in jobs if j.role is Role.CLIENT]
    if clients and all(j.is_terminal for j in clients):
        home = all(j.collected_at is not None or j.slurm_id is None for j in clients)
        return "stopping" if home else "collecting"
    services = [j for j in jobs if j.role is Role.SERVICE]
    ready = any(j.readiness is Readiness.READY for j in services)
    signs = {
        "measuring": any(j.state is JobState.RUNNING for j in clients),
        "ready": ready and bool(clients),
        "serving": ready,
        "starting": any(j.state is JobState.RUNNING for j in services),
        "preparing": any(j.role is Role.IMAGE and not j.is_terminal for j in jobs),
        "queued": any(j.state in LIVE for j in jobs),
    }
    return next((phase for phase, holds in signs.items() if holds), "created")


def cluster_view(cluster: ClusterStatus) -> View:
    """Return how a cluster is doing; a link that nothing has needed yet is idle, not down."""
    unused = cluster["link"] == "down" and not cluster["logins"] and not cluster["detail"]
    return {**cluster, "link": "idle" if unused else cluster["link"]}


def attention_view(item: Attention) -> View:
    """Return a job that waits for a human, with what helps."""
    return {
        "id": job_id(item.token),
        "cluster": item.cluster,
        "class": str(item.cls),
        "reason": item.reason,
        "advice": item.advice,
    }


def result_order(jobs: Sequence[Job]) -> dict[str, int]:
    """Return for each token where its result stands: by run and client, point, then repeat."""
    runs = {run: i for i, run in enumerate(dict.fromkeys(job.run_id for job in jobs))}
    clients = sorted(jobs, key=lambda j: (runs[j.run_id], j.name, j.point, j.repeat, j.attempt))
    return {job.token: i for i, job in enumerate(clients)}


def silence(
    job: Job, waiting: str, folder: str, *, stream: str = "out", is_missing: bool = False
) -> str:
    """Say in one sentence why there is no output of a job; ``folder`` is where its run's files go.

    ``is_missing``: there is no file that could be empty, neither on the cluster nor at home.
    """
    name = job_id(job.token)
    if job.slurm_id is None and job.is_terminal:
        why = job.detail or (_UNSENT.get(job.cancel_why) if job.cancel_why else None) or job.why
        return f"{name} was never submitted, so it has no output: {why or 'see benchctl why'}"
    if job.slurm_id is None:
        return f"{name} is not submitted yet: {waiting or 'the next turn of benchd submits it'}"
    if not job.is_terminal and job.state is not JobState.RUNNING:
        reason = f" ({job.reason})" if job.reason else ""
        return f"{name} has not started yet: Slurm job {job.slurm_id} is {job.state}{reason}"
    if job.is_terminal and is_missing:
        return f"there is no output of {name}: no file on {job.cluster}, and no copy in {folder}"
    said = f"{name} wrote nothing to std{stream}" + ("" if job.is_terminal else " so far")
    if job.collected_at is not None:
        said += f"; what it left, such as a tool's output, is in {folder}/raw/{job.token}"
    if job.state is JobState.FAILED and stream == "out":
        said += f"; see also `benchctl logs {name} --stderr`"
    return said


_UNSENT = {
    CancelWhy.ASKED: "its end was asked for first",
    CancelWhy.DONE: "nothing needed it any more",
    CancelWhy.SIBLING: "a job that it depends on ended first",
    CancelWhy.LIMIT: "it reached a limit of the recipe first",
}


def orphaned(
    rows: Iterable[tuple[str, str, str, int]], configured: Iterable[str]
) -> dict[str, int]:
    """Return how many live jobs there are by cluster that is not in the configuration any more."""
    known, left = set(configured), Counter[str]()
    for cluster, _role, state, number in rows:
        if cluster not in known and JobState(state) not in TERMINAL:
            left[cluster] += number
    return dict(left)


def state_counts(rows: Iterable[tuple[str, str, str, int]]) -> View:
    """Return the number of jobs by state, every state present."""
    total = {str(state): 0 for state in JobState}
    for _cluster, _role, state, number in rows:
        total[state] = total.get(state, 0) + number
    return dict(total)
