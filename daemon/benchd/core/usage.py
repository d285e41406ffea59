"""What Slurm gave a job and what it charges for it: trackable resources, energy, time. Pure.

Read in Slurm's source, from 20.11 on: slurmctld itself adds the energy of each step that ended to
the resources of its job, so the queue tells after the end what ``sacct`` would; and on a site
without a plugin for energy the number is not there, or one of two that mean "not set".
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from benchd.core.model import Used

# From here on the numbers of 64 bits that Slurm writes for "not set": of them the smallest is
# 0xfffffffffffffffd. No job uses so many joules.
_NOT_SET: Final = 2**63
# Its largest number of 64 bits has 20 digits. Of 5000 Python makes no number, and of 400 none to
# reckon with.
_DIGITS: Final = 20
# 68 years. From 2**32 - 2 on it is what Slurm writes in 32 bits for "not set".
_NO_SECONDS: Final = 2**31
_NAME = re.compile(r"[a-z][\w/:.@-]*", re.ASCII)
_COUNT = re.compile(rf"\d{{1,{_DIGITS}}}(?:\.\d{{1,{_DIGITS}}})?[KMGTP]?", re.ASCII)
_ENERGY: Final = "energy"


def used(tres: str, *, energy: str = "", elapsed: str = "") -> Used | None:
    """Return what a row tells, from texts as Slurm writes them; None when it tells nothing."""
    counts: dict[str, str] = {}
    for item in tres.split(","):
        name, _, count = item.strip().partition("=")
        if _NAME.fullmatch(name) and _COUNT.fullmatch(count):
            counts[name] = count
    joules = _joules(counts.pop(_ENERGY, "")) or _joules(energy)
    # The queue and the books have them in different orders.
    given = ",".join(f"{name}={counts[name]}" for name in sorted(counts))
    seconds = whole(elapsed)
    if seconds is not None and seconds >= _NO_SECONDS:
        seconds = None
    if not given and joules is None and seconds is None:
        return None
    return Used(tres=given, energy_j=joules, elapsed_s=seconds)


def _joules(text: str) -> int | None:
    """Return a number of joules; 0 is what Slurm says where nobody measured."""
    return whole(text) or None


def whole(text: str) -> int | None:
    """Return a whole number that Slurm wrote; None where it is none, or one for "not set"."""
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        return None
    number = int(text)
    return number if number < _NOT_SET else None


def so_far(told: Used | None) -> Used | None:
    """Return what counts of a job that runs: its energy and time are not known before its end."""
    return Used(tres=told.tres) if told is not None and told.tres else None


def together(before: Used | None, after: Used | None) -> Used | None:
    """Return what is known when more was told: what was told last counts, where it says anything.

    What the script itself left at its end, for one, says nothing of it.
    """
    if before is None or after is None:
        return after or before
    return replace(
        before,
        tres=after.tres or before.tres,
        energy_j=before.energy_j if after.energy_j is None else after.energy_j,
        elapsed_s=before.elapsed_s if after.elapsed_s is None else after.elapsed_s,
    )


def count(told: Used | None, name: str) -> float | None:
    """Return how many of a resource there are, such as ``billing``: units for each hour.

    It is the site's weights that make those of the other resources.
    """
    pattern = rf"(?:^|,){re.escape(name)}=(\d+(?:\.\d+)?)(?=,|$)"
    found = re.search(pattern, told.tres if told else "", re.ASCII)
    return float(found[1]) if found else None
