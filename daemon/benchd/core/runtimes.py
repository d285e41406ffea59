"""How an image is made and how a command is run in it, for each container runtime: shell.

What all have in common: the image is read-only; a command gets the variables that are listed here,
those of its kind and recipe, its secrets, and nothing else; values of secrets are never on a
command line, because the runtime is told names and reads the values from its own environment; the
job's directory, its data and the recipe's mounts are seen under their own paths. What differs, and
where it is said:

apptainer, singularity
    take ``APPTAINERENV_X`` as ``X`` (user guide, "Environment and Metadata"), so that nothing that
    is meant for the program can steer the runtime. Their ``--env`` cuts values at commas.
charliecloud
    hands on its whole environment, so it is emptied first. ``--set-env=X='value'`` takes off one
    pair of quotes, ``--env-no-expand`` leaves ``$`` alone, and a read-only image must have what is
    mounted on (ch-run(1), tried with 0.31): in an image that is a directory it is made.
podman
    ``--env X`` without a value hands on its own (podman-run(1)). Its store belongs to one node, so
    images are archives, loaded where they are used, or directories (``--rootfs``).
    ``--entrypoint ''`` runs our command and not the image's. ``--pid host``, as with the others:
    the first process of a PID namespace of its own does not die of SIGTERM unless it handles it.
enroot
    wants ``REGISTRY#IMAGE``, runs the image's /etc/rc unless ``--rc`` names another script, and
    takes one pair of quotes off values (its doc/cmd/import.md, start.md and src/runtime.sh).
pyxis
    is enroot as options of srun. What ``--container-env`` names wins over the image; the rest of
    srun's environment is handed on where the image lacks it, so it is emptied (its README).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from shlex import quote

from benchd.config import RuntimeSettings
from benchd.core.payload import Sh

# A registry's name is told from an account's by its dot or colon, as docker itself does.
_REGISTRY = re.compile(r"docker://(?P<host>[^/#]*[.:][^/#]*|localhost)/(?P<rest>.+)")

# What is handed on: ours, the secrets, and which devices and cores are the job's own; without them
# it would see the GPUs and cores of its neighbours.
_DEVICES = (
    "CUDA_VISIBLE_DEVICES GPU_DEVICE_ORDINAL ROCR_VISIBLE_DEVICES "
    "SLURM_CPUS_PER_TASK SLURM_JOB_ID SLURM_RESTART_COUNT"
)
_EACH = f'for benchd_name in "${{!BENCHD_@}}" {_DEVICES} ${{BENCHD_SECRETS:-}}; do'
# Takes everything else out of the environment, but for what a runtime itself needs to work.
_EMPTIED = (
    f'local benchd_name benchd_handed=" ${{!BENCHD_*}} {_DEVICES} ${{BENCHD_SECRETS:-}} "',
    "for benchd_name in $(compgen -e); do",
    '    case "$benchd_handed PATH HOME USER LOGNAME LANG " in',
    '        *" $benchd_name "*) ;;',
    '        *) case $benchd_name in SLURM_* | CH_*) ;; *) export -n "${benchd_name?}" ;; esac ;;',
    "    esac",
    "done",
)
# Names the variables that are there, one flag each: benchd_flags=(--env A --env B ...).
_NAMED = (
    "local benchd_name",
    "benchd_flags=()",
    _EACH,
    '    [ -z "${!benchd_name+x}" ] || benchd_flags+=(--env "$benchd_name")',
    "done",
)


@dataclass(frozen=True, slots=True)
class Mount:
    """Something of the node that is seen in the container; all are words of shell."""

    source: str
    target: str
    read_only: bool = False
    written: str = ""  # as the recipe has it, SOURCE[:TARGET[:ro]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """How the commands of one job are put into containers."""

    runtime: RuntimeSettings
    mounts: tuple[Mount, ...] = ()
    gpu: bool = False
    environment: Mapping[str, str | Sh] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What is particular to one runtime. Everything returned is shell."""

    runs: str  # the program that runs a command in an image
    makes: str  # the program that makes an image
    suffix: str  # of an image in the cache; empty: images are directories
    make: Callable[[str], list[str]]  # from a source, as $benchd_part
    words: Callable[[Box, str], list[str]]  # of box and image: the command runs behind them
    enter: tuple[str, ...]  # in the process that becomes the command: what is handed on
    open: tuple[str, ...] = ()  # makes image $1 usable on this node; $2... are mounts' targets
    leave: tuple[str, ...] = ()  # takes away what may be left on this node


def word(argument: str | Sh) -> str:
    """Return one argument of a command as shell."""
    if isinstance(argument, Sh):
        return argument.text
    if "\0" in argument:
        raise ValueError(f"{argument!r} cannot be an argument: no program can be given a NUL byte")
    return quoted(argument)


def quoted(text: str) -> str:
    """Return a text as one word of shell, without carriage returns: sbatch takes no script of DOS.

    They reach the program all the same.
    """
    return quote(text).replace("\r", "'$'\\r''")


def _options(box: Box) -> list[str]:
    return [quote(option) for option in box.runtime.options]


def _flags(flag: str, values: Iterable[str]) -> list[str]:
    return [word for value in values for word in (flag, value)]


def _given(box: Box, before: str = "", around: str = "") -> list[str]:
    """Return the variables as words NAME=VALUE, with this before the name and around the value."""
    return [
        quote(f"{before}{name}={around}{value}{around}")
        if isinstance(value, str)
        else f"{quote(f'{before}{name}={around}')}{value.text}{quote(around) if around else ''}"
        for name, value in box.environment.items()
    ]


def _joined(mounts: Iterable[Mount]) -> list[str]:
    """Return mounts as SOURCE:TARGET[:ro]."""
    return [f"{one.source}:{one.target}" + (":ro" if one.read_only else "") for one in mounts]


def _brief(one: Mount) -> str:
    return f"{one.source}:{one.target}:ro" if one.read_only else one.source


def _apptainer(name: str) -> Kind:
    prefix = f"{name.upper()}ENV_"

    def words(box: Box, image: str) -> list[str]:
        given = [f"{prefix}{name}={word(value)}" for name, value in box.environment.items()]
        return [
            *(["env", *given] if given else []),
            *(name, "exec", "--cleanenv"),
            *_flags("--bind", (one.written or _brief(one) for one in box.mounts)),
            *("--pwd", '"$JOB"', *([f"--{box.runtime.gpu}"] if box.gpu else [])),
            *(*_options(box), image),
        ]

    return Kind(
        runs=name,
        makes=name,
        suffix=".sif",
        make=lambda origin: [f'{name} pull "$benchd_part" {quote(origin)}'],
        words=words,
        enter=(
            "local benchd_name",
            _EACH,
            f'    [ -z "${{!benchd_name+x}}" ] || export "{prefix}$benchd_name=${{!benchd_name}}"',
            "done",
            # It would run $(...) in values but for this; versions before 1.1 do not know it.
            f"export {name.upper()}_NO_EVAL=1",
        ),
    )


def _charliecloud_make(origin: str) -> list[str]:
    # Its cache is a git repository, which a user without a name for git cannot have; and of a store
    # that is removed nothing is found again.
    reference = quote(origin.removeprefix("docker://"))
    return [
        'benchd_store=$(mktemp -d "${TMPDIR:-/tmp}/benchd-store.XXXXXXXX") &&',
        f'    ch-image --no-cache --storage "$benchd_store" pull {reference} &&',
        "    case $benchd_image in *.sqfs | *.sqsh | *.squashfs) set -- squash ;; *) set -- dir ;;",
        "    esac &&",
        # Not every ch-convert has an option for the store: 0.31 has none.
        "    CH_IMAGE_STORAGE=$benchd_store \\",
        f'        ch-convert -i ch-image -o "$1" {reference} "$benchd_part"',
        "set -- $?",
        'rm -rf "${benchd_store:-}"',
        '[ "$1" = 0 ]',
    ]


def _charliecloud(box: Box, image: str) -> list[str]:
    given = _given(box, "--set-env=", "'")
    return [
        *("ch-run", *_flags("--bind", (f"{one.source}:{one.target}" for one in box.mounts))),
        *("--cd", '"$JOB"', "--unset-env='BASH_FUNC_*'", "--env-no-expand"),
        "--set-env=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        *('"${benchd_flags[@]}"', *given, *_options(box), image, "--"),
    ]


# An image's own variables are in /ch/environment, where ch-image has made it.
_CHARLIECLOUD_OPEN = (
    "local image=$1 target",
    "export USER=${USER:-$(id -un)}  # ch-run will not start without it",
    "shift",
    'if [ -d "$image" ]; then',
    '    for target in "$@"; do',
    '        [ -e "$image$target" ] || [ "${target#/tmp/}" != "$target" ] ||',
    '            mkdir -p "$image$target" ||',
    '            benchd_stop "$image has no $target to mount on, and none can be made"',
    "    done",
    "fi",
    "benchd_flags=(--unset-env=BENCHD_SECRETS)",
    'if ch-run "$image" -- sh -c "[ -r /ch/environment ]" 2>/dev/null; then',
    "    benchd_flags+=(--set-env)",
    "fi",
)


def _podman(box: Box, image: str) -> list[str]:
    devices = {
        "nv": ["--device", "nvidia.com/gpu=all", "--security-opt", "label=disable"],
        "rocm": ["--device", "/dev/kfd", "--device", "/dev/dri", "--group-add", "keep-groups"],
    }
    given = _given(box)
    return [
        *("podman", "run", "--rm", "--label", '"benchd=$ID"', "--network", "host", "--ipc", "host"),
        *("--pid", "host"),
        *("--cgroups", '"$benchd_cgroups"', "--userns", '"$benchd_userns"', "--log-driver", "none"),
        *("--read-only", "--pull", "never", "--entrypoint", "''", "--workdir", '"$JOB"'),
        *_flags("--volume", _joined(box.mounts)),
        *('"${benchd_flags[@]}"', *_flags("--env", given)),
        *(devices[box.runtime.gpu] if box.gpu else []),
        *(*_options(box), '"${benchd_box[@]}"'),
    ]


_PODMAN_OPEN = (
    "benchd_cgroups=disabled benchd_userns=keep-id",
    '[ "$(id -u)" != 0 ] || benchd_userns=host',
    "[ \"$(podman info --format '{{.Host.OCIRuntime.Name}}')\" = crun ] || benchd_cgroups=enabled",
    'if [ -d "$1" ]; then',
    '    benchd_box=(--rootfs "$1")',
    "else",
    '    benchd_box=("$(podman load --quiet --input "$1")") || benchd_stop "podman cannot load $1"',
    '    benchd_box=("${benchd_box[0]##*: }")',
    "fi",
)


def _podman_make(origin: str) -> list[str]:
    return [
        f"benchd_id=$(podman pull --quiet {quote(origin)}) &&",
        '    podman save --quiet --format oci-archive --output "$benchd_part" "$benchd_id"',
    ]


def _enroot_make(origin: str) -> list[str]:
    match = _REGISTRY.fullmatch(origin)
    uri = f"docker://{match['host']}#{match['rest']}" if match else origin
    return [f'enroot import --output "$benchd_part" -- {quote(uri)}']


def _enroot(box: Box, image: str) -> list[str]:
    mounts = [
        f"{one.source}:{one.target}:none:x-create=auto,rbind" + (",ro" if one.read_only else "")
        for one in box.mounts
    ]
    given = _given(box, around='"')
    return [
        *("enroot", "start", "--rc", '"$JOB/.enroot-rc"', *_flags("--mount", mounts)),
        *('"${benchd_flags[@]}"', *_flags("--env", given), *_options(box)),
        *("--", '"$benchd_box"'),
    ]


_ENROOT_OPEN = (
    "benchd_box=benchd-$ID-$BASHPID",
    'enroot create --name "$benchd_box" -- "$1" >/dev/null ||',
    '    benchd_stop "enroot cannot unpack $1 on $BENCHD_HOST"',
    'printf \'%s\\n\' \'cd "$BENCHD_JOB" && exec "$@"\' >"$JOB/.enroot-rc"',
)


def _pyxis(box: Box, image: str) -> list[str]:
    mounts = ",".join(_joined(box.mounts))
    given = _given(box)
    return [
        *("srun", "--overlap", "--export=ALL", "--cpu-bind=none", "--nodes=1", "--ntasks=1"),
        *('--nodelist="$SLURMD_NODENAME"', f"--container-image={image}"),
        *(f"--container-mounts={mounts}", '--container-workdir="$JOB"', "--container-readonly"),
        *('--container-env="$benchd_listed"', "--no-container-mount-home"),
        *("--no-container-entrypoint", *_options(box), *(["env", *given] if given else [])),
    ]


KINDS: Mapping[str, Kind] = {
    "apptainer": _apptainer("apptainer"),
    "singularity": _apptainer("singularity"),
    "charliecloud": Kind(
        runs="ch-run",
        makes="ch-image",
        suffix="",
        make=_charliecloud_make,
        words=_charliecloud,
        open=_CHARLIECLOUD_OPEN,
        enter=_EMPTIED,
    ),
    "podman": Kind(
        runs="podman",
        makes="podman",
        suffix=".tar",
        make=_podman_make,
        words=_podman,
        open=_PODMAN_OPEN,
        enter=_NAMED,
        leave=(
            'podman ps --all --quiet --filter label=benchd="$ID" |',
            "    xargs -r podman rm --force --time 0 >/dev/null",
        ),
    ),
    "enroot": Kind(
        runs="enroot",
        makes="enroot",
        suffix=".sqsh",
        make=_enroot_make,
        words=_enroot,
        open=_ENROOT_OPEN,
        enter=_NAMED,
        leave=('enroot list | grep "^benchd-$ID-" | xargs -r enroot remove --force',),
    ),
    "pyxis": Kind(
        runs="srun",
        makes="enroot",
        suffix=".sqsh",
        make=_enroot_make,
        words=_pyxis,
        enter=(
            *_EMPTIED,
            "benchd_listed=BENCHD_JOB",
            "for benchd_name in $benchd_handed; do benchd_listed+=,$benchd_name; done",
        ),
    ),
}
