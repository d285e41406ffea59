"""The processes of this job on this node, known by a variable that they have inherited.

Some of Spark's leave the process group of whoever started them, and a node may have Sparks of other
jobs of the same user: neither group nor name tells ours.
"""

import os
import signal
import time
from typing import List

MARK = "BENCHD_SPARK"
# What load generators have besides: they are asked to end, and given time to write what they have.
LOAD = "BENCHD_SPARK_LOAD"
# Seconds that load generators get: the first one waits 3 s for what the others leave.
_GRACE = 8.0
# Rounds of ending everything: what is being born during one is seen by the next.
_ROUNDS = 5


def find(*marks: str) -> List[int]:
    """Return the processes whose environment has all of these (``NAME=VALUE``), but this."""
    wanted = {mark.encode("utf-8") for mark in marks}
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open("/proc/%s/environ" % name, "rb") as file:
                if wanted <= set(file.read().split(b"\0")):
                    found.append(int(name))
        except OSError:  # of somebody else, or gone
            continue
    return found


def end(value: str) -> None:
    """End the processes with ``BENCHD_SPARK=value``: load generators first, and gently."""
    mark = "%s=%s" % (MARK, value)
    loads = (mark, LOAD + "=1")
    _send(find(*loads), signal.SIGTERM)
    limit = time.monotonic() + _GRACE
    while find(*loads) and time.monotonic() < limit:
        time.sleep(0.1)
    for _ in range(_ROUNDS):
        left = find(mark)
        if not left:
            return
        _send(left, signal.SIGKILL)
        time.sleep(0.1)


def _send(processes: List[int], number: int) -> None:
    for process in processes:
        try:
            os.kill(process, number)
        except OSError:
            continue
