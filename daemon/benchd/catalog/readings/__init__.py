"""What clients leave -> ``Measured``. Total functions: garbage becomes a flag, never an exception.

Each takes what came home from the job directory (``exit.json``, ``out``, ``err``, ``result/...``)
and the job's spec.
"""

from __future__ import annotations

from benchd.catalog.readings.aiperf import aiperf
from benchd.catalog.readings.command import command
from benchd.catalog.readings.guidellm import guidellm
from benchd.catalog.readings.load import load
from benchd.catalog.readings.memtier import memtier
from benchd.catalog.readings.mysqlslap import mysqlslap
from benchd.catalog.readings.pgbench import pgbench
from benchd.catalog.readings.redis_benchmark import redis_benchmark
from benchd.catalog.readings.script import script
from benchd.catalog.readings.spark import spark
from benchd.catalog.readings.sysbench import sysbench
from benchd.catalog.readings.vectordbbench import vectordbbench
from benchd.catalog.readings.vllm_bench import vllm_bench

__all__ = [
    "aiperf",
    "command",
    "guidellm",
    "load",
    "memtier",
    "mysqlslap",
    "pgbench",
    "redis_benchmark",
    "script",
    "spark",
    "sysbench",
    "vectordbbench",
    "vllm_bench",
]
