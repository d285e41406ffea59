"""scancel: end jobs by id, name, user or state."""

from __future__ import annotations

from collections.abc import Mapping

from benchd.sim.call import Answer, Call, parse_job_id
from benchd.sim.nouns import FINISHED, Job, Rejected
from benchd.sim.options import Parser, options
from benchd.sim.text import UsageError

_TABLE = options(
    "account/A= batch/b ctld full/f hurry/H interactive/i me name/n= jobname= nodelist/w="
    " partition/p= qos/q= quiet/Q reservation/R= signal/s= state/t= user/u= verbose/v version/V"
    " wckey="
)
_PARSER = Parser("scancel", _TABLE)
_STATES = {"PENDING": "PENDING", "PD": "PENDING", "RUNNING": "RUNNING", "R": "RUNNING",
           "SUSPENDED": "SUSPENDED", "S": "SUSPENDED"}  # fmt: skip


def scancel(call: Call) -> Answer:
    """Cancel jobs; asking for one that is not there is no error."""
    pairs, operands = _PARSER.parse(call.argv)
    said = dict(pairs)
    if "version" in said:
        return Answer(0, f"slurm-wlm {call.model.config.version}\n")
    ids = []
    for word in (word for operand in operands for word in operand.split(",")):
        number = parse_job_id(word)
        if number is None:
            raise UsageError(f"scancel: error: Invalid job id {word}\n", 1)
        ids.append(number)
    state = _state(said.get("state"))
    filters = {"name", "jobname", "partition", "state", "user", "me", "account", "qos"}
    if not ids and not filters.intersection(said):
        raise UsageError("scancel: error: No job identification provided\n", 1)
    err = ""
    for job in [job for job in call.model.jobs.values() if _matches(call, job, ids, said, state)]:
        if "verbose" in said:
            err += f"scancel: Terminating job {job.id}\n"
        try:
            call.model.cancel(job.id, uid=call.uid, now=call.now)
        except Rejected as no:
            if "verbose" in said:
                err += f"scancel: error: Kill job error on job id {job.id}: {no.text}\n"
    return Answer(0, "", err)


def _state(text: str | None) -> str | None:
    if text is None:
        return None
    if text.upper() not in _STATES:
        raise UsageError(
            f"Invalid job state specified: {text}\n"
            "Valid job states are PENDING, RUNNING, and SUSPENDED\n",
            1,
        )
    return _STATES[text.upper()]


def _matches(
    call: Call, job: Job, ids: list[int], said: Mapping[str, str | None], state: str | None
) -> bool:
    name = said.get("name") or said.get("jobname")
    user = call.user if "me" in said else said.get("user")
    if not ids and job.base in FINISHED:
        return False
    return (
        (not ids or job.id in ids)
        and (name is None or job.request.name == name)
        and (user is None or user in {job.user, str(job.uid)})
        and (said.get("partition") in {None, job.partition})
        and (state is None or job.base == state)
    )
