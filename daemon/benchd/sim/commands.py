"""Which command is which."""

from __future__ import annotations

from collections.abc import Mapping

from benchd.sim.call import Command
from benchd.sim.sacct import sacct
from benchd.sim.sbatch import sbatch
from benchd.sim.scancel import scancel
from benchd.sim.scontrol import scontrol
from benchd.sim.sinfo import sdiag, sinfo
from benchd.sim.squeue import squeue

COMMANDS: Mapping[str, Command] = {
    "sbatch": sbatch,
    "squeue": squeue,
    "sacct": sacct,
    "scancel": scancel,
    "scontrol": scontrol,
    "sinfo": sinfo,
    "sdiag": sdiag,
}
