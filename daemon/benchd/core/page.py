"""What pages are made of: their frame, badges, tables, keys, moments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from benchd.core.markup import Child, Markup, tag
from benchd.core.sheet import STYLE


def whole_page(title: str, version: str, *body: Child) -> str:
    """Return a page that loads nothing and runs nothing."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="generator", content=f"benchd {version}"),
        tag("title", title),
        tag("style", Markup(STYLE)),
    )
    return f"<!doctype html>\n{tag('html', head, tag('body', *body), lang='en')}\n"


def badge(words: str, kind: str = "", *, large: bool = False) -> Markup:
    """Return a word on a coloured ground: good, bad, warn, or calm."""
    classes = " ".join(part for part in ("badge", kind, "large" if large else "") if part)
    return tag("span", words, class_=classes)


def key(kind: str, words: str) -> Markup:
    """Return one entry of a chart's key."""
    return tag("span", tag("i", class_=kind), words)


def th(words: str, *, number: bool = False) -> Markup:
    """Return the head of a column; those of numbers are set flush right."""
    return tag("th", words, scope="col", class_="n" if number else None)


def table(heads: Sequence[Markup], rows: Sequence[Markup]) -> Markup:
    """Return a table that scrolls where it does not fit."""
    whole = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows))
    return tag("div", whole, class_="scroll")


def moment(at: float) -> str:
    """Write a moment in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def coded(text: str) -> Iterable[Child]:
    """Yield text whose words between backticks are what one writes."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:  # one of them has no other: somebody else's text
        pieces = [text]
    for place, piece in enumerate(pieces):
        if piece:
            yield tag("code", piece) if place % 2 else piece
