"""squeue: which jobs, in which form."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from benchd.sim.call import Answer, Call, parse_job_id
from benchd.sim.nouns import COMPACT, Job
from benchd.sim.options import Parser, options
from benchd.sim.text import UsageError, moment, node_list, size, span

_TABLE = options(
    "account/A= all/a array/r Format/O= format/o= federation help hide iterate/i= jobs/j= json"
    " local long/l licenses/L= clusters/M= me name/n= noconvert nodelist/w= noheader/h"
    " partition/p= priority/P qos/q= reservation/R= sib sort/S= start steps/s states/t= user/u="
    " usage verbose/v version/V yaml"
)
_PARSER = Parser("squeue", _TABLE)
_DEFAULT = "%.18i %.9P %.8j %.8u %.2t %.10M %.6D %R"
_ORDER = (
    "PENDING,RUNNING,SUSPENDED,COMPLETED,CANCELLED,FAILED,TIMEOUT,NODE_FAIL,PREEMPTED,BOOT_FAIL,"
    "DEADLINE,OUT_OF_MEMORY,COMPLETING,CONFIGURING,RESIZING,RESV_DEL_HOLD,REQUEUED,REQUEUE_FED,"
    "REQUEUE_HOLD,REVOKED,SIGNALING,SPECIAL_EXIT,STAGE_OUT,STOPPED"
)
_USAGE = """\
Usage: squeue [-A account] [--clusters names] [-i seconds] [--job jobid]
              [-n name] [-o format] [-p partitions] [--qos qos]
              [--reservation reservation] [--sort fields] [--start]
              [--step step_id] [-t states] [-u user_name] [--usage]
              [-L licenses] [-w nodes] [--federation] [--local] [--sibling]
\t      [-ahjlrsv]
"""


def squeue(call: Call) -> Answer:
    """Print the jobs in the queue, and those that ended a short time ago."""
    pairs, operands = _PARSER.parse(call.argv)
    said = dict(pairs)
    if operands:
        raise UsageError(f"squeue: error: Unrecognized option: {operands[0]}\n", 1, _USAGE)
    if "version" in said:
        return Answer(0, f"slurm-wlm {call.model.config.version}\n")
    complaints: list[str] = []
    jobs = _select(call, said)
    if said.get("Format") is not None:
        columns = _long_columns(said["Format"] or "", complaints)
    else:
        columns = _short_columns(said.get("format") or _DEFAULT, complaints)
    lines = [] if "noheader" in said else ["".join(column.head() for column in columns)]
    lines += ["".join(column.cell(job, call) for column in columns) for job in jobs]
    return Answer(0, "".join(f"{line}\n" for line in lines), "".join(complaints))


# --- which jobs ---


def _select(call: Call, said: Mapping[str, str | None]) -> list[Job]:
    jobs: Iterable[Job] = call.model.jobs.values()
    wanted = _states(said.get("states"))
    ids = _ids(said["jobs"] or "") if said.get("jobs") else None
    if ids is not None and len(ids) == 1 and ids[0] not in call.model.jobs:
        raise UsageError("slurm_load_jobs error: Invalid job id specified\n", 1)
    names = (said.get("name") or "").split(",") if said.get("name") else None
    partitions = (said.get("partition") or "").split(",") if said.get("partition") else None
    users = (said.get("user") or "").split(",") if said.get("user") else None
    if "me" in said:
        users = [call.user]
    chosen = [
        job
        for job in jobs
        if (wanted is None or job.word in wanted or job.base in wanted)
        and (ids is None or job.id in ids)
        and (names is None or job.request.name in names)
        and (partitions is None or job.partition in partitions)
        and (users is None or job.user in users or str(job.uid) in users)
    ]
    return sorted(chosen, key=lambda j: (j.partition, COMPACT[j.word], -j.priority, j.id))


def _states(text: str | None) -> set[str] | None:
    """Return the state words asked for; None: all."""
    if text is None:
        return {"PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "CONFIGURING", "STOPPED"}
    wanted = set()
    for word in text.upper().split(","):
        if word == "ALL":
            return None
        names = [name for name, short in COMPACT.items() if word in {name, short}]
        if not names:
            shown = next(part for part in text.split(",") if part.upper() == word)
            raise UsageError(
                f"squeue: error: Invalid job state specified: {shown}\n"
                f"squeue: error: Valid job states include: {_ORDER}\n\n",
                1,
            )
        wanted.add(names[0])
    return wanted


def _ids(text: str) -> list[int]:
    ids = []
    for word in text.split(","):
        number = parse_job_id(word)
        if number is None:
            raise UsageError(f"squeue: error: Invalid job id: {word}\n", 1)
        ids.append(number)
    return ids


# --- in which form ---

Show = Callable[[Job, Call], str]


@dataclass(frozen=True, slots=True)
class _Column:
    header: str
    show: Show
    width: int = 0  # 0: as wide as it is
    right: bool = False
    suffix: str = ""

    def head(self) -> str:
        return self._fit(self.header)

    def cell(self, job: Job, call: Call) -> str:
        return self._fit(self.show(job, call))

    def _fit(self, text: str) -> str:
        if self.width:
            text = text[: self.width]
            text = text.rjust(self.width) if self.right else text.ljust(self.width)
        return text + self.suffix


def _end(job: Job) -> float | None:
    if job.end is not None:
        return job.end
    start = job.start if job.start is not None else job.expected
    return None if start is None or job.minutes is None else start + job.minutes * 60


def _used(job: Job, call: Call) -> float:
    if job.base == "PENDING" or job.start is None:
        return 0
    return (job.end if job.end is not None else call.now) - job.start


def _where(job: Job, _call: Call) -> str:
    """NODELIST(REASON): the nodes; the reason in brackets while pending and after a failure."""
    if job.base == "PENDING" or (job.base in {"FAILED", "TIMEOUT"} and not job.completing):
        return f"({job.reason})"
    return node_list(job.nodes)


def _out(job: Job, _call: Call) -> str:
    name = job.request.output or f"slurm-{job.id}.out"
    return name if name.startswith("/") else f"{job.request.chdir}/{name}"


def _memory(job: Job, call: Call) -> str:
    request = job.request
    if request.memory_mb is not None:
        return size(request.memory_mb)
    return size(request.memory_per_cpu_mb or call.model.config.mem_per_cpu_mb)


def _start(job: Job) -> float | None:
    return job.start if job.start is not None else job.expected


def _resources(job: Job, call: Call) -> str:
    return ",".join(f"{k}={v}" for k, v in job.resources(call.model.config).items())


def _limit(job: Job, _call: Call) -> str:
    return "UNLIMITED" if job.minutes is None else span(job.minutes * 60)


# Long names (lower case) as -O knows them -> header and what is shown.
_FIELDS: Mapping[str, tuple[str, Show]] = {
    "account": ("ACCOUNT", lambda j, _: j.request.account or j.user),
    "batchhost": ("EXEC_HOST", lambda j, _: j.nodes[0] if j.nodes else "n/a"),
    "command": ("COMMAND", lambda j, _: j.request.command or "(null)"),
    "comment": ("COMMENT", lambda j, _: j.request.comment or "(null)"),
    "dependency": ("DEPENDENCY", lambda _j, _c: "(null)"),
    "eligibletime": ("ELIGIBLE_TIME", lambda j, c: moment(j.eligible, c.environment)),
    "endtime": ("END_TIME", lambda j, c: moment(_end(j), c.environment)),
    "exit_code": ("EXIT_CODE", lambda j, _: str(j.raw_exit)),
    "jobarrayid": ("JOBID", lambda j, _: str(j.id)),
    "jobid": ("JOBID", lambda j, _: str(j.id)),
    "minmemory": ("MIN_MEMORY", _memory),
    "name": ("NAME", lambda j, _: j.request.name),
    "nodelist": ("NODELIST", lambda j, _: node_list(j.nodes)),
    "numcpus": ("CPUS", lambda j, _: str(j.cpus)),
    "numnodes": ("NODES", lambda j, _: str(j.node_count)),
    "partition": ("PARTITION", lambda j, _: j.partition),
    "prioritylong": ("PRIORITY", lambda j, _: str(j.priority)),
    "qos": ("QOS", lambda j, _: j.request.qos or "normal"),
    "reason": ("REASON", lambda j, _: j.reason),
    "reasonlist": ("NODELIST(REASON)", _where),
    "restartcnt": ("RESTART_COUNT", lambda j, _: str(j.restarts + (j.requeue_word is not None))),
    "starttime": ("START_TIME", lambda j, c: moment(_start(j), c.environment)),
    "state": ("STATE", lambda j, _: j.word),
    "statecompact": ("ST", lambda j, _: COMPACT[j.word]),
    "stdout": ("STDOUT", _out),
    "submittime": ("SUBMIT_TIME", lambda j, c: moment(j.submit, c.environment)),
    "timelimit": ("TIME_LIMIT", _limit),
    "tres-alloc": ("TRES_ALLOC", _resources),
    "timeused": ("TIME", lambda j, c: span(_used(j, c))),
    "username": ("USER", lambda j, _: j.user),
    "userid": ("USER", lambda j, _: str(j.uid)),
    "workdir": ("WORK_DIR", lambda j, _: j.request.chdir),
}
# -o letters -> the long name of the same field.
_LETTERS = {
    "a": "account", "B": "batchhost", "C": "numcpus", "D": "numnodes", "e": "endtime",
    "E": "dependency", "i": "jobarrayid", "A": "jobid", "j": "name", "k": "comment",
    "l": "timelimit", "m": "minmemory", "M": "timeused", "N": "nodelist", "o": "command",
    "P": "partition", "q": "qos", "Q": "prioritylong", "r": "reason", "R": "reasonlist",
    "S": "starttime", "t": "statecompact", "T": "state", "u": "username", "U": "userid",
    "V": "submittime", "Z": "workdir",
}  # fmt: skip


def _bad(name: str) -> str:
    return f"squeue: error: Invalid job format specification: {name}\n"


def _long_columns(text: str, complaints: list[str]) -> list[_Column]:
    """Read -O: ``field[:[.][width][suffix]]``; a suffix without width: as wide as it is."""
    columns = []
    for item in text.split(","):
        name, colon, form = item.partition(":")
        field = _FIELDS.get(name.lower())
        if field is None:
            complaints.append(_bad(name))
            field = ("", lambda _j, _c: "")  # its column stays, empty
        match = re.fullmatch(r"(\.?)(\d*)(.*)", form, re.DOTALL)
        right, width, suffix = match.groups() if match else ("", "", "")
        given = int(width) if width else (0 if suffix and colon else 20)
        columns.append(_Column(*field, given, bool(right), suffix))
    return columns


def _short_columns(text: str, complaints: list[str]) -> list[_Column]:
    """Read -o: ``%[[.]width]letter`` with any text between."""
    first, *rest = text.split("%")
    columns = [_Column(first, lambda _j, _c: first)] if first else []
    for item in rest:
        match = re.fullmatch(r"(\.?)(\d*)(.)(.*)", item, re.DOTALL)
        if match is None:
            continue
        right, width, letter, suffix = match.groups()
        name = _LETTERS.get(letter)
        if name is None:
            complaints.append(_bad(letter))
            continue
        columns.append(_Column(*_FIELDS[name], int(width or 0), bool(right), suffix))
    return columns
