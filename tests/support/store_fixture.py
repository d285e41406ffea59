"""A program that leaves a small database with something in every table: ``store_fixture.py FILE``.

Run once for each released version of the store, with the benchd of that version; what it wrote then
is kept as ``tests/data/store/v<version>.sqlite3`` and never made again.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from benchd.core.model import (
    Binding,
    CancelWhy,
    Endpoint,
    Event,
    Evidence,
    Job,
    JobState,
    Readiness,
    RunOutcome,
    Trigger,
)
from benchd.edge.store import Store
from support import builders

NOW = builders.CREATED_AT + 10


async def _moved(store: Store, job: Job, trigger: Trigger, raw: str, **fields: object) -> Job:
    evidence = Evidence(source="squeue", exit_status=0, raw=raw, at=NOW)
    new = replace(job, **fields)  # type: ignore[arg-type] # fields of Job, by name
    return await store.apply(job, new, Event(trigger=trigger, evidence=evidence), NOW)


async def _accepted(store: Store, job: Job, slurm_id: str, *bindings: Binding) -> Job:
    job = await store.intend(job, bindings, NOW)
    fields = {"state": JobState.SUBMITTED, "slurm_id": slurm_id, "submitted_at": NOW}
    return await _moved(store, job, Trigger.SUBMIT_ACCEPTED, slurm_id, **fields)


async def closed(store: Store) -> None:
    """Store a run that passed: a service that was stopped, a client with its result."""
    run = builders.run()
    service, client = builders.service(), builders.client()
    await store.create_run(run, [service, client])
    await store.mark_run_dir(run.id, NOW)
    service = await _accepted(store, service, "101")
    bound = Binding(name="redis", token=service.token, generation=0, host="c1", ports=(6379,))
    client = await _accepted(store, client, "102", bound)
    over = {"state": JobState.COMPLETED, "ended_at": NOW, "exit_code": 0}
    await _moved(store, client, Trigger.SEEN_COMPLETED, "102|CD", **over)
    await store.add_result(client.token, '{"schema": "benchd.result/1"}', True, NOW)
    asked = {"cancel_requested_at": NOW, "cancel_why": CancelWhy.DONE}
    service = await _moved(store, service, Trigger.CANCEL_REQUESTED, "done", **asked)
    gone = {"state": JobState.CANCELLED, "ended_at": NOW, "why": "DONE"}
    await _moved(store, service, Trigger.SEEN_CANCELLED, "101|CA", **gone)
    await store.finish_run(run.id, RunOutcome.PASSED, None, NOW)


async def unfinished(store: Store) -> None:
    """Store a run under way: a service that answers; clients announced, waiting and refused."""
    run = builders.run(id="m2unfinish", recipe_path="under-way.yaml")
    service = builders.service(run_id=run.id)
    clients = [builders.client(run_id=run.id, repeat=n) for n in range(3)]
    await store.create_run(run, [service, *clients])
    service = await _accepted(store, service, "201")
    started = {"state": JobState.RUNNING, "readiness": Readiness.STARTING, "nodes": "c2"}
    service = await _moved(store, service, Trigger.SEEN_RUNNING, "201|R", **started)
    endpoint = Endpoint(host="c2", ports=(6379,), slurm_id="201", generation=0)
    ready = replace(service, readiness=Readiness.READY, ready_at=NOW, endpoint=endpoint)
    service = await store.save_health(service, ready, NOW, Evidence(source="probe", raw="+PONG"))
    await store.save_health(service, replace(service, probe_streak=7, next_probe_at=NOW), NOW)
    bound = Binding(name="redis", token=service.token, generation=0, host="c2", ports=(6379,))
    await store.intend(clients[0], (bound,), NOW)
    odd = "sbatch: error: caf\N{LATIN SMALL LETTER E WITH ACUTE} 'x' \"y\" \\ \n"
    first = await store.intend(clients[2], (), NOW)
    refused = {"attempted_at": None, "submit_failures": 1, "not_before": NOW + 15, "detail": odd}
    await _moved(store, first, Trigger.SUBMIT_REFUSED, odd, **refused)


async def main(path: Path) -> None:
    """Write the database."""
    async with Store(path) as store:
        await closed(store)
        await unfinished(store)
        await store.set_meta("epoch:alpha", "3 -")
        await store.set_meta("paused:beta", "paused by hand")
        await store.note_command(1000, "POST /v1/runs", True, "{}", NOW)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
