"""What recipes say in other words than ours, and what is not there yet."""

from __future__ import annotations

from benchd.core.brought import PATTERNS as BROUGHT
from benchd.core.scraping import PATTERNS as SCRAPING
from benchd.fields import PATTERNS
from benchd.yamlcheck import Words

_SOON = "is not supported yet"
WORDS = Words(
    patterns={**PATTERNS, **BROUGHT, **SCRAPING},
    synonyms={
        "image": "container",
        "type": "kind",
        "env": "environment",
        "cmd": "command",
        "arguments": "args",
        "params": "parameters",
        "settings": "parameters",
        "healthcheck": "health_check",
        "monitor": "monitoring",
        "exporter": "exporters",
        "target": "target_service",
        "targets": "target_services",
        "matrix": "sweep",
        "repeats": "repeat",
        "repetitions": "repeat",
        "timeouts": "limits",
        "source": "docker_source",
        "path": "image_path",
        "binds": "bind_mounts",
        "volumes": "bind_mounts",
        "cpus": "cpus_per_task",
        "cores": "cpus_per_task",
        "cpu": "cpus_per_task",
        "memory": "mem",
        "gpu": "gpus",
        "walltime": "time",
        "time_limit": "time",
        "queue": "partition",
        "project": "account",
    },
    absent={
        "objective": f"{_SOON}; leave it out and compare the results",
        "notify": f"{_SOON}; leave it out and follow `benchctl watch`",
        "extends": f"{_SOON}; write the keys out",
    },
)
