"""What the clients have in common."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from benchd.catalog.kinds import Complaint
from benchd.core.payload import Sh
from benchd.core.spec import Client, JobSpec, Part

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
