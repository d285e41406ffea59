"""The routes beside the main path: drain, reap, adopt, gc. Only on the Unix socket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from benchd.api.answers import Problem, answer, json_body
from benchd.api.control import Keeping
from benchd.fields import seconds

# Seconds for which the directory of a closed run is kept unless another age is asked for.
KEPT_FOR = 7 * 86400.0
# Seconds for what looks at and works on the clusters, one after the other: a shared file system
# removes some hundred files a second, and a thousand jobs leave 20,000.
DEADLINE = 600.0
# The routes that have so long; all others have as long as any question.
PATIENT = frozenset({"/v1/reap", "/v1/gc", "/v1/clusters/{name}/adopt"})


@dataclass(frozen=True, slots=True, kw_only=True)
class UpkeepRoutes:
    """These routes, with what they need."""

    keeping: Keeping

    def acting(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.post("/v1/drain", self.drain),
            web.post("/v1/reap", self.reap),
            web.post("/v1/gc", self.gc),
            web.post("/v1/clusters/{name}/adopt", self.adopt),
        ]

    async def drain(self, request: web.Request) -> web.Response:
        """Submit nothing new, or go on: ``{"on": true}``."""
        on = (await json_body(request)).get("on")
        if not isinstance(on, bool):
            raise Problem(400, "on must be true or false", 'send {"on": true}')
        return answer("drain", {**await self.keeping.drain(on)})

    async def reap(self, request: web.Request) -> web.Response:
        """End what is in no book: ``{"cluster": "a", "dry_run": true}``; no cluster: all."""
        body = await json_body(request)
        cluster = body.get("cluster")
        if cluster is not None and not isinstance(cluster, str):
            raise Problem(400, "cluster must be a name", "or leave it out")
        return answer("strays", {**await self.keeping.reap(cluster, dry_run=_is_dry(body))})

    async def gc(self, request: web.Request) -> web.Response:
        """Remove old directories of closed runs: ``{"older_than": "7d", "dry_run": true}``."""
        body = await json_body(request)
        try:
            age = seconds(body.get("older_than", KEPT_FOR))
        except ValueError as error:
            raise Problem(400, f"older_than: {error}", "give an age") from error
        if not isinstance(age, int | float) or not 0 <= age < float("inf"):
            raise Problem(400, f"older_than={age!r} is no duration", "write for example 7d")
        runs = await self.keeping.gc(float(age), dry_run=_is_dry(body))
        return answer("old-runs", {"runs": list(runs)})

    async def adopt(self, request: web.Request) -> web.Response:
        """Take a job back into the books: ``{"slurm_id": "123"}``."""
        slurm_id = (await json_body(request)).get("slurm_id")
        if not isinstance(slurm_id, str) or not slurm_id.isascii() or not slurm_id.isdigit():
            raise Problem(400, f"{slurm_id!r} is no Slurm job id", "give its number")
        adopted = await self.keeping.adopt(request.match_info["name"], slurm_id)
        return answer("adopted", {**adopted}, 201)


def _is_dry(body: Mapping[str, Any]) -> bool:
    """Return whether only to say what would be done; anything but a plain false is a yes."""
    return body.get("dry_run", False) is not False
