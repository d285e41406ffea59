"""The route that puts runs side by side."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from aiohttp import web

from benchd.api.answers import Problem, answer
from benchd.api.control import Reads
from benchd.api.lookup import Lookup
from benchd.core.compare import THRESHOLD, Comparison, Row, Side, compare, named
from benchd.core.comparison import Compared, Sides, comparison_markdown, comparison_page
from benchd.core.model import Run
from benchd.core.unlike import Difference, Document, known_keys, origin

SIDES = 8  # runs at once: more fit on no screen
NAMED = 12  # numbers that are named to who asks for one that there is not


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareRoutes:
    """This route, with what it needs."""

    reads: Reads
    clock: Callable[[], float]

    def reading(self) -> list[web.RouteDef]:
        """Return the route."""
        return [web.get("/v1/compare", self.compare)]

    async def compare(self, request: web.Request) -> web.Response:
        """Compare each further run with the first: ``?run=A&run=B&across=KEY&metric=NAME``.

        ``format``: json (default), html (one page that loads nothing), or markdown.
        """
        form = request.query.get("format", "json")
        if form not in {"json", "html", "markdown"}:
            raise Problem(400, f"unknown format {form!r}", "json, html and markdown are known")
        words = request.query.getall("run", [])
        if not 2 <= len(words) <= SIDES:
            what = f"{len(words)} run{'' if len(words) == 1 else 's'} to compare"
            raise Problem(400, what, f"name two to {SIDES}: the first is what they are compared to")
        threshold = _share(request.query.get("threshold"))
        runs = [await Lookup(self.reads).run(word) for word in words]
        sides = [await self._documents(run) for run in runs]
        across = frozenset(request.query.getall("across", []))
        metrics = frozenset(request.query.getall("metric", []))
        whole = [document for side in sides for document in side]
        _measured(metrics, whole)
        _recorded(across, whole)
        others: list[Compared] = []
        for run, documents in zip(runs[1:], sides[1:], strict=True):
            found = await asyncio.to_thread(
                compare, sides[0], documents, across=across, metrics=metrics, threshold=threshold
            )
            others.append(
                Compared(run=run.id, name=run.name, comparison=found, origin=origin(documents))
            )
        made = Sides(
            run=runs[0].id,
            name=runs[0].name,
            others=tuple(others),
            threshold=threshold,
            now=self.clock(),
            origin=origin(sides[0]),
        )
        if form == "json":
            return answer("comparison", _whole(made))
        if form == "markdown":
            return web.Response(text=comparison_markdown(made), content_type="text/markdown")
        return web.Response(text=comparison_page(made), content_type="text/html")

    async def _documents(self, run: Run) -> Sequence[Document]:
        documents = [json.loads(text) for text in await self.reads.results(run.id)]
        if not documents:
            what = f"run {run.id} has no results"
            raise Problem(409, what, f"see how far it is: benchctl show {run.id}")
        if not any((document.get("validity") or {}).get("valid") for document in documents):
            what = f"run {run.id} has no valid results"
            raise Problem(409, what, f"see what is wrong with them: benchctl results {run.id}")
        return documents


def _measured(metrics: Collection[str], documents: Sequence[Document]) -> None:
    """Refuse to judge a number that no result has: it would never be worse."""
    known = named(documents)
    for name in sorted({name.removesuffix(" value") for name in metrics} - set(known)):
        close = get_close_matches(name, known, n=3)
        there = [*close, *(each for each in known if each not in close)][:NAMED]
        raise Problem(400, f"no result has a number {name!r}", f"there are: {', '.join(there)}")


def _recorded(across: Collection[str], documents: Sequence[Document]) -> None:
    """Refuse to mean a difference that there cannot be."""
    known = known_keys(documents)
    for key in sorted(set(across) - known):
        there = get_close_matches(key, sorted(known), n=3, cutoff=0.5)
        fix = f"is it {' or '.join(there)}?" if there else "the refusal names the keys that differ"
        raise Problem(400, f"--across {key}: no result records such a thing", fix)


def _share(text: str | None) -> float:
    if text is None:
        return THRESHOLD
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        what = f"{text!r} is no threshold"
        raise Problem(400, what, "write a share of the base, such as 0.05 for 5 %")
    return share


def _whole(sides: Sides) -> Mapping[str, Any]:
    base = {"run": sides.run, "name": sides.name, "origin": dict(sides.origin)}
    others = [
        {"run": o.run, "name": o.name, "origin": dict(o.origin), **_view(o.comparison)}
        for o in sides.others
    ]
    return {"base": base, "others": others, "threshold": sides.threshold}


def _view(found: Comparison) -> Mapping[str, Any]:
    return {
        "differences": [
            {**_difference(d), "meant": d.key in found.across} for d in found.differences
        ],
        "refused": [_difference(d) for d in found.refused],
        "across": list(found.across),
        "notes": list(found.notes),
        "regressed": found.regressed,
        "verdicts": {str(verdict): number for verdict, number in found.counts.items()},
        "reason": found.reason,
        "rows": [_row(row) for row in found.rows],
    }


def _difference(d: Difference) -> Mapping[str, Any]:
    return {"key": d.key, "base": d.base, "other": d.other, "fatal": d.fatal}


def _row(row: Row) -> Mapping[str, Any]:
    return {
        "cell": dict(row.cell),
        "metric": row.column.metric,
        "statistic": row.column.statistic,
        "title": row.column.title,
        "unit": row.column.unit,
        "better": row.column.better or None,
        "base": _side(row.base),
        "other": _side(row.other),
        "difference": row.difference,
        "change": row.change,
        "interval": row.interval,
        "p": row.p,
        "verdict": str(row.verdict),
        "why": row.why,
    }


def _side(side: Side) -> Mapping[str, Any]:
    return {
        "n": len(side.values),
        "median": side.median,
        "mean_interval": side.interval,
        "values": list(side.values),
    }
