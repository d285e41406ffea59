"""What sbatch complains about, as data: is the job in the queue all the same, and what helps.

The texts are those of ``slurm_errno.c`` from 20.11 on, of ``sbatch`` itself and of the system
calls below it. Adding one is adding a row; what no row knows is judged by ``classify_sbatch``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Complaint(StrEnum):
    """What a failed sbatch tells about the job."""

    AMBIGUOUS = "ambiguous"  # it may be in the queue all the same: look, never just repeat
    RETRY = "retry"  # surely not in the queue; the same script may be accepted later
    QUOTA = "quota"  # as retry: a limit of the user's, so nothing new is sent meanwhile
    PERMANENT = "permanent"  # surely not in the queue, and never will be as it is


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """One complaint of sbatch: a regular expression on its stderr, in any case, and what to do."""

    pattern: str
    complaint: Complaint
    fix: str


_AMB, _RETRY, _PERM = Complaint.AMBIGUOUS, Complaint.RETRY, Complaint.PERMANENT
_QUOTA = Complaint.QUOTA
_LOOK = "benchd looks whether the job is in the queue before it tries again"
_PARTITION = "set resources.partition to one that `sinfo -s` lists"
_FITS = "no node has this much: lower resources, or choose another partition (`sinfo -Nl`)"
_SITE = "the site's policy; `sacctmgr show assoc user=$USER` shows your limits"
_OURS = "the script is damaged; this is a fault of benchd, please report it"
_MUNGE = "munge or the site's keys are in trouble; `munge -n | unmunge` on the login node tells"

# Ambiguous rows are looked for first, then the first match wins.
ERRORS: Final = (
    # The controller was never reached, or turned the call away unread.
    ErrorRow(r"\(connect failure\)", _RETRY, "the Slurm controller is down; wait for the site"),
    ErrorRow(r"standby mode", _RETRY, "a backup controller is taking over; wait"),
    ErrorRow(r"rate limit exceeded", _RETRY, "lower budget.submits_per_minute for this cluster"),
    ErrorRow(r"connection refused|no route to host|network is unreachable", _RETRY,
             "the login node does not reach the Slurm controller; wait for the site"),
    ErrorRow(r"name or service not known|name resolution|can't find an address", _RETRY,
             "the login node does not find the Slurm controller by name; tell the site"),
    ErrorRow(r"tls missing", _RETRY, "sbatch on the login node lacks TLS; tell the site"),
    # The wire broke: what was sent before may have arrived.
    ErrorRow(r"socket timed out", _AMB, _LOOK),
    ErrorRow(r"unable to contact slurm controller(?! \(connect)", _AMB, _LOOK),
    ErrorRow(r"zero bytes were transmitted", _AMB, _LOOK),
    ErrorRow(r"unexpected message received", _AMB, _LOOK),
    ErrorRow(r"message (receive|send) failure|failed to send entire message", _AMB, _LOOK),
    ErrorRow(r"communication (connection|shutdown) failure", _AMB, _LOOK),
    ErrorRow(r"connection (timed out|failure|rejected|forced|reset)|socket error", _AMB, _LOOK),
    ErrorRow(r"broken pipe|endpoint is not connected|interrupted system call", _AMB, _LOOK),
    ErrorRow(r"operation now in progress|(read|write) would block", _AMB, _LOOK),
    ErrorRow(r"insane message length|zero length message|message length < 0", _AMB, _LOOK),
    ErrorRow(r"header lengths are longer|cannot unpack", _AMB, _LOOK),
    ErrorRow(r"shutting down and closing", _AMB, _LOOK),
    # The answer speaks of a job: there is one.
    ErrorRow(r"job is (pending execution|in held state)", _AMB, _LOOK),
    # munge may fail on the way there or on the way back, and the text is the same
    ErrorRow(r"authentication error|authentication credential|munge", _AMB, _LOOK),
    # What newer versions may say about the wire, in the one line that gives the reason.
    ErrorRow(r"submission failed: (?!tls|connection refused)"
             r".*\b(timed out|timeout|socket|recv|connection|transmi)", _AMB, _LOOK),
    # Slurm or the login node is not itself.
    ErrorRow(r"authentication (failure|agent|public key|does not)|job credential|token generation",
             _RETRY, _MUNGE),
    ErrorRow(r"could not establish a configuration source|resolve_ctls|slurm\.conf", _RETRY,
             "sbatch finds no configuration on the login node: does `sinfo` work there?"),
    ErrorRow(r"(sbatch|slurm): (command )?not found", _RETRY,
             "sbatch is not on PATH of a non-interactive shell on the login node"),
    ErrorRow(r"incompatible versions|stream version", _RETRY,
             "sbatch and slurmctld differ, as in an upgrade; wait, then tell the site"),
    ErrorRow(r"(?<!selecttype )plugin|cli_filter|job_submit", _RETRY,
             "a filter or plug-in of the site's said no: ask the site"),
    ErrorRow(r"slurm internal error", _RETRY, "tell the site"),
    ErrorRow(r"maxjobcount limit|job queue full|create job record", _RETRY,
             "Slurm's job table is full; wait"),
    ErrorRow(r"submissions disabled|presently disabled|creation temporarily disabled", _RETRY,
             "the site takes no jobs; wait"),
    ErrorRow(r"resource temporarily unavailable|temporarily unable|try again", _RETRY, "wait"),
    ErrorRow(r"no space left|disk quota exceeded|i/o error writing script", _RETRY,
             "the disk is full, yours or the controller's"),
    # Limits that clear when other jobs end.
    ErrorRow(r"violates accounting/qos policy", _QUOTA, _SITE),
    ErrorRow(r"usage threshold", _QUOTA, _SITE),
    ErrorRow(r"burst buffer resource limit", _QUOTA, "burst buffer space is used up; wait"),
    # Not now.
    ErrorRow(r"partition in down state|partition not available|configuration not available now",
             _RETRY, "the partition is down or drained: wait, or use another one (`sinfo -s`)"),
    ErrorRow(r"licenses currently unavailable|nodes? (are )?busy|ports are in use", _RETRY, "wait"),
    ErrorRow(r"powered nodes|powered up nodes|prologslurmctld is still", _RETRY, "wait"),
    ErrorRow(r"immediate execution impossible|can not start immediately", _RETRY, "wait"),
    ErrorRow(r"waiting for burst buffer", _RETRY, "wait"),
    ErrorRow(r"required node not available", _RETRY, "the node is down or drained: `sinfo -R`"),
    ErrorRow(r"reservation (not usable|is in use)|maintenance reservation", _RETRY,
             "the reservation has not begun"),
    ErrorRow(r"invalid user id|invalid group id|unable to resolve (user|group)", _RETRY,
             "the Slurm controller does not know your user now; tell the site if it stays so"),
    # What only slurmrestd says.
    ErrorRow(r"slurmrestd: error: http (401|403|404|405|413|429)", _RETRY,
             "slurmrestd takes no such request now: does `benchd check` find its version?"),
    ErrorRow(r"(unable to process|unknown|disabled) key|unable to convert data", _PERM,
             "this slurmrestd does not understand one of the resources"),
    # Never, as it is.
    ErrorRow(r"invalid partition|no partition specified|multiple partition", _PERM, _PARTITION),
    ErrorRow(r"group not permitted to use this partition", _PERM, _PARTITION),
    ErrorRow(r"requested nodes not in this partition", _PERM,
             "resources.nodelist and resources.partition do not go together"),
    ErrorRow(r"invalid account", _PERM,
             "set resources.account to one of `sacctmgr show user $USER -s`"),
    ErrorRow(r"invalid or unknown association", _PERM, _SITE),
    ErrorRow(r"invalid qos|qos preemption loop", _PERM,
             "set resources.qos to one of `sacctmgr show qos`"),
    ErrorRow(r"invalid wckey", _PERM, "ask the site for your wckey"),
    ErrorRow(r"invalid mcs_label", _PERM, "ask the site for your MCS label"),
    ErrorRow(r"\bgres\b|trackable resource|\btres\b|restrictedcorespergpu", _PERM,
             "resources.gres or gpus names what no node has: see `sinfo -o '%P %G'`"),
    ErrorRow(r"time limit (specification )?(is )?(invalid|required)|invalid --time|invalid time",
             _PERM, "resources.time is missing, malformed or over the limit: `sinfo -o '%P %l'`"),
    ErrorRow(r"feature|extra constraints|--batch option|knl", _PERM,
             "resources.constraint names what no node has: `sinfo -o '%P %f'`"),
    ErrorRow(r"reservation", _PERM, "resources.reservation is not one you may use: "
             "`scontrol show reservation`"),
    ErrorRow(r"invalid license", _PERM, "resources.licenses: see `scontrol show licenses`"),
    ErrorRow(r"invalid node ?(name|list)", _PERM, "resources.nodelist or exclude: see `sinfo -N`"),
    ErrorRow(r"(node|topology) configuration is not available|can ?not be satisfied", _PERM, _FITS),
    ErrorRow(r"more (processors|tasks|ports|threads)|(node|cpu|task|core) count|memory required",
             _PERM, _FITS),
    ErrorRow(r"memory required by task|topology unit|fit topology|job size specification", _PERM,
             _FITS),
    ErrorRow(r"burst buffer", _PERM, "benchd asks for no burst buffer; ask the site"),
    ErrorRow(r"permission denied|not permitted|user nobody", _PERM, _SITE),
    ErrorRow(r"preemption is required", _PERM, _SITE),
    ErrorRow(r"job dependency|invalid job array|circular", _PERM, "benchd uses neither"),
    ErrorRow(r"dos line breaks|not look like a batch script|batch script is empty|too long|"
             r"only whitespace|script not specified|too big|null character", _PERM, _OURS),
    ErrorRow(r"environment is missing|without the current working directory", _PERM, _OURS),
    ErrorRow(r"mutually exclusive|can not be bigger than|incompatible with", _PERM,
             "two of the resources contradict each other"),
    ErrorRow(r"unrecogni[sz]ed|invalid --|invalid [\w-]+ specification|specification invalid|"
             r"invalid \S+ (argument|value)|invalid number of", _PERM,
             "one of the resources has a value that this Slurm does not know"),
    ErrorRow(r"failure during parsing", _PERM,
             "slurmrestd cannot read one of the resources, often gres: see `sinfo -o '%P %G'`"),
    ErrorRow(r"not supported on this system|only batch jobs|not avail", _PERM, _SITE),
)  # fmt: skip
