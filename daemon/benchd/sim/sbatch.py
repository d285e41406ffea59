"""sbatch: options on the command line and in the script, and its errors."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from benchd.sim.call import Answer, Call
from benchd.sim.nouns import Rejected, Request
from benchd.sim.options import Pairs, Parser, options
from benchd.sim.text import UsageError, megabytes, minutes_of, moment, node_list, unfold

BAD_USAGE = 255  # what sbatch exits with when an option is wrong

_TABLE = options(
    "account/A= chdir/D= comment= constraint/C= cpus-per-task/c= error/e= exclude/x= exclusive=?"
    " export= gpus/G= gpus-per-node= gpus-per-task= gres= hint= hold/H job-name/J= licenses/L="
    " mem= mem-per-cpu= nodelist/w= nodes/N= no-requeue ntasks/n= ntasks-per-node= open-mode="
    " output/o= parsable partition/p= qos/q= quiet/Q requeue reservation= signal= test-only time/t="
    " version/V wrap="
)
# What real sbatch has and the model does not: known, so that nobody believes it was honoured.
_UNKNOWN = options(
    "array/a= batch= begin/b= burst-buffer= clusters/M= contiguous cores-per-socket= cpus-per-gpu="
    " deadline= delay-boot= dependency/d= distribution/m= export-file= extra-node-info/B="
    " get-user-env=? gid= gpu-bind= gpu-freq= gres-flags= ignore-pbs input/i= kill-on-invalid-dep="
    " mail-type= mail-user= mcs-label= mem-per-gpu= mincpus= network= nice=? ntasks-per-core="
    " ntasks-per-gpu= ntasks-per-socket= overcommit/O oversubscribe/s power= priority= profile="
    " reboot sockets-per-node= spread-job switches= thread-spec= threads-per-core= time-min= tmp="
    " tres-per-task= uid= use-min-nodes verbose/v wait/W wait-all-nodes= wckey="
)
_PARSER = Parser("sbatch", (*_TABLE, *_UNKNOWN), status=BAD_USAGE, permute=False)
_HINTS = {"compute_bound", "memory_bound", "multithread", "nomultithread"}


def sbatch(call: Call) -> Answer:
    """Submit a batch script."""
    argv_pairs, operands = _PARSER.parse(call.argv)
    given = dict(argv_pairs)
    if "version" in given:
        return Answer(0, f"slurm-wlm {call.model.config.version}\n")
    script = _script(call, given, operands)
    pairs = [*_directives(script), *argv_pairs]
    request = _request(call, pairs, operands, script)
    said = dict(pairs)
    if "test-only" in said:
        return _test_only(call, request)
    try:
        job = call.model.submit(request, user=call.user, uid=call.uid, now=call.now)
    except Rejected as no:
        context = "".join(f"sbatch: error: {line}\n" for line in no.context)
        return Answer(1, "", f"{context}sbatch: error: Batch job submission failed: {no.text}\n")
    if "parsable" in said:
        return Answer(0, f"{job.id}\n")
    return Answer(0, "" if "quiet" in said else f"Submitted batch job {job.id}\n")


def takes_stdin(argv: Sequence[str]) -> bool:
    """Whether sbatch reads its script from standard input: no script named, no --wrap."""
    try:
        pairs, operands = _PARSER.parse(argv)
    except UsageError:
        return False
    return not operands and not {"wrap", "version"}.intersection(dict(pairs))


def _test_only(call: Call, request: Request) -> Answer:
    try:
        job_id, nodes, partition, cpus = call.model.would_start(request, call.now)
    except Rejected as no:
        context = "".join(f"sbatch: error: {line}\n" for line in no.context)
        return Answer(1, "", f"{context}allocation failure: {no.text}\n")
    at = moment(call.now, call.environment)
    return Answer(
        0,
        "",
        f"sbatch: Job {job_id} to start at {at} using {cpus} processors"
        f" on nodes {node_list(nodes)} in partition {partition}\n",
    )


def _error(text: str, status: int = 1) -> UsageError:
    return UsageError("".join(f"sbatch: error: {line}\n" for line in text.split("\n")), status)


# --- the script ---


def _script(call: Call, given: Mapping[str, str | None], operands: list[str]) -> bytes:
    wrap = given.get("wrap")
    if wrap is not None:
        if operands:
            raise _error("Script arguments not permitted with --wrap option")
        head = "#!/bin/sh\n# This script was created by sbatch --wrap.\n\n"
        return f"{head}{wrap}\n".encode()
    name = operands[0] if operands else None
    try:
        script = call.script(name)
    except OSError:
        raise _error(f"Unable to open file {name}") from None
    if not script:
        raise _error("Batch script is empty!")
    if not script.split(b"\0", 1)[0].strip():
        raise _error("Batch script contains only whitespace!")
    if not script.startswith(b"#!"):
        raise _error(
            "This does not look like a batch script.  The first\n"
            "line must start with #! followed by the path to an interpreter.\n"
            "For instance: #!/bin/sh"
        )
    if b"\0" in script:
        raise _error(
            "The SLURM controller does not allow scripts that\ncontain a NULL character '\\0'."
        )
    if b"\r\n" in script:
        raise _error(
            "Batch script contains DOS line breaks (\\r\\n)\n"
            "instead of expected UNIX line breaks (\\n)."
        )
    return script


def _directives(script: bytes) -> Pairs:
    """Return what the #SBATCH lines say; they end at the first line that is code."""
    pairs: Pairs = []
    for line in script.decode("utf-8", "surrogateescape").split("\n"):
        if line.startswith("#SBATCH"):
            try:
                words = shlex.split(line.removeprefix("#SBATCH"), comments=True)
            except ValueError:
                raise _error("Unmatched quote in batch script", BAD_USAGE) from None
            found, operands = _PARSER.parse(words)
            if operands:
                raise _error(f"Invalid directive found in batch script: {operands[0]}", BAD_USAGE)
            pairs += found
        elif line.strip() and not line.lstrip().startswith("#"):
            break
    return pairs


# --- values ---


def _count(option: str) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"\d+", text) or int(text) == 0:
            raise _error(f'Invalid numeric value "{text}" for --{option}.')
        return int(text)

    return read


def _checked(option: str, read: Callable[[str], Any]) -> Callable[[str], Any]:
    def checked(text: str) -> Any:
        try:
            return read(text)
        except ValueError:
            raise _error(f"Invalid --{option} specification", BAD_USAGE) from None

    return checked


def _nodes(text: str) -> int:
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    if match is None:
        raise _error(f'"{text}" is not a valid node count', BAD_USAGE)
    return int(match[1])


def _gpus(text: str) -> tuple[str | None, int]:
    """Read ``[type:]count``; a word that is no number is a type, of which there is one."""
    kind, colon, count = text.rpartition(":")
    if count.isdigit():
        return (kind or None) if colon else None, int(count)
    return text, 1


def _gres(text: str) -> tuple[str | None, int]:
    name, colon, rest = text.partition(":")
    if name == "none":
        return None, 0
    if name != "gpu":
        raise _error("Invalid generic resource (gres) specification")
    return _gpus(rest) if colon else (None, 1)


def _signal(text: str) -> str:
    if not re.fullmatch(r"(?:[RB]:)*(?:SIG)?(?:[A-Z]+\d?|\d+)(?:@\d+)?", text, re.IGNORECASE):
        raise ValueError(text)
    name = re.sub(r"^(?:[RB]:)*(?:SIG)?|@\d+$", "", text.upper())
    known = {"HUP", "INT", "QUIT", "ABRT", "KILL", "ALRM", "TERM", "USR1", "USR2", "URG", "CONT"}
    if not name.isdigit() and name not in known:
        raise ValueError(text)
    return text


def _open_mode(text: str) -> bool:
    if text in {"a", "append", "t", "truncate"}:
        return text.startswith("a")
    raise ValueError(text)


def _exclusive(text: str | None) -> bool:
    if text is None or text in {"user", "mcs"}:
        return True
    raise _error("Invalid --exclusive specification", BAD_USAGE)


def _hint(text: str) -> str:
    if text not in _HINTS:
        raise _error(f'unrecognized --hint argument "{text}", see --hint=help')
    return text


_READ: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "account": ("account", str),
    "chdir": ("chdir", str),
    "comment": ("comment", str),
    "constraint": ("constraint", str),
    "cpus-per-task": ("cpus_per_task", _count("cpus-per-task")),
    "error": ("error", str),
    "exclude": ("exclude", _checked("exclude", unfold)),
    "job-name": ("name", str),
    "licenses": ("licenses", str),
    "mem": ("memory_mb", _checked("mem", megabytes)),
    "mem-per-cpu": ("memory_per_cpu_mb", _checked("mem-per-cpu", megabytes)),
    "nodelist": ("nodelist", _checked("nodelist", unfold)),
    "nodes": ("nodes", _nodes),
    "ntasks": ("tasks", _count("ntasks")),
    "ntasks-per-node": ("tasks_per_node", _count("ntasks-per-node")),
    "open-mode": ("append", _checked("open-mode", _open_mode)),
    "output": ("output", str),
    "partition": ("partition", str),
    "qos": ("qos", str),
    "reservation": ("reservation", str),
    "time": ("minutes", _checked("time", lambda text: minutes_of(text) or 0)),
}

_FLAGS: Mapping[str, tuple[str, bool]] = {
    "hold": ("hold", True),
    "requeue": ("requeue", True),
    "no-requeue": ("requeue", False),
}
_CHECKS: Mapping[str, Callable[[str], Any]] = {
    "signal": _checked("signal", _signal),
    "hint": _hint,
}


def _values(pairs: Pairs) -> dict[str, Any]:
    """Read the options into fields of Request; the last one of a kind counts."""
    values: dict[str, Any] = {}
    for option, text in pairs:
        if option in _READ:
            field, read = _READ[option]
            values[field] = read(text or "")
        elif option in _FLAGS:
            field, value = _FLAGS[option]
            values[field] = value
        elif option == "exclusive":
            values["exclusive"] = _exclusive(text)
        elif option == "export":
            values["export_none"] = text == "NONE"
        elif option in _CHECKS:
            _CHECKS[option](text or "")
        elif any(option == each.name for each in _UNKNOWN):
            raise _error(f"the embedded cluster does not simulate --{option}; leave it out")
    return values


def _gpu_values(pairs: Pairs, tasks: int | None) -> dict[str, Any]:
    """Read the four ways to ask for GPUs."""
    values: dict[str, Any] = {}
    said = dict(pairs)
    for option in ("gres", "gpus-per-node", "gpus", "gpus-per-task"):
        if option not in said:
            continue
        kind, count = (_gres if option == "gres" else _gpus)(said[option] or "")
        if kind is not None:
            values["gpu_type"] = kind
        if option != "gpus-per-task":
            values["gpus" if option == "gpus" else "gpus_per_node"] = count
        elif tasks is not None:
            values.setdefault("gpus", count * tasks)
        elif "gpus" not in values:
            raise _error(
                "Failed to validate job spec. --gpus-per-task used without either --gpus or"
                " -n/--ntasks is not allowed.\nInvalid generic resource (gres) specification"
            )
    return values


def _request(call: Call, pairs: Pairs, operands: list[str], script: bytes) -> Request:
    values = _values(pairs)
    values |= _gpu_values(pairs, values.get("tasks"))
    cwd = PurePosixPath(call.cwd)
    values["chdir"] = str(cwd / values["chdir"]) if "chdir" in values else call.cwd
    path = operands[0] if operands else None
    command = ""
    if path is not None:
        command = " ".join([path if "/" in path else str(cwd / path), *operands[1:]])
    name = "wrap" if "wrap" in dict(pairs) else "sbatch"
    values.setdefault("name", PurePosixPath(path).name if path is not None else name)
    return Request(
        script=script,
        arguments=tuple(operands[1:]),
        command=command,
        submit_dir=call.cwd,
        environment=dict(call.environment),
        **values,
    )
