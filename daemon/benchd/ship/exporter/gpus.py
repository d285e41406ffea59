"""The GPUs that the job sees, as nvidia-smi tells of them."""

import csv
import os
import subprocess
import time
from typing import Dict, List, Optional, Tuple

from .exposition import Value

# Field of nvidia-smi -> our family, and what its unit is of ours.
_FIELDS = (
    ("utilization.gpu", "benchd_gpu_utilization_ratio", 0.01),
    ("memory.used", "benchd_gpu_memory_used_bytes", 1024.0 * 1024.0),
    ("memory.total", "benchd_gpu_memory_bytes", 1024.0 * 1024.0),
    ("temperature.gpu", "benchd_gpu_temperature_celsius", 1.0),
    ("power.draw", "benchd_gpu_power_watts", 1.0),
)
# Seconds that an answer of nvidia-smi is good for: asking costs up to a second of a core.
_FRESH = 5.0
# Seconds after which a driver that hangs is left alone for this look.
_PATIENCE = 10.0


class Gpus:
    """Asks nvidia-smi; without one there is nothing to tell."""

    def __init__(self, program: str, visible: Optional[str]) -> None:
        """Take CUDA_VISIBLE_DEVICES: numbers or UUIDs of the job's own GPUs."""
        self.program = program
        self.visible = [name for name in (visible or "").split(",") if name]
        self._until = 0.0
        self._values: List[Value] = []

    def values(self) -> List[Value]:
        """Return what was said within the last seconds."""
        if time.monotonic() >= self._until:
            self._values = self._ask() or []
            self._until = time.monotonic() + _FRESH
        return self._values

    def _ask(self) -> Optional[List[Value]]:
        query = ",".join(("index", "uuid", "name") + tuple(name for name, _, _ in _FIELDS))
        command = [self.program, "--query-gpu=" + query, "--format=csv,noheader,nounits"]
        try:
            said = subprocess.check_output(
                command, stderr=subprocess.DEVNULL, timeout=_PATIENCE, stdin=subprocess.DEVNULL
            )
        except (OSError, subprocess.SubprocessError):
            return None
        rows = [
            ([cell.strip() for cell in row])
            for row in csv.reader(said.decode("utf-8", "replace").splitlines())
            if len(row) == 3 + len(_FIELDS)
        ]
        own = [row for row in rows if row[0] in self.visible or row[1] in self.visible]
        return [value for row in own or rows for value in _of_row(row)]


def _of_row(row: List[str]) -> List[Value]:
    labels: Dict[str, str] = {"gpu": row[0], "uuid": row[1], "model": row[2]}
    found = []
    for index, (_, family, unit) in enumerate(_FIELDS):
        number = _number(row[3 + index])
        if number is not None:
            found.append(Value(family, number * unit, labels))
    return found


def _number(cell: str) -> Optional[float]:
    try:
        return float(cell)
    except ValueError:  # [N/A], [Not Supported]
        return None


def ours() -> Tuple[str, Optional[str]]:
    """Return the program and the environment's word on which GPUs are ours."""
    return "nvidia-smi", os.environ.get("CUDA_VISIBLE_DEVICES")
