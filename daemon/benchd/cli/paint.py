"""Tables on a terminal: whole numbers and ids in whatever room there is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from textwrap import wrap
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchd.cli.tables import COLOURS
from benchd.core.headline import NONE

GAP = 2  # columns of the terminal between two of the table
USUAL = 80  # columns of a terminal that does not say its width
PROSE = 16  # columns below which a sentence is hard to read
LONG = 48  # columns that a single word of a sentence may claim; a longer one is a path


def paint(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    out: TextIO,
    *,
    numbers: set[int],
    prose: set[int],
    spare: Sequence[int],
) -> None:
    """Print a table as wide as the terminal allows, or one block for each row."""
    width = terminal_width(out)
    console = Console(file=out, width=width, highlight=False, markup=False, emoji=False)
    found = layout(heads, rows, width, prose=prose, spare=spare)
    if found is None:
        _blocks(heads, rows, console)
        return
    chosen = list(found)
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for i in chosen:
        # The table belongs to benchd, the words in it do not: never markup, always Text.
        table.add_column(
            Text(heads[i], style="bold"),
            justify="right" if i in numbers else "left",
            width=found[i],
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(coloured(row[i]) for i in chosen))
    console.print(table)
    missing = [heads[i] for i in range(len(heads)) if i not in found and any(r[i] for r in rows)]
    if missing:
        words = Text(f"not shown for want of room: {', '.join(missing)}", style="dim")
        console.print(words)


def terminal_width(out: TextIO) -> int:
    """Return how many columns the terminal behind a stream has."""
    wanted = os.environ.get("COLUMNS", "")
    if wanted.isdigit() and int(wanted):
        return int(wanted)
    try:
        return os.get_terminal_size(out.fileno()).columns or USUAL
    except (OSError, ValueError):
        return USUAL


def layout(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int,
    *,
    prose: Iterable[int] = (),
    spare: Sequence[int] = (),
) -> dict[int, int] | None:
    """Return which columns are shown and how wide each is; None when the needed ones do not fit.

    What is empty is left out first, then what is spare.
    """
    least = [_least(head, column, i in prose) for i, (head, column) in _columns(heads, rows)]
    cells = [max(map(cell_len, column)) for _, (_head, column) in _columns(heads, rows)]
    best = [max(cell_len(head), width) for head, width in zip(heads, cells, strict=True)]
    blank = [i for i in range(len(heads)) if not any(row[i] not in {"", NONE} for row in rows)]
    shown = list(range(len(heads)))
    for victim in (None, *blank, *(i for i in spare if i not in blank)):
        shown = [i for i in shown if i != victim]
        room = width - GAP * (len(shown) - 1)
        if shown and sum(least[i] for i in shown) <= room:
            return _widened(_widened({i: least[i] for i in shown}, cells, room), best, room)
    return None


def _columns(
    heads: Sequence[str], rows: Sequence[Sequence[str]]
) -> Iterable[tuple[int, tuple[str, list[str]]]]:
    return enumerate((head, [row[i] for row in rows]) for i, head in enumerate(heads))


def _least(head: str, column: Sequence[str], is_prose: bool) -> int:
    """Return the width below which something would be broken that must stay whole."""
    in_head = _longest_word(head)
    if not is_prose:
        return max(in_head, *(cell_len(cell) for cell in column))
    words = max(_longest_word(cell) for cell in column)
    texts = max(cell_len(cell) for cell in column)
    return max(in_head, min(max(words, min(texts, PROSE)), LONG))


def _longest_word(text: str) -> int:
    return max((cell_len(word) for word in text.split()), default=0)


def _widened(widths: Mapping[int, int], wanted: Sequence[int], room: int) -> dict[int, int]:
    """Give what room is left over to the columns that lack most."""
    wider = dict(widths)

    def lacking(column: int) -> int:
        return wanted[column] - wider[column]

    for _ in range(room - sum(wider.values())):
        neediest = max(wider, key=lacking)
        if lacking(neediest) <= 0:
            break
        wider[neediest] += 1
    return wider


def coloured(cell: str) -> Text:
    """Return the text of a cell, coloured by its first word."""
    return Text(cell, style=COLOURS.get(cell.partition(" ")[0], ""))


def _blocks(heads: Sequence[str], rows: Sequence[Sequence[str]], console: Console) -> None:
    """Print each row as lines of its own, broken only between words."""
    indent = max(cell_len(head) for head in heads) + GAP
    for n, row in enumerate(rows):
        if n:
            console.print()
        for head, cell in zip(heads, row, strict=True):
            if not cell:
                continue
            lines = wrap(
                cell,
                max(console.width - indent, 1),
                break_long_words=False,
                break_on_hyphens=False,
            )
            style = COLOURS.get(cell.partition(" ")[0], "")
            for i, line in enumerate(lines):
                name = "" if i else head
                space = " " * (indent - cell_len(name))
                console.print(Text.assemble((name, "bold"), space, (line, style)), soft_wrap=True)
