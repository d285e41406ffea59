"""Decide what to do next: ``decide(world, now) -> effects``. Pure, and repeated on every turn.

Nothing here is remembered. An effect that was lost comes back by itself, because the state that
asked for it is still there; an effect that was done is not asked for again, because the state has
moved. The rules, in the order in which they are applied:

* A job that should end before its time is cancelled; ``policy`` says when.
* A slot that failed is tried again while its policy allows; a client that was cancelled because its
  service died is tried again, and then waits for the replacement to answer.
* A service is wanted while any client of any run targets it and is not over, or while its run has
  no clients at all. A wanted service is submitted; one that nobody wants is cancelled as DONE.
* An image is looked for, and made if it is missing, before what needs it is submitted.
* Nothing new is submitted while the daemon drains, and no service to where one of ours waits for
  a quota of our own.
* A client is submitted when everything it targets is READY and free: one measurement at a time
  per service, across runs, unless the service says ``concurrent``. Of a service whose number of
  replicas changes it takes one; ``scaling`` says when one is added or ended. Where the recipe
  wants a pause (``cooldown``), a service that was measured is free only after it.
* A service made for one measurement waits until the measurement before it is over; ``turns``.
* A run is finished when every slot is over and every result is home.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from benchd.core.effects import (
    AddReplica,
    Cancel,
    ClusterView,
    Collect,
    Effect,
    Finish,
    Look,
    Open,
    Poll,
    Probe,
    Publish,
    Retry,
    Submit,
    World,
)
from benchd.core.images import Place, awaited, being_made, in_the_way, place_of, spare
from benchd.core.matching import ASIDE, bindings_of, busy_services
from benchd.core.model import Binding, CancelWhy, Job, JobState, Run
from benchd.core.monitoring import is_done, publications
from benchd.core.policy import cancel_reason, is_followed, quota_reached, quotas, verdict
from benchd.core.readiness import DEFAULT_CHECK
from benchd.core.scaling import scalings
from benchd.core.spec import Role
from benchd.core.turns import before, stop, turns
from benchd.core.view import Index, index, is_sent, is_uncollected

# Seconds after which the loop looks again although nothing is due: a safety net, not a clock.
IDLE_WAKE = 30.0
# What a client measures: see ``_wants``.
Want = tuple[str, str, tuple[str, int, int] | None]


def decide(world: World, now: float) -> list[Effect]:
    """Return everything that should be going on now, in order of urgency."""
    seen = index(world, now)
    scaled = list(scalings(seen))
    ends = [*_cancellations(seen), *_releases(seen), *_dismissals(seen), *_spare_images(seen)]
    ends += _orphans(seen)
    ending = {effect.token for effect in (*ends, *scaled) if isinstance(effect, Cancel)}
    effects: list[Effect] = [*ends, *_retries(seen), *_submissions(seen, ending), *scaled]
    for run in world.runs:
        effects += _collections(run, seen)
        effects += _finish(run, seen)
    effects += publications(seen)
    effects += [Probe(j.token) for j in world.jobs if _is_probe_due(j, now)]
    effects += [Poll(name) for name, view in world.clusters.items() if _is_poll_due(view, seen)]
    wanted = (_opened(effect, seen) for effect in effects)
    return [effect for effect in _once(wanted) if not _is_paused(effect, seen)]


def effect_key(effect: Effect) -> str:
    """Return what at most one task may be busy with: a token, a run or a cluster."""
    if isinstance(effect, Poll | Open):
        return f"cluster:{effect.cluster}"
    if isinstance(effect, Finish):
        return f"run:{effect.run_id}"
    if isinstance(effect, AddReplica):
        return f"scale:{effect.token}"
    if isinstance(effect, Look):  # it may make an image, for an hour, which a cancel does not await
        return f"look:{effect.token}"
    return effect.token


def _once(effects: Iterable[Effect]) -> Iterator[Effect]:
    """Yield one effect a kind and key: the first, whose reason is the most specific."""
    seen: set[tuple[type, str]] = set()
    for effect in effects:
        key = (type(effect), effect_key(effect))
        if key not in seen:
            seen.add(key)
            yield effect


def _opened(effect: Effect, index: Index) -> Effect:
    """Return the effect, or what must come before it.

    A submission is announced in the store before it is sent, and what is announced can only be
    taken back by asking the cluster; so nothing is announced to a cluster never reached.
    """
    if not isinstance(effect, Submit | Look):
        return effect
    view = index.world.clusters.get(index.rows[effect.token].cluster)
    return effect if view is None or view.is_open else Open(view.name)


def _cluster_of(
    effect: Open | Poll | Submit | Look | Probe | Cancel | Collect | AddReplica | Publish,
    index: Index,
) -> str:
    if isinstance(effect, Open | Poll):
        return effect.cluster
    return index.rows[effect.token].cluster


def _is_paused(effect: Effect, index: Index) -> bool:
    if isinstance(effect, Finish):
        return False
    if isinstance(effect, Retry):  # its script is made for a cluster, paused or not
        return index.rows[effect.token].cluster not in index.world.clusters
    name = _cluster_of(effect, index)
    if isinstance(effect, Cancel) and index.rows[effect.token].cancel_requested_at is None:
        return False  # the wish is recorded even when nobody can be told yet
    view = index.world.clusters.get(name)
    return view is None or view.paused


# --- ending -------------------------------------------------------------------------------------


def _cancellations(index: Index) -> Iterator[Cancel]:
    for run in index.world.runs:
        stopped = stop(run, index)
        for job in index.slots[run.id]:
            if job.is_terminal:
                continue
            if job.cancel_why is not None:
                yield Cancel(job.token, job.cancel_why)
                continue
            end = cancel_reason(run, job, index) or (stopped if job.role is Role.CLIENT else None)
            if end is not None:
                yield Cancel(job.token, end.why, end.detail)


def _releases(index: Index) -> Iterator[Cancel]:
    """End the services that no client of any run needs any more."""
    needed: set[Want] = set()  # by clients that are not over
    named: dict[str, set[Want]] = {}  # by the clients of each run, over or not
    measuring: set[str] = set()
    for client in _clients(index):
        wants = _wants(client)
        named.setdefault(client.run_id, set()).update(wants)
        if not client.is_terminal or is_followed(client, index):
            needed.update(wants)
            measuring.add(client.run_id)
    for run_id, own in named.items():
        for job in index.slots[run_id]:
            if job.role is not Role.SERVICE or job.is_terminal or job.cancel_why is not None:
                continue
            # What nobody measures (a monitor beside the measured one) stays as long as the run's
            # measurements do.
            company = run_id in measuring and own.isdisjoint(_fits(job))
            if not company and needed.isdisjoint(_fits(job)):
                yield Cancel(job.token, CancelWhy.DONE)


def _spare_images(index: Index) -> Iterator[Cancel]:
    """End the image jobs that no job of their run waits for any more."""
    wanted: dict[str, set[str]] = {run.id: set() for run in index.world.runs}
    if index.images:
        for run_id, names in wanted.items():
            for job in index.slots[run_id]:
                if job.spec.images and (not job.is_terminal or is_followed(job, index)):
                    names.update(job.spec.images)
    yield from (Cancel(job.token, CancelWhy.DONE) for job in spare(index, wanted))


def _dismissals(index: Index) -> Iterator[Cancel]:
    """End the companions that have nothing left to watch."""
    for run in index.world.runs:
        for job in index.slots[run.id]:
            if not job.is_terminal and job.cancel_why is None and is_done(job, index):
                yield Cancel(job.token, CancelWhy.DONE)


def _orphans(index: Index) -> Iterator[Cancel]:
    """End live rows of closed runs and of superseded attempts: nothing should be left behind."""
    latest = {job.token for run_id in index.runs for job in index.slots[run_id]}
    for job in index.world.jobs:
        if job.token not in latest and not job.is_terminal:
            yield Cancel(job.token, job.cancel_why or CancelWhy.DONE)


def _clients(index: Index) -> Iterator[Job]:
    for run in index.world.runs:
        yield from (job for job in index.slots[run.id] if job.role is Role.CLIENT)


def _wants(client: Job) -> list[Want]:
    """Return what a client measures: cluster, name, and run and point unless any will do."""
    run_id, cluster = client.run_id, client.cluster
    return [
        (cluster, each.name, None if each.point is None else (run_id, each.point, each.repeat))
        for each in client.spec.targets
    ]


def _fits(service: Job) -> tuple[Want, Want]:
    """Return the wants that a service answers."""
    cluster, name = service.cluster, service.name
    own = (service.run_id, service.point, service.repeat)
    return (cluster, name, None), (cluster, name, own)


def _retries(index: Index) -> Iterator[Retry]:
    for run in index.world.runs:
        for job in index.slots[run.id]:
            if not job.is_terminal:
                continue
            home = job.role is not Role.CLIENT or not is_uncollected(job)
            if home and is_followed(job, index):
                yield Retry(job.token)


# --- submitting ---------------------------------------------------------------------------------


def _submissions(index: Index, ending: set[str]) -> Iterator[Submit | Look]:
    room = {name: view.max_jobs for name, view in index.world.clusters.items()}
    for job in index.world.jobs:
        if is_sent(job) and job.cluster in room:
            room[job.cluster] -= 1
    measured = {c.cluster for c in _clients(index) if not c.is_terminal}
    taken, full, making = busy_services(index), quotas(index), being_made(index)
    turn = turns(index)
    for run in index.world.runs:
        unsent = (job for job in index.slots[run.id] if job.state is JobState.CREATED)
        for job in sorted(unsent, key=_order):
            if job.token in ending:
                continue
            if job.cancel_requested_at is not None or job.not_before > index.now:
                continue
            if job.attempted_at is not None:  # sent once: settle that try, whatever else is true
                yield Submit(job.token, job.bindings)
                continue
            if index.world.draining or room.get(job.cluster, 0) < _places(job, measured):
                continue
            if quota_reached(job, full, index) is not None or before(job, turn) is not None:
                continue
            if awaited(job, index) is not None or in_the_way(job, index, making):
                continue
            bindings = bindings_of(job, index, taken) if job.role is Role.CLIENT else ()
            if bindings is None:
                continue
            taken.update(binding.token for binding in bindings)
            room[job.cluster] -= 1
            yield _first(job, bindings, making)


def _first(job: Job, bindings: tuple[Binding, ...], making: dict[Place, Job]) -> Submit | Look:
    """Return what a job begins with; an image that is there needs no submission."""
    if job.role is not Role.IMAGE:
        return Submit(job.token, bindings)
    making[place_of(job)] = job
    return Look(job.token)


def _places(job: Job, measured: set[str]) -> int:
    """Return how many places must be free for this job to take one.

    Where something is to be measured a service leaves a place free: services that took them all
    would wait for ever for clients that have none.
    """
    return 2 if job.role is Role.SERVICE and job.cluster in measured else 1


_RANK = {Role.IMAGE: 0, Role.SERVICE: 1, Role.CLIENT: 2}


def _order(job: Job) -> tuple[int, bool, int, int, str, int]:
    """Services before clients, and these repeat by repeat, so that repeats take turns: A B A B.

    A companion comes after what it watches: where places are few, it must not take the last one.
    """
    return (_RANK[job.role], job.spec.companion, job.repeat, job.point, job.name, job.replica)


# --- results, the end, and looking ----------------------------------------------------------------


def _collections(run: Run, index: Index) -> Iterator[Collect]:
    for job in index.attempts[run.id]:
        if job.role is Role.CLIENT and is_uncollected(job):
            yield Collect(job.token)


def _finish(run: Run, index: Index) -> Iterator[Finish]:
    slots = index.slots[run.id]
    open_rows = any(
        not j.is_terminal or (j.role is Role.CLIENT and is_uncollected(j))
        for j in index.attempts[run.id]
    )
    if not open_rows and not any(is_followed(j, index) for j in slots):
        outcome, why = verdict(run, slots, index)
        yield Finish(run.id, outcome, why)


def _probe_interval(job: Job) -> float:
    """Return the pause between two looks; a longer one is due: the clock was set back."""
    return (job.spec.health_check or DEFAULT_CHECK).interval


def _is_probe_due(job: Job, now: float) -> bool:
    return (
        job.role is Role.SERVICE
        and job.state is JobState.RUNNING
        and job.cancel_requested_at is None
        and job.substate not in ASIDE
        and not now < (job.next_probe_at or 0.0) <= now + _probe_interval(job)
    )


def _is_poll_due(view: ClusterView, index: Index) -> bool:
    return view.next_poll_at <= index.now and _is_polled(view, index.world)


def _is_polled(view: ClusterView, world: World) -> bool:
    """Tell whether Slurm has, or may have, a job of ours."""
    return any(j.cluster == view.name and j.is_attempted and not j.is_terminal for j in world.jobs)


def next_wake(world: World, now: float) -> float:
    """Return when ``decide`` may answer differently although nothing was learned."""
    times = [run.created_at + run.limits.run for run in world.runs if run.limits.run is not None]
    for job in world.jobs:
        if job.state is JobState.CREATED:
            times.append(job.not_before)
        elif job.spec.cooldown and job.collected_at is not None:
            times.append(job.collected_at + job.spec.cooldown)
        is_probed = job.role is Role.SERVICE and job.state is JobState.RUNNING
        if is_probed and job.substate not in ASIDE:
            times.append(job.next_probe_at or now)
    times += [view.next_poll_at for view in world.clusters.values() if _is_polled(view, world)]
    return min((t for t in times if t > now), default=now + IDLE_WAKE)
