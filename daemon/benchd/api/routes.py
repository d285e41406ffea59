"""The routes: what each answers. Nothing here decides; it reads the store and asks the daemon."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import cast

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

from benchd import __version__
from benchd.api.answers import Problem, answer, json_body
from benchd.api.control import Control, Reads, Stream
from benchd.api.lookup import Lookup
from benchd.api.views import (
    View,
    attention_view,
    cluster_view,
    job_detail,
    job_view,
    orphaned,
    result_order,
    run_detail,
    run_trouble,
    run_view,
    silence,
    state_counts,
    transition_view,
)
from benchd.api.why import explain
from benchd.core.attention import attention
from benchd.core.html import render_html
from benchd.core.kept import reread
from benchd.core.markdown import render_markdown
from benchd.core.model import Job, JobState, Run
from benchd.core.report import build
from benchd.edge.archive import Archive
from benchd.metrics import CONTENT_TYPE

UID = web.RequestKey("uid", int)
LOG_CHUNK = 256 * 1024  # bytes of a log in one answer unless less is asked for
RUNS_SHOWN = 50  # newest runs in a list unless more are asked for
Routing = Callable[[web.Request], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """All routes, with what they need."""

    control: Control
    reads: Reads
    registry: CollectorRegistry
    clock: Callable[[], float]

    def reading(self) -> list[web.RouteDef]:
        """Return the routes that change nothing: all there is on TCP."""
        return [
            web.get("/healthz", self.health),
            web.get("/metrics", self.metrics),
            web.get("/v1/status", self.status),
            web.get("/v1/runs", self.runs),
            web.get("/v1/runs/{id}", self.run),
            web.get("/v1/runs/{id}/report", self.report),
            web.get("/v1/jobs", self.jobs),
            web.get("/v1/jobs/{id}", self.job),
            web.get("/v1/jobs/{id}/why", self.why),
            web.get("/v1/jobs/{id}/logs", self.logs),
            web.get("/v1/results", self.results),
            web.get("/v1/clusters", self.clusters),
            web.get("/v1/things/{id}", self.thing),
        ]

    def acting(self) -> list[web.RouteDef]:
        """Return the routes that want something: only on the Unix socket."""
        return [
            web.post("/v1/runs", self.submit),
            web.post("/v1/cancel", self.cancel_all),
            web.post("/v1/{things:runs|jobs|things}/{id}/cancel", self.cancel),
            web.post("/v1/{things:runs|jobs|things}/{id}/retry", self.retry),
            web.post("/v1/clusters/{name}/pause", self.pause),
            web.post("/v1/clusters/{name}/resume", self.resume),
        ]

    # --- the daemon ---------------------------------------------------------------------------

    async def health(self, request: web.Request) -> web.Response:
        """Say whether the daemon works; 503 when it cannot write its state."""
        ok = self.control.status()["store_writable"]
        return answer("health", {"ok": ok}, 200 if ok else 503)

    async def metrics(self, request: web.Request) -> web.Response:
        """Return all metrics in the text format of Prometheus."""
        text = generate_latest(self.registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE})

    async def status(self, request: web.Request) -> web.Response:
        """Return the daemon, its clusters and the number of jobs by state."""
        counts, status = await self.reads.counts(), self.control.status()
        pending = await self.reads.jobs(state=JobState.PENDING)
        configured = [c["name"] for c in status["clusters"]]
        return answer(
            "status",
            {
                "daemon": {
                    **status,
                    "now": self.clock(),
                    "version": __version__,
                    "clusters": [cluster_view(c) for c in status["clusters"]],
                    "orphaned": orphaned(counts, configured),
                    "rejected": await asyncio.to_thread(_rejected, Path(status["inbox"])),
                },
                "jobs": state_counts(counts),
                "attention": [attention_view(item) for item in attention(pending)],
            },
        )

    async def clusters(self, request: web.Request) -> web.Response:
        """Return how each cluster is doing."""
        clusters = self.control.status()["clusters"]
        views = [cluster_view(c) for c in clusters]
        return answer("clusters", {"now": self.clock(), "clusters": views})

    async def pause(self, request: web.Request) -> web.Response:
        """Send nothing to a cluster until it is resumed."""
        name = self._cluster(request)
        await self.control.pause(name)
        return answer("cluster", {"name": name, "paused": True})

    async def resume(self, request: web.Request) -> web.Response:
        """Go on with a cluster."""
        name = self._cluster(request)
        body = await json_body(request)
        before = next(c for c in self.control.status()["clusters"] if c["name"] == name)
        await self.control.resume(name, body.get("take_over") is True)
        return answer("cluster", {"name": name, "paused": False, "was_paused": before["paused"]})

    def _cluster(self, request: web.Request) -> str:
        name = request.match_info["name"]
        known = [c["name"] for c in self.control.status()["clusters"]]
        if name not in known:
            raise Problem(
                404, f"there is no cluster {name!r}", f"configured: {', '.join(known) or 'none'}"
            )
        return name

    # --- runs -----------------------------------------------------------------------------------

    async def submit(self, request: web.Request) -> web.Response:
        """Take a recipe in: as the body itself with ``?name=`` and ``&set=``, or inside JSON."""
        if request.content_type == "application/json":
            body = await json_body(request)
            name, text = body.get("name"), body.get("recipe")
            if not isinstance(name, str) or not isinstance(text, str):
                raise Problem(400, "name and recipe must be texts", "send both")
            data, overrides = text.encode(), _overrides(body.get("set", {}))
        else:
            name, data = request.query.get("name", ""), await request.read()
            overrides = _assignments(request.query.getall("set", []))
        name = PurePath(name).name
        if not name:
            raise Problem(400, "the recipe has no name", "give ?name=FILE")
        ids, remarks = await self.control.submit(name, data, request[UID], overrides)
        self.control.wake()
        return answer("submitted", {"runs": list(ids), "remarks": list(remarks)}, 201)

    async def runs(self, request: web.Request) -> web.Response:
        """Return the newest runs."""
        runs = await self.reads.runs(_number(request, "limit", RUNS_SHOWN, least=1))
        views = [run_view(run, await self.reads.jobs(run=run.id)) for run in runs]
        return answer("runs", {"runs": views})

    async def run(self, request: web.Request) -> web.Response:
        """Return everything about one run."""
        return await self._run_answer(await self._find().run(request.match_info["id"]))

    async def _run_answer(self, run: Run) -> web.Response:
        jobs = await self.reads.jobs(run=run.id)
        more = {
            "last_words": await self._last_words(jobs),
            "trouble": run_trouble(run, self.control.status()["clusters"]),
        }
        return answer("run", {**run_detail(run, jobs), **more})

    async def thing(self, request: web.Request) -> web.Response:
        """Return a run or a job, whichever is called so."""
        found = await self._find().either(request.match_info["id"])
        if isinstance(found, Run):
            return await self._run_answer(found)
        return await self._job_answer(found.token)

    async def report(self, request: web.Request) -> web.Response:
        """Return the report of a run as HTML or Markdown, also while it is still going on."""
        form = request.query.get("format", "html")
        if form not in {"html", "markdown"}:
            raise Problem(400, f"unknown format {form!r}", "html and markdown are known")
        run = await self._find().run(request.match_info["id"])
        jobs = await self.reads.jobs(run=run.id)
        documents = await self.reads.results(run.id)
        history = {job.token: await self.reads.transitions(job.token) for job in jobs}
        words = await self._last_words(jobs)

        def page() -> str:
            results = [reread(text, run.id) for text in documents]
            report = build(run, jobs, results, history, now=self.clock(), last_words=words)
            return render_markdown(report) if form == "markdown" else render_html(report)

        # Of a thousand results it takes seconds, in which services are looked at.
        return web.Response(text=await asyncio.to_thread(page), content_type=f"text/{form}")

    async def _last_words(self, jobs: Sequence[Job]) -> dict[str, str]:
        archive = Archive(Path(self.control.status()["state_dir"]) / "runs")
        failed = [job for job in jobs if job.state is JobState.FAILED]
        return await asyncio.to_thread(archive.last_words, failed)

    async def results(self, request: web.Request) -> web.Response:
        """Return result documents, of one run or of all."""
        word = request.query.get("run")
        run = (await self._find().run(word)).id if word else None
        documents = [json.loads(text) for text in await self.reads.results(run)]
        order = result_order(await self.reads.jobs(run=run))
        documents.sort(key=lambda d: order.get(str(d["job"]), len(order)))
        return answer("results", {"results": documents})

    # --- jobs -----------------------------------------------------------------------------------

    async def jobs(self, request: web.Request) -> web.Response:
        """Return jobs, of one run, state or role if asked."""
        word, state, role = (request.query.get(k) for k in ("run", "state", "role"))
        run = (await self._find().run(word)).id if word else None
        jobs = await self.reads.jobs(run=run, state=_state(state))
        return answer(
            "jobs", {"jobs": [job_view(j) for j in jobs if role is None or str(j.role) == role]}
        )

    async def job(self, request: web.Request) -> web.Response:
        """Return everything about one job."""
        return await self._job_answer((await self._find().job(request.match_info["id"])).token)

    async def _job_answer(self, token: str) -> web.Response:
        job = await self._find().job(token)
        view: View = job_detail(job)
        view["waiting"] = await self.control.waiting(token)
        view["transitions"] = [transition_view(t) for t in await self.reads.transitions(token)]
        return answer("job", view)

    async def why(self, request: web.Request) -> web.Response:
        """Return the chain of transitions with evidence, and what benchd waits for, in words."""
        job = await self._find().job(request.match_info["id"])
        rows = await self.reads.transitions(job.token)
        waiting = await self.control.waiting(job.token)
        words = (await self._last_words([job])).get(job.token, "")
        document = await self.reads.result(job.token)
        told = explain(job, rows, self.clock(), waiting, last_words=words, document=document)
        return answer(
            "why",
            {
                "token": job.token,
                "state": str(job.state),
                "why": job.why,
                "waiting": waiting,
                "sentences": told,
                "transitions": [transition_view(t) for t in rows],
            },
        )

    async def logs(self, request: web.Request) -> web.Response:
        """Return a piece of a job's output and where the next one starts."""
        stream = request.query.get("stream", "out")
        if stream not in {"out", "err"}:
            raise Problem(400, f"unknown stream {stream!r}", "out and err are known")
        offset = _number(request, "offset", 0)
        limit = min(_number(request, "limit", LOG_CHUNK, least=4), LOG_CHUNK)
        job = await self._find().job(request.match_info["id"])
        data = await self.control.log(job.token, cast("Stream", stream), offset, limit)
        text = whole_characters(data or b"")
        note = "" if text or offset else await self._silence(job, stream, is_missing=data is None)
        return answer(
            "log",
            {
                "token": job.token,
                "stream": stream,
                "offset": offset,
                "next_offset": offset + len(text),
                "text": text.decode(errors="replace"),
                "state": str(job.state),
                "over": job.is_terminal,
                "note": note,
            },
        )

    async def _silence(self, job: Job, stream: str, *, is_missing: bool) -> str:
        waiting = "" if job.is_terminal else await self.control.waiting(job.token)
        runs = Path(self.control.status()["state_dir"]) / "runs"
        folder = str(runs / job.run_id)
        return silence(job, waiting, folder, stream=stream, is_missing=is_missing)

    async def cancel(self, request: web.Request) -> web.Response:
        """Ask for the end of a run or a job."""
        tokens = await self.control.cancel(await self._target(request))
        self.control.wake()
        return answer("cancelled", {"jobs": list(tokens)}, 202)

    async def cancel_all(self, request: web.Request) -> web.Response:
        """Ask for the end of everything; the body must say ``{"all": true}``."""
        if (await json_body(request)).get("all") is not True:
            raise Problem(400, "cancelling everything must be said", 'send {"all": true}')
        tokens = await self.control.cancel_all()
        self.control.wake()
        return answer("cancelled", {"jobs": list(tokens)}, 202)

    async def retry(self, request: web.Request) -> web.Response:
        """Make a new attempt of what failed."""
        tokens = await self.control.retry(await self._target(request))
        self.control.wake()
        return answer("retried", {"jobs": list(tokens)}, 202)

    async def _target(self, request: web.Request) -> str:
        things, word = request.match_info["things"], request.match_info["id"]
        if things == "jobs":
            return (await self._find().job(word)).token
        if things == "runs":
            return (await self._find().run(word)).id
        found = await self._find().either(word)
        return found.id if isinstance(found, Run) else found.token

    def _find(self) -> Lookup:
        return Lookup(self.reads)


def _rejected(inbox: Path) -> dict[str, object]:
    """Return how many refused recipes lie beside the inbox, and where."""
    folder = inbox / "rejected"
    try:
        count = sum(not path.name.endswith(".error.txt") for path in folder.iterdir())
    except OSError:  # it is made with the first refusal
        count = 0
    return {"count": count, "folder": str(folder)}


def whole_characters(data: bytes) -> bytes:
    """Return the data without a last UTF-8 character that was cut in two."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0b1100_0000 != 0b1000_0000:  # not a continuation byte: a character begins here
            length = 1 + sum(first <= byte < 0xF8 for first in (0xC0, 0xE0, 0xF0))
            return data[:-back] if back < length and back < len(data) else data
    return data


def _overrides(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise Problem(400, "set must be an object of texts", 'send {"set": {"repeat": "3"}}')
    return dict(value)


def _assignments(texts: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for key, equals, _value in pairs:
        if not key or not equals:
            raise Problem(400, f"cannot read {key!r} as an assignment", "write set=key=value")
    return {key: value for key, _equals, value in pairs}


def _number(request: web.Request, name: str, default: int, least: int = 0) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 16 and int(text) >= least):
        raise Problem(400, f"{name}={text!r} is not a whole number", f"give {least} or more")
    return int(text)


def _state(word: str | None) -> JobState | None:
    if word is None:
        return None
    try:
        return JobState(word.upper())
    except ValueError:
        known = ", ".join(JobState)
        raise Problem(400, f"there is no state {word!r}", f"the states are {known}") from None
