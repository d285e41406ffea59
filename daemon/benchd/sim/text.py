"""How Slurm writes times, durations and node lists, and reads times and sizes."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping


class UsageError(Exception):
    """The command line cannot be used: what to print on stderr (and stdout), and the status."""

    def __init__(self, text: str, status: int, out: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.status = status
        self.out = out


def moment(at: float | None, environment: Mapping[str, str], *, unknown: str = "N/A") -> str:
    """Write a time as the user's SLURM_TIME_FORMAT wants it; default local time, no zone."""
    if at is None:
        return unknown
    form = environment.get("SLURM_TIME_FORMAT", "standard")
    if form in {"standard", ""}:
        form = "%Y-%m-%dT%H:%M:%S"
    return str(int(at)) if form == "%s" else time.strftime(form, time.localtime(int(at)))


def span(seconds: float, *, padded: bool = False) -> str:
    """Write a duration as squeue does (0:04, 1:00:00, 2-00:00:00); padded as sacct does."""
    days, rest = divmod(int(seconds), 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    if days:
        return f"{days}-{hours:02}:{minutes:02}:{rest:02}"
    if padded:
        return f"{hours:02}:{minutes:02}:{rest:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def minutes_of(text: str) -> int | None:
    """Read a time limit as Slurm does, seconds rounded up to minutes. Raise ValueError."""
    if text.upper() in {"INFINITE", "UNLIMITED", "-1"}:
        return None
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if match is None:
        raise ValueError(text)
    days, *rest = (int(part) if part is not None else None for part in match.groups())
    first, second, third = rest
    if days is not None:
        total = days * 86400 + (first or 0) * 3600 + (second or 0) * 60 + (third or 0)
    elif third is not None:
        total = (first or 0) * 3600 + (second or 0) * 60 + third
    elif second is not None:
        total = (first or 0) * 60 + second
    else:
        total = (first or 0) * 60
    return -(-total // 60)


_MEMORY = {"": 1, "M": 1, "K": 1 / 1024, "G": 1024, "T": 1024 * 1024}


def megabytes(text: str) -> int:
    """Read a memory size; the default unit is MB. Raise ValueError."""
    match = re.fullmatch(r"(\d+)([KMGT]?)B?", text, re.IGNORECASE)
    if match is None:
        raise ValueError(text)
    exact = int(match[1]) * _MEMORY[match[2].upper()]
    return int(exact) + (exact != int(exact))


def size(mb: int) -> str:
    """Write a memory size as Slurm does: the largest unit that is exact."""
    return f"{mb // 1024}G" if mb and mb % 1024 == 0 else f"{mb}M"


def node_list(names: Iterable[str]) -> str:
    """Fold node names: n1, n[1-3], n[1-2,4]."""
    groups: dict[str, list[int]] = {}
    plain: list[str] = []
    for name in names:
        match = re.fullmatch(r"(.*?)(0|[1-9]\d*)", name)
        if match is None:
            plain.append(name)
        else:
            groups.setdefault(match[1], []).append(int(match[2]))
    for prefix, numbers in groups.items():
        ranges: list[list[int]] = []
        for number in sorted(numbers):
            if ranges and ranges[-1][1] == number - 1:
                ranges[-1][1] = number
            else:
                ranges.append([number, number])
        texts = [f"{a}" if a == b else f"{a}-{b}" for a, b in ranges]
        alone = len(texts) == 1 and "-" not in texts[0]
        plain.append(f"{prefix}{texts[0]}" if alone else f"{prefix}[{','.join(texts)}]")
    return ",".join(plain)


def unfold(text: str) -> tuple[str, ...]:
    """Unfold a node list: n[1-2,4],m1. Raise ValueError."""
    names: list[str] = []
    for part in re.findall(r"[^,\[]+(?:\[[^\]]*\])?", text):
        prefix, bracket, inside = part.partition("[")
        if not bracket:
            names.append(part)
            continue
        for piece in inside.rstrip("]").split(","):
            first, dash, last = piece.partition("-")
            numbers = range(int(first), int(last if dash else first) + 1)
            names += [f"{prefix}{number}" for number in numbers]
    return tuple(names)


def exit_code(raw: int) -> str:
    """Write wait(2)'s status as Slurm's ``rc:signal``; a launch failure's upper half is dropped."""
    signal = raw & 0x7F
    return f"{0 if signal else raw >> 8 & 0xFF}:{signal}"
