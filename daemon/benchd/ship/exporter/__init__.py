"""What one Slurm job uses of its node, for Prometheus. Runs on any Python from 3.6 on, alone."""

VERSION = "1"
