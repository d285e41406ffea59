"""What a job runs: the payload's function in the batch script, and all that belongs to it.

Everything here runs in the payload's process group, so that signals reach all of it and nothing
outlives it. What runs in the background is started by a subshell that ends at once: the program
itself, which takes the place of the payload's shell, then has no children it did not start.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from shlex import quote

from benchd.core import containers, image_parts
from benchd.core import script_parts as parts
from benchd.core.payload import Beside, Payload, Sh, Step
from benchd.core.runtimes import Box, word
from benchd.core.spec import JobSpec, Role
from benchd.fields import Resources

Lines = list[str]
_IMAGE = '"$benchd_image"'


@dataclass(frozen=True, slots=True)
class Job:
    """What is run, and in which image; without a box, on the host."""

    spec: JobSpec
    payload: Payload
    box: Box | None


def functions(job: Job) -> Lines:
    """Return the functions that ``body`` relies on, before anything runs."""
    payload = job.payload
    lines = containers.functions(job.box.runtime) if job.box is not None else []
    if _has_company(payload):
        lines.append(parts.COMPANY)
    if payload.once_up:
        lines.append(parts.ONCE_UP)
    if _is_asked(job):
        lines.append(parts.ASK)
    if _may_be_elsewhere(job):
        lines.append(image_parts.ONLY_HERE)
    if job.spec.targets:
        lines.append(parts.GATHER)
    if payload.workers is not None or payload.each_node:
        lines.append(parts.NODES)
    return lines


def body(job: Job, unlocking: Lines) -> Lines:
    """Return the function that is the payload, and what is called after it."""
    payload = job.payload
    opening = _opening(job.box)
    main = _command(job, payload.argv, payload.stdin)
    inner = [
        *unlocking,
        *payload.preamble,
        *opening,
        *(line for step in payload.before for line in _step(job, step, "before")),
        *_workers(job),
        *(line for beside in payload.beside for line in _beside(job, beside)),
        *_once_up(job),
        *_asking(job),
        *_elsewhere(job),
        *_main(payload, opening, main),
    ]
    after = [
        *(["benchd_settle"] if payload.beside or payload.workers or payload.once_up else []),
        *_after(payload.after),
        *(["benchd_gather"] if job.spec.targets else []),
    ]
    return [
        *_function("benchd_payload", inner),
        "benchd_run benchd_payload",
        *after,
        'exit "$benchd_status"',
    ]


def publishing(spec: JobSpec) -> str:
    """Return the line that lets others find a service."""
    listed = ",".join(f"$BENCHD_PORT_{index}" for index in range(len(spec.ports)))
    return f'benchd_publish "{listed}"'


def _has_company(payload: Payload) -> bool:
    return bool(payload.before or payload.once_up or payload.beside or payload.workers)


def _function(name: str, lines: Iterable[str]) -> Lines:
    return [f"{name}() {{", *_indented(lines), "}"]


def _indented(lines: Iterable[str]) -> Iterator[str]:
    """Indent lines of commands; texts of several lines (functions of a kind) stay as they are."""
    return (f"    {line}" for line in lines)


def _opening(box: Box | None, image: str = _IMAGE) -> Lines:
    return containers.opening(box, image) if box is not None else []


def _command(
    job: Job, argv: tuple[str | Sh, ...], stdin: Sh | None = None, image: str = _IMAGE
) -> Lines:
    """Return lines that end with the command in the place of the shell."""
    if not argv:
        raise ValueError("a payload needs a program: its argv is empty")
    words = [word(argument) for argument in argv]
    fed = f" < <({stdin.text})" if stdin is not None else ""
    if job.box is not None:
        return ["benchd_enter", f"exec {containers.run_words(job.box, image, words)}{fed}"]
    environment = {**job.payload.environment, **job.spec.environment}
    return [_on_host(environment, words, argv[0]) + fed]


def _on_host(environment: Mapping[str, str | Sh], words: list[str], first: str | Sh) -> str:
    if not environment:
        return " ".join(["exec --", *words])
    if isinstance(first, str) and "=" in first:  # env would take it for one more variable
        words = ["bash", "-c", "'exec -- \"$@\"'", "bash", *words]
    given = [f"{name}={word(value)}" for name, value in environment.items()]
    return " ".join(["exec env", *given, *words])


def _called(step: Step | Beside, what: str) -> str:
    """Return how messages call a step: never by its arguments, which may be anything."""
    first = step.argv[0] if step.argv else ""
    return quote(f"{what}: {first}" if isinstance(first, str) else what)


def _run(job: Job, step: Step) -> Lines:
    return _command(replace(job, box=None) if step.on_host else job, step.argv, step.stdin)


def _step(job: Job, step: Step, what: str) -> Lines:
    """Return a command that the rest waits for, and that ends the job when it fails."""
    return [
        "(",
        *_indented(_run(job, step)),
        f') {{benchd_pipe}}>&- || benchd_failed "$?" {_called(step, what)}',
    ]


def _workers(job: Job) -> Lines:
    step = job.payload.workers
    if step is None:
        return []
    opening = [] if step.on_host else _opening(job.box)
    return [
        *_function("benchd_worker", [*opening, *_run(job, step)]),
        "benchd_workers() {",
        '    (benchd_srun 1 benchd_worker --relative=1 --nodes="$((BENCHD_NODES - 1))" \\',
        '        --ntasks="$((BENCHD_NODES - 1))") ||',
        f'        benchd_failed "$?" {_called(step, "the other nodes")}',
        "}",
        'if [ "$BENCHD_NODES" -gt 1 ]; then (benchd_guard benchd_workers &); fi',
    ]


def _beside(job: Job, beside: Beside) -> Lines:
    name = f"benchd_beside_{beside.name.replace('-', '_').replace('.', '_')}"
    if not name.isidentifier():
        raise ValueError(f"{beside.name!r} cannot be what runs beside: use a plain name")
    own = replace(job, box=job.box if beside.image is not None else None)
    image = containers.shell_path(beside.image) if beside.image is not None else _IMAGE
    opening = _opening(own.box, image)
    command = _command(own, beside.argv, image=image)
    return [
        *_function(name, [*opening, *command]),
        f"(benchd_beside {quote(beside.name)} {name} &)",
    ]


def _once_up(job: Job) -> Lines:
    if not job.payload.once_up:
        return []
    is_service = job.spec.role is Role.SERVICE
    steps = [
        *(['benchd_await "$BENCHD_PORT"'] if is_service and job.spec.ports else []),
        *(line for step in job.payload.once_up for line in _step(job, step, "once up")),
        "benchd_up",
        *([publishing(job.spec)] if is_service else []),
    ]
    return [*_function("benchd_once_up", steps), "(benchd_guard benchd_once_up &)"]


def wants_gpu(resources: Resources) -> bool:
    """Tell whether GPUs are asked for, by whichever of Slurm's options."""
    if resources.gpus or resources.gpus_per_node or resources.gpus_per_task:
        return True
    gres = (resources.gres or "").split(",")
    return any(item.removeprefix("gres/").split(":")[0] == "gpu" for item in gres)


def _is_asked(job: Job) -> bool:
    """Tell whether the job says more of itself than what stands in /proc."""
    return bool(job.payload.version) or wants_gpu(job.spec.resources)


def _asking(job: Job) -> Lines:
    """Have what is to be asked written down, beside the program."""
    lines = []
    if job.payload.version:
        *before, last = _command(job, job.payload.version)
        command = last.removeprefix("exec ").removeprefix("-- ")
        bounded = f"exec timeout --foreground -k 1 5 {command}"
        lines += [*_function("benchd_version", [*before, bounded])]
        lines.append("(benchd_ask version.txt benchd_version &)")
    if wants_gpu(job.spec.resources):
        lines.append("(benchd_ask gpus.csv benchd_gpus &)")
    return lines


def _may_be_elsewhere(job: Job) -> bool:
    return job.box is not None and bool(job.payload.needs)


def _elsewhere(job: Job) -> Lines:
    """Have the program run on the node where only that has what it needs, and not the image."""
    if not _may_be_elsewhere(job):
        return []
    needs = job.payload.needs
    look = _command(job, ("sh", "-c", image_parts.HAS, "sh", *needs))
    here = _command(replace(job, box=None), job.payload.argv, job.payload.stdin)
    return [
        *_function("benchd_look", look),
        f"if benchd_only_here {' '.join(map(word, needs))}; then",
        *_indented(["benchd_image=''", "exec {benchd_pipe}>&-", *here]),
        "fi",
    ]


def _main(payload: Payload, opening: Lines, command: Lines) -> Lines:
    closing = "exec {benchd_pipe}>&-"
    if not payload.each_node:
        return [closing, *command]
    return [
        *_function("benchd_main", [*opening, *command]),
        closing,
        'if [ "$BENCHD_NODES" -gt 1 ]; then',
        '    benchd_srun 0 benchd_main --nodes="$BENCHD_NODES" --ntasks="$BENCHD_NODES"',
        "fi",
        "benchd_main",
    ]


def _after(lines: tuple[str, ...]) -> Lines:
    if not lines:
        return []
    return [
        *_function("benchd_after", lines),
        "benchd_kept=$benchd_status",
        "benchd_run benchd_after",
        "benchd_status=$benchd_kept",
    ]
