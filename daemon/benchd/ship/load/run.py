"""One measurement from the first look to the result document."""

import asyncio
import json
import os
import platform
import resource
import signal
import sys
import time
from typing import List, NamedTuple, Optional

from . import VERSION, quality, summary
from .arrivals import MOST, Load
from .driving import Driver, Part, for_warmup, phase
from .health import Watch
from .merge import Merged
from .nodes import Together
from .peak import Search
from .punctual import new_event_loop
from .record import Samples, write_whole
from .saturate import Saturation
from .sending import Phase, Stop
from .work import Json, NotReady, Sample, Workload, is_measured
from .workers import Crew, fork

# Files that are open besides the connections: samples, standard streams, the loop's own.
_SPARE_FILES = 64
# More than there are ports to connect from.
_MANY_FILES = 65536
# Share of failed requests above which the numbers describe another workload (benchd's limit too).
_ERROR_LIMIT = 0.01
# Seconds between two flushes of samples.jsonl: what a killed job may lose.
_FLUSH = 1.0
# Seconds without a word after which the first node misses another, beyond the longest request.
_LATE = 60.0


class Plan(NamedTuple):
    """Everything that the command line decides."""

    workload: Workload
    load: Load
    stop: Stop
    warmup: Optional[int]
    out: str
    keeps_failures: bool  # whether a result is written that has nothing but the reason
    argv: List[str]
    together: Optional[Together] = None
    processes: int = 1

    @property
    def part(self) -> Part:
        """Return which part of the load is this node's."""
        return Part(self.together.index, self.together.count) if self.together else Part()


class Run:
    """The state of one measurement; everything runs on one event loop, or on one a process."""

    def __init__(self, plan: Plan, crew: Optional[Crew] = None) -> None:
        self.plan = plan
        self.workload = plan.workload
        self.zero = time.monotonic()
        self.zero_wall = time.time()
        self.out = plan.together.out if plan.together else plan.out
        self.samples = Samples(self.out)
        self.watch = Watch()
        self.watched: List[Watch] = []
        self.crew = crew
        if self.workload.numbered:
            numbering = self.workload.numbering
            numbering.index, numbering.count = plan.part
        self.driver: Optional[Driver] = None
        if crew is None:
            self.driver = Driver(self.workload, plan.load, plan.part, self._sample)
        self.warmup: Optional[Phase] = None
        self.measure: Optional[Phase] = None
        self.search: Optional[Search] = None
        self.saturation: Optional[Saturation] = None
        self.error = ""
        self.partial = False
        self.told = False  # to end now

    def _sample(self, sample: Sample) -> None:
        self.samples.write(sample.text(self.zero))

    async def measured(self) -> Json:
        """Do everything; return the result document, which is also on disk then."""
        loop = asyncio.get_event_loop()
        work = asyncio.ensure_future(self._phases())

        def stop() -> None:
            self.told = True
            work.cancel()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        flusher = asyncio.ensure_future(self._flush())
        try:
            await work
        except asyncio.CancelledError:
            self.partial = True
        except NotReady as error:
            self.error = str(error)
            if self.plan.together:
                self.plan.together.fail(self.error)
        finally:
            flusher.cancel()
            self.watch.stop()
            if self.driver:
                self.driver.close()
        document = self.document()
        if self.error and not document["counts"]["issued"] and not self.plan.keeps_failures:
            self.samples.discard()
            return document
        self.samples.close()
        if self.plan.together:
            self.workload.leave(self.out)
        write_whole(os.path.join(self.out, "result.json"), _json_text(document))
        if self.plan.together and self.plan.together.index == 0:
            document = await self._merged(self.plan.together, document)
            write_whole(os.path.join(self.plan.out, "result.json"), _json_text(document))
        return document

    async def _merged(self, together: Together, own: Json) -> Json:
        """Return the result of all nodes."""
        patience = _LATE if self.error else self.workload.timeout + _LATE
        documents = await together.results(patience, lambda: self.told)
        if not self.told:
            await self.workload.recount()
        merged = Merged(together, documents)
        merged.documents[0] = own
        merged.read(self.workload)
        self.error = merged.errors()
        self.partial = any(d["partial"] for d in merged.documents.values()) or bool(merged.missing)
        return self.document(merged)

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH)
            self.samples.flush()

    async def _phases(self) -> None:
        plan, workload = self.plan, self.workload
        _enough_files(plan.part.of(plan.load.concurrency) * len(workload.targets))
        try:
            await workload.prepare(self.samples, self.zero)
            if self.crew:
                await self.crew.begin(
                    workload, plan.load, plan.part, self.zero, self.out, self.samples.write
                )
            if plan.load.model == "saturate":
                await self._saturate()
                return
            if plan.warmup:
                stop = Stop(plan.warmup, None)
                self.warmup = await self._try("warmup", for_warmup(plan.load), stop)
            load = plan.load
            if load.model == "find-peak":
                self.search = Search(workload, load, self._try)
                load = await self.search.find()
            planned = phase("measure", load, plan.stop, plan.part)
            if not plan.together:
                await workload.begin()
            if self.driver:
                await self.driver.open_ahead()
            if plan.together:
                await plan.together.start(workload.begin)
            self.measure = planned
            self.measure.started = time.monotonic()
            self.watch = Watch()
            self.watched.append(self.watch)
            self.watch.start()
            await self._run(self.measure, plan.stop, load)
            self.watch.stop()
            if self.measure.gone:
                self.partial = True
                self.error = self.measure.gone
            else:
                await workload.conclude()
                await workload.recount()
        finally:
            self.watch.stop()
            await workload.finish()

    async def _saturate(self) -> None:
        """Measure step by step."""
        plan, workload = self.plan, self.workload
        await workload.begin()
        self.saturation = Saturation(workload, plan.load, plan.warmup, self._try)
        await self.saturation.climb()
        await workload.conclude()
        await workload.recount()

    async def _try(self, name: str, load: Load, stop: Stop) -> Phase:
        """Run what is not the measurement, or one step of it."""
        what = phase(name, load, stop, self.plan.part)
        if self.driver:
            self.driver.become(load)
        self.watch = Watch()  # a busy step must not hide behind idle ones
        if is_measured(name):
            self.watched.append(self.watch)
            if self.driver:
                await self.driver.open_ahead()
        self.watch.start()
        await self._run(what, stop, load)
        self.watch.stop()
        others = self.crew.worst("cpu_share", name) if self.crew else None
        what.cpu_share = max(self.watch.cpu_share or 0.0, others or 0.0)
        return what

    async def _run(self, what: Phase, stop: Stop, load: Load) -> None:
        if self.crew:
            await self.crew.run(what, stop, load)
        elif self.driver:
            what.started = time.monotonic()
            await self.driver.run(what)

    def document(self, merged: Optional[Merged] = None) -> Json:
        """Return the result as far as it got, of this process or of all that were merged."""
        plan, what, workload, steps = self.plan, self.measure, self.workload, self.saturation
        samples = what.samples if what else []
        warm = self.warmup.samples if self.warmup else []
        scheduled = what.scheduled if what else self.plan.part.of(self.plan.stop.requests or 0)
        if steps:
            samples, warm, scheduled = steps.fair, steps.warm, steps.planned
        if merged:
            samples, scheduled = merged.samples, merged.scheduled(self.plan.stop.requests)
        facts: Json = {
            "cpu_share": self._worst("cpu_share", [w.cpu_share for w in self.watched]),
            "loop_lag_p99_ms": self._worst("loop_lag_p99_ms", [w.lag_p99_ms for w in self.watched]),
            "resent": sum(1 for s in samples if s.resent),
            "warmup_errors": sum(1 for s in warm if s.is_bad),
            "ended_early": steps is None and plan.stop.requests is None and scheduled >= MOST,
        }
        facts.update(workload.facts(samples))
        facts.update(
            steps.facts() if steps else quality.facts(samples, workload, self.plan.load.is_even)
        )
        if self.search:
            facts.update(self.search.facts(samples))
        if merged:
            facts.update(merged.facts())
        server = workload.server()
        if len(workload.targets) > 1:
            urls = [target.url for target in workload.targets]
            server["targets"] = summary.by_target(samples, urls)
        return {
            "schema": "benchd.load/1",
            "error": self.error or None,
            "partial": self.partial,
            "workload": self._workload(),
            "client": self._client(merged),
            "server": server,
            "counters": workload.counters(),
            "times": self._times(steps.every if steps else samples, [] if steps else warm),
            "counts": summary.counts(samples, scheduled),
            "metrics": self._metrics(samples),
            "facts": facts,
            "timeline": self._timeline(steps.every if steps else samples),
        }

    def _timeline(self, samples: List[Sample]) -> Json:
        zero = (
            self.measure.started if self.measure else min([s.scheduled for s in samples] or [0.0])
        )
        return summary.timeline(samples, zero, self.workload.amount)

    def _metrics(self, samples: List[Sample]) -> Json:
        if not any(s.ok for s in samples):
            return {}
        if self.saturation:
            return self.saturation.metrics()
        found = dict(self.workload.metrics(samples), **quality.metrics(samples, self.workload))
        if self.plan.load.is_grouped:
            found["query_latency"] = quality.queries(samples, self.plan.load.concurrency)
        if self.search and self.search.peak is not None:
            found["peak_rate"] = summary.rate("peak_rate", "1/s", self.search.peak)
        return found

    def _worst(self, name: str, own: List[Optional[float]]) -> Optional[float]:
        """Return the highest of what this process and its workers noticed of themselves."""
        others = self.crew.worst(name) if self.crew else None
        values = [value for value in own + [others] if value is not None]
        return max(values) if values else None

    def _workload(self) -> Json:
        plan = self.plan
        common: Json = {
            "kind": self.workload.kind,
            "load": plan.load.described(),
            "stop": {"requests": plan.stop.requests, "duration_s": plan.stop.duration},
            "warmup": {"requests": plan.warmup},
            "timeout_s": self.workload.timeout,
            "slo": {slo.name + "_ms": slo.limit_ms for slo in self.workload.slos},
        }
        common.update(self.workload.described())
        if self.search:
            common["search"] = self.search.described()
        if self.saturation:
            common["saturation"] = self.saturation.described()
        return common

    def _client(self, merged: Optional[Merged]) -> Json:
        client: Json = {
            "tool": "benchd-load",
            "tool_version": VERSION,
            "python": platform.python_version(),
            "argv": self.plan.argv,
            "host": platform.node(),
            "run_id": self.workload.run_id,
            "co_safe": self.plan.load.is_open,
            "processes": self.plan.processes,
        }
        if merged:
            client["nodes"] = merged.nodes()
        elif self.plan.together:
            client["node"] = self.plan.together.described()
        return client

    def _times(self, samples: List[Sample], warm: List[Sample]) -> Json:
        """Return the window on the wall clock, from the monotonic one: it cannot jump."""
        starts = [s.scheduled for s in samples]
        ends = [s.end for s in samples if s.end is not None]
        offset = self.zero_wall - self.zero
        return {
            "measure_start": min(starts) + offset if starts else None,
            "measure_end": max(ends) + offset if ends else None,
            "warmup_s": summary.window(warm) if warm else None,
            "window_s": summary.window(samples) if samples else None,
            "clock": "CLOCK_MONOTONIC",
            "zero_monotonic": self.zero,
            "zero_wall": self.zero_wall,
        }


def _json_text(document: Json) -> str:
    return json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n"


def _enough_files(concurrency: int) -> None:
    """Raise the limit of open files as far as allowed, and refuse what cannot work."""
    need = concurrency + _SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < need:
        if hard != resource.RLIM_INFINITY and hard < need:
            message = "%d users need %d open files, the limit is %d: ulimit -n, or fewer users"
            raise NotReady(message % (concurrency, need, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))


def _more_files() -> None:
    """Raise the limit of open files: nobody knows how many requests an open loop has in flight."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MANY_FILES if hard == resource.RLIM_INFINITY else min(hard, _MANY_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def is_valid(document: Json) -> bool:
    """Return whether the measurement succeeded: complete, something done, few errors."""
    counts = document["counts"]
    if document["error"] or document["partial"] or not counts["ok"]:
        return False
    return bool(counts["errors"] <= _ERROR_LIMIT * counts["issued"])


def execute(plan: Plan) -> Json:
    """Run a plan on a fresh event loop, with processes beside this one where it asks for them."""
    _more_files()
    made = fork(plan.processes) if plan.processes > 1 else []
    loop = new_event_loop()
    asyncio.set_event_loop(loop)
    crew = Crew(made) if made else None
    try:
        return loop.run_until_complete(Run(plan, crew).measured())
    finally:
        if crew:
            crew.close()
        # one more turn: aborted transports close their sockets in it
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        asyncio.set_event_loop(None)
        sys.stdout.flush()
