"""All the phrases that are understood on the login node."""

from __future__ import annotations

from simulation import said_files, said_slurm, said_submit
from simulation.bash import BOOK

# Importing a module of phrases adds them to the book.
SAID = (said_submit, said_files, said_slurm)

__all__ = ["BOOK", "SAID"]
