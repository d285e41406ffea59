"""What goes wrong at one site: how likely, how long, when. Everything is drawn from one seed."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from random import Random


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Probabilities (per opportunity), lengths (seconds) and rates (per hour) of faults.

    ``Faults()`` is a site where nothing goes wrong.
    """

    # --- the link: per command ---
    lost_answer: float = 0.0  # it was done, and nobody hears how
    refused: float = 0.0  # the session is not opened: surely nothing ran
    slow_shell: float = 0.0  # start-up files that take up to 40 s
    cut_stdin: float = 0.0  # the link goes down while standard input travels
    cut: float = 0.0  # the link goes down at some moment of the command
    hangup: float = 0.5  # of commands whose link goes down: they are killed, not left to go on
    killed: float = 0.0  # the command is killed between two of its steps
    # --- the login node: per hour ---
    outages: float = 0.0  # it is not reachable for 1 to 20 min; half of them are reboots
    # --- slurmctld and its commands ---
    stalls: float = 0.0  # per hour: it hangs for 5 s to 10 min
    stall_drops: float = 0.3  # of requests that came while it hung: they are never served
    downs: float = 0.0  # per hour: it is not running for 1 to 10 min
    amnesia: float = 0.0  # per queued job: slurmctld falls before it has saved what it knows
    sbatch_stalls: float = 0.0  # per sbatch: it hangs just then, for 2 s to 10 min
    sbatch_lingers: float = (
        0.0  # per sbatch: times out, is served up to 10 min later, others at once
    )
    sbatch_killed: float = 0.0  # per sbatch: killed between the queue and its answer
    sbatch_garbage: float = 0.0  # per sbatch: a site's wrapper says something that is no id
    sbatch_refused: float = 0.0  # per sbatch: the site says no, for now
    query_error: float = 0.0  # per squeue, scancel, scontrol: slurmctld is not reached
    rate_limited: float = 0.0  # per call: the client waits for 5 to 200 s before it is heard
    cold_starts: float = 0.0  # per hour: slurmctld -c: all jobs lost, their ids given again
    # --- slurmdbd ---
    sacct_downs: float = 0.0  # per hour: it does not answer for 1 to 6 h
    no_accounting: bool = False  # the site has none
    accounting_lag: float = 0.0  # seconds that it is behind
    min_job_age: float = 300.0  # seconds for which squeue shows a job that ended
    # --- jobs: per start ---
    requeue: float = 0.0  # an administrator requeues it while it runs
    preempt: float = 0.0  # it is preempted: requeued where it may be, else ended
    node_failure: float = 0.0  # its node is lost under it
    zombies: float = 0.0  # per lost node: its processes go on for up to 10 min
    payload_fails: float = 0.0  # its program ends with a status that is not 0
    blind_node: float = 0.0  # its node does not see the job's directory
    launch_fails: float = 0.0  # its script cannot be started: Slurm says signal 53
    stubborn: float = 0.0  # its program does not end at SIGTERM
    # --- the shared file system ---
    attribute_cache: float = 0.0  # per file of a node: the login node sees it up to 60 s late
    clock_skew: float = 0.0  # seconds that the file server's clock is ahead of the true time
    slurm_skew: float = 0.0  # the same of slurmctld's clock
    full_disk: float = 0.0  # per hour: nothing can be written for 1 to 10 min
    no_forwarding: bool = False  # the login node forwards no connections

    @classmethod
    def draw(cls, rng: Random, *, chance: float = 0.3) -> Faults:
        """Return a site's troubles: each kind is there with this chance, and then often."""
        drawn: dict[str, float | bool] = {}
        for name, (least, most) in _RANGES.items():
            if rng.random() < chance:
                drawn[name] = rng.uniform(least, most)
        drawn["hangup"] = rng.random()
        drawn["stall_drops"] = rng.random()
        drawn["no_accounting"] = rng.random() < chance / 3
        drawn["no_forwarding"] = rng.random() < chance / 3
        return cls(**drawn)  # type: ignore[arg-type] # which of them are bool stands above

    def only(self, *names: str) -> Faults:
        """Return these faults of mine and no others."""
        none = Faults()
        others = {f.name: getattr(none, f.name) for f in fields(self) if f.name not in names}
        return replace(self, **others)


# What a fault that is there may be: from, to.
_RANGES: dict[str, tuple[float, float]] = {
    "lost_answer": (0.02, 0.3),
    "refused": (0.02, 0.3),
    "slow_shell": (0.05, 0.5),
    "cut_stdin": (0.05, 0.4),
    "cut": (0.02, 0.3),
    "killed": (0.02, 0.3),
    "outages": (0.5, 4.0),
    "stalls": (0.5, 4.0),
    "downs": (0.5, 3.0),
    "amnesia": (0.02, 0.3),
    "sbatch_stalls": (0.1, 0.8),
    "sbatch_lingers": (0.1, 0.8),
    "sbatch_killed": (0.1, 0.6),
    "sbatch_garbage": (0.05, 0.4),
    "sbatch_refused": (0.05, 0.4),
    "query_error": (0.05, 0.5),
    "cold_starts": (0.2, 2.0),
    "sacct_downs": (0.2, 2.0),
    "accounting_lag": (1.0, 600.0),
    "min_job_age": (2.0, 120.0),
    "requeue": (0.1, 0.6),
    "preempt": (0.1, 0.6),
    "node_failure": (0.05, 0.4),
    "zombies": (0.2, 1.0),
    "payload_fails": (0.05, 0.4),
    "blind_node": (0.02, 0.2),
    "launch_fails": (0.02, 0.2),
    "stubborn": (0.1, 0.5),
    "rate_limited": (0.02, 0.3),
    "attribute_cache": (0.1, 0.9),
    "clock_skew": (-3600.0, 3600.0),
    "slurm_skew": (-3600.0, 3600.0),
    "full_disk": (0.2, 2.0),
}
