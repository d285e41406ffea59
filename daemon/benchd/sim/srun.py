"""What stands in for srun inside a job: one process for each node of the step, all on this machine.

Run as ``python -ISE srun.py [--option[=value]]... COMMAND...``. Of the options only the number of
nodes counts; every process is told by Slurm's variables which of them it is. When one ends badly
the others are ended, as with ``--kill-on-bad-exit``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

# Where a step that does not say so begins and ends: with the job's first node, with its last.
_ALL = "SLURM_JOB_NUM_NODES"


def main(words: list[str]) -> int:
    """Run the step; return the first bad status, or 0."""
    options: dict[str, str] = {}
    while words and words[0].startswith("--"):
        name, _, value = words.pop(0).partition("=")
        options[name] = value
    if not words:
        print("srun: fatal: No command given to execute.", file=sys.stderr)
        return 1
    count = int(options.get("--nodes") or os.environ.get(_ALL, "1"))
    tasks = [_start(words, index, count) for index in range(count)]
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _frame: _end(tasks, got))
    status = 0
    for _ in tasks:
        pid, code = os.waitpid(-1, 0)
        ended = os.waitstatus_to_exitcode(code)
        tasks = [task for task in tasks if task.pid != pid]
        if ended and not status:
            status = 128 - ended if ended < 0 else ended
            _end(tasks, signal.SIGTERM)
    return status


def _start(words: list[str], index: int, count: int) -> subprocess.Popen[bytes]:
    place = {"SLURM_NODEID": index, "SLURM_PROCID": index, "SLURM_LOCALID": 0}
    size = {"SLURM_NTASKS": count, "SLURM_NNODES": count, "SLURM_STEP_NUM_NODES": count}
    own = {name: str(number) for name, number in (place | size).items()}
    return subprocess.Popen(words, env={**os.environ, **own}, stdin=subprocess.DEVNULL)


def _end(tasks: list[subprocess.Popen[bytes]], number: int) -> None:
    for task in tasks:
        task.send_signal(number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
