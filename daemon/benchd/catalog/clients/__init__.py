"""The kinds of clients: one module each. ``readings`` makes numbers of what they leave."""

from __future__ import annotations

from benchd.catalog.clients import (
    aiperf,
    chroma_load,
    generic,
    guidellm,
    http_load,
    llm_load,
    memtier,
    mysqlslap,
    pgbench,
    rag_load,
    redis_benchmark,
    redis_load,
    script,
    spark,
    sysbench,
    vectordbbench,
    vllm_bench,
)
from benchd.catalog.kinds import ClientKind

KINDS: tuple[ClientKind, ...] = (
    redis_benchmark.KIND,
    redis_load.KIND,
    memtier.KIND,
    sysbench.KIND,
    mysqlslap.KIND,
    pgbench.KIND,
    llm_load.KIND,
    vllm_bench.KIND,
    guidellm.KIND,
    aiperf.KIND,
    chroma_load.KIND,
    vectordbbench.KIND,
    http_load.KIND,
    rag_load.KIND,
    spark.KIND,
    generic.KIND,
    script.KIND,
)
