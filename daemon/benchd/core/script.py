"""A job's spec and its kind's payload -> the text of the batch script.

Theory of operation. ``sbatch ... script.sh JOB k`` starts the script on the first node. It first
wins or loses the job's claim, then it records: whatever happens after the claim, short of SIGKILL,
``exit.json`` says how it ended. Ports are picked before ``endpoint.json`` names them, images are
brought before that, and the payload is the last thing that starts. It runs in a process group of
its own, because bash looks at signals only between commands: waiting for a background process can
be interrupted, and the signal passed on.

Three rules keep a recipe from becoming shell: ``#SBATCH`` lines are made from typed resources only;
every text of the user's is quoted by ``shlex.quote``; the user's environment is set by ``env`` on
the payload's own command line, so that no variable of the script can be replaced by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from shlex import quote
from typing import Literal

from benchd.config import RuntimeSettings
from benchd.core import script_parts as parts
from benchd.core.payload import Payload, Sh
from benchd.core.restart import NODE_NAME
from benchd.core.spec import JobSpec, Role
from benchd.fields import Resources

_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_FILE = re.compile(r"(?!.*(?:^|/)\.\.?(?:/|$))[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*")
_SHIPPED = re.compile(r"[A-Za-z0-9_.-]+")
# Names in the job directory that carry the protocol: a kind's file may not replace them.
_OURS = re.compile(r"claim|exit\.json|endpoint\.json|(try|twin|unseen)-.*|.*\.(out|err)")
_LEADING = re.compile(
    r"(?:~|\$(?P<bare>[A-Za-z_]\w*)|\$\{(?P<braced>[A-Za-z_]\w*)\})(?=[/:]|\Z)", re.ASCII
)
_SCHEME = re.compile(r"[a-z][a-z-]*://")
# --cleanenv drops these as well, and without them a job sees the GPUs and cores of its neighbours.
_PASSED = (
    "CUDA_VISIBLE_DEVICES",
    "GPU_DEVICE_ORDINAL",
    "ROCR_VISIBLE_DEVICES",
    "SLURM_CPUS_PER_TASK",
    "SLURM_JOB_ID",
    "SLURM_RESTART_COUNT",
)


def render(
    spec: JobSpec,
    token: str,
    payload: Payload,
    runtime: RuntimeSettings,
    ship: Mapping[str, str],
) -> str:
    """Return the batch script of a job. ``ship`` maps a zipapp's name to its file in W/ship.

    The text depends on nothing but its arguments: it is the same for every try.
    """
    if _TOKEN.fullmatch(token) is None:
        raise ValueError(f"{token!r} cannot be a token: it would not be one word of shell")
    contained = spec.container if runtime.name != "none" else None
    image = _image_lines(spec, runtime) if contained is not None else []
    lines = [
        "#!/bin/bash",
        *sbatch_lines(spec.resources, requeue=spec.restart.requeue, avoid=spec.avoid),
        f"# Job {token}, written by benchd. Arguments: the job's directory, the number of the try.",
        parts.FENCE,
        parts.RECORD,
        parts.HOST,
        *_secret_lines(spec),
        f"export BENCHD_TOKEN={token} BENCHD_JOB=$JOB",
        *_module_lines(runtime),
        *_ship_lines(payload.ship, ship),
        *_file_lines(payload.files),
        *image,
        *(_port_lines(spec.ports) if spec.role is Role.SERVICE else [parts.TARGETS]),
        "",
        "benchd_payload() {",
        *(f"    {line}" for line in _unlocking(spec, runtime, contained=bool(image))),
        *(f"    {line}" for line in payload.preamble),
        *(f"    {line}" for line in _command_lines(spec, payload, runtime, bool(image))),
        "}",
        "benchd_run benchd_payload",
        'exit "$benchd_status"',
    ]
    return "\n".join(lines) + "\n"


def sbatch_lines(resources: Resources, *, requeue: bool, avoid: tuple[str, ...] = ()) -> list[str]:
    """Return the ``#SBATCH`` lines: typed resources, what to avoid, and the requeue switch."""
    if not all(map(NODE_NAME.fullmatch, avoid)):
        raise ValueError(f"{avoid!r} are not names of nodes, so they cannot be excluded")
    excluded = ",".join([*([resources.exclude] if resources.exclude else []), *avoid])
    resources = resources.model_copy(update={"exclude": excluded or None})
    lines = ["#SBATCH --requeue" if requeue else "#SBATCH --no-requeue"]
    for name in Resources.model_fields:
        value = getattr(resources, name)
        option = name.replace("_", "-")
        if value is True:
            lines.append(f"#SBATCH --{option}")
        elif value is not None and value is not False:
            lines.append(f"#SBATCH --{option}={value}")
    return lines


def shell_path(path: str) -> str:
    """Return shell for a path: only a leading ``~``, ``$NAME`` or ``${NAME}`` is expanded."""
    match = _LEADING.match(path)
    if match is None:
        return quote(path)
    name = match["bare"] or match["braced"] or "HOME"
    rest = path[match.end() :]
    return f'"${{{name}:?is not set on this node}}"' + (quote(rest) if rest else "")


def wants_gpu(resources: Resources) -> bool:
    """Tell whether GPUs are asked for, by whichever of Slurm's options."""
    if resources.gpus or resources.gpus_per_node or resources.gpus_per_task:
        return True
    gres = (resources.gres or "").split(",")
    return any(item.removeprefix("gres/").split(":")[0] == "gpu" for item in gres)


def _word(argument: str | Sh) -> str:
    if isinstance(argument, Sh):
        return argument.text
    if "\0" in argument:
        raise ValueError(f"{argument!r} cannot be an argument: no program can be given a NUL byte")
    return quote(argument)


def _module_lines(runtime: RuntimeSettings) -> list[str]:
    if runtime.module is None:
        return []
    modules = " ".join(quote(name) for name in runtime.module.split())
    return [parts.MODULES, f"benchd_modules {modules}"]


def _ship_lines(names: Iterable[str], ship: Mapping[str, str]) -> list[str]:
    lines = []
    for name in names:
        if _SHIPPED.fullmatch(ship[name]) is None:
            raise ValueError(f"{ship[name]!r} is no plain file name, so it cannot be in W/ship")
        variable = "BENCHD_SHIP_" + name.upper().replace("-", "_")
        lines.append(f'export {variable}="${{JOB%/*/*/*/*}}"/ship/{ship[name]}')
        lines.append(
            f'[ -r "${variable}" ] || benchd_stop "${variable} cannot be read on this node: was '
            'W/ship cleaned? benchd sends it again at the next submission"'
        )
    return lines


def _may_have_secrets(spec: JobSpec) -> bool:
    """Tell whether something may lie in secret.env: a client is told what its services are told."""
    return bool(spec.secrets) or spec.role is Role.CLIENT


def _secret_lines(spec: JobSpec) -> list[str]:
    if not _may_have_secrets(spec):
        return []
    return [parts.REMEMBER if spec.restart.requeue else parts.FORGET, parts.SECRETS]


def _unlocking(spec: JobSpec, runtime: RuntimeSettings, *, contained: bool) -> list[str]:
    """Return what brings the secrets into the payload's environment, and into its container."""
    if not _may_have_secrets(spec):
        return []
    lines = [f"benchd_secrets {quote(' '.join(spec.secrets))}"]
    if contained:
        prefix = f"{runtime.name.upper()}ENV_"
        lines += [
            "local benchd_name",
            "for benchd_name in ${BENCHD_SECRETS:-}; do",
            f'    export "{prefix}$benchd_name=${{!benchd_name}}"',
            "done",
        ]
    return lines


def _file_lines(files: Mapping[str, str | Sh]) -> list[str]:
    lines = []
    for name, text in files.items():
        if _FILE.fullmatch(name) is None or _OURS.fullmatch(name) is not None:
            raise ValueError(f"{name!r} cannot be a payload's file: use a plain relative name")
        folder = name.rpartition("/")[0]
        if folder:
            lines.append(f'mkdir -p "$JOB"/{folder}')
        lines.append(
            f"printf '%s' {_word(text)} >\"$JOB\"/{name} || benchd_stop '{name} cannot be written'"
        )
    return lines


def _port_lines(ports: tuple[int | Literal["auto"], ...]) -> list[str]:
    lines = [parts.PORTS]
    for want_fixed in (True, False):  # so that no picked port is one that is still to be taken
        for index, port in enumerate(ports):
            if isinstance(port, int) is want_fixed:
                lines.append(f"benchd_take {port}")
                lines.append(f"export BENCHD_PORT_{index}=$benchd_port")
    if ports:
        lines.append("export BENCHD_PORT=$BENCHD_PORT_0")
    listed = ",".join(f"$BENCHD_PORT_{index}" for index in range(len(ports)))
    return [*lines, f'benchd_publish "{listed}"', parts.RESULT]


def _image_lines(spec: JobSpec, runtime: RuntimeSettings) -> list[str]:
    """Set ``benchd_image``, and bring the image when it is missing."""
    box = spec.container
    if box is None or (box.image_path is None and box.docker_source is None):
        return []
    prefix = runtime.name.upper()
    lines = [f"command -v {runtime.name} >/dev/null || benchd_stop {quote(_no_runtime(runtime))}"]
    if runtime.cache is not None:
        lines.append(f"export {prefix}_CACHEDIR={shell_path(runtime.cache)}")
        lines.append(f'mkdir -p "${prefix}_CACHEDIR"')
    source = box.docker_source
    if source is not None and _SCHEME.match(source) is None:
        source = f"docker://{source}"
    if box.image_path is None:
        return [*lines, f"benchd_image={quote(source or '')}"]
    lines.append(f"benchd_image={shell_path(box.image_path)}")
    if source is None:
        why = "is not on this node and the recipe names no docker_source to make it from"
        return [*lines, f'[ -e "$benchd_image" ] || benchd_stop "$benchd_image {why}"']
    pull = f'{runtime.name} pull "$1" {quote(source)}'
    return [*lines, f"benchd_pull() {{ {pull}; }}", parts.IMAGE]


def _no_runtime(runtime: RuntimeSettings) -> str:
    hint = "check runtime.module" if runtime.module else "set runtime.module"
    return f"{runtime.name} is not on this node: {hint} in the cluster's configuration"


def _command_lines(
    spec: JobSpec, payload: Payload, runtime: RuntimeSettings, contained: bool
) -> list[str]:
    words = [_word(argument) for argument in payload.argv]
    environment = {**payload.environment, **spec.environment}
    if not contained:
        return [_exec(_assignments(environment, ""), words, payload.argv) + _input(payload)]
    prefix = f"{runtime.name.upper()}ENV_"
    options = ["--cleanenv", '--bind "$JOB"', '--pwd "$JOB"']
    if payload.ship:
        options.append('--bind "${JOB%/*/*/*/*}/ship:${JOB%/*/*/*/*}/ship:ro"')
    options += [f"--bind {directory.text}" for directory in payload.binds]
    if spec.container is not None:
        options += [f"--bind {shell_path(bind)}" for bind in spec.container.bind_mounts]
    if wants_gpu(spec.resources):
        options.append("--nv")
    command = [runtime.name, "exec", *options, '"$benchd_image"', *words]
    return [
        "local benchd_name",
        f'for benchd_name in "${{!BENCHD_@}}" {" ".join(_PASSED)}; do',
        f'    [ -z "${{!benchd_name+x}}" ] || export "{prefix}$benchd_name=${{!benchd_name}}"',
        "done",
        # Prefixed variables and not --env, which cuts values at commas and shows them in ps. The
        # runtime would run $(...) in them but for this; versions before 1.1 do not know it.
        f"export {runtime.name.upper()}_NO_EVAL=1",
        _exec(_assignments(environment, prefix), command, (runtime.name,)) + _input(payload),
    ]


def _input(payload: Payload) -> str:
    return f" < <({payload.stdin.text})" if payload.stdin is not None else ""


def _assignments(environment: Mapping[str, str | Sh], prefix: str) -> list[str]:
    return [f"{prefix}{name}={_word(value)}" for name, value in environment.items()]


def _exec(assignments: list[str], words: list[str], argv: tuple[str | Sh, ...]) -> str:
    """Return the last line of the payload: nothing remains between it and the signal."""
    if not argv:
        raise ValueError("a payload needs a program: its argv is empty")
    first = argv[0]
    if isinstance(first, str) and "=" in first:  # env would take it for one more variable
        words = ["bash", "-c", "'exec -- \"$@\"'", "bash", *words]
    if not assignments:
        return " ".join(["exec --", *words])
    return " ".join(["exec env", *assignments, *words])
