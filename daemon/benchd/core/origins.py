"""Where a number comes from: the facts about services and client in a result's provenance. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from benchd.core.charges import charged
from benchd.core.model import Binding, Job
from benchd.secrecy import REDACTED, is_secret, without_secrets

# What the script of a job writes beside the result: the image that a client ran in, the node, and
# the same of each service that it measured.
IMAGE_NOTE = "result/benchd-image.json"
_NODE, _GPUS, _VERSION = "benchd-node.json", "benchd-gpus.csv", "benchd-version.txt"
_SERVICES = "result/benchd-services/"
_NOTES = (IMAGE_NOTE, f"result/{_NODE}", f"result/{_GPUS}", _SERVICES)
# What the script of a job has that runs its commands in an image. Whatever its recipe names, where
# the cluster has `runtime: none` no script has it.
_IN_IMAGE = re.compile(r"^benchd_image=", re.MULTILINE)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LONGEST = 200  # characters of a version; the first line of some is a licence


def without_notes(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return what came home without what benchd's own script has written beside it."""
    return {name: data for name, data in files.items() if not name.startswith(_NOTES)}


def resolved_sha256(job: Job, services: Sequence[Job]) -> str:
    """Return the hash of what was asked for: recipe, sweep point, kinds and settings together.

    Two measurements with the same hash were told the same, whatever their recipes look like.
    """
    told = [row.spec.model_dump(mode="json", exclude={"avoid"}) for row in (job, *services)]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def place_facts(
    job: Job, services: Sequence[Job], files: Mapping[str, bytes]
) -> dict[str, JsonValue]:
    """Return which of Slurm's jobs it was, what they were charged to, and where they ran.

    What the service's script saw counts; else what was asked for, if anything was.
    """
    first = services[0] if services else job
    folder = f"{_SERVICES}{first.token}/" if services else "result/"
    seen = str(_object(files.get(folder + _NODE, b"")).get("in", "")).split(",")
    said = dict(zip(("partition", "qos", "account"), seen, strict=False))
    facts: dict[str, JsonValue] = {
        key: value
        for key in ("partition", "qos", "account", "reservation", "constraint")
        if (value := said.get(key) or getattr(first.spec.resources, key))
    }
    if services:
        facts["service_job"] = _slurm_job(first, job.ended_at)
    return {**facts, "client_job": _slurm_job(job)}


def _slurm_job(job: Job, until: float | None = None) -> dict[str, JsonValue]:
    return {"id": job.slurm_id, "nodes": job.nodes, **charged(job, until)}


def hardware(
    services: Sequence[Job], files: Mapping[str, bytes]
) -> tuple[dict[str, JsonValue], ...]:
    """Return what the scripts found on the first node of each job: services first."""
    found = [
        _node("service", f"{_SERVICES}{service.token}/", files) | {"job": service.name}
        for service in services
    ]
    found.append(_node("client", "result/", files))
    return tuple(facts for facts in found if "node" in facts)


def _node(role: str, folder: str, files: Mapping[str, bytes]) -> dict[str, JsonValue]:
    said = _object(files.get(folder + _NODE, b""))
    if not isinstance(said.get("node"), str):
        return {}
    facts: dict[str, JsonValue] = {"node": said["node"], "role": role}
    facts |= {key: said[key] for key in ("cpu", "kernel", "cores") if said.get(key)}
    facts |= {"cores_given": said["given"]} if said.get("given") else {}
    memory = said.get("mem_kib")
    if isinstance(memory, int) and memory > 0:
        facts["mem_gib"] = round(memory / 1024**2, 1)
    gpus = _gpus(files.get(folder + _GPUS, b""))
    return facts | ({"gpus": gpus} if gpus else {})


def _gpus(table: bytes) -> list[JsonValue]:
    """Return the GPUs that the job could see, the same ones together."""
    alike: dict[tuple[str, str, str], list[str]] = {}
    for line in table.decode("utf-8", "replace").splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == 4 and cells[3].startswith(("GPU-", "MIG-")):
            alike.setdefault((cells[0], cells[1], cells[2]), []).append(cells[3])
    return [
        {
            "type": name,
            "count": len(uuids),
            "driver": driver,
            "mem_mib": int(memory) if memory.isascii() and memory.isdigit() else None,
            "uuids": list(uuids),
        }
        for (name, memory, driver), uuids in alike.items()
    ]


def _version(service: Job, files: Mapping[str, bytes]) -> dict[str, JsonValue]:
    """Return what the service said of itself, where it did."""
    said = files.get(f"{_SERVICES}{service.token}/{_VERSION}", b"").decode("utf-8", "replace")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return {"version": lines[0][:_LONGEST]} if lines else {}


def _environment(service: Job) -> dict[str, JsonValue]:
    """Return the variables that the recipe set, such as OLLAMA_NUM_PARALLEL; no secrets."""
    said: dict[str, JsonValue] = {
        name: REDACTED if is_secret(name) else without_secrets(value)
        for name, value in service.spec.environment.items()
    }
    return {"environment": said} if said else {}


def service_facts(
    job: Job, bindings: Sequence[Binding], files: Mapping[str, bytes]
) -> dict[str, JsonValue]:
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
        **_image_facts(job, job.endpoint.image if job.endpoint else None),
        "parameters": dict(job.spec.parameters),
        **_environment(job),
        **({"tres": job.used.tres} if job.used and job.used.tres else {}),
        **_version(job, files),
    }


def client_facts(
    job: Job,
    services: Sequence[Job],
    files: Mapping[str, bytes],
    said: dict[str, JsonValue],
) -> dict[str, JsonValue]:
    """Return what is known of the client that measured; ``said``: what it says of its tool.

    A tool may be only on the host, where the job has an image that lacks it.
    """
    on_host = said.get("source") == "host"
    return {
        "name": job.name,
        "kind": job.kind,
        "slurm_id": job.slurm_id,
        "nodes": job.nodes,
        "exit_status": job.exit_code,
        **_image_facts(job, _noted(files.get(IMAGE_NOTE, b"")), on_host=on_host),
        "parameters": dict(job.spec.parameters),
        **_sourced(said, job, services),
    }


def _image_facts(job: Job, digest: str | None, *, on_host: bool = False) -> dict[str, JsonValue]:
    """Return the image that was used; apart from it, the one that the recipe names in vain."""
    named = _image(job)
    if named is None or (_IN_IMAGE.search(job.script) and not on_host):
        return {"image": named, "image_digest": digest}
    return {"image": None, "image_digest": None, "image_not_used": named}


def _sourced(said: dict[str, JsonValue], job: Job, services: Sequence[Job]) -> dict[str, JsonValue]:
    """Return what a client says of its tool, with whose image it is that it was found in."""
    if said.get("source") != "image":
        return said
    shared = any(_image(service) == _image(job) for service in services)
    return said | {"source": "service image" if shared else "own image"}


def _image(job: Job) -> str | None:
    container = job.spec.container
    return (container.docker_source or container.image_path) if container else None


def _noted(note: bytes) -> str | None:
    """Return the digest of the image file, as the note beside it said in the job."""
    digest = str(_object(note).get("digest", ""))
    return digest if _DIGEST.fullmatch(digest) else None


def _object(text: bytes) -> dict[str, JsonValue]:
    """Return what a small file of ours says; nothing when it is no such file, or cut short."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
