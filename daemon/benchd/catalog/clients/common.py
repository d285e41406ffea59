"""What the clients have in common."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from benchd.catalog.kinds import Complaint
from benchd.core.payload import Sh
from benchd.core.spec import Client, JobSpec, Part

# What recipes say of an open loop, for tools that only know closed ones.
OPEN_LOOP = ("rate", "arrival", "load", "scenario", "burstiness", "max_in_flight", "trace")
# Workload of our load generator -> the times of its requests that can be objectives (`NAME_ms`).
_STREAM = ("ttft_service", "ttft_sched", "ttfo", "e2e_service", "e2e_sched", "tpot", "ntpot")
TIMES: Mapping[str, tuple[str, ...]] = {
    "llm": _STREAM,
    "rag": (*_STREAM, "retrieval", "ttft_rag", "e2e_rag"),
    "http": ("latency_service", "latency_sched", "ttfb"),
    "redis": ("latency_service", "latency_sched"),
    "chroma": ("latency_service", "latency_sched"),
}
RESULT = Sh('"$BENCHD_RESULT_DIR"')
URL = Sh('"$BENCHD_TARGET_URL"')
# Every replica of the service, for a load generator that spreads over them.
URLS = Sh('"$BENCHD_TARGET_URLS"')


def target_url(name: str) -> Sh:
    """Return the URL of one of several services, by its name in the recipe."""
    return Sh(f'"$BENCHD_TARGET_{re.sub("[^A-Z0-9]", "_", name.upper())}_URL"')


def sharing(spec: JobSpec) -> tuple[str | Sh, ...]:
    """Return the options by which our load generator shares its load between nodes."""
    if spec.nodes == 1:
        return ()
    return ("--nodes", Sh('"$BENCHD_NODES"'), "--node", Sh('"$BENCHD_NODE_INDEX"'))


def unshared(part: Part, names: Sequence[str]) -> Iterator[Complaint]:
    """Yield what is wrong with numbers that several nodes are to share."""
    for name in names:
        value = part.parameters.get(name, 1 if name == "concurrency" else None)
        if not isinstance(part, Client) or part.nodes == 1:
            continue
        if isinstance(value, int) and value < part.nodes:
            at = ("parameters", name) if name in part.parameters else ("nodes",)
            yield at, f"{part.nodes} nodes cannot share {name}: {value}"


def objectives(part: Part, workload: str) -> Iterator[Complaint]:
    """Yield the objectives that no request of a workload can meet or miss."""
    there = TIMES[workload]
    for name in re.findall(r"([a-z0-9_]+)_ms\b", str(part.parameters.get("slo", ""))):
        if name not in there:
            known = ", ".join(f"{each}_ms" for each in there)
            what = f"{name}_ms is no time of these requests; there are: {known}"
            yield ("parameters", "slo"), what


def told_duration(spec: JobSpec) -> tuple[str, ...]:
    """Return the line by which a program of the user's, and its arguments, learn how long to go."""
    return (f"export BENCHD_DURATION={spec.duration}",) if spec.duration is not None else ()


def target_environment(spec: JobSpec, endpoint: str = "url") -> Mapping[str, Sh]:
    """Return the variables by which programs of other projects find the service they measure."""
    if not spec.targets:
        return {}
    host, port = '"${BENCHD_TARGET_HOST:-}"', '"${BENCHD_TARGET_PORT:-}"'
    url = '"${BENCHD_TARGET_URL:-}"' if endpoint == "url" else f"{host}:{port}"
    return {
        "TARGET_SERVICE_HOST": Sh(host),
        "TARGET_SERVICE_PORT": Sh(port),
        "TARGET_ENDPOINT": Sh(url),
    }
