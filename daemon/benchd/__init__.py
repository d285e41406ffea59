"""benchd: submit, watch and benchmark AI services on Slurm clusters."""

__version__ = "0.1.0"
