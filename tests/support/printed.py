"""Reads a report as somebody does who doubts it: every number, where it stands, and if it is so.

What is no number of a measurement is named in ``DECLARED``; what is neither that nor understood
here is a doubt as well, so nothing new on the page goes unseen.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

Key = tuple[str, ...]
Found = dict[Key, list[float]]

NONE = "\N{EN DASH}"
# What the samples' six decimals and a sum of floats may move, in the unit of the number.
ROUNDING = 0.002
HISTOGRAM = 0.05  # share by which a percentile may be off that is read from a histogram
BUCKET = 0.1  # share by which the end of an interval may be, which lies somewhere in its bucket
# By how many places an interval may be shorter or longer: an effective size of 79.999 or of 80.
PLACES = 2

# What stands on a page and was not measured: tags and classes, and why they may have numbers.
DECLARED = {
    "head": "title, version, style",
    "header": "which run it is, when it was, how many measurements it has",
    "footer": "when and by which version the page was made",
    "notices": "flags of the results in words",
    "h2": "headings",
    "h3": "headings",
    "th": "names of columns",
    "summary": "names of points, how many rows unfold",
    "figcaption": "names of charts",
    "p": "explanations",
    "key": "explanations",
    "tick": "round values along axes, limits that the recipe sets",
    "name": "names of points",
    "Timeline": "when jobs did what, from benchd and Slurm",
    "Jobs": "the same in words",
    "Origin": "versions, places, parameters, the recipe",
}
METRICS = {
    "Goodput": "goodput",
    "Requests": "req_s",
    "Operations": "ops_s",
    "Output tokens": "out_tok_s",
    "TTFT, scheduled": "ttft_sched",
    "TTFT, service": "ttft_service",
    "TPOT": "tpot",
    "End-to-end, scheduled": "e2e_sched",
    "End-to-end, service": "e2e_service",
    "End-to-end by token": "ntpot",
    "Latency, scheduled": "latency_sched",
    "Latency, service": "latency_service",
    "Recall at k": "recall_at_k",
    "Inter-chunk latency": "icl",
    "Inter-token latency": "icl",  # where each chunk holds one
    "First byte": "ttfb",
    "First output": "ttfo",
    "Send lag": "send_lag",
    "In flight": "concurrency",
    "Errors": "error_rate",
    "Queries": "queries_s",
    "Buffer pool hits": "buffer_pool_hits",
    "Within objectives": "slo_attainment",
}
# The names of the independent script for the same.
SCRIPT = {
    "one/s": "req_s",
    "n/s": "ops_s",
    "n_out/s": "out_tok_s",
    "ttfo_send": "ttfo",
    "lag_sched": "send_lag",
}


class Claim(NamedTuple):
    """A number that is printed: of what, and its text."""

    key: Key
    text: str


# --- the page as a tree -------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class Node:
    """An element, or a piece of text."""

    tag: str
    kind: str = ""
    text: str = ""
    children: list[Node] = field(default_factory=list)
    is_read: bool = False

    def all(self, *tags: str) -> Iterator[Node]:
        """Yield this and everything in it, as it is written; of some kinds only."""
        if not tags or self.tag in tags or self.kind.split(" ")[0] in tags:
            yield self
        for child in self.children:
            yield from child.all(*tags)

    def words(self) -> list[str]:
        """Return the pieces of text in it."""
        return [node.text for node in self.all("#")]

    def take(self) -> list[str]:
        """Return them, and note that they have been read."""
        for node in self.all("#"):
            node.is_read = True
        return self.words()


class _Tree(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open = [Node("page")]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, dict(attrs).get("class") or "")
        self.open[-1].children.append(node)
        if tag not in {"meta", "br", "hr", "col", "link"}:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag, tag

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(Node("#", text=data))


def claims(page: str) -> list[Claim]:
    """Return every number on a page that is not declared to be something else."""
    tree = _Tree()
    tree.feed(page)
    root = tree.open[0]
    found: list[Claim] = []
    for section in root.all("section"):
        title = next(section.all("h2")).words()[0]
        if title in DECLARED:
            section.take()
            continue
        found += [claim for node in section.all("table") for claim in _table_of(node)]
        found += [claim for node in section.all("p") for claim in _fastest(node.words())]
        for part in section.all("figure", "details"):
            if part.tag == "details":
                point = next(part.all("summary")).words()[0]
                found += [claim for node in part.all("figure") for claim in _course(node, point)]
            else:
                found += _figure(part)
    for node in root.all(*DECLARED):
        node.take()
    rest = [node.text for node in root.all("#") if not node.is_read]
    return found + [Claim(("not understood",), text) for text in rest if re.search(r"\d", text)]


# --- tables -------------------------------------------------------------------------------------


def metric(title: str) -> str:
    """Return the name that results have for what is written in a title."""
    title = title.partition(" [")[0]  # a unit
    statistic = re.search(r" (p[\d.]+|mean)$", title)
    name = title[: statistic.start()] if statistic else title
    base, _, case = name.partition(" (")
    what = METRICS.get(base, base) + (f".{case[:-1]}" if case else "")
    return what + (statistic[0] if statistic else "")


def _table_of(node: Node) -> Iterator[Claim]:
    heads = [cell.words()[0] for cell in node.all("th")]
    rows = [list(row.all("td")) for row in node.all("tr")]
    for claim in table(heads, [[cell.words() for cell in row] for row in rows if row]):
        yield claim
        node.take()


def table(heads: list[str], rows: list[list[list[str]]]) -> Iterator[Claim]:
    """Yield the numbers of a table whose heads are known; of another one, nothing."""
    own = {"Done": "done", "Errors": "failed", "Window": "window"}
    for row in rows:
        cells = [cell or [""] for cell in row]
        first = [cell[0] for cell in cells]
        if heads[:2] == ["Point", "Valid"]:
            valid, _, wanted = first[1].partition(" of ")
            yield Claim((first[0], "done", "repeats"), valid)
            yield Claim((first[0], "done", "wanted"), wanted)
            for head, cell in zip(heads[2:], cells[2:], strict=True):
                name = "offered" if head.startswith("Offered") else metric(head)
                yield from _cell((first[0], name), cell)
        elif heads[:3] == ["Point", "Repeat", "Verdict"]:
            repeat = first[1].split(" ")[0]
            names = [*map(own.__getitem__, heads[3:6]), *map(metric, heads[6:])]
            for name, cell in zip(names, cells[3:], strict=True):
                yield from _cell((first[0], name, repeat), cell)
        elif heads[:4] == ["Metric", "Point", "Repeats", "Samples"]:
            name, point = metric(first[0]), first[1]
            yield Claim((point, "done", "repeats"), first[2])
            yield Claim((point, name, "samples"), first[3])
            for place in range(4, len(heads) - 1):
                yield Claim((point, f"{name} {heads[place]}", "pooled"), first[place])
            yield from _singles((point, f"{name} p99"), cells[-1])
        elif heads[:4] == ["What", "Point", "Samples", "Mean"]:
            for place, kind in ((2, "samples"), (3, "mean"), (6, "highest")):
                yield Claim((first[1], metric(first[0]), kind), first[place])
            for place in (4, 5):
                yield Claim(
                    (first[1], f"{metric(first[0])} {heads[place]}", "pooled"), first[place]
                )


def in_markdown(text: str) -> list[Claim]:
    """Return the numbers in the tables of a report in Markdown, of those that are known."""
    found: list[Claim] = []
    heads: list[str] = []
    for line in text.splitlines():
        cells = [re.sub(r"\\(.)", r"\1", c).strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not cells or set(line) <= set("|:-"):
            heads = heads if cells else []
        elif not heads:
            heads = cells
        else:
            split = [re.fullmatch(r"([\d.\s]+\w?) \((.+)\)", cell) for cell in cells]
            parts = [
                [m[1], *m[2].split("; ")] if m else [c] for c, m in zip(cells, split, strict=True)
            ]
            found += table(heads, [parts])
    return found


def _cell(key: Key, cell: list[str]) -> Iterator[Claim]:
    """Yield a number, the interval beside it, and of how many repeats it is."""
    yield Claim(key, cell[0])
    for more in cell[1:]:
        ends, share = more.split(" to "), re.fullmatch(r"(\d+) of (\d+) repeats", more)
        if len(ends) == 2:
            yield Claim((*key, "low"), ends[0])
            yield Claim((*key, "high"), ends[1])
        elif share is not None:
            yield Claim((*key[:2], "repeats"), share[1])
            yield Claim((key[0], "done", "repeats"), share[2])
        else:
            yield Claim(("not understood", *key), more)


def _singles(key: Key, cell: list[str]) -> Iterator[Claim]:
    """Yield the lowest and the highest of single repeats."""
    if cell[0] == NONE:
        yield Claim((*key, "0."), NONE)
        return
    ends = cell[0].split(" to ")
    yield Claim((*key, "0."), ends[0])
    yield Claim((*key, "last"), ends[-1])
    yield from _cell(key, ["", *cell[1:]]) if cell[1:] else ()


# --- charts -------------------------------------------------------------------------------------


def _fastest(words: list[str]) -> Iterator[Claim]:
    """Yield the speed in the sentence about the front."""
    said = re.search(
        r"in both (.+?) and .* within the limit of \S+ ms: (.+), (\S+) \S+\.$", words[0]
    )
    if said is not None:
        speed = next(name for name in METRICS if name.lower() == said[1])
        yield Claim((said[2], METRICS[speed]), said[3])


def _figure(figure: Node) -> Iterator[Claim]:
    """Yield every number of a chart: what its parts say when pointed at, and what is written."""
    title, *notes = next(figure.all("figcaption")).words()
    written = re.findall(
        r"median|p[\d.]+", "".join(notes).partition("; ")[2].partition(" in numb")[0]
    )
    names = [node.words()[-1] for node in figure.all("tick")]
    point, left, last = "", list[str](), Claim(("not understood",), "")
    for node in figure.all():
        kind = node.kind.split(" ")[0]
        tips = [child for child in node.children if child.tag == "title"]
        if kind == "name":
            point, left = node.words()[0], [name.replace("median", "p50") for name in written]
        elif kind in {"value", "onheat"} and left:
            yield Claim((point, f"{metric(title)} {left.pop()}"), node.take()[0])
        elif kind in {"value", "onheat"}:
            yield Claim((point, metric(title)) if point else last.key, node.take()[0])
        for tip in tips if kind != "name" else ():
            for claim in _tip(kind, title, point, tip.take()[0], names):
                yield (last := claim)


def _tip(kind: str, title: str, point: str, said: str, ticks: list[str]) -> Iterator[Claim]:
    """Yield the numbers of what a part of a chart says when it is pointed at."""
    before, _, after = said.rpartition(": ")
    value = after.split(" ")[0]
    if kind == "dot":
        yield Claim((point, metric(title), "any"), said.split(" ", maxsplit=1)[0])
    elif kind == "mark":
        yield Claim((point, f"{metric(title)} {before}"), value)
    elif kind == "curve":
        name = before.removesuffix(", from the actual sending")
        side = ", service" if name != before else ", scheduled"
        base, bracket, case = title.partition(" (")
        whole = title if base in METRICS else f"{base}{side}{bracket}{case}"
        yield Claim((name, metric(whole), "samples"), value)
    elif kind == "spot" and title.endswith(" against speed"):
        speed = next(tick for tick in ticks if tick.partition(" [")[0] in METRICS)
        yield Claim((before, metric(speed)), value)
        latency = after.split(", ")[1].split(" ")[0]
        yield Claim((before, metric(title.removesuffix(" against speed"))), latency)
    elif kind in {"spot", "heat"}:
        parts = before.replace("offered rate [1/s]", "rate").split(", ")
        yield Claim((", ".join(part.replace(" ", "=") for part in parts), metric(title)), value)
    else:
        yield Claim(("not understood", kind, title), said)


def _course(figure: Node, point: str) -> Iterator[Claim]:
    """Yield how many errors there were over time."""
    words = next(figure.all("figcaption")).take()
    repeat = words[0].removeprefix("Repeat ")
    if words[1:]:
        yield Claim((point, "failed", repeat), words[1].split(" ")[0])
    tips = [tip.take()[0] for node in figure.all("trouble") for tip in node.all("title")]
    if tips:
        whole = sum(int(re.sub(r"\D", "", tip.partition(": ")[2])) for tip in tips)
        yield Claim((point, "failed", repeat), str(whole))


# --- what is true -------------------------------------------------------------------------------


class Truth:
    """The numbers of a run as somebody else has them, under the names that the report has."""

    def __init__(self, folder: Path, found: Found) -> None:
        results = [json.loads(path.read_bytes()) for path in (folder / "results").glob("*.json")]
        clients = {_client(result["job"]) for result in results}
        self.has_gaps = all(result["workload"].get("record_chunks") for result in results)
        self.names = {_point(r["job"]): _name(r, several=len(clients) > 1) for r in results}
        self.found: Found = {}
        for (point, name, *rest), values in found.items():
            base, _, q = name.partition(" ")
            base = SCRIPT.get(base, re.sub(r"_send\b", "_service", base))
            self.found[self.names[point], f"{base} {q}".strip(), *rest] = values
        for result in results:
            rate = (result["workload"].get("load") or {}).get("rate")
            if rate and result["validity"]["valid"]:
                self.found[self.names[_point(result["job"])], "offered"] = [rate]
        self.sorted: dict[Key, list[float]] = {}
        self.repeats: dict[Key, list[str]] = {}
        for key, values in self.found.items():
            if key[2:] and key[2].endswith("."):
                self.sorted.setdefault(key[:2], []).extend(values)
            elif key[2:] and key[2].isdigit():
                self.repeats.setdefault(key[:2], []).append(key[2])

    def __contains__(self, claim: Claim) -> bool:
        """Tell whether a number is what it should be, as exactly as it is written."""
        *key, last = claim.key
        if last in {"low", "high"}:
            return self._is_end(tuple(key), claim.text, first=last == "low")
        if last == "any":
            return any(is_written(claim.text, one) for one in self._each(tuple(key)))
        if last == "last":
            return is_written(claim.text, self._each(tuple(key))[-1])
        if last == "repeats":
            return is_written(claim.text, len(self._each(tuple(key))))
        if last == "wanted":
            return is_written(claim.text, len(self.repeats[claim.key[0], "done"]))
        base = claim.key[1].partition(" ")[0]
        hidden = base == "icl" and not self.has_gaps and last in {"pooled", "highest"}
        if hidden or (base == "concurrency" and last in {"samples", "highest"}):
            return claim.text == NONE
        values = self.found.get(self._known(claim.key), [])
        several = last == "pooled" and len(self._each((claim.key[0], "done"))) > 1
        return is_written(claim.text, values[0] if values else None, HISTOGRAM * several)

    def _known(self, key: Key) -> Key:
        """Return a key with the name of its point as tables have it: its parts in any order."""
        parts = frozenset(key[0].split(", "))
        names = [name for name in self.names.values() if frozenset(name.split(", ")) == parts]
        return (names[0], *key[1:]) if names else key

    def _each(self, key: Key) -> list[float]:
        """Return the numbers of valid repeats, the lowest first."""
        return self.sorted.get(key, [])

    def _is_end(self, key: Key, text: str, *, first: bool) -> bool:
        """Tell whether a number is the end of the interval at this place of the page."""
        side, each = 0 if first else -1, self._each(key[:2])
        if len(key) == 2 and len(each) > 1:
            ends = self.found[*key, "around"] if len(each) > 2 else each
            return is_written(text, ends[side])
        alone = [r for r in self.repeats.get(key[:2], ()) if self.found[*key[:2], r] == each]
        repeat = key[2] if len(key) > 2 else alone[0] if alone else ""
        ends = self.found.get((key[0], f"{key[1]} within", repeat), [])
        samples = sorted(self.found.get((key[0], key[1].partition(" ")[0], repeat), []))
        if len(ends) < 2:
            return False
        place = samples.index(ends[side])
        near = samples[max(place - PLACES, 0)], samples[min(place + PLACES, len(samples) - 1)]
        number, half = _read(text)
        low, high = near[0] * (1 - BUCKET) - half, near[1] * (1 + BUCKET) + half
        return low - ROUNDING <= number <= high + ROUNDING


def _point(job: str) -> str:
    """Return which point a job belongs to, as the independent script has it."""
    return job.rpartition("r")[0]


def _client(job: str) -> str:
    return job.split("-c-")[1].rpartition("-p")[0]


def _name(result: dict[str, Any], *, several: bool) -> str:
    cell = ", ".join(f"{key.rpartition('.')[2]}={v}" for key, v in result["cell"].items())
    client = _client(result["job"])
    return (f"{client}: {cell}" if cell else client) if several or not cell else cell


def stated(folder: Path) -> Found:
    """Return the numbers of a run as its result files have them, of points measured once."""
    found: Found = {}
    for result in [json.loads(path.read_bytes()) for path in (folder / "results").glob("*.json")]:
        point, counts = _point(result["job"]), result["counts"]
        numbers = {"done": counts["ok"], "failed": counts["errors"]}
        numbers |= {"window": result["times"]["window_s"]}
        for name, metric in result["metrics"].items():
            sides = {"mean": metric.get("mean"), "highest": metric.get("max")}
            sides |= {
                "samples": metric.get("n"),
                "mean" if "value" in metric else "": metric.get("value"),
            }
            found |= {
                (point, name, side): [value] for side, value in sides.items() if value is not None
            }
            numbers[name] = metric.get("value")
            known = {f"p{q}": value for q, value in (metric.get("percentiles") or {}).items()}
            for statistic, value in (known | {"mean": metric.get("mean")}).items():
                key, ends = f"{name} {statistic}", _ends(metric, statistic)
                numbers[key] = value
                found[point, key, "pooled"] = [] if value is None else [value]
                found[point, f"{key} within", "1"] = ends
                found.setdefault((point, name, "1"), []).extend(ends)
        for name, value in numbers.items():
            if value is not None:
                found |= {(point, name): [value], (point, name, "0."): [value]}
                found.setdefault((point, name, "1"), [value])
    return found


def _ends(metric: dict[str, Any], statistic: str) -> list[float]:
    """Return the interval that a result has of a number."""
    found = (metric.get("ci") or {}).get(statistic.removeprefix("p"))
    return list(found or ())


def _read(text: str) -> tuple[float, float]:
    """Return a number and half its last digit; what is no number is equal to none."""
    plain = re.sub(r"(?<=\d)\s(?=\d)", "", text)
    shown = re.fullmatch(r"(-?\d+)(\.\d+)?(e-?\d+)?\s?([kMGs]?)", plain)
    if shown is None:
        return math.nan, 0.0
    scale = {"k": 1e3, "M": 1e6, "G": 1e9}.get(shown[4], 1.0) * float(f"1{shown[3] or 'e0'}")
    number = float(shown[1] + (shown[2] or "")) * scale
    return number, 0.5 * scale * 10.0 ** -len((shown[2] or ".")[1:])


def is_written(text: str, value: float | None, share: float = 0.0) -> bool:
    """Tell whether a number is written so: to half its last digit, or to a share of it."""
    if value is None or text == NONE:
        return value is None and text == NONE
    number, half = _read(text)
    return abs(number - value) <= half + ROUNDING + (share + 1e-4) * abs(value)


def doubts(said: list[Claim], truth: Truth) -> list[tuple[Claim, object]]:
    """Return what is printed and not so, with what it should be."""
    return [(claim, truth.found.get(claim.key, "?")) for claim in said if claim not in truth]
