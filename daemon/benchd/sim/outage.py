"""What the commands say when slurmctld does not answer. Pure."""

from __future__ import annotations

from benchd.sim.call import Answer

NO_CONTROLLER = "Unable to contact slurm controller (connect failure)"
TIMED_OUT = "Socket timed out on send/recv operation"
# scancel exits with the low byte of Slurm's error number.
_SCANCEL_STATUS = {NO_CONTROLLER: 8, TIMED_OUT: 140}
_DOWN = """\
Slurmctld(primary) at {host} is DOWN
*****************************************
** RESTORE SLURMCTLD DAEMON TO SERVICE **
*****************************************
"""


def unreachable(name: str, argv: tuple[str, ...], why: str, *, host: str) -> Answer:
    """Return the answer of a command whose controller is down or silent."""
    ids = [word for word in argv if word.isdigit()]
    if name == "sbatch":
        return Answer(1, "", f"sbatch: error: Batch job submission failed: {why}\n")
    if name == "sinfo":
        return Answer(1, "", f"slurm_load_partitions: {why}\n")
    if name == "sdiag":
        return Answer(255, "", f"slurm_get_statistics: {why}\n")
    if name == "scancel" and ids:
        lines = [f"scancel: error: Kill job error on job id {each}: {why}\n" for each in ids]
        return Answer(_SCANCEL_STATUS[why], "", "".join(lines))
    if name == "scontrol" and argv[:1] == ("ping",):
        return Answer(1, _DOWN.format(host=host))
    if name == "scontrol" and argv[:1] != ("show",):
        what = "Unexpected message received"
        return Answer(1, "", f"{what} for job {''.join(ids[:1])}\nslurm_suspend error: {what}\n")
    return Answer(1, "", f"slurm_load_jobs error: {why}\n")
