"""Reads a report as somebody does who doubts it: every number, and where it stands.

What is no number of a measurement is named in ``DECLARED``; what is neither that nor understood
here is a doubt as well, so nothing new on the page goes unseen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import NamedTuple

Key = tuple[str, ...]

NONE = "\N{EN DASH}"
# What stands on a page and was not measured: tags and classes, and why they may have numbers.
DECLARED = {
    "head": "title, version, style",
    "header": "which run it is, when it was, how many measurements it has",
    "footer": "when and by which version the page was made",
    "notices": "flags of the results in words; their values and limits are read all the same",
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
    "Latency of queries": "query_latency",
    "Bytes": "bytes_s",
    "Buffer pool hits": "buffer_pool_hits",
    "Hit rate": "hit_rate",
    "Hit ratio": "hit_ratio",
    "Elapsed": "elapsed_s",
    "Within objectives": "slo_attainment",
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
    found = [claim for node in root.all("li") for claim in _notice(node)]
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


def _notice(item: Node) -> Iterator[Claim]:
    """Yield values and limits of the flags of one kind: the least and the most, or the one."""
    name = next((node.words()[0] for node in item.all("b")), "")
    code = name.partition(" \N{MULTIPLICATION SIGN}")[0].replace(" ", "_")
    for node in item.all("reach"):
        for side, said in zip(("value", "limit"), node.take()[0].split("; limit "), strict=False):
            plain = said.removeprefix("coefficient of variation ")
            number = r"-?[\d.\u202f]+(?:e-?\d+)?"
            ends = re.fullmatch(rf"({number})(?: to ({number}))?(?:\s(.+))?", plain)
            if ends is None:
                yield Claim(("not understood", code), said)
                continue
            scale = "%" if (ends[3] or "").startswith("%") else ""
            yield Claim(("flags", code, side, scale, "least"), ends[1])
            yield Claim(("flags", code, side, scale, "most"), ends[2] or ends[1])


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
