"""sacct: what the accounting database remembers."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping

from benchd.sim.accounting import Row
from benchd.sim.call import Answer, Call, parse_job_id
from benchd.sim.nouns import COMPACT, FINISHED
from benchd.sim.options import Parser, options
from benchd.sim.text import UsageError, exit_code, moment, node_list, span

_TABLE = options(
    "allusers/a accounts/A= allocations/X brief/b completion/c delimiter= duplicates/D endtime/E="
    " format/o= help/h helpformat/e jobs/j= local/L long/l name= nodelist/N= noheader/n"
    " parsable/p parsable2/P partition/r= qos/q= starttime/S= state/s= truncate/T uid/u= user"
    " usage/U verbose/v version/V units="
)
_PARSER = Parser("sacct", _TABLE, hint=False)
_DEFAULT = "jobid,jobname,partition,account,alloccpus,state,exitcode"

Show = Callable[[Row, Call], str]


def _state(row: Row, _call: Call) -> str:
    who = f" by {row.cancelled_by}" if row.cancelled_by is not None else ""
    return row.state + who


def _start(row: Row, call: Call) -> str:
    unknown = "None" if row.state == "CANCELLED" else "Unknown"
    return moment(row.start, call.environment, unknown=unknown)


def _end(row: Row, call: Call) -> str:
    return moment(row.end, call.environment, unknown="Unknown")


def _seconds(row: Row, call: Call) -> int:
    if row.start is None:
        return 0
    # As its own times are, in whole seconds.
    return int(row.end if row.end is not None else call.now) - int(row.start)


def _resources(row: Row, _call: Call) -> str:
    return ",".join(f"{name}={row.resources[name]}" for name in sorted(row.resources))


def _energy(row: Row, _call: Call) -> str:
    """Nothing where nobody measured, and 0 of what was given nothing."""
    return row.resources.get("energy", "") if row.resources else "0"


def _limit(row: Row, _call: Call) -> str:
    return "UNLIMITED" if row.minutes is None else span(row.minutes * 60, padded=True)


def _exit(row: Row, _call: Call) -> str:
    """Jobs that slurmctld ended are 0:0 here, whatever their script made of the signal."""
    ours = row.state not in {"CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED"}
    if not ours:
        return "0:0"
    code, _, signal = exit_code(row.raw_exit).partition(":")
    return f"{int(code) % 128}:{signal}"  # sacct takes 128 off, scontrol does not


# Lower-case name -> header, width (negative: to the left), value.
_FIELDS: Mapping[str, tuple[str, int, Show]] = {
    "account": ("Account", 10, lambda r, _: r.account),
    "alloccpus": ("AllocCPUS", 10, lambda r, _: str(r.cpus)),
    "alloctres": ("AllocTRES", 10, _resources),
    "consumedenergyraw": ("ConsumedEnergyRaw", 17, _energy),
    "derivedexitcode": ("DerivedExitCode", 15, lambda _r, _c: "0:0"),
    "elapsed": ("Elapsed", 10, lambda r, c: span(_seconds(r, c), padded=True)),
    "elapsedraw": ("ElapsedRaw", 10, lambda r, c: str(_seconds(r, c))),
    "end": ("End", 19, _end),
    "eligible": ("Eligible", 19, lambda r, c: moment(r.eligible, c.environment, unknown="Unknown")),
    "exitcode": ("ExitCode", 8, _exit),
    "jobid": ("JobID", -12, lambda r, _: str(r.id)),
    "jobidraw": ("JobIDRaw", -12, lambda r, _: str(r.id)),
    "jobname": ("JobName", 10, lambda r, _: r.name),
    "ncpus": ("NCPUS", 10, lambda r, _: str(r.cpus)),
    "nnodes": ("NNodes", 8, lambda r, _: str(r.node_count)),
    "nodelist": ("NodeList", 15, lambda r, _: node_list(r.nodes) or "None assigned"),
    "partition": ("Partition", 10, lambda r, _: r.partition),
    "qos": ("QOS", 10, lambda r, _: r.qos),
    "reason": ("Reason", 22, lambda r, _: r.reason),
    "reqmem": ("ReqMem", 10, lambda r, _: r.memory),
    "start": ("Start", 19, _start),
    "state": ("State", 10, _state),
    "submit": ("Submit", 19, lambda r, c: moment(r.submit, c.environment, unknown="Unknown")),
    "timelimit": ("Timelimit", 10, _limit),
    "user": ("User", 9, lambda r, _: r.user),
    "uid": ("UID", 6, lambda r, _: str(r.uid)),
    "workdir": ("WorkDir", 20, lambda r, _: r.workdir),
}


def sacct(call: Call) -> Answer:
    """Print accounting records."""
    pairs, operands = _PARSER.parse(call.argv)
    said = dict(pairs)
    if "version" in said:
        return Answer(0, f"slurm-wlm {call.model.config.version}\n")
    if operands:
        raise UsageError(f"sacct: error: Unknown arguments:\nsacct: error:  {operands[0]}\n", 1)
    columns = _columns(said.get("format") or _DEFAULT)
    rows = _select(call, said)
    parsable = "parsable" in said or "parsable2" in said
    table = [] if "noheader" in said else [[header for header, _, _ in columns]]
    if table and not parsable:
        table.append(["-" * abs(width) for _, width, _ in columns])
    table += [[show(row, call) for _, _, show in columns] for row in rows]
    if parsable:
        mark = said.get("delimiter") or "|"
        end = mark if "parsable" in said else ""
        lines = [mark.join(cells) + end for cells in table]
    else:
        widths = [width for _, width, _ in columns]
        lines = ["".join(map(_fit, cells, widths)) for cells in table]
    return Answer(0, "".join(f"{line}\n" for line in lines))


def _fit(text: str, width: int) -> str:
    room = abs(width)
    if len(text) > room:
        text = f"{text[: room - 1]}+"
    return (text.ljust(room) if width < 0 else text.rjust(room)) + " "


def _columns(text: str) -> list[tuple[str, int, Show]]:
    columns = []
    for item in text.split(","):
        name, percent, width = item.partition("%")
        field = _FIELDS.get(name.lower())
        if field is None:
            raise UsageError(f'sacct: error: Invalid field requested: "{name}"\n', 1)
        header, default, show = field
        columns.append((header, int(width) if percent else default, show))
    return columns


def _select(call: Call, said: Mapping[str, str | None]) -> list[Row]:
    ids = None
    if said.get("jobs"):
        ids = [parse_job_id(word) for word in (said["jobs"] or "").split(",")]
        if None in ids:
            word = (said["jobs"] or "").split(",")[ids.index(None)]
            raise UsageError(f"sacct: fatal: Bad job/step specified: {word}\n", 1)
    names = (said.get("name") or "").split(",") if said.get("name") else None
    start = _time(said.get("starttime"), call.now)
    if start is None:
        start = _midnight(call.now) if ids is None else 0.0
    end = _time(said.get("endtime"), call.now)
    states = _states(said.get("state"))
    rows = call.model.accounting.rows(
        call.now, lag=call.model.accounting_lag, duplicates="duplicates" in said
    )
    return [
        row
        for row in rows
        if (ids is None or row.id in ids)
        and (names is None or row.name in names)
        and (states is None or row.state in states)
        and (ids is not None or _in_window(row, start, end if end is not None else call.now))
    ]


def _in_window(row: Row, start: float, end: float) -> bool:
    """Tell whether a row touches the window; a held job was never eligible, so it does not."""
    if row.eligible is None or min(row.eligible, row.submit) > end:
        return False
    return row.state not in FINISHED | {"REQUEUED"} or (row.end or 0) >= start


def _states(text: str | None) -> set[str] | None:
    if text is None:
        return None
    wanted = set()
    for word in text.upper().split(","):
        names = [name for name, short in COMPACT.items() if word in {name, short}]
        if not names:
            raise UsageError(f"sacct: fatal: unrecognized job state value {word}\n", 1)
        wanted.add(names[0])
    return wanted


def _midnight(now: float) -> float:
    day = time.localtime(now)
    return time.mktime((day.tm_year, day.tm_mon, day.tm_mday, 0, 0, 0, 0, 0, -1))


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def _time(text: str | None, now: float) -> float | None:
    """Read Slurm's forms of a time: now[+-]N[unit], and YYYY-MM-DD[THH:MM[:SS]]."""
    if text is None:
        return None
    match = re.fullmatch(r"now(?:([+-])(\d+)([a-z]*))?", text)
    if match:
        unit = match[3] or "seconds"
        if unit[0] in _UNITS:
            distance = int(match[2] or 0) * _UNITS[unit[0]]
            return now - distance if match[1] == "-" else now + distance
    for form in ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"):
        try:
            return time.mktime(time.strptime(text, form))
        except ValueError:
            continue
    raise UsageError(f"Invalid time specification (pos=0): {text}\n", 1)
