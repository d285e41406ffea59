"""A program of the user's own, as the recipes of other projects bring theirs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

from benchd.catalog import readings
from benchd.catalog.clients import wrapped
from benchd.catalog.clients.common import RESULT, target_environment, told_duration
from benchd.catalog.kinds import WAIT, ClientKind, Complaint, word
from benchd.core import secrets
from benchd.core.brought import ScriptFile
from benchd.core.containers import shell_path
from benchd.core.payload import Payload, Sh
from benchd.core.runtimes import quoted
from benchd.core.spec import Client, JobSpec, Part
from benchd.secrecy import is_secret

# What may run a program, the first that is there; by its suffix, else by its first line.
_PYTHON, _BASH, _SH = "python3 python", "bash", "sh"
_SUFFIXES = {".py": _PYTHON, ".sh": _BASH, ".bash": _BASH}
_FIRST_LINE = re.compile(r"#!.*\b(?:(?P<python>python)[0-9.]*|(?P<bash>bash)|(?P<sh>sh))\b")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))", re.ASCII)
# Where other projects' containers see the directory of their scripts.
_MOUNTED = "/app/"
# Directories that do not outlive the job, or that jobs of one node share: results belong elsewhere.
_PASSING = ("/tmp/", "/var/tmp/")  # noqa: S108 - where recipes write, not we

# POSIX sh: it also runs in images that have no bash. The program's directory is that of the
# results, so what it writes without a path comes home. 30 s: to write down what it has.
_RUN = r"""#!/bin/sh
# usage: run-script.sh SECONDS PACKAGES FILE INTERPRETERS WORD ...
# SECONDS 0: as long as it takes. FILE: what it writes, when that lies elsewhere.
set -u
limit=$1 packages=$2 file=$3 interpreters=$4
shift 4
child='' stopped='' started=$(date +%s)
say() { printf 'benchd: %s\n' "$*" >&2; }
cd "$BENCHD_RESULT_DIR" || exit 1

if [ -n "$interpreters" ]; then
  found=''
  for name in $interpreters; do
    if [ -z "$found" ] && command -v "$name" >/dev/null 2>&1; then found=$name; fi
  done
  if [ -z "$found" ]; then
    say "none of these is here to run the script: $interpreters; use an image that has it"
    exit 127
  fi
  { command -v "$found"; printf '%s\n' "${BENCHD_TOOL_IMAGE:-}"; "$found" --version; } 2>&1 |
    head -n 3 >benchd-interpreter.txt
  set -- "$found" "$@"
fi
if [ -n "$packages" ]; then
  # shellcheck disable=SC2086 # one word each
  "$1" "$BENCHD_JOB/packages.py" $packages || exit 1
  PYTHONPATH=$BENCHD_JOB/packages${PYTHONPATH:+:$PYTHONPATH}
  export PYTHONPATH
fi

# Their scripts take the directory for granted; that it is missing would be found after measuring.
if [ "${file%/*}" != "$file" ]; then mkdir -p "${file%/*}" 2>/dev/null; fi

# shellcheck disable=SC2317,SC2329 # the trap calls it
stop() {
  stopped=yes
  if [ -n "$child" ]; then kill -TERM "$child" 2>/dev/null; fi
}
trap stop TERM INT
"$@" &
child=$!
timer=''
if [ "$limit" != 0 ]; then
  (
    sleep "$limit"
    : > benchd-time-is-up
    kill -TERM "$child" 2>/dev/null
    sleep 30
    kill -KILL "$child" 2>/dev/null
  ) &
  timer=$!
fi
wait "$child"
status=$?
if [ -n "$stopped" ]; then wait "$child"; status=143; fi
if [ -n "$timer" ]; then kill "$timer" 2>/dev/null; fi
if [ -n "$file" ] && [ "$(stat -c %Y "$file" 2>/dev/null || echo 0)" -ge "$started" ]; then
  cp "$file" "$BENCHD_RESULT_DIR/" || say "$file could not be copied to the results"
fi
if [ -e benchd-time-is-up ]; then
  say "it was ended after $limit s, the duration that the recipe gives it: the result is partial"
  exit 124
fi
exit "$status"
"""

# Only what is missing is installed, below the job's directory: images are read-only.
_PACKAGES = r"""import importlib.metadata as metadata
import os
import re
import subprocess
import sys

missing = []
for wanted in sys.argv[1:]:
    try:
        metadata.version(re.split(r"[\[=<>!~]", wanted)[0])
    except metadata.PackageNotFoundError:
        missing.append(wanted)
if missing:
    where = os.path.join(os.environ["BENCHD_JOB"], "packages")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--target", where]
    status = subprocess.call([*pip, "--disable-pip-version-check", *missing])
    if status:
        print("benchd: pip could not install", *missing, file=sys.stderr)
        print("benchd: better have them in the image: container.build_commands", file=sys.stderr)
        sys.exit(1)
"""

# Fills in variables inside the process: on its command line, everybody on the node reads them.
_START = r"""import os
import re
import runpy
import sys

sys.argv = [re.sub(r"\$\{(\w+)\}", lambda m: os.environ.get(m[1], m[0]), a) for a in sys.argv[1:]]
sys.path[0] = os.path.dirname(sys.argv[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def interpreters(name: str, text: str) -> str | None:
    """Return the programs that may run a script, by its suffix or its first line."""
    for suffix, programs in _SUFFIXES.items():
        if name.endswith(suffix):
            return programs
    match = _FIRST_LINE.match(text.partition("\n")[0])
    if match is None:
        return None
    return _PYTHON if match["python"] else _BASH if match["bash"] else _SH


def _payload(spec: JobSpec) -> Payload:
    script = spec.script or ScriptFile(name="missing.sh", text="exit 1\n")
    text = script.text or ""
    argv, files = _command(spec, script), {f"script/{script.name}": text}
    files["run-script.sh"] = _RUN
    if script.packages:
        files["packages.py"] = _PACKAGES
    if any(isinstance(each, Sh) and "start.py" in each.text for each in argv):
        files["start.py"] = _START
    own = _output_file(spec)
    file = own if own is not None and not _is_passing(own) else ""
    environment: dict[str, str | Sh] = {"PYTHONUNBUFFERED": "1", **wrapped.ENVIRONMENT}
    environment |= target_environment(spec, script.endpoint or "url")
    if own is not None:
        environment["BENCHD_OUTPUT_FILE"] = _placed(own, own)
    return Payload(
        argv=(
            *("sh", Sh('"$JOB/run-script.sh"'), str(spec.duration or 0)),
            *(" ".join(script.packages), _placed(file, None) if file else ""),
            *argv,
        ),
        environment=environment,
        files=files,
        preamble=(*told_duration(spec), *_copy(script)),
    )


def _command(spec: JobSpec, script: ScriptFile) -> tuple[str | Sh, ...]:
    """Return who may run it, and the words of the command line."""
    own = Sh(f'"$JOB/script/{script.name}"')
    said = [_filled(text, spec) for text in spec.args]
    program = shlex.split(spec.command) if spec.command else []
    who = "" if program else interpreters(script.name, script.text or "") or _SH
    words: list[str | Sh] = [word(text) for text in program]
    if not any(_is_it(text, script) for text in said):
        words.append(own)
    output = _output_file(spec)
    hidden = [name for name in spec.secrets if any(f"${{{name}}}" in text for text in said)]
    words += [own if _is_it(text, script) else _placed(text, output) for text in said]
    if hidden and ("python" in who or "python" in (program or [""])[0]):
        words.insert(words.index(own), Sh('"$JOB/start.py"'))
    return (who, *words, *_options(spec, script, said))


def _options(spec: JobSpec, script: ScriptFile, said: Sequence[str]) -> Iterator[str | Sh]:
    """Yield the parameters as options, and where the service is; not what the args say already."""

    def is_new(option: str) -> bool:
        return not any(text == option or text.startswith(f"{option}=") for text in said)

    if spec.targets and script.endpoint != "none" and "endpoint" not in spec.parameters:
        scheme = "" if script.endpoint == "address" else "http://"
        if is_new("--endpoint"):
            host, port = '"$BENCHD_TARGET_HOST"', '"$BENCHD_TARGET_PORT"'
            yield Sh(f"--endpoint={scheme}{host}:{port}")
    output = _output_file(spec)
    options: dict[str, str] = {}
    if spec.output is not None and spec.output.file is not None and not spec.command:
        options["output_file"] = spec.output.file
    for name, value in spec.parameters.items():
        if name == WAIT:  # the job itself waits, before the script begins
            continue
        options[name] = str(value).lower() if isinstance(value, bool) else str(value)
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if is_new(option):
            filled = _placed(value, output)
            yield Sh(f"{option}={filled.text if isinstance(filled, Sh) else quoted(filled)}")


def _is_it(text: str, script: ScriptFile) -> bool:
    """Tell whether an argument is the script, by one of the paths that it has elsewhere."""
    folders = (_MOUNTED, "", "./", f"{(script.remote_path or '').rstrip('/')}/")
    return text in {f"{folder}{script.name}" for folder in folders}


def _filled(text: str, spec: JobSpec) -> str:
    """Put the variables of the recipe's own environment into an argument."""

    def value(match: re.Match[str]) -> str:
        return spec.environment.get(match[1] or match[2], match[0])

    return _VARIABLE.sub(value, text)


def _output_file(spec: JobSpec) -> str | None:
    """Return the file that the recipe says the script writes."""
    named = spec.parameters.get("output_file")
    if isinstance(named, str) and named:
        return named
    return spec.output.file if spec.output is not None else None


def _is_passing(path: str) -> bool:
    return path.startswith(_PASSING) or not path.startswith(("/", "$", "~"))


def _placed(text: str, output: str | None) -> str | Sh:
    """Return a word in which a result file that would be lost lies among the results."""
    if output is None or not _is_passing(output) or not text.endswith(output):
        return word(text)
    before = text[: len(text) - len(output)]
    if before and not before.endswith("="):
        return word(text)
    return Sh(f"{shlex.quote(before) if before else ''}{RESULT.text}/{shlex.quote(_name(output))}")


def _name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2] or "output"


def _copy(script: ScriptFile) -> Iterator[str]:
    """Yield the line that puts a copy where the recipe wants one, unless another file lies there.

    In a shell of its own: a variable that is not set on the node must not end the job.
    """
    if script.remote_path is not None:
        here, there = f'"$JOB/script/{script.name}"', f'"$d/{script.name}"'
        yield (
            f"( d={shell_path(script.remote_path.rstrip('/') or '/')}; "
            f"if [ ! -e {there} ]; then "
            f'mkdir -p -- "$d" && cp -- {here} "$d/.{script.name}.$ID" && '
            f'mv -fT -- "$d/.{script.name}.$ID" {there}; '
            f"else cmp -s -- {here} {there} || "
            f'benchd_say {there} "is another file: it stays, the job uses its own"; fi ) || '
            "benchd_say 'no copy of the script could be put into script.remote_path'"
        )


def _check(part: Part) -> Iterator[Complaint]:
    script = part.script if isinstance(part, Client) else None
    if script is None:
        what = f"missing: kind 'script' runs the file you name here ({part.name} names none)"
        yield (("script",), what)
        return
    if script.text is not None and not part.command and not interpreters(script.name, script.text):
        what = "neither .py nor .sh, and its first line names neither python nor bash"
        yield (("script", "name"), f"{script.name!r} is {what}: say what runs it in command")
    for name in part.parameters:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,63}", name):
            yield ("parameters", name), "cannot be an option: use letters, digits, _ and -"
        elif is_secret(name):
            what = "every user of the node would read it on the command line; write it under"
            yield ("parameters", name), f"{what} secrets: and read the variable in the script"
    yield from _open_secrets(part, script)


def _open_secrets(part: Part, script: ScriptFile) -> Iterator[Complaint]:
    """Refuse secrets in arguments where they cannot be kept from the list of processes."""
    who = part.command or interpreters(script.name, script.text or "") or ""
    named = {*secrets.sources(part)}
    for index, text in enumerate(part.args):
        found = {match[1] or match[2] for match in _VARIABLE.finditer(text)} & named
        if found and "python" not in who.split(" ", 1)[0]:
            what = "would be seen in the list of processes; let the script read the variable"
            yield ("args", index), f"{', '.join(sorted(found))} {what}"


KIND = ClientKind(
    name="script",
    summary="a program of your own (`script: {name: bench.py}`): parameters become its options, "
    "numbers in the JSON that it leaves become metrics",
    payload=_payload,
    parse=readings.script,
    extra_check=lambda part: tuple(_check(part)),
    needs_target=False,
    free_parameters=True,
)
