"""Which versions of Slurm benchd knows, and how: run by its tests, or read in Slurm's source only.

One set of commands and one reader serve them all (see ``docs/decisions``); a version changes
nothing but what people are told.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from benchd.core.slurm_answers import printable


class Known(StrEnum):
    """How well a version is known."""

    RUN = "run"  # the tests bring it up and use it
    READ = "read"  # its source was compared, and its answers are constructed in tests
    OLDER = "older"  # may lack what benchd asks for
    NEWER = "newer"  # nothing is known that speaks against it
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Version:
    """One release of Slurm: what differs in it, as far as benchd can notice."""

    release: str
    known: Known
    differs: str


# Every release from the first that has all that benchd asks for. `make test` runs 22.05, and
# `make test-heavy` 24.11.
VERSIONS: Final = (
    Version("20.11", Known.READ, "scancel has no --me; REQUEUED_CRON is a state"),
    Version("21.08", Known.READ, "scancel has no --me; squeue --json appears"),
    Version("22.05", Known.RUN, "squeue prints exit_code as a raw wait status"),
    Version("23.02", Known.READ, "squeue prints exit_code as status:signal; Slurm may limit calls"),
    Version("23.11", Known.READ, "--json takes the version of a data parser"),
    Version("24.05", Known.READ, "21 more pending reasons"),
    Version(
        "24.11",
        Known.RUN,
        "a job that fits no node is refused at once; a failed prolog shows as 0:54; the state "
        "UPDATE_DB is gone",
    ),
    Version("25.05", Known.READ, "the reason FrontEndDown is gone; GETENV_FAILED is a state"),
    Version("25.11", Known.READ, "EXPEDITING is a state, NvidiaImexChannels a reason"),
    Version("26.05", Known.READ, "errors of connections have more words"),
)

_NUMBER = re.compile(r"(\d{1,3})\.(\d{1,2})(?:\.\w+)?", re.ASCII)


def read_version(text: str) -> str:
    """Return the version in ``slurm-wlm 22.05.8`` or ``slurm 24.11.5``; empty without one."""
    match = _NUMBER.search(text)
    return printable(match[0]) if match else ""


def known(version: str) -> Known:
    """Return how well a version is known."""
    match = _NUMBER.match(version)
    if match is None:
        return Known.UNKNOWN
    releases = {_release(row.release): row.known for row in VERSIONS}
    release = (int(match[1]), int(match[2]))
    if release in releases:
        return releases[release]
    return Known.OLDER if release < min(releases) else Known.NEWER


def _release(text: str) -> tuple[int, int]:
    year, month = text.split(".")
    return int(year), int(month)
