"""A program that uses a store as told and says on stdout how far it came: one line per commit.

Started by tests that kill it, take its disk away, or look whether it ends by itself.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from dataclasses import replace
from pathlib import Path

from benchd.core.model import Event, Evidence, Trigger
from benchd.edge.store import Store
from benchd.errors import StoreFull
from support import builders

JOBS = 32  # writers at once, so that they share commits
PAYLOAD = "x" * 4000  # characters of evidence per move: fills a small disk soon
LIMIT = 50_000  # bytes a file may have in "squeeze": no room, as for a user over quota


async def hammer(store: Store) -> None:
    """Move a few jobs for ever, all at once."""
    jobs = [builders.job(replica=n) for n in range(JOBS)]
    await store.create_run(builders.run(), jobs)
    await asyncio.gather(*(_moves(store, n) for n in range(JOBS)))


async def _moves(store: Store, replica: int) -> None:
    job = builders.job(replica=replica)
    while True:
        job = await _one(store, job.token)
        print(job.token, job.rev, flush=True)


async def _one(store: Store, token: str):  # type: ignore[no-untyped-def] # a Job
    job = await store.job(token)
    assert job is not None
    event = Event(trigger=Trigger.SUBMIT_REFUSED, evidence=Evidence(raw=PAYLOAD))
    new = replace(job, submit_failures=job.submit_failures + 1, detail=f"refusal {job.rev}")
    return await store.apply(job, new, event, builders.CREATED_AT)


async def squeeze(store: Store, relieve: str) -> None:
    """Write until there is no room, look at what still works, make room, write again."""
    told: list[bool] = []
    store._db._on_writable = told.append
    job = builders.job()
    await store.create_run(builders.run(), [job])
    acked = (await _one(store, job.token)).rev
    if relieve == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, resource.RLIM_INFINITY))
    try:
        while True:
            acked = (await _one(store, job.token)).rev
    except StoreFull as error:
        print("full", error, flush=True)
    found = await store.job(job.token)
    assert found is not None
    print("kept", found.rev == acked > 0, store.writable, flush=True)
    if relieve == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    else:
        os.unlink(relieve)  # noqa: PTH108 -- nothing else runs in this program
    await store.ping(builders.CREATED_AT)
    after = await _one(store, job.token)
    print("again", after.rev == acked + 1, store.writable, told, flush=True)


async def leave(store: Store) -> None:
    """Use the store a little and end with an error while something is being written."""
    await store.create_run(builders.run(), [builders.job()])
    writing = asyncio.create_task(store.set_meta("left", "yes"))
    await asyncio.sleep(0)
    writing.cancel()
    sys.exit("left")


async def main(command: str, path: str, *rest: str) -> None:
    """Run one of the stories above on the store at ``path``."""
    async with Store(Path(path)) as store:
        print("open", os.getpid(), flush=True)
        await {"hammer": hammer, "squeeze": squeeze, "leave": leave}[command](store, *rest)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
