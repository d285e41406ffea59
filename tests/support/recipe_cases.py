"""The jobs that the recipes become which come with benchd, and those whose scripts are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from benchd.catalog import CATALOG
from benchd.config import RuntimeSettings
from benchd.core.expand import expand
from benchd.core.model import Job
from benchd.core.recipe import parse
from benchd.core.spec import Role
from benchd.fields import Resources
from support.script_cases import APPTAINER, HOST

RECIPES: Final = Path(__file__).resolve().parents[2] / "recipes"
NAMES: Final = sorted(path.name for path in RECIPES.glob("*.yaml"))
SHIPPED: Final = {
    name: f"{name}-0123456789abcdef.pyz" for name in ("llm", "load", "exporter", "relay", "spark")
}
PYXIS: Final = RuntimeSettings(name="pyxis")
# Kept copy -> recipe, name of the service or client, runtime.
KEPT: Final = {
    "ollama-apptainer": ("ollama.yaml", "ollama", APPTAINER),
    "ollama-load": ("ollama.yaml", "llm-load", APPTAINER),
    "vllm-apptainer": ("vllm.yaml", "vllm", APPTAINER),
    "vllm-load": ("vllm.yaml", "llm-load", APPTAINER),
    "vllm-nodes-apptainer": ("vllm-nodes.yaml", "vllm", APPTAINER),
    "vllm-nodes-pyxis": ("vllm-nodes.yaml", "vllm", PYXIS),
    "redis-monitored-apptainer": ("monitoring-stack.yaml", "redis", APPTAINER),
    "prometheus-apptainer": ("prometheus.yaml", "prometheus", APPTAINER),
    "grafana-apptainer": ("logs.yaml", "grafana", APPTAINER),
    "loki-apptainer": ("logs.yaml", "loki", APPTAINER),
    "cadvisor-host": ("cadvisor.yaml", "cadvisor", HOST),
    "triton-apptainer": ("triton.yaml", "triton", APPTAINER),
    "mysql-apptainer": ("mysql-sysbench.yaml", "mysql", APPTAINER),
    "sysbench-host": ("mysql-sysbench.yaml", "sysbench", HOST),
    "postgresql-host": ("postgres.yaml", "postgresql", HOST),
    "pgbench-apptainer": ("postgres.yaml", "pgbench", APPTAINER),
    "chroma-apptainer": ("chroma-recall.yaml", "chroma", APPTAINER),
    "chroma-load": ("chroma-recall.yaml", "chroma-load", APPTAINER),
    "spark-load-apptainer": ("spark-load.yaml", "spark", APPTAINER),
    "spark-ingest-host": ("spark-ingest.yaml", "spark", HOST),
    "minio-apptainer": ("minio.yaml", "minio", APPTAINER),
    "qdrant-apptainer": ("qdrant.yaml", "qdrant", APPTAINER),
    "llm-saturate": ("llm-saturate.yaml", "llm-load", HOST),
    "redis-load": ("redis-rate.yaml", "redis-load", HOST),
    "memtier-apptainer": ("memtier.yaml", "memtier", APPTAINER),
    "vllm-bench-apptainer": ("vllm-bench.yaml", "vllm-bench", APPTAINER),
    "guidellm-apptainer": ("guidellm.yaml", "guidellm", APPTAINER),
    "http-load": ("qdrant.yaml", "search", APPTAINER),
    "aiperf-apptainer": ("aiperf.yaml", "aiperf", APPTAINER),
    "vectordbbench-apptainer": ("vectordbbench.yaml", "vectordbbench", APPTAINER),
    "mysqlslap-apptainer": ("mysqlslap.yaml", "mysqlslap", APPTAINER),
    "rag-load": ("rag.yaml", "rag-load", HOST),
    "sim-llm-host": ("demo.yaml", "sim-llm", HOST),
    "generic-host": ("generic.yaml", "web", HOST),
    "redis-benchmark-apptainer": ("redis.yaml", "redis-bench", APPTAINER),
}


def jobs_of(file: str, text: str | None = None, runtime: RuntimeSettings = HOST) -> list[Job]:
    """Return the jobs of a recipe that comes with benchd, or of the text."""
    jobs = expand(
        parse((RECIPES / file).read_bytes() if text is None else text.encode(), file, CATALOG),
        run_id="k5wz3tqa2f",
        instance="bq7x2m",
        cluster="c",
        defaults=Resources(),
        runtime=runtime,
        catalog=CATALOG,
        ship=SHIPPED,
        now=0.0,
    )
    return [job for job in jobs if job.role is not Role.IMAGE]


def first_of_each(file: str, runtime: RuntimeSettings = APPTAINER) -> dict[str, Job]:
    """Return the first job of each name in a recipe."""
    found: dict[str, Job] = {}
    for job in jobs_of(file, runtime=runtime):
        found.setdefault(job.name, job)
    return found


def kept(name: str) -> Job:
    """Return the job of a kept copy."""
    file, part, runtime = KEPT[name]
    return first_of_each(file, runtime)[part]
