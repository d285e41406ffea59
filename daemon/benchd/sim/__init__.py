"""The embedded cluster: a stateful Slurm model behind a real SSH login node.

It serves the demo and the tests: jobs really run, as local processes, and nothing needs root or
packages. It shares no code with the part of benchd that talks to Slurm.
"""

from benchd.sim.clock import Clock, WallClock
from benchd.sim.cluster import EmbeddedCluster
from benchd.sim.nouns import Config
from benchd.sim.serve import serve

__all__ = ["Clock", "Config", "EmbeddedCluster", "WallClock", "serve"]
