"""A comparison of runs as a page and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from benchd import __version__
from benchd.core.compare import Comparison, Row, Side, Verdict
from benchd.core.headline import NONE, cell_text, changed, figure, origin_text, shown
from benchd.core.markdown import inline, table_lines
from benchd.core.markup import Child, Markup, tag
from benchd.core.page import badge, key, moment, table, th, whole_page
from benchd.core.svg_forest import forest, percent, share
from benchd.core.unlike import Difference

_KINDS = {Verdict.BETTER: "good", Verdict.WORSE: "bad", Verdict.CHANGED: "warn"}
_KEY = (
    ("better", "better"),
    ("worse", "worse"),
    ("same", "same"),
    ("inconclusive", "inconclusive, or neither better nor worse"),
    ("band", "within the threshold: no news"),
)
_MORE = "the repeats differ as much as the runs do, or are too few: five repeats or more help"
_REFUSED = "These runs differ in more than their numbers, so nothing is compared."
_CLIENTS = "These runs have different clients: their numbers mean different things."
_WHAT = ("What", "Base", "Other", "Compared")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A run beside the base."""

    run: str
    name: str
    comparison: Comparison
    origin: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Everything that a comparison says."""

    run: str  # the base
    name: str
    others: tuple[Compared, ...]
    threshold: float
    now: float
    origin: Mapping[str, str] = field(default_factory=dict)  # of the base

    @property
    def verdict(self) -> Verdict | None:
        """The gravest of all: worse, then inconclusive; None where nothing was compared."""
        found = {row.verdict for other in self.others for row in other.comparison.rows}
        grave = (Verdict.WORSE, Verdict.INCONCLUSIVE, Verdict.CHANGED, Verdict.BETTER, Verdict.SAME)
        return next((verdict for verdict in grave if verdict in found), None)


def comparison_page(sides: Sides) -> str:
    """Return the whole page."""
    verdict = sides.verdict
    word = str(verdict or "not compared")
    kind = "bad" if verdict is None else _KINDS.get(verdict, "")
    header = tag(
        "header",
        tag(
            "div",
            tag("h1", f"{sides.name}, compared"),
            badge(word, kind, large=True),
            class_="line",
        ),
        tag(
            "p",
            "Base: run ",
            tag("code", sides.run),
            f", {origin_text(sides.origin)}.",
            class_="muted small",
        ),
        tag(
            "p",
            f"A verdict needs a significant rank test (p below 0.05 after correction) and a "
            f"change of the median beyond {share(sides.threshold)}.",
            class_="muted small",
        ),
    )
    sections = [_section(sides, other) for other in sides.others]
    footer = tag(
        "footer", f"Made by benchd {__version__} on {moment(sides.now)} from stored results."
    )
    title = f"{sides.name}: {word} \N{EM DASH} benchd"
    return whole_page(title, __version__, header, tag("main", *sections), footer)


def _section(sides: Sides, other: Compared) -> Markup:
    found = other.comparison
    parts: list[Child] = [
        tag("h2", f"{other.name} ", tag("code", other.run)),
        tag("p", f"{origin_text(other.origin)}.", class_="muted small"),
    ]
    if found.refused:
        parts += [tag("p", refusal(found)), _remarks(found), _differences(found)]
        return tag("section", *parts)
    parts.append(_remarks(found))
    if found.differences:
        parts += [tag("h3", "What differs beside the numbers"), _differences(found)]
    if any(row.change is not None for row in found.rows):
        parts.append(tag("h3", "Changes of the median"))
        parts.append(
            tag("div", *(key(f"verdict {kind}", words) for kind, words in _KEY), class_="key")
        )
        parts.append(tag("div", forest(found.rows, sides.threshold), class_="scroll"))
    heads = [th("Point"), th("Number"), *(th(w, number=True) for w in ("Base", "Other", "Change"))]
    heads += [th("95 %", number=True), th("p", number=True), th("Verdict")]
    if found.rows:
        parts.append(table(heads, [_row(row, found.why(row)) for row in found.rows]))
        parts.append(tag("p", counted(found), class_="muted small"))
    else:
        parts.append(tag("p", "No point is in both runs with valid results."))
    return tag("section", *parts)


def refusal(found: Comparison) -> str:
    """Say why nothing is compared."""
    is_client = any(difference.key == "client.kind" for difference in found.refused)
    return _CLIENTS if is_client else _REFUSED


def counted(found: Comparison) -> str:
    """Say how often each verdict was given."""
    told = ", ".join(f"{number} {verdict}" for verdict, number in found.counts.items())
    return f"Verdicts: {told}."


def _remarks(found: Comparison) -> Markup | None:
    """Return what to know before the numbers."""
    said = [("note", note) for note in found.notes]
    if any(row.verdict is Verdict.INCONCLUSIVE for row in found.rows):
        said.append(("inconclusive", found.reason or _MORE))
    items = [tag("li", tag("b", code), tag("span", words), class_="warn") for code, words in said]
    return tag("ul", *items, class_="notices") if items else None


def _row(row: Row, why: str) -> Markup:
    verdict = badge(str(row.verdict), _KINDS.get(row.verdict, ""))
    return tag(
        "tr",
        tag("td", cell_text(row.cell)),
        tag("td", row.column.title, tag("span", shown(row.column.unit), class_="spread")),
        *(_side(side) for side in (row.base, row.other)),
        tag("td", changed(row.change, row.difference), class_="n"),
        tag("td", _interval(row), class_="n"),
        tag("td", _p(row), class_="n"),
        tag("td", verdict, tag("span", why, class_="spread") if why else None),
    )


def _side(side: Side) -> Markup:
    return tag(
        "td", figure(side.median), tag("span", f"n={len(side.values)}", class_="spread"), class_="n"
    )


def _interval(row: Row) -> str:
    return " to ".join(map(percent, row.interval)) if row.interval else NONE


def _p(row: Row) -> str:
    return NONE if row.p is None else f"{row.p:.3f}"


def _differences(found: Comparison) -> Markup:
    rows = [
        tag("tr", tag("td", tag("code", key)), *(tag("td", words) for words in rest))
        for key, *rest in _told(found)
    ]
    return table([th(words) for words in _WHAT], rows)


def _told(found: Comparison) -> list[list[str]]:
    """Return what differs beside the numbers, with both values, and what that means."""
    return [[d.key, d.base, d.other, _meant(d, found.across)] for d in found.differences]


def _meant(difference: Difference, across: Sequence[str]) -> str:
    if difference.fatal:
        return "never: other numbers"
    return "on purpose" if difference.key in across else f"only with --across {difference.key}"


# --- Markdown -----------------------------------------------------------------------------------


def comparison_markdown(sides: Sides) -> str:
    """Return the whole document."""
    return "\n".join(_lines(sides)).rstrip() + "\n"


def _lines(sides: Sides) -> Iterable[str]:
    yield f"# {inline(sides.name)}, compared: {sides.verdict or 'not compared'}"
    yield ""
    yield f"Base: run `{sides.run}`, {inline(origin_text(sides.origin))}."
    yield f"Changes of the median beyond {share(sides.threshold)} count."
    yield ""
    for other in sides.others:
        found = other.comparison
        yield f"## {inline(other.name)} `{other.run}`"
        yield ""
        yield f"{inline(origin_text(other.origin))}."
        yield ""
        if found.refused:
            yield from (refusal(found), "")
        if found.differences:
            yield from table_lines(_WHAT, _told(found), numbers=4)
        yield from (f"- {inline(note)}" for note in found.notes)
        if found.reason:
            yield f"- inconclusive: {inline(found.reason)}"
        if found.notes or found.reason:
            yield ""
        if found.refused:
            continue
        heads = ["Point", "Number", "Verdict", "Base", "Other", "Change", "95 %", "p"]
        cells = [_cells(row, found.why(row)) for row in found.rows]
        yield from table_lines(heads, cells, numbers=3)
        yield from (counted(found), "")


def _cells(row: Row, why: str) -> list[str]:
    column, verdict = row.column, f"{row.verdict}: {why}" if why else str(row.verdict)
    sides = [f"{figure(side.median)} (n={len(side.values)})" for side in (row.base, row.other)]
    return [
        cell_text(row.cell),
        column.head,
        verdict,
        *sides,
        changed(row.change, row.difference),
        _interval(row),
        _p(row),
    ]
