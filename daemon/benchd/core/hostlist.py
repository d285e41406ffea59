"""Slurm's shorthand for many hosts: ``n[1-3,7],gpu-[01-02]`` -> the names. Pure, never raises."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

# Names that are made of one list at most: more than any cluster's partition, less than memory.
HOSTS_MAX = 10_000
# Names that a sentence shows before it says how many more there are.
SHOWN = 3

_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)
_PIECE = re.compile(r"\[([^\[\]]*)\]|([^\[\],]+)")


def expand(text: str, limit: int = HOSTS_MAX) -> tuple[str, ...]:
    """Return the names that a host list stands for, in its order, at most ``limit`` of them.

    Brackets count, with leading zeros kept (``gpu-[01-02]``), several in a name multiply. What is
    not a host list is its own name.
    """
    found = itertools.chain.from_iterable(map(_names, _split(text)))
    return tuple(itertools.islice(found, limit))


def shown_hosts(text: str, shown: int = SHOWN) -> str:
    """Return the first names of a host list, and how many more it has."""
    names = expand(text)
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _split(text: str) -> Iterator[str]:
    """Yield the parts between the commas outside of brackets."""
    start = depth = 0
    for at, char in enumerate(text):
        depth += {"[": 1, "]": -1}.get(char, 0)
        if char == "," and depth <= 0:
            yield text[start:at].strip()
            start, depth = at + 1, 0
    yield text[start:].strip()


def _names(part: str) -> Iterator[str]:
    pieces = [(match[1], match[2]) for match in _PIECE.finditer(part)]
    whole = "".join(f"[{ranges}]" if ranges is not None else text for ranges, text in pieces)
    choices = [_numbers(ranges) if ranges is not None else [text] for ranges, text in pieces]
    if not part:
        return
    if whole != part or any(choice is None for choice in choices):
        yield part
        return
    yield from _product([choice or [] for choice in choices])


def _product(choices: list[list[str]]) -> Iterator[str]:
    for names in itertools.product(*choices):
        yield "".join(names)


def _numbers(ranges: str) -> list[str] | None:
    """Return the numbers of ``1-3,7``; None when it is something else."""
    found: list[str] = []
    for piece in ranges.split(","):
        match = _RANGE.fullmatch(piece.strip())
        if match is None:
            return None
        first, last = match[1], match[2] or match[1]
        count = int(last) - int(first) + 1
        if count < 1 or len(found) + count > HOSTS_MAX:
            return None
        found += [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
    return found
