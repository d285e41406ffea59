"""Everything that leaves the process: SSH, Slurm, files, the store, the inbox, systemd."""
