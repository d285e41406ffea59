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

from benchd.config import RuntimeSettings
from benchd.core import containers, image_builds, script_body
from benchd.core import script_parts as parts
from benchd.core.image_parts import CLIENT_NOTE
from benchd.core.payload import Payload, Sh
from benchd.core.restart import NODE_NAME
from benchd.core.runtimes import Box, Mount, word
from benchd.core.script_body import Job
from benchd.core.spec import JobSpec, Role
from benchd.fields import Resources

_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_FILE = re.compile(r"(?!.*(?:^|/)\.\.?(?:/|$))[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*")
_SHIPPED = re.compile(r"[A-Za-z0-9_.-]+")
_REFERRED = re.compile(
    rf'^export BENCHD_SHIP_[A-Z0-9_]+="\$\{{JOB%/\*/\*/\*/\*\}}"/ship/({_SHIPPED.pattern})$',
    re.MULTILINE,
)
# Names in the job directory that carry the protocol: a kind's file may not replace them.
_OURS = re.compile(r"claim|up|exit\.json|endpoint\.json|(try|twin|unseen)-.*|.*\.(out|err)")


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
    box = _box(spec, payload, runtime)
    job = Job(spec, payload, box)
    is_service = spec.role is Role.SERVICE
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
        *_data_lines(spec, box),
        *(_image_lines(spec, token, runtime) if box is not None else []),
        *(_port_lines(spec, payload) if is_service else [parts.TARGETS]),
        *([parts.NODE] if spec.role is not Role.IMAGE else []),
        *([CLIENT_NOTE] if box is not None and not is_service else []),
        *script_body.functions(job),
        "",
        *script_body.body(job, _unlocking(spec)),
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


def _box(spec: JobSpec, payload: Payload, runtime: RuntimeSettings) -> Box | None:
    """Return how the job's commands are put into its image; None: they run on the host."""
    box = spec.container
    if box is None or containers.image_word(runtime, box) is None:
        return None
    ship = '"${JOB%/*/*/*/*}"/ship'
    return Box(
        runtime=runtime,
        mounts=(
            Mount('"$JOB"', '"$JOB"'),
            *((Mount('"$BENCHD_DATA"', '"$BENCHD_DATA"'),) if spec.storage == "local" else ()),
            *((Mount(ship, ship, read_only=True),) if payload.ship else ()),
            *(Mount(one.text, one.text) for one in payload.binds),
            *map(containers.mount, box.bind_mounts),
        ),
        gpu=script_body.wants_gpu(spec.resources),
        environment={**payload.environment, **spec.environment},
    )


def _data_lines(spec: JobSpec, box: Box | None) -> list[str]:
    """Make the directory of the job's data, and say what is taken away at the end."""
    lines, leaving = [], list(containers.leaving(box.runtime)) if box is not None else []
    if spec.role is Role.SERVICE:
        is_local = spec.storage == "local"
        lines.append(parts.LOCAL_DATA if is_local else parts.SHARED_DATA)
        leaving += ['rm -rf -- "$BENCHD_DATA"'] if is_local else []
    if leaving:
        lines += ["benchd_leave() {", *(f"    {line}" for line in leaving), "}"]
    return lines


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


def referred(script: str) -> tuple[str, ...]:
    """Return the files in W/ship that a script refers to: those of the release that wrote it."""
    return tuple(dict.fromkeys(_REFERRED.findall(script)))


def _may_have_secrets(spec: JobSpec) -> bool:
    """Tell whether something may lie in secret.env: a client is told what its services are told."""
    return bool(spec.secrets) or spec.role is Role.CLIENT


def _secret_lines(spec: JobSpec) -> list[str]:
    if not _may_have_secrets(spec):
        return []
    return [parts.REMEMBER if spec.restart.requeue else parts.FORGET, parts.SECRETS]


def _unlocking(spec: JobSpec) -> list[str]:
    """Return what brings the secrets into the payload's environment."""
    return [f"benchd_secrets {quote(' '.join(spec.secrets))}"] if _may_have_secrets(spec) else []


def _file_lines(files: Mapping[str, str | Sh]) -> list[str]:
    lines = []
    for name, text in files.items():
        if _FILE.fullmatch(name) is None or _OURS.fullmatch(name) is not None:
            raise ValueError(f"{name!r} cannot be a payload's file: use a plain relative name")
        folder = name.rpartition("/")[0]
        if folder:
            lines.append(f'mkdir -p "$JOB"/{folder}')
        lines.append(
            f"printf '%s' {word(text)} >\"$JOB\"/{name} || benchd_stop '{name} cannot be written'"
        )
    return lines


def _port_lines(spec: JobSpec, payload: Payload) -> list[str]:
    lines = [parts.PORTS]
    for want_fixed in (True, False):  # so that no picked port is one that is still to be taken
        for index, port in enumerate(spec.ports):
            if isinstance(port, int) is want_fixed:
                lines.append(f"benchd_take {port}")
                lines.append(f"export BENCHD_PORT_{index}=$benchd_port")
    if spec.ports:
        lines.append("export BENCHD_PORT=$BENCHD_PORT_0")
    if not payload.once_up:
        lines.append(script_body.publishing(spec))
    return [*lines, parts.RESULT]


def _image_lines(spec: JobSpec, token: str, runtime: RuntimeSettings) -> list[str]:
    """Set ``benchd_image``, and see that it is there."""
    if spec.container is None:
        return []
    program = containers.program(runtime)
    missing = quote(containers.is_missing(runtime, program))
    lines = [f"command -v {program} >/dev/null || benchd_stop {missing}"]
    return [*lines, *image_builds.inside(spec, token, runtime)]
