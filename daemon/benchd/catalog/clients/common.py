"""What the clients have in common."""

from __future__ import annotations

from collections.abc import Mapping

from benchd.core.payload import Sh
from benchd.core.spec import JobSpec

RESULT = Sh('"$BENCHD_RESULT_DIR"')


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
