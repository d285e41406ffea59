"""Slurm by its programs: the commands, within the budget, and what their failures mean."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from shlex import join

import structlog

from benchd.core import slurm
from benchd.core.model import Observation
from benchd.edge import submission
from benchd.edge.backend import Names, chunks
from benchd.edge.budget import Sleep, Urgency
from benchd.edge.gathered import Gathered
from benchd.edge.remote import Remote, is_limited
from benchd.edge.shell import Completed
from benchd.edge.submission import Place, Record, SubmitOrder
from benchd.errors import Unreachable

log = structlog.get_logger()

# Seconds the submission command may take: sbatch's own limit, and the files around it.
_SUBMIT_TIMEOUT = submission.TRY_TIME + 15.0
# Slurm without accounting says so in these words, whatever the version.
_DISABLED = re.compile(rb"accounting storage is disabled", re.IGNORECASE)
# Exit status of a shell that finds no such program.
_NO_PROGRAM = 127
# scancel's complaints about jobs that are past cancelling: what was wanted is so.
_ENDED = re.compile(rb"Invalid job id|already complet", re.IGNORECASE)
# RPCs of `scancel --name`, as sdiag counts them: it loads all jobs, then ends what it found.
_BY_NAME = 2
# Seconds sacct looks back. Tokens are unique, so an old row can only be ours.
_LOOK_BACK = 30 * 86400.0
# Names asked for by one sacct: 100 bytes each, far below a command line's limit.
_NAMES_AT_ONCE = 500
# Jobs ended by one scancel, which sends an RPC for each, ten at a time.
_ENDED_AT_ONCE = 100


class Programs:
    """sbatch, squeue, sacct and scancel of one cluster; a ``Slurm``."""

    names = Names(sends="sbatch", queue="squeue", books="sacct")

    def __init__(
        self, remote: Remote, *, clock: Callable[[], float], sleep: Sleep = asyncio.sleep
    ) -> None:
        self._remote = remote
        self._clock = clock
        self._ending = Gathered(self.end_ids, sleep=sleep)
        self._shown: dict[str, str] = {}  # Slurm id -> name, as the last poll showed them
        self.no_accounting = False  # sacct said that there is none, or there is no sacct

    async def everything(self) -> list[Observation]:
        """Return all our user's jobs, also those that ended within MinJobAge."""
        rows = await self._squeue(slurm.squeue_command(), op="poll", urgency=Urgency.POLL)
        self._shown = {row.slurm_id: row.token for row in rows}
        return rows

    async def named(self, token: str) -> list[Observation]:
        """Return the jobs of this name that squeue knows."""
        rows = await self._squeue(slurm.squeue_command(token), op="find")
        return [row for row in rows if row.token == token]

    async def _squeue(
        self, command: str, *, op: str, urgency: Urgency = Urgency.QUEUED
    ) -> list[Observation]:
        done = await self._remote.ask(command, program="squeue", op=op, urgency=urgency)
        if done.status != 0 or done.truncated:
            raise self._failed("squeue", done)
        return self._rows("squeue", slurm.parse_squeue(done.stdout, self._clock()))

    async def accounted(
        self, tokens: Sequence[str], *, urgency: Urgency = Urgency.QUEUED
    ) -> list[Observation] | None:
        """Return what sacct knows of these names; None when it did not answer."""
        rows: list[Observation] = []
        since = self._clock() - _LOOK_BACK
        for some in chunks(tokens, _NAMES_AT_ONCE):
            command = slurm.sacct_command(some, since)
            done = await self._remote.ask(command, program="sacct", op="account", urgency=urgency)
            self.no_accounting = done.status == _NO_PROGRAM or (
                done.status != 0 and bool(_DISABLED.search(done.stderr))
            )
            if done.status != 0 or done.truncated:
                return None
            rows += self._rows("sacct", slurm.parse_sacct(done.stdout, self._clock()))
        return rows

    def _rows(self, program: str, rows: slurm.Rows) -> list[Observation]:
        if rows.malformed:
            log.debug("slurm.malformed", program=program, lines=rows.malformed[:5])
        return list(rows.seen)

    async def end(self, slurm_id: str, token: str) -> None:
        """Cancel a job by its id, together with others that are to end at this moment.

        By its name where the last poll showed the id on another job: a controller that lost its
        state gives ids again.
        """
        if self._shown.get(slurm_id, token) == token:
            await self._ending.add(slurm_id)
        else:
            await self.end_names([token])

    async def end_ids(self, slurm_ids: Sequence[str]) -> None:
        """Cancel jobs by their ids."""
        for some in chunks(slurm_ids, _ENDED_AT_ONCE):
            await self._scancel(join(["scancel", *some]), rpcs=len(some))

    async def end_names(self, tokens: Sequence[str]) -> None:
        """Cancel whatever of ours has one of these names."""
        for some in chunks(tokens, _ENDED_AT_ONCE):
            # --me came with 22.05.
            ours = 'scancel --user="$(id -u)" --name="$n" || s=$?'
            each = f"for n in {join(some)}; do {ours}; done"
            await self._scancel(f"s=0; {each}; exit $s", rpcs=_BY_NAME * len(some))

    async def _scancel(self, command: str, *, rpcs: int) -> None:
        done = await self._remote.ask(
            command, program="scancel", op="cancel", urgency=Urgency.NOW, rpcs=rpcs
        )
        if done.status == 0:
            return
        complaints = [line for line in done.stderr.splitlines() if b"error" in line.lower()]
        if not complaints or not all(map(_ENDED.search, complaints)):
            raise self._failed("scancel", done)

    async def submit(self, order: SubmitOrder, place: Place) -> Record:
        """Run the submission command: it sends a try once, and says what came of it ever after."""
        stdin, lengths = submission.payload(order)
        command, purse = submission.command(order, place, lengths), self._remote.purse
        try:
            done = await self._remote.run(
                command, op="submit", stdin=stdin, timeout=_SUBMIT_TIMEOUT
            )
            record = submission.read(done.stdout, place, self._clock())
        except Unreachable as error:
            if error.sent:
                purse.made("sbatch", "lost", 0.0)
            else:
                purse.unspent("sbatch")
            raise
        if record.won and record.rc is not None:
            outcome, limited = "ok" if record.rc == 0 else "error", is_limited(record.err)
            purse.made("sbatch", outcome, done.seconds, limited=limited)
        else:
            purse.unspent("sbatch")  # somebody's record was read
        return record

    def _failed(self, program: str, done: Completed) -> Unreachable:
        if done.status == _NO_PROGRAM:
            return Unreachable(
                f"{self._remote.name}: {program} is not found on the login node: it must be in the "
                "PATH of non-interactive shells (set it in ~/.bashrc there)"
            )
        said = done.said() or "no reason given"
        return Unreachable(f"{self._remote.name}: {program} failed ({done.status}): {said}")
