"""What is asked of Slurm itself, whichever way it is asked: by its programs, or by slurmrestd."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from benchd.core import slurm
from benchd.core.model import Observation, Trigger
from benchd.edge.budget import Urgency
from benchd.edge.submission import Place, Record, SubmitOrder

_OVER = frozenset({Trigger.SEEN_COMPLETED, Trigger.SEEN_FAILED, Trigger.SEEN_CANCELLED})


@dataclass(frozen=True, slots=True)
class Names:
    """Who answers, as evidence names them."""

    sends: str
    queue: str
    books: str


class Slurm(Protocol):
    """One Slurm. A question that was not answered raises ``Unreachable``, and so moves nothing."""

    names: Names
    no_accounting: bool  # it said, when it was last asked, that it keeps no books

    async def everything(self) -> list[Observation]:
        """Return all our user's jobs, also those that ended within MinJobAge."""
        ...

    async def named(self, token: str) -> list[Observation]:
        """Return the jobs of this name that the queue knows."""
        ...

    async def accounted(
        self, tokens: Sequence[str], *, urgency: Urgency = Urgency.QUEUED
    ) -> list[Observation] | None:
        """Return what accounting knows of these names; None when it did not answer."""
        ...

    async def end(self, slurm_id: str, token: str) -> None:
        """Cancel a job by its id, or by its name where the id is another job's by now."""
        ...

    async def end_ids(self, slurm_ids: Sequence[str]) -> None:
        """Cancel jobs by their ids; one that has ended is as wanted."""
        ...

    async def end_names(self, tokens: Sequence[str]) -> None:
        """Cancel whatever of ours has one of these names."""
        ...

    async def submit(self, order: SubmitOrder, place: Place) -> Record:
        """Send one paid try, or read what is recorded of it.

        ``Unreachable`` that was ``sent``: it may have been submitted; the same order tells.
        ``ValueError``: the order cannot be said.
        """
        ...


def is_over(row: Observation) -> bool:
    """Tell whether a row is about a job that has ended."""
    event = slurm.event(row)
    return event is not None and event.trigger in _OVER


def chunks(words: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Yield the words, so many at a time."""
    for start in range(0, len(words), size):
        yield words[start : start + size]
