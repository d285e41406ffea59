"""Where a number comes from: the facts about services and client in a result's provenance. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from benchd.core.model import Binding, Job

# What a client's job writes beside its result about the image that it ran in.
IMAGE_NOTE = "result/benchd-image.json"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def service_facts(job: Job, bindings: Sequence[Binding]) -> dict[str, JsonValue]:
    """Return what is known of a service that was measured."""
    bound = next((b for b in bindings if b.token == job.token), None)
    return {
        "name": job.name,
        "kind": job.kind,
        "token": job.token,
        "slurm_id": job.slurm_id,
        "nodes": job.nodes,
        "generation": bound.generation if bound else job.generation,
        "endpoint": f"{bound.host}:{bound.ports[0]}" if bound and bound.ports else None,
        "image": _image(job),
        "image_digest": job.endpoint.image if job.endpoint else None,
        "parameters": dict(job.spec.parameters),
    }


def client_facts(job: Job, files: Mapping[str, bytes]) -> dict[str, JsonValue]:
    """Return what is known of the client that measured."""
    return {
        "name": job.name,
        "kind": job.kind,
        "slurm_id": job.slurm_id,
        "nodes": job.nodes,
        "exit_status": job.exit_code,
        "image": _image(job),
        "image_digest": _noted(files.get(IMAGE_NOTE, b"")),
        "parameters": dict(job.spec.parameters),
    }


def _image(job: Job) -> str | None:
    container = job.spec.container
    return (container.docker_source or container.image_path) if container else None


def _noted(note: bytes) -> str | None:
    """Return the digest of the image file, as the note beside it said in the job."""
    try:
        said = json.loads(note)
    except (ValueError, RecursionError):
        return None
    digest = str(said.get("digest", "")) if isinstance(said, dict) else ""
    return digest if _DIGEST.fullmatch(digest) else None
