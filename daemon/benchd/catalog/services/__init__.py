"""The kinds of services: one module a family, each with how it is started and how it answers."""

from __future__ import annotations

from benchd.catalog.kinds import ServiceKind
from benchd.catalog.services import (
    cadvisor,
    chroma,
    generic,
    grafana,
    loki,
    minio,
    mysql,
    ollama,
    postgresql,
    prometheus,
    qdrant,
    redis,
    sim_llm,
    triton,
    vllm,
)

KINDS: tuple[ServiceKind, ...] = (
    ollama.KIND,
    vllm.KIND,
    triton.KIND,
    redis.KIND,
    mysql.KIND,
    postgresql.KIND,
    chroma.KIND,
    qdrant.KIND,
    minio.KIND,
    sim_llm.KIND,
    prometheus.KIND,
    grafana.KIND,
    loki.KIND,
    cadvisor.KIND,
    generic.KIND,
)
