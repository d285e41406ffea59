"""What a job's batch script says to its node: phrase by phrase, as for commands.

The statements that carry the protocol (fence, claim, twin, generations) stand here to the letter.
The long texts of functions around them are known by a fingerprint: when one changes, read what it
does now, see that ``_BLOCKS`` and the phrases below still say so, and note the new fingerprint.
"""

from __future__ import annotations

import re
from contextlib import suppress
from hashlib import sha256

from benchd.core import script_parts as parts
from simulation.bash import WORD, Found, NotUnderstood, Phrasebook, unquote
from simulation.batch import Batch
from simulation.process import Exit, then

BOOK = Phrasebook()

# Texts that define functions and traps -> the beginning of their SHA-256.
_BLOCKS = {
    "RECORD": "858585ced916283b",
    "HOST": "91d3186577f82c52",
    "PORTS": "d382831d663b3e0e",
    "FORGET": "73d898647182cb23",
    "REMEMBER": "22f17fd7672d50fe",
    "SECRETS": "113c34fd44948fc5",
    "NODE": "6c88987b0c5549cc",
    "ASK": "5b1d888835089882",
    "GATHER": "df86e527fbbd9771",
}


def _block(name: str) -> str:
    text: str = getattr(parts, name, "")
    found = sha256(text.encode()).hexdigest()[:16]
    if text and found != _BLOCKS[name]:
        raise NotUnderstood(f"core.script_parts.{name} has changed: its fingerprint is {found}")
    return re.escape(text)


def _stop(job: Batch, said: str) -> None:
    """Do what benchd_stop does."""
    job.complain(said)
    raise Exit(1)


def _unseen(job: Batch, said: str) -> None:
    """Do what benchd_unseen does: 78, and a file that says so where one can be made."""
    job.complain(said)
    for path in (f"{job.home}/unseen-{job.id}", f"{job.home}.unseen-{job.id}"):
        try:
            job.write(path, b"")
        except OSError:
            continue
        break
    raise Exit(78)


# --- the head -------------------------------------------------------------------------------------

BOOK.nothing(r"#!/bin/bash\n")
BOOK.nothing(r"#SBATCH --[^\n]*\n")
BOOK.nothing(r"# Job [\w.-]+, written by benchd\. [^\n]*\n")
_HEAD = """\
# shellcheck disable=SC2016,SC2317,SC2329 # quotes are meant; traps call
set -u
JOB=${1:-} TRY=${2:-}
ID=${SLURM_JOB_ID:-} GENERATION=${SLURM_RESTART_COUNT:-0}

benchd_say() { printf 'benchd: %s\\n' "$*" >&2; }
benchd_stop() { benchd_say "$@"; exit 1; }
benchd_unseen() {
    benchd_say "$@"
    [ -z "$JOB" ] || { : >"$JOB/unseen-$ID" || : >"$JOB.unseen-$ID"; } 2>/dev/null
    exit 78
}
[ -n "$ID" ] || benchd_unseen 'SLURM_JOB_ID is not set: this script is for sbatch, not for a shell'
"""
BOOK.nothing(re.escape(_HEAD))

# --- the fence ------------------------------------------------------------------------------------


_SEEN = """\
[ -d "$JOB/try-$TRY" ] || benchd_unseen "the job directory '$JOB' (try '$TRY') is not seen" \\
    "from $(uname -n): workdir must be on a file system that compute nodes mount"

"""


@BOOK.literal(_SEEN)
def is_seen(job: Batch, m: Found) -> None:
    """Go on only where the try directory is seen."""
    if job.is_blind or not job.disk.is_dir(f"{job.home}/try-{job.attempt}"):
        _unseen(job, f"the job directory '{job.home}' (try '{job.attempt}') is not seen")


@BOOK.literal('ln -sT "$ID" "$JOB/claim" 2>/dev/null\n')
def claim(job: Batch, m: Found) -> None:
    """Take the claim, unless somebody has it."""
    try:
        job.symlink(job.id, f"{job.home}/claim")
    except OSError:
        return


@BOOK.literal(
    "for benchd_look in 1 2 3; do\n"
    '    benchd_owner=$(readlink "$JOB/claim") && break\n'
    '    [ "$benchd_look" = 3 ] || sleep 1\n'
    "done\n"
)
def look(job: Batch, m: Found) -> float | None:
    """Read whose the claim is: three looks, a second apart."""
    job.owner = job.disk.readlink(f"{job.home}/claim") or ""
    job.looks += 1
    if job.owner or job.looks == 3:
        return None
    then(job, (look, m))
    return 1.0


@BOOK.literal(
    '[ -n "$benchd_owner" ] || benchd_unseen "no claim can be made in \'$JOB\' from $(uname -n):" '
    "\\\n    'is it read-only, full, or over its quota?'\n"
)
def is_fenced(job: Batch, m: Found) -> float:
    """Go on only when somebody has the claim."""
    if not job.owner:
        _unseen(job, f"no claim can be made in '{job.home}'")
    return 0.0


@BOOK.literal(
    'if [ "$benchd_owner" != "$ID" ]; then\n'
    '    : >"$JOB/twin-$ID"\n'
    "    benchd_say \"nothing to do for Slurm job $ID: the work belongs to '$benchd_owner'\"\n"
    "    exit 75\n"
    "fi\n"
)
def is_mine(job: Batch, m: Found) -> float:
    """Go on only when it is ours."""
    if job.owner == job.id:
        return 0.0
    job.world.lost(job)
    try:
        job.write(f"{job.home}/twin-{job.id}", b"")
    except OSError as error:
        job.complain(str(error))
    job.complain(f"nothing to do for Slurm job {job.id}: the work belongs to '{job.owner}'")
    raise Exit(75)


_SPAN = """\
if ! mkdir "$JOB/try-$TRY/span-$GENERATION" 2>/dev/null; then
    [ -d "$JOB/try-$TRY/span-$GENERATION" ] || benchd_unseen "no directory can be made in" \\
        "'$JOB/try-$TRY' from $(uname -n): is it read-only, full, or over its quota?"
    benchd_say "nothing is done twice: Slurm lost track of job $ID and started it again"
    benchd_status=$(sed -n 's/.*"status":\\([0-9]*\\).*/\\1/p' "$JOB/exit.json" 2>/dev/null)
    exit "${benchd_status:-76}"
fi
"""


@BOOK.literal(_SPAN)
def begin(job: Batch, m: Found) -> float:
    """Go on only where this generation has not begun before."""
    span = f"{job.home}/try-{job.attempt}/span-{job.generation}"
    if job.disk.is_dir(span):
        job.complain(f"nothing is done twice: Slurm lost track of job {job.id}")
        found = re.search(rb'"status":([0-9]*)', _content(job, "exit.json"))
        raise Exit(int(found[1]) if found else 76)
    try:
        job.make_dirs(span)
    except OSError:
        _unseen(job, f"no directory can be made in '{job.home}/try-{job.attempt}'")
    return 0.0


def _content(job: Batch, name: str) -> bytes:
    try:
        return job.disk.read(f"{job.home}/{name}")
    except OSError:
        return b""


@BOOK.literal('rm -f "$JOB/endpoint.json" "$JOB/exit.json"\n')
def clear(job: Batch, m: Found) -> None:
    """Remove what an earlier span said."""
    then(job, (remove, "exit.json"))
    remove(job, "endpoint.json")


def remove(job: Batch, name: str) -> None:
    """Remove one file."""
    job.remove(f"{job.home}/{name}")


@BOOK.literal(
    'if [ "$GENERATION" != 0 ] && [ -d "$JOB/result" ]; then\n'
    '    mv -T "$JOB/result" "$JOB/result.before-$GENERATION" # of a span that does not count\n'
    "fi\n\n"
)
def set_aside(job: Batch, m: Found) -> None:
    """Keep what an earlier span measured out of the way."""
    if job.generation and job.disk.is_dir(f"{job.home}/result"):
        try:
            job.rename(f"{job.home}/result", f"{job.home}/result.before-{job.generation}")
        except OSError as error:
            job.complain(str(error))


# --- before the payload ---------------------------------------------------------------------------


@BOOK.pattern(_block("RECORD") + "\n")
def record(job: Batch, m: Found) -> None:
    """Set the traps: how it ends will be recorded."""
    job.trap()


BOOK.nothing(_block("HOST") + "\n")
BOOK.nothing(r"export BENCHD_TOKEN=[\w.-]+ BENCHD_JOB=\$JOB\n")
BOOK.nothing(_block("PORTS") + "\n")
BOOK.nothing(r"export BENCHD_PORT(?:_\d+)?=\$\w+\n")
BOOK.nothing(_block("REMEMBER") + "\n")
BOOK.nothing(_block("SECRETS") + "\n")


@BOOK.pattern(_block("FORGET") + "\n")
def forget(job: Batch, m: Found) -> float:
    """Set the trap that also removes the secrets."""
    job.forgets = True
    return 0.0


@BOOK.pattern(
    r"export (?P<name>BENCHD_SHIP_\w+)=\"\$\{JOB%/\*/\*/\*/\*\}\"/ship/(?P<file>[\w.-]+)\n"
)
def shipped(job: Batch, m: Found) -> float:
    """Know where a zipapp is."""
    job.shipped[m["name"]] = f"{job.home.rsplit('/', 4)[0]}/ship/{m['file']}"
    return 0.0


@BOOK.pattern(r'\[ -r "\$(?P<name>BENCHD_SHIP_\w+)" \] \|\| benchd_stop "(?P<why>[^"\n]*)"\n')
def is_shipped(job: Batch, m: Found) -> None:
    """Go on only when it is there."""
    if job.disk.file(job.shipped[m["name"]]) is None:
        _stop(job, m["why"])


@BOOK.pattern(r'mkdir -p "\$JOB"/(?P<name>[\w./-]+)\n')
def folder(job: Batch, m: Found) -> None:
    """Make a folder for the payload's files."""
    try:
        job.make_dirs(f"{job.home}/{m['name']}")
    except OSError as error:
        job.complain(str(error))


@BOOK.pattern(
    rf"printf '%s' (?P<text>{WORD}) >\"\$JOB\"/(?P<name>[\w./-]+) \|\| "
    r"benchd_stop '(?P<why>[^']*)'\n"
)
def file(job: Batch, m: Found) -> None:
    """Write one of the payload's files."""
    try:
        job.write(f"{job.home}/{m['name']}", unquote(m["text"]).encode())
    except OSError:
        _stop(job, m["why"])


# --- a service is found, a client finds -----------------------------------------------------------


@BOOK.pattern(r"benchd_take (?P<port>auto|\d+)\n")
def take(job: Batch, m: Found) -> float:
    """Choose a port; strangers never take one here."""
    wanted = m["port"]
    job.ports.append(job.world.rng.randint(20000, 32000) if wanted == "auto" else int(wanted))
    return 0.05  # seconds in which it looks whether something answers there


@BOOK.pattern(r'benchd_publish "(?P<ports>[^"]*)"\n')
def publish(job: Batch, m: Found) -> None:
    """Say where the service will answer."""
    ports = ",".join(str(port) for port in job.ports)
    said = (
        f'{{"slurm_id":"{job.id}","generation":{job.generation:d},'
        f'"host":"{job.node}","ports":[{ports}]}}\n'
    )
    then(job, (_name_endpoint, None))
    try:
        job.write(f"{job.home}/.endpoint.json.{job.id}", said.encode())
    except OSError as error:
        job.complain(str(error))


def _name_endpoint(job: Batch, _: None) -> None:
    try:
        job.rename(f"{job.home}/.endpoint.json.{job.id}", f"{job.home}/endpoint.json")
    except OSError:
        _stop(job, f"endpoint.json cannot be written in {job.home}: is the file system full?")


@BOOK.literal(
    '[ -r "$JOB/try-$TRY/targets.env" ] || benchd_stop "$JOB/try-$TRY/targets.env cannot be read"\n'
    "set -a\n"
    "# shellcheck disable=SC1090,SC1091 # written at submission\n"
    '. "$JOB/try-$TRY/targets.env"\n'
    "set +a\n"
)
def targets(job: Batch, m: Found) -> None:
    """Read what is measured."""
    path = f"{job.home}/try-{job.attempt}/targets.env"
    if job.disk.file(path) is None:
        _stop(job, f"{path} cannot be read")


@BOOK.literal(
    "export BENCHD_DATA=$JOB/data\n"
    'mkdir -p "$BENCHD_DATA" || '
    'benchd_stop "$BENCHD_DATA cannot be made: is the file system full?"\n\n'
)
def data(job: Batch, m: Found) -> None:
    """Make the directory of the service's data."""
    try:
        job.make_dirs(f"{job.home}/data")
    except OSError:
        _stop(job, f"{job.home}/data cannot be made: is the file system full?")


@BOOK.literal(
    "export BENCHD_RESULT_DIR=$JOB/result\n"
    'mkdir -p "$BENCHD_RESULT_DIR" || benchd_stop "$BENCHD_RESULT_DIR cannot be made"\n\n'
)
def result(job: Batch, m: Found) -> None:
    """Make the directory of what is measured."""
    try:
        job.make_dirs(f"{job.home}/result")
    except OSError:
        _stop(job, f"{job.home}/result cannot be made")


@BOOK.pattern(_block("NODE") + "\n")
def node(job: Batch, m: Found) -> None:
    """Say what the numbers depend on; whatever comes of it, the job goes on."""
    with suppress(OSError):
        job.write(f"{job.home}/result/benchd-node.json", b"{}\n")


BOOK.nothing(_block("ASK") + "\n")
# Nobody asks a virtual service, and what it leaves is not about itself.
BOOK.nothing(_block("GATHER") + "\n")
BOOK.nothing(r"benchd_gather\n")

# --- the payload ----------------------------------------------------------------------------------


BOOK.nothing(r"\nbenchd_payload\(\) \{\n(?:    [^\n]*\n|\n)*\}\n")


@BOOK.literal("benchd_run benchd_payload\n")
def run(job: Batch, m: Found) -> float:
    """Run the program."""
    job.run_payload()
    return 0.0


@BOOK.literal('exit "$benchd_status"\n')
def leave(job: Batch, m: Found) -> None:
    """End as it did."""
    raise Exit(job.status)
