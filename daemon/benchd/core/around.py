"""What every kind honours around its program: waiting for the target, setting up, copying results.

A kind says what it runs (``Payload``); what the recipe wants before, beside and after it is added
here, so that no kind needs to know of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from benchd.core.containers import shell_path
from benchd.core.exporters import accompanied
from benchd.core.payload import Payload, Sh, Step
from benchd.core.spec import JobSpec, Target

WAIT = 60.0  # seconds for a target to answer where the recipe does not say
# Names by which a recipe may call the service's own node in a URL.
SELF = frozenset({"localhost", "127.0.0.1", "0.0.0.0", "::1"})  # noqa: S104 - compared, not bound
# The scheme of an endpoint -> the type of health check it stands for.
TYPES = {
    "http": "http",
    "https": "http",
    "redis": "redis",
    "rediss": "redis",
    "tcp": "tcp",
    "mysql": "mysql",
    "postgres": "postgres",
    "postgresql": "postgres",
}

# Runs on the host, which has bash; a container may not. Each look gets 5 s: a filtered port must
# not hang us. What wants to know who asks (401, 403) answers, and what has moved on (410, as Chroma
# from its old interface); so does a Redis with a password.
_ASK = r"""# usage: wait-for-target.sh TYPE HOST PORT PATH SECONDS
set -u
if [ "$1" = look ]; then
    shift
    exec 2>/dev/null 3<>"/dev/tcp/$2/$3" || exit 1
    case $1 in
        http) printf 'GET %s HTTP/1.0\r\nHost: %s:%s\r\n\r\n' "$4" "$2" "$3" >&3 ;;
        redis) printf 'PING\r\n' >&3 ;;
        mysql) ;;
        *) exit 0 ;;
    esac
    IFS= LC_ALL=C read -r -n 200 line <&3
    printf '%s\n' "${line%?}"
    case $1:$line in
        http:HTTP/1.[01]\ [23]??* | http:HTTP/1.[01]\ 4[01][013]*) exit 0 ;;
        redis:+PONG* | redis:-NOAUTH*) exit 0 ;;
        mysql:?*) exit 0 ;;
    esac
    exit 1
fi
type=$1 host=$2 port=$3 path=$4 limit=$5
while :; do
    said=$(timeout 5 bash "$0" look "$type" "$host" "$port" "$path") && exit 0
    [ "$SECONDS" -lt "$limit" ] || break
    sleep 1
done
said=$(printf '%s' "$said" | tr -cd '[:print:]')
printf 'benchd: %s://%s:%s%s did not answer well within %s s (it said: %s). %s\n' \
    "$type" "$host" "$port" "$path" "$limit" "${said:-nothing}" \
    'See health_check_endpoint and wait_for_service in the recipe' >&2
exit 69
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """What an endpoint of a recipe asks for. ``host`` is None where it is the service's own."""

    type: str
    host: str | None
    port: int | None
    path: str


def asked(endpoint: str) -> Asked:
    """Read ``/api/tags``, ``redis://localhost:6379`` or a URL; ``ValueError`` when it is none."""
    if "://" not in endpoint:
        return Asked("http", None, None, endpoint if endpoint.startswith("/") else f"/{endpoint}")
    url = urlsplit(endpoint)
    if url.scheme not in TYPES:
        raise ValueError(f"{url.scheme}:// is not known; there are: {', '.join(TYPES)}")
    kind = TYPES[url.scheme]
    host = url.hostname if url.hostname not in {*SELF, None} else None
    path = (url.path or "/") + (f"?{url.query}" if url.query else "") if kind == "http" else ""
    return Asked(kind, host, url.port, path)


def dressed(payload: Payload, spec: JobSpec) -> Payload:
    """Return the payload with what the recipe wants before, beside and after it."""
    waits = tuple(_waits(spec))
    files = dict(payload.files)
    once_up = payload.once_up
    if waits:
        files["wait-for-target.sh"] = _ASK
    if spec.setup_script is not None:
        files["setup.sh"] = spec.setup_script
        once_up = (*once_up, Step(argv=("bash", Sh('"$JOB/setup.sh"')), on_host=True))
    around = replace(
        payload,
        files=files,
        before=(*waits, *payload.before),
        once_up=once_up,
        after=(*payload.after, *_copies(spec)),
    )
    return accompanied(around, spec)


def _waits(spec: JobSpec) -> Iterator[Step]:
    limit = f"{spec.wait if spec.wait is not None else WAIT:g}"
    for index, target in enumerate(spec.targets):
        endpoint = target.health_check_endpoint
        if endpoint is None and (spec.wait is None or index):
            continue
        wanted = asked(endpoint) if endpoint is not None else Asked("tcp", None, None, "")
        host, port = _address(target, index)
        yield Step(
            argv=(
                *("bash", Sh('"$JOB/wait-for-target.sh"'), wanted.type),
                *(wanted.host or host, str(wanted.port) if wanted.host and wanted.port else port),
                *(wanted.path, limit),
            ),
            on_host=True,
        )


def _address(target: Target, index: int) -> tuple[Sh, Sh]:
    """Return host and port of a target, as the script learns them when it is submitted."""
    stem = "BENCHD_TARGET"
    if index:
        stem += "_" + re.sub(r"[^A-Z0-9]", "_", target.name.upper())
    return Sh(f'"${stem}_HOST"'), Sh(f'"${stem}_PORT"')


def _copies(spec: JobSpec) -> Iterator[str]:
    """Yield the lines that bring a file among the results, and the results to a directory.

    Each in a shell of its own: a variable that is not set on the node must not end the job. The
    file must be younger than the job: it may lie there from an earlier one.
    """
    if spec.output is None:
        return
    if spec.output.file is not None and spec.script is None:
        yield (
            f"( f={shell_path(spec.output.file)}; "
            '[ "$(stat -c %Y -- "$f" 2>/dev/null || echo 0)" -lt "$benchd_started" ] || '
            'cp -- "$f" "$BENCHD_RESULT_DIR/" ) || benchd_say "output.file could not be copied"'
        )
    if spec.output.shared_dir is not None:
        yield (
            f'( d={shell_path(spec.output.shared_dir)}/${{JOB##*/}} && mkdir -p -- "$d" && '
            'cp -R -- "$BENCHD_RESULT_DIR"/. "$d"/ ) || '
            "benchd_say 'the results could not be copied to output.shared_dir'"
        )
