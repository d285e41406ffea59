"""What lies on a cluster and may be in no book: jobs of our name, and directories of old runs.

Nothing of the main path comes here. These are the commands behind ``benchctl reap``, ``adopt`` and
``gc``, each of which looks anew: what a poll saw a minute ago is no ground to end anything.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from shlex import quote

from benchd.core.model import Observation
from benchd.edge import pieces
from benchd.edge.backend import Slurm, is_over
from benchd.edge.remote import Remote
from benchd.edge.submission import Place
from benchd.errors import Unreachable, UserError

# instance, run, role, name, point and repeat, replica, attempt; see ``core.expand.token``
_TOKEN = re.compile(
    r"[a-z2-7]{6}-(?P<run>[a-z2-7]{10})-[sci]-[a-z0-9-]{1,32}-p\d{1,6}r\d{1,6}-\d{1,6}-a\d{1,6}",
    re.ASCII,
)
_RUN = re.compile(r"[a-z2-7]{10}", re.ASCII)
# Bytes of a job's papers: a script, two records, a recipe of at most 256 KiB with all of it quoted.
_PAPERS_LIMIT = 4 * 1024 * 1024
# Seconds to remove the directory of a run: a sweep of a thousand jobs leaves some 20,000 files.
_REMOVE_TIMEOUT = 300.0
# Our own exit statuses: the directory is not there; the workdir is somebody else's by now.
_GONE, _NOT_OURS = 94, 95


@dataclass(frozen=True, slots=True, kw_only=True)
class Papers:
    """What lies beside a job: see ``core.records``."""

    where: str
    k: int
    job: bytes
    script: str
    run: bytes | None
    claim: str | None


def run_of(token: str) -> str | None:
    """Return the run that a token belongs to; None when it is no token."""
    match = _TOKEN.fullmatch(token)
    return match["run"] if match else None


class Leftovers:
    """Looks at one cluster, ends and removes what it is told to."""

    def __init__(
        self,
        remote: Remote,
        *,
        place: Callable[[], Awaitable[Place]],
        instance: str,
        slurm: Slurm,
    ) -> None:
        self._remote = remote
        self._place = place
        self._prefix = f"{instance}-"
        self._slurm = slurm

    async def alive(self) -> list[Observation]:
        """Return all jobs of our name that Slurm still has."""
        await self._place()  # which checks that nobody else works in our name
        rows = await self._slurm.everything()
        return [row for row in rows if row.token.startswith(self._prefix) and not is_over(row)]

    async def end(self, slurm_ids: Sequence[str]) -> None:
        """End jobs by their ids."""
        await self._slurm.end_ids(slurm_ids)

    async def papers(self, token: str, slurm_id: str) -> Papers:
        """Read what lies beside a job of ours, from the try that Slurm has under this id."""
        run, place = run_of(token), await self._place()
        if run is None:
            raise UserError(f"{token!r} is no name that benchd gives to a job")
        home = place.job_dir(run, token)
        done = await self._remote.run(
            # Of several tries the one that Slurm answered with this id, else the last one.
            f"{pieces.FUNCTIONS}"
            'all() { [ -f "$2" ] || return 0; v=$(cat "$2"; echo x); say "$1" "${v%x}"; }; '
            f"cd {quote(home)} || exit {_GONE}; link claim claim; n=0; "
            'for t in try-*; do k="${t#try-}"; [ -f "$t/job.json" ] || continue; '
            'i=$(cat "$t/id" 2>/dev/null); '
            f'if [ "$i" = {quote(slurm_id)} ]; then n=$k; break; fi; '
            '[ "$k" -gt "$n" ] && n=$k; done; say try "$n"; '
            'all job "try-$n/job.json"; all script "try-$n/script.sh"; all run ../../run.json',
            op="papers",
            limit=_PAPERS_LIMIT,
        )
        if done.status == _GONE:
            raise UserError(f"{self._remote.name}: {home} cannot be entered: {done.said()}")
        found = self._parsed(done.stdout)
        if "job" not in found or "script" not in found:
            raise UserError(
                f"{self._remote.name}: there is no job.json in the try directories of {home}, so "
                "nobody can tell what this job was to do"
            )
        return Papers(
            where=f"{home}/try-{found['try'].text}/job.json",
            k=int(found["try"].text),
            job=found["job"].data,
            script=found["script"].data.decode(),
            run=found["run"].data if "run" in found else None,
            claim=found["claim"].text if "claim" in found else None,
        )

    def _parsed(self, answer: bytes) -> dict[str, pieces.Piece]:
        try:
            return dict(pieces.parse(answer))
        except ValueError as error:
            raise Unreachable(f"{self._remote.name}: garbled job directory: {error}") from error

    async def run_dirs(self) -> list[str]:
        """Return the runs that have a directory in the workdir, whoever made it."""
        place = await self._place()
        done = await self._remote.run(
            f"cd {quote(place.workdir)} || exit 1; [ -d runs ] || exit 0; ls -1 runs", op="runs"
        )
        if done.status != 0 or done.truncated:
            raise Unreachable(f"{self._remote.name}: cannot list {place.workdir}: {done.said()}")
        names = done.stdout.decode("utf-8", "replace").split()
        return [name for name in names if _RUN.fullmatch(name)]

    async def put_aside(self, run_id: str) -> None:
        """Take a run's directory out of the way, at once; ``sweep`` removes what was put aside."""
        place = await self._place()
        done = await self._remote.run(
            f"{_ours(place)}cd {quote(place.workdir)}/runs || exit 1; "
            f"mv -T {quote(run_id)} {quote(f'.old-{run_id}')}.$$",
            op="gc",
        )
        self._check(done.status, done.said(), place.run_dir(run_id))

    async def sweep(self) -> None:
        """Remove what was put aside, now or by a daemon that was killed before it came so far."""
        place = await self._place()
        done = await self._remote.run(
            f"{_ours(place)}cd {quote(place.workdir)}/runs || exit 1; rm -rf -- .old-*",
            op="gc",
            timeout=_REMOVE_TIMEOUT,
        )
        self._check(done.status, done.said(), f"{place.workdir}/runs/.old-*")

    def _check(self, status: int | None, said: str, what: str) -> None:
        if status == _NOT_OURS:
            raise UserError(
                f"{self._remote.name}: another benchd with this state has used the workdir since; "
                "nothing was removed: see "
                f"`benchctl cluster resume {self._remote.name} --take-over`"
            )
        if status != 0:
            raise Unreachable(f"{self._remote.name}: cannot remove {what}: {said}")


def _ours(place: Place) -> str:
    """Return the check that nobody else has taken the workdir over."""
    epoch = quote(f"{place.workdir}/{place.epoch_name}")
    return f'[ "$(cat {epoch} 2>/dev/null)" = {place.epoch} ] || exit {_NOT_OURS}; '
