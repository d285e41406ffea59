"""Record what real Slurm answers: rewrites the transcripts in ``tests/data/slurm-transcripts``.

    export SLURM_CONF=.../slurm.conf PYTHONPATH=daemon:tests
    python tests/slurm/record_transcripts.py [NAME...]

It needs a cluster of its own: four nodes of two CPUs with GPUs, partitions debug, short (five
minutes) and down, KillWait 2, as ``tests/slurm/testbed.sh`` brings it up. Takes two minutes.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from support.transcripts import FOLDER, Place, play


async def record(names: list[str]) -> None:
    """Run the scripts and write down what came out."""
    place_environment = {"SLURM_CONF": os.environ["SLURM_CONF"], "PATH": os.environ["PATH"]}
    for file in sorted(FOLDER.glob("*.txt")):
        if names and file.stem not in names:
            continue
        with tempfile.TemporaryDirectory() as directory:
            place = Place(place_environment, Path(directory))
            file.write_text(await play(file.read_text(), place))


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1:]))
