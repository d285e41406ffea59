"""Submitting exactly once: the one command that does it, and how its answer settles.

Theory of operation. Every try of a job has a directory, made by ``mkdir`` on the shared file
system. Who makes it calls ``sbatch``, once, and records there what came of it; who finds it made
only reads. So the same command may be sent any number of times: after a cut, a crash, a restored
backup. What it cannot settle (``sbatch`` timed out, or died) is looked for by name, and when the
quiet time is over without a sign, the next try may be made; should the first land after all, the
claim in the job's own script stops it.

Nothing is believed to have arrived before its length was checked: a link that is cut while a
script travels ends the stream like a complete one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from shlex import quote

from benchd.core import slurm
from benchd.core.model import Accepted, Binding, Evidence, Refused, Submission
from benchd.core.placement import ANYWHERE, Placed
from benchd.edge import pieces
from benchd.edge.pieces import Piece
from benchd.edge.shell import printable
from benchd.edge.targets import secret_env, targets_env, targets_json
from benchd.errors import TakenOver, Unreachable

# Seconds sbatch may take; a controller that limits us answers slowly and retries inside sbatch.
SBATCH_TIMEOUT = 150
# Seconds from the start of a try to the end of its sbatch, killed if need be. No rc by then: none.
TRY_TIME = SBATCH_TIMEOUT + 5
# Seconds of slack in the quiet time: a request may sit in a stalled controller's socket.
QUIET_SLACK = 60.0

# Variables of a user's profile that sbatch puts above the script's own lines, and with which one
# submission would be several jobs, another cluster's job, or a command that waits for its end.
_OVERRIDES = (
    "SBATCH_ARRAY_INX SBATCH_CLUSTERS SBATCH_NO_REQUEUE SBATCH_REQUEUE SBATCH_WAIT SLURM_CLUSTERS"
)

RUN_DIR_GONE = "RUN_DIR_GONE"
SEALED = "sealed"

# Why the command stopped -> (final, sentence). {0} is what it said, {1} the directory.
_STOPS: Mapping[str, tuple[bool, str]] = {
    "workdir": (
        False,
        "the workdir {1} is not there: is its file system mounted on the login node?",
    ),
    "rundir": (
        True,
        RUN_DIR_GONE + ": {1} was made for this run and is gone (a scratch cleaner?), so nothing "
        "can tell what was submitted from it; check squeue, then submit the recipe again",
    ),
    "mkdir": (
        False,
        "cannot make a directory in {1}: {0}; is it full, over quota or read-only?",
    ),
    "write": (False, "cannot write into {1}: {0}; is it full or over quota?"),
    SEALED: (True, "the job was cancelled before it was submitted ({1}/claim is sealed)"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitOrder:
    """One submission try, as it was committed before anything is sent."""

    token: str
    run_id: str
    k: int
    attempted_at: float
    script: str
    targets: tuple[Binding, ...] = ()
    placed: Placed = ANYWHERE
    make_run_dir: bool = False
    ship: tuple[str, ...] = ()  # files of W/ship that the script refers to
    job_record: str = ""  # see core.records; written beside the script
    run_record: str = ""  # the same for the run, in its directory
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a cluster's files are, and which of us may write there."""

    workdir: str
    instance: str
    cluster: str  # several may share a workdir, and each has its own epoch
    epoch: int
    skew: float = 0.0  # our clock minus the file server's, seconds

    @property
    def epoch_name(self) -> str:
        """The file in the workdir that says which of us may write there."""
        return f"epoch-{self.instance}-{self.cluster}"

    def run_dir(self, run_id: str) -> str:
        """Return the run's directory."""
        return f"{self.workdir}/runs/{run_id}"

    def job_dir(self, run_id: str, token: str) -> str:
        """Return the job's directory."""
        return f"{self.run_dir(run_id)}/jobs/{token}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What the try directory says. ``made_at`` and ``rc_at`` by our own clock."""

    stop: str = ""
    said: str = ""
    won: bool = False
    rc: int | None = None
    out: str = ""
    err: str = ""
    slurm_id: str | None = None
    claim: str | None = None
    made_at: float | None = None
    rc_at: float | None = None

    @property
    def owner(self) -> str | None:
        """The Slurm id that holds the job's claim."""
        return self.claim if self.claim is not None and self.claim.isdigit() else None


# The files that travel on stdin, one after the other, and where they are put. The last three are
# not written when they are empty.
_FILES = ("T/script.sh", "T/targets.json", "T/targets.env", "T/job.json", "R/run.json")
_SECRET = "T/secret.env"  # noqa: S105 - a file's name
_ALWAYS = frozenset(_FILES[:3])
Lengths = tuple[int, ...]


def payload(order: SubmitOrder) -> tuple[bytes, Lengths]:
    """Return what travels on stdin, and the length of each of its parts."""
    texts = (
        order.script,
        targets_json(order.targets),
        targets_env(order.targets),
        order.job_record,
        order.run_record,
        secret_env(order.secrets),
    )
    parts = [text.encode() for text in texts]
    return b"".join(parts), tuple(len(part) for part in parts)


def command(order: SubmitOrder, place: Place, lengths: Lengths) -> str:
    """Return the one command of a submission try. One line; safe to send again and again."""
    return _directory(order, place, lengths) + _sbatch(order) + "show"


def prepare(order: SubmitOrder, place: Place, lengths: Lengths) -> str:
    """Return the same without sbatch: who won the directory may send the try, once, by himself.

    He does so only where nothing stopped him and nobody has the claim (``may_send``).
    """
    return _directory(order, place, lengths) + "show"


def may_send(record: Record) -> bool:
    """Tell whether the answer of ``prepare`` gives the right to send the try."""
    return record.won and not record.stop and record.claim is None


def note(order: SubmitOrder, place: Place, rc: int, slurm_id: str, said: str) -> str:
    """Return the command that records what came of a try that was sent by ``prepare``'s winner.

    ``said``: one line. As with sbatch, the id is there before the rc.
    """
    number = f'printf "%s\\n" {quote(slurm_id)} >"$T/id.tmp" && mv "$T/id.tmp" "$T/id"; '
    return (
        _head(order.run_id, order.token, order.k, place)
        + f'printf "%s\\n" {quote(slurm_id)} >"$T/out"; '
        + f'printf "%s\\n" {quote(said)} >"$T/err"; '
        + (number if slurm_id else "")
        + f'printf "%s\\n" {rc:d} >"$T/rc.tmp" && mv "$T/rc.tmp" "$T/rc"; say rc {rc:d}; show'
    )


def undo(order: SubmitOrder, place: Place) -> str:
    """Return the command that takes back a directory whose winner surely sent nothing."""
    return _head(order.run_id, order.token, order.k, place) + 'rm -rf "$T"'


def _directory(order: SubmitOrder, place: Place, lengths: Lengths) -> str:
    verify = (
        f"d=$(head -c {sum(lengths)}; echo x); d=${{d%x}}; "
        f'[ "${{#d}}" -eq {sum(lengths)} ] || stop short "${{#d}}"; '
        '[ -d "$W" ] || stop workdir; '
        f'e=$(cat "$W/{place.epoch_name}" 2>&1); [ "$e" = {place.epoch} ] || stop epoch "$e"; '
    )
    make = 'm=$(mkdir -p "$R" 2>&1) || stop mkdir "$m"; '
    directory = (
        (make if order.make_run_dir else '[ -d "$R" ] || stop rundir; ')
        + 'm=$(mkdir -p "$J" 2>&1) || stop mkdir "$m"; '
        'if m=$(mkdir "$T" 2>&1); then say won 1; else [ -d "$T" ] || stop mkdir "$m"; show; fi; '
        # Somebody's claim is there already: whoever it is, this try has nothing to add.
        'c=$(readlink "$J/claim") && { [ "$c" = sealed ] && stop sealed; show; }; '
    )
    write = (
        f"m=$({{ {_written(lengths)}; }} 2>&1) || "
        # sbatch was not called and, the directory being ours, never will be: undo the try.
        '{ rm -rf "$T"; stop write "$m"; }; '
    )
    return _head(order.run_id, order.token, order.k, place) + verify + directory + write


def _written(lengths: Lengths) -> str:
    """Return the commands that cut what came on stdin into files.

    ``printf`` is part of the shell, so no list of processes shows what it is given; and ``umask``
    makes the files the user's own before there is a byte in them.
    """
    starts = (sum(lengths[:position]) for position in range(len(lengths)))
    return " && ".join(
        f'printf %s "${{d:{start}:{length}}}" >"${name}"'
        for name, start, length in zip((*_FILES, _SECRET), starts, lengths, strict=True)
        if length or name in _ALWAYS
    )


def _head(run_id: str, token: str, k: int, place: Place) -> str:
    """Return the names and functions every command about a try begins with."""
    return (
        # When the link is cut nobody reads what is said here, and that must end nothing: a try
        # that stopped between its mkdir and its sbatch would have to be waited out.
        "trap '' PIPE; "
        f"umask 077; W={quote(place.workdir)}; R={quote(place.run_dir(run_id))}; "
        f'J="$R/jobs/"{quote(token)}; T="$J/try-{k:d}"; {pieces.FUNCTIONS}'
        'stop() { say stop "$1"; say said "${2:-}"; exit 0; }; '
        'show() { put rc "$T/rc"; put id "$T/id"; put out "$T/out"; put err "$T/err"; '
        'link claim "$J/claim"; touch -c "$J" 2>/dev/null && say now "" "$(stat -c %Y "$J")"; '
        '[ -d "$T" ] && say made "" "$(stat -c %Y "$T")"; exit 0; }; '
    )


def _sbatch(order: SubmitOrder) -> str:
    nodes = "".join(
        f"--{option}={quote(value)} " for option, value in order.placed.options().items()
    )
    # id before rc: whoever reads an rc may rely on the rest. What cannot be written is still said.
    return (
        f"unset {_OVERRIDES}; timeout -k 5 {SBATCH_TIMEOUT} "
        f"sbatch --parsable --job-name={quote(order.token)} "
        '--output="$J/%j.out" --error="$J/%j.err" --open-mode=append --chdir="$J" --export=NONE '
        f"{nodes}"
        f'"$T/script.sh" "$J" {order.k:d} </dev/null >"$T/out" 2>"$T/err"; rc=$?; '
        'i=$(tail -n 1 "$T/out"); i=${i%%;*}; case "$i" in ""|*[^0-9]*) i= ;; esac; '
        '[ "$rc" -eq 0 ] && [ -n "$i" ] && printf "%s\\n" "$i" >"$T/id.tmp" '
        '&& mv "$T/id.tmp" "$T/id"; '
        'printf "%s\\n" "$rc" >"$T/rc.tmp" && mv "$T/rc.tmp" "$T/rc"; say rc "$rc"; '
    )


def seal(run_id: str, token: str, k: int, place: Place) -> str:
    """Return the command that seals a job's claim and shows its last try.

    A run directory that is not there is not made: a try that was under way could not tell it from
    one that a scratch cleaner took.
    """
    return (
        _head(run_id, token, k, place)
        + '[ -d "$R" ] || stop rundir; m=$(mkdir -p "$J" 2>&1) || stop mkdir "$m"; '
        'ln -sT sealed "$J/claim" 2>/dev/null; show'
    )


def read(answer: bytes, place: Place, now: float) -> Record:
    """Read the answer of ``command`` or ``seal``; ``Unreachable`` when it makes no sense.

    ``now``: when it came, by our clock. How long ago something was written is asked of the file
    server's clock alone: ours may have been set since the workdir was opened.
    """
    try:
        found = pieces.parse(answer)
    except ValueError as error:
        raise Unreachable(f"the login node's answer to a submission is garbled: {error}") from error
    rc = _text(found, "rc")
    skew = now - found["now"].at if "now" in found and found["now"].at else place.skew
    return Record(
        stop=_text(found, "stop"),
        said=printable(_text(found, "said")),
        won="won" in found,
        rc=int(rc) if rc.isdigit() else None,
        out=_text(found, "out"),
        err=_text(found, "err"),
        slurm_id=_text(found, "id") or None,
        claim=_text(found, "claim") or None,
        made_at=_at(found, "made", skew),
        rc_at=_at(found, "rc", skew),
    )


def _text(found: Mapping[str, Piece], label: str) -> str:
    return found[label].text if label in found else ""


def _at(found: Mapping[str, Piece], label: str, skew: float) -> float | None:
    # 0: said by the command itself (rc could not be written), not read from a file.
    return found[label].at + skew if label in found and found[label].at else None


def is_set_back(record: Record, place: Place) -> bool:
    """Tell whether the epoch is lower than ours; another benchd would have made it higher."""
    set_back = record.stop == "epoch" and record.said.isdigit()
    return set_back and int(record.said) < place.epoch


def stopped(record: Record, order: SubmitOrder, place: Place, evidence: Evidence) -> Refused | None:
    """Return why the command did not even try; raise when that is no fault of the job."""
    if not record.stop:
        return None
    if record.stop == "short":
        raise Unreachable(
            f"only {record.said} bytes of the script arrived; nothing was submitted", sent=False
        )
    if record.stop == "epoch":
        raise epoch_mismatch(place, record.said)
    final, sentence = _STOPS[record.stop]
    where = {
        "workdir": place.workdir,
        "rundir": place.run_dir(order.run_id),
    }.get(record.stop, place.job_dir(order.run_id, order.token))
    why = sentence.format(record.said or "no reason given", where)
    return Refused(why=why, final=final, evidence=evidence)


def settled(record: Record, evidence: Evidence) -> Submission | None:
    """Return what the record proves by itself; None when somebody has to look for the job."""
    slurm_id = record.owner or record.slurm_id
    if slurm_id:
        return Accepted(slurm_id=slurm_id, evidence=evidence)
    if record.rc is None:
        return None
    said = slurm.classify_sbatch(record.rc, record.out, record.err)
    if said.kind is slurm.SbatchKind.ACCEPTED and said.slurm_id:
        return Accepted(slurm_id=said.slurm_id, evidence=evidence)
    if said.kind is slurm.SbatchKind.REFUSED:
        limit = said.quota or None
        return Refused(why=said.why, final=said.final, evidence=evidence, reason=limit)
    return None


def shown(record: Record) -> str:
    """Return a record as evidence: what is written in the try directory."""
    words = {
        "stop": record.stop,
        "said": record.said,
        "id": record.slurm_id,
        "claim": record.claim,
        "out": record.out,
        "err": record.err,
    }
    return "; ".join(f"{label}: {word}" for label, word in words.items() if word)


def quiet_until(record: Record, attempted_at: float, message_timeout: float, slack: float) -> float:
    """Return when a try without a sign of life may count as dead, by our clock."""
    if record.rc_at is not None:
        ended = record.rc_at
    else:
        # made_at is later than attempted_at when the command had to wait for its turn.
        ended = max(attempted_at, record.made_at or 0.0) + TRY_TIME
    return ended + 2 * message_timeout + slack


def epoch_mismatch(place: Place, found: str, name: str = "") -> TakenOver:
    """Return what to raise about a workdir that somebody else writes in our name."""
    return TakenOver(
        f"{place.cluster}: {place.workdir}/{name or place.epoch_name} says "
        f"{found or 'nothing'!r}, expected {place.epoch}: another benchd with this state runs "
        "elsewhere, or this state was restored from a backup; make sure that no other one runs, "
        f"then use `benchctl cluster resume {place.cluster} --take-over`"
    )
