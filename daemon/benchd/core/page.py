"""What pages are made of: badges, tables, keys, moments."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from benchd.core.markup import Markup, tag


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
