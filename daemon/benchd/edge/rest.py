"""Slurm by slurmrestd: the same questions and submissions as ``programs``, over HTTP.

A submission has the same three marks as one by ``sbatch``: the directory that can be made once, the
record in it, the claim in the job. Only who calls is another: whoever wins the directory sends the
request from here, once, and then writes into the directory what came of it. If he dies in between,
or the answer is lost, there is a directory without a record: the job is looked for by its name, and
after the quiet time the next try may be made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import structlog

from benchd.core import slurm_rest
from benchd.core.model import Observation
from benchd.core.slurm import Rows
from benchd.core.slurm_rest import Answer, Sent
from benchd.core.slurm_rest_submit import request
from benchd.edge import submission
from benchd.edge.backend import Names, chunks, is_over
from benchd.edge.budget import Urgency
from benchd.edge.remote import Remote
from benchd.edge.rest_link import BOOKS_TIMEOUT, RestLink
from benchd.edge.submission import Place, Record, SubmitOrder
from benchd.errors import Unreachable

log = structlog.get_logger()

# Seconds the books look back, as with sacct.
_LOOK_BACK = 30 * 86400.0
# Names asked for at once: 100 bytes each, and slurmrestd takes no longer lines than 80 kB.
_NAMES_AT_ONCE = 100
# Seconds for a submission, so that with the directory before it and two tokens it ends within
# ``submission.TRY_TIME``, after which a try without a record counts as one that will never come.
_SUBMIT_TIMEOUT = 60.0


class Rest:
    """slurmrestd of one cluster; a ``Slurm``. Files go another way, through ``remote``."""

    names = Names(sends="slurmrestd", queue="slurmrestd", books="slurmdbd")

    def __init__(
        self,
        link: RestLink,
        remote: Remote,
        *,
        instance: str,
        clock: Callable[[], float],
    ) -> None:
        self.link = link
        self._remote = remote
        self._prefix = f"{instance}-"
        self._clock = clock
        self._shown: dict[str, str] = {}  # Slurm id -> name, as the last poll showed them
        self.no_accounting = False

    async def everything(self) -> list[Observation]:
        """Return all jobs of our name, also those that ended within MinJobAge."""
        rows = await self._jobs(op="poll", urgency=Urgency.POLL)
        self._shown = {row.slurm_id: row.token for row in rows}
        return rows

    async def named(self, token: str) -> list[Observation]:
        """Return the jobs of this name that slurmctld knows."""
        return [row for row in await self._jobs(op="find") if row.token == token]

    async def _jobs(self, *, op: str, urgency: Urgency = Urgency.QUEUED) -> list[Observation]:
        path = f"/slurm/{await self.link.version()}/jobs"
        answer = await self.link.ask("rest:jobs", "GET", path, op=op, urgency=urgency)
        await self._check(answer)
        rows = slurm_rest.jobs(answer, user=self.link.user, prefix=self._prefix, at=self._clock())
        return self._rows("jobs", rows)

    async def accounted(
        self, tokens: Sequence[str], *, urgency: Urgency = Urgency.QUEUED
    ) -> list[Observation] | None:
        """Return what slurmdbd knows of these names; None when it did not answer."""
        version = await self.link.version()
        found: list[Observation] = []
        since = max(0, int(self._clock() - _LOOK_BACK))
        for some in chunks(tokens, _NAMES_AT_ONCE):
            # By the time of submission: what has not begun would be missing otherwise.
            query = {"job_name": ",".join(some), "submit_time": f"uts{since}"}
            answer = await self.link.ask(
                "rest:accounting",
                "GET",
                f"/slurmdb/{version}/jobs",
                op="account",
                query=query | {"skip_steps": "true"},
                urgency=urgency,
                timeout=BOOKS_TIMEOUT,
            )
            self.no_accounting = answer.status == 404
            if not answer.is_good:
                log.debug("slurm.books", cluster=self._remote.name, said=answer.said())
                return None
            rows = slurm_rest.accounted(answer, version=version, at=self._clock())
            found += [row for row in self._rows("accounting", rows) if row.token in some]
        return found

    def _rows(self, program: str, rows: Rows) -> list[Observation]:
        if rows.malformed:
            log.debug("slurm.malformed", program=f"rest:{program}", lines=rows.malformed[:5])
        return list(rows.seen)

    async def _check(self, answer: Answer) -> None:
        """Raise unless an answer is good."""
        if answer.is_good:
            return
        if answer.is_doubtful:
            await self.link.require_token()
        raise self.link.failed(answer)

    # --- ending -----------------------------------------------------------------------------------

    async def end(self, slurm_id: str, token: str) -> None:
        """Cancel a job by its id; by its name where the last poll showed the id on another job."""
        if self._shown.get(slurm_id, token) == token:
            await self.end_ids([slurm_id])
        else:
            await self.end_names([token])

    async def end_ids(self, slurm_ids: Sequence[str]) -> None:
        """Cancel jobs by their ids."""
        version = await self.link.version()
        for slurm_id in slurm_ids:
            path = f"/slurm/{version}/job/{slurm_id}"
            answer = await self.link.ask(
                "rest:cancel", "DELETE", path, op="cancel", urgency=Urgency.NOW
            )
            if not answer.is_ended:
                await self._check(answer)

    async def end_names(self, tokens: Sequence[str]) -> None:
        """Cancel whatever of ours has one of these names."""
        rows = await self._jobs(op="cancel", urgency=Urgency.NOW)
        await self.end_ids([r.slurm_id for r in rows if r.token in tokens and not is_over(r)])

    # --- submitting -------------------------------------------------------------------------------

    async def submit(self, order: SubmitOrder, place: Place) -> Record:
        """Send a try if its directory is won and nobody has its claim; else read its record."""
        record, path, body = await self._prepared(order, place)
        if not submission.may_send(record):
            self._remote.purse.unspent("rest:submit")  # somebody's record was read
            return record
        try:
            answer = await self.link.ask(
                "rest:submit", "POST", path, op="submit", body=body, timeout=_SUBMIT_TIMEOUT
            )
        except Unreachable as error:
            if not error.sent:
                await self._undo(order, place)
            raise
        return await self._noted(order, place, slurm_rest.sent(answer), record)

    async def _prepared(
        self, order: SubmitOrder, place: Place
    ) -> tuple[Record, str, Mapping[str, object]]:
        """Make the try's directory; return what is in it, and the request that may follow."""
        try:
            version = await self.link.version()
            stdin, lengths = submission.payload(order)
            body = request(
                version=version,
                script=order.script,
                token=order.token,
                job_dir=place.job_dir(order.run_id, order.token),
                k=order.k,
                placed=order.placed,
            )
            command = submission.prepare(order, place, lengths)
            done = await self._remote.run(command, op="submit", stdin=stdin)
            record = submission.read(done.stdout, place, self._clock())
        except Unreachable:
            self._remote.purse.unspent("rest:submit")
            raise
        return record, f"/slurm/{version}/job/submit", body

    async def _undo(self, order: SubmitOrder, place: Place) -> None:
        """Give the try back that was surely not sent. If that fails, it has to be waited out."""
        self._remote.purse.unspent("rest:submit")
        try:
            await self._remote.run(submission.undo(order, place), op="submit")
        except Unreachable as error:
            log.info("submission.not_undone", job=order.token, why=str(error))

    async def _noted(
        self, order: SubmitOrder, place: Place, said: Sent, prepared: Record
    ) -> Record:
        """Write down what came of a try. If that fails it is known here all the same."""
        command = submission.note(order, place, said.rc, said.slurm_id, said.words)
        try:
            done = await self._remote.run(command, op="submit")
            record = submission.read(done.stdout, place, self._clock())
        except Unreachable as error:
            log.info("submission.not_noted", job=order.token, why=str(error))
            record = prepared
        return replace(
            record,
            won=True,
            rc=said.rc,
            out=said.slurm_id,
            err=said.words,
            slurm_id=said.slurm_id or None,
        )
