"""From what a user typed to a run or a job: any unique prefix, a Slurm id, and near matches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from benchd.api.answers import Problem
from benchd.api.control import Reads
from benchd.api.views import job_id
from benchd.core.model import Job, Run
from benchd.core.tally import latest_attempts

RECENT_RUNS = 1000  # runs among which a shortened id is looked for
SHOWN = 5  # candidates named in an answer
LONGEST_WORD = 128  # characters of what may have been meant as an id; comparing takes their square
NAMES_COMPARED = 1000  # newest names among which similar ones are looked for
SIMILAR = 0.5  # ratio from which difflib's guess is worth showing


@dataclass(frozen=True, slots=True)
class Lookup:
    """Finds runs and jobs by what a user may call them."""

    reads: Reads

    async def run(self, word: str) -> Run:
        """Return the run of this id, or of this unique beginning of an id or name."""
        exact = await self.reads.run(word)
        if exact is not None:
            return exact
        runs = await self.reads.runs(RECENT_RUNS)
        hits = [r for r in runs if r.id.startswith(word)] or [r for r in runs if r.name == word][:1]
        if len(hits) == 1:
            return hits[0]
        names = [r.id for r in hits or runs]
        raise _several("run", word, names) if hits else _missing("run", word, names)

    async def job(self, word: str) -> Job:
        """Return the job of this token, unique beginning (with or without instance) or Slurm id."""
        exact = await self.reads.job(word)
        if exact is not None:
            return exact
        jobs = await self.reads.jobs()
        hits = match_jobs(word, jobs)
        if len(hits) == 1:
            return hits[0]
        # What is offered begins as it may be typed, and as it was: with the instance or without.
        whole = [j.token for j in hits if j.token.startswith(word)]
        names = whole or [job_id(j.token) for j in hits or jobs]
        runs = {j.run_id for j in hits}
        if len(runs) == 1 and runs.pop().startswith(word):
            raise _ambiguous(f"{word!r} is a run of {len(hits)} jobs", names, "give one of them")
        raise _several("job", word, names) if hits else _missing("job", word, names)

    async def either(self, word: str) -> Run | Job:
        """Return a run, or a job when no run is called so."""
        try:
            return await self.run(word)
        except Problem as problem:
            if problem.status != 404:
                raise
            try:
                return await self.job(word)
            except Problem as second:
                if second.status != 404:
                    raise second from None
                said = second if second.fix.startswith("did you mean") else problem
                what = f"there is no run or job {word!r}"
                raise Problem(404, what, said.fix, said.extra) from None


def match_jobs(word: str, jobs: Iterable[Job]) -> list[Job]:
    """Return the jobs that a word may mean.

    A name means its live job; where several attempts at one thing fit, the newest is meant.
    """
    known = list(jobs)
    for hits in (
        [j for j in known if job_id(j.token) == word],
        [j for j in known if job_id(j.token).startswith(word) or j.token.startswith(word)],
        [j for j in known if j.slurm_id == word][-1:],
        [j for j in known if j.name == word and not j.is_terminal],
    ):
        if hits:
            return latest_attempts(hits)
    return []


def _several(thing: str, word: str, names: Sequence[str]) -> Problem:
    return _ambiguous(f"{word!r} means {len(names)} {thing}s", names, "give more of its id")


def _ambiguous(what: str, names: Sequence[str], fix: str) -> Problem:
    shown = ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
    return Problem(
        409,
        f"{what}: {shown}",
        fix,
        {"candidates": list(names[:SHOWN]), "ambiguous": True},
    )


def _missing(thing: str, word: str, names: Sequence[str]) -> Problem:
    near = get_close_matches(word[:LONGEST_WORD], names[-NAMES_COMPARED:], n=3, cutoff=SIMILAR)
    fix = f"did you mean {', '.join(near)}?" if near else f"see: benchctl {thing}s"
    return Problem(404, f"there is no {thing} {word!r}", fix, {"candidates": near})
