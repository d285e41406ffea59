"""How an image is made: the script of an image job, and the same for the login node. Pure.

``build_commands`` are run, in order and until one fails, in what ``docker_source`` names. What that
needs is written for each runtime's own builder: a definition file for apptainer and singularity, a
Dockerfile for charliecloud and podman. enroot has no builder.
"""

from __future__ import annotations

from shlex import quote

from benchd.config import RuntimeSettings
from benchd.core import containers, image_parts, script_parts
from benchd.core.images import DOCKER, origin_text, refusal, source_of
from benchd.core.payload import Payload
from benchd.core.spec import Container, JobSpec

# What the commands of a recipe become inside of an image that is being made. Not below /tmp, where
# charliecloud shows the directory of this machine.
_COMMANDS = "/benchd-build.sh"
# Functions that a job's script has of its own, and a command on the login node needs.
_LOGIN = """set -u
ID=login-$$ BENCHD_HOST=$(uname -n)
benchd_say() { printf 'benchd: %s\\n' "$*" >&2; }
benchd_stop() { benchd_say "$@"; exit 1; }
"""


def payload(spec: JobSpec, token: str, runtime: RuntimeSettings) -> Payload:
    """Return what an image job runs: on its node, outside of any container."""
    lines = (*_lines(spec, token, runtime), '(benchd_bring) || exit "$?"')
    return Payload(argv=("true",), preamble=lines)


def inside(spec: JobSpec, token: str, runtime: RuntimeSettings) -> list[str]:
    """Return what makes sure of the image of a job, in that job: it is there, or it is made."""
    box = spec.container or Container()
    if source_of(box) and box.build in (None, "inside"):
        return [*_lines(spec, token, runtime), image_parts.INSIDE, image_parts.DIGEST]
    gone = "is not on this node and the recipe names no docker_source to make it from"
    if source_of(box):
        gone = "was there and is gone: was the directory cleaned? benchctl retry makes it again"
    check = f'[ -e "$benchd_image" ] || benchd_stop "$benchd_image {gone}"'
    return [f"benchd_image={containers.image_word(runtime, box)}", check, image_parts.DIGEST]


def login_script(spec: JobSpec, token: str, runtime: RuntimeSettings) -> str:
    """Return a bash script that makes the image where it is run."""
    modules = []
    if runtime.module is not None:
        words = " ".join(quote(name) for name in runtime.module.split())
        modules = [script_parts.MODULES, f"benchd_modules {words}"]
    return "\n".join([_LOGIN, *modules, *_lines(spec, token, runtime), "(benchd_bring)"]) + "\n"


def _lines(spec: JobSpec, token: str, runtime: RuntimeSettings) -> list[str]:
    box = spec.container or Container()
    missing = containers.is_missing(runtime, containers.maker(runtime))
    lines = [f"command -v {containers.maker(runtime)} >/dev/null || benchd_stop {quote(missing)}"]
    if runtime.cache is not None and runtime.name in ("apptainer", "singularity"):
        lines.append(
            f"export {runtime.name.upper()}_CACHEDIR={containers.shell_path(runtime.cache)}"
        )
        lines.append(f'mkdir -p "${runtime.name.upper()}_CACHEDIR"')
    return [
        *lines,
        f"benchd_image={containers.image_word(runtime, box)}",
        f"benchd_anew={quote('1' if box.force_rebuild else '')} benchd_by={token} benchd_mark=$ID",
        f"benchd_origin={quote(origin_text(box, runtime.name))}",
        "benchd_make() {",
        *(f"    {line}" for line in _make(box, runtime)),
        "}",
        image_parts.BRING,
    ]


def _make(box: Container, runtime: RuntimeSettings) -> list[str]:
    """Return lines that make ``$benchd_part``; the status of the last one counts."""
    if (why := refusal(runtime.name, box)) is not None:  # said when the recipe came in
        return [f"benchd_stop {quote(why)}"]
    if not box.build_commands:
        return containers.make_commands(runtime, box)
    return _BUILDERS[runtime.name](box)


def _definition(name: str, box: Container) -> list[str]:
    text = f"Bootstrap: docker\nFrom: {source_of(box).removeprefix(DOCKER)}\n\n%post\n    set -e\n"
    text += "".join(f"    {command}\n" for command in box.build_commands)
    return [
        f'printf %s {quote(text)} >"$benchd_part.def" || return',
        'set -- --fakeroot; [ "$(id -u)" != 0 ] || set --',
        f'{name} build "$@" "$benchd_part" "$benchd_part.def"',
        "benchd_made=$?",
        'rm -f "$benchd_part.def"',
        '[ "$benchd_made" = 0 ] || [ $# = 0 ] || benchd_say "as a plain user' + f" {name} builds"
        ' with --fakeroot, which the site has to allow you (see /etc/subuid on $(uname -n))"',
        'return "$benchd_made"',
    ]


def _context(box: Container) -> list[str]:
    """Return lines that put what a Dockerfile needs into ``$benchd_context``."""
    origin = source_of(box).removeprefix(DOCKER)
    script = "set -e\n" + "".join(f"{command}\n" for command in box.build_commands)
    dockerfile = (
        f"FROM {origin}\nCOPY build.sh {_COMMANDS}\nRUN /bin/sh {_COMMANDS} && rm -f {_COMMANDS}\n"
    )
    return [
        'benchd_context=$(mktemp -d "${TMPDIR:-/tmp}/benchd-build.XXXXXXXX") || return',
        f'printf %s {quote(script)} >"$benchd_context/build.sh" || return',
        f'printf %s {quote(dockerfile)} >"$benchd_context/Dockerfile" || return',
    ]


_FROM = '--file "$benchd_context/Dockerfile" "$benchd_context"'


def _charliecloud(box: Container) -> list[str]:
    return [
        *_context(box),
        'set -- "$benchd_context/store"',
        f'ch-image --no-cache --storage "$1" build --force --tag benchd {_FROM} &&',
        "    case $benchd_image in *.sqfs | *.sqsh | *.squashfs) benchd_form=squash ;;",
        "    *) benchd_form=dir ;; esac &&",
        '    CH_IMAGE_STORAGE=$1 ch-convert -i ch-image -o "$benchd_form" benchd "$benchd_part"',
        *_AFTER,
    ]


def _podman(box: Container) -> list[str]:
    return [
        *_context(box),
        f'podman build --quiet --tag "benchd-$benchd_mark" {_FROM} >/dev/null &&',
        '    set -- --quiet --format oci-archive --output "$benchd_part" &&',
        '    podman save "$@" "benchd-$benchd_mark"',
        *_AFTER,
    ]


_AFTER = ("benchd_made=$?", 'rm -rf "$benchd_context"', 'return "$benchd_made"')
_BUILDERS = {
    "apptainer": lambda box: _definition("apptainer", box),
    "singularity": lambda box: _definition("singularity", box),
    "charliecloud": _charliecloud,
    "podman": _podman,
}
