"""Runs and jobs with sensible defaults: a test says only what it is about."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from benchd.core.model import Job, Run
from benchd.core.spec import HealthCheck, JobSpec, Role, Target

INSTANCE = "bq7x2m"
RUN_ID = "k5wz3tqa2f"
CREATED_AT = 1_700_000_000.0  # seconds since the epoch; any fixed moment

_RUN = Run(
    id=RUN_ID,
    name="web",
    cluster="alpha",
    recipe="name: web\n",
    recipe_path="web.yaml",
    recipe_sha256="5f" * 32,
    recipe_mtime_ns=1_700_000_000_000_000_000,
    created_at=CREATED_AT,
)
_JOB_FIELDS = frozenset(field.name for field in fields(Job))


def run(**over: Any) -> Run:
    """Return a run that was just accepted, changed by the given fields."""
    return replace(_RUN, **over)


def job(**over: Any) -> Job:
    """Return a service job in CREATED, changed by fields of Job or of its JobSpec.

    ``token``, ``spec`` and the fields that Job and JobSpec share (role, name, kind) follow from
    each other, so ``job(name="db", replica=1)`` is consistent.
    """
    role = Role(over.pop("role", Role.SERVICE))
    name = over.pop("name", "redis")
    kind = over.pop("kind", name)
    spec_over = {key: over.pop(key) for key in list(over) if key not in _JOB_FIELDS}
    spec = over.pop("spec", None) or JobSpec(role=role, name=name, kind=kind, **spec_over)
    run_id = over.get("run_id", RUN_ID)
    token = over.pop("token", None) or _token(run_id, role, name, over)
    values: dict[str, Any] = {
        "run_id": run_id,
        "cluster": "alpha",
        "script": "#!/bin/bash\nexit 0\n",
        "created_at": CREATED_AT,
        **over,
    }
    return Job(token=token, role=role, name=name, kind=kind, spec=spec, **values)


def service(**over: Any) -> Job:
    """Return a Redis service with a health check, in CREATED."""
    over.setdefault("health_check", HealthCheck(type="redis", interval=5.0, retries=3))
    over.setdefault("ports", (6379,))
    return job(role=Role.SERVICE, **over)


def client(**over: Any) -> Job:
    """Return a redis-benchmark client that targets the service ``redis`` of its run, in CREATED."""
    over.setdefault("name", "redis-bench")
    over.setdefault("kind", "redis-benchmark")
    over.setdefault("targets", (Target(name="redis", point=0),))
    return job(role=Role.CLIENT, **over)


def _token(run_id: str, role: Role, name: str, over: dict[str, Any]) -> str:
    point, repeat = over.get("point", 0), over.get("repeat", 0)
    replica, attempt = over.get("replica", 0), over.get("attempt", 1)
    return f"{INSTANCE}-{run_id}-{role.value[0]}-{name}-p{point}r{repeat}-{replica}-a{attempt}"
