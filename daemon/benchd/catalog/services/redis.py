"""Redis and Valkey."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchd.catalog.kinds import (
    Complaint,
    Parameter,
    ServiceKind,
    arguments,
    did_you_mean,
    program,
    setting,
)
from benchd.catalog.services.common import BIND, PORT
from benchd.core.payload import Payload, Sh
from benchd.core.secrets import TICKET
from benchd.core.spec import HealthCheck, JobSpec, Part

_PERSISTENCE = ("none", "aof", "rdb", "both")
_REDIS = (
    Parameter(
        name="persistence",
        type="str",
        default="none",
        choices=_PERSISTENCE,
        doc="what is written to disk; the environment variable REDIS_PERSISTENCE says the same",
    ),
    Parameter(
        name="appendfsync",
        type="str",
        default="everysec",
        choices=("always", "everysec", "no"),
        doc="when the append-only file is forced to disk",
    ),
    Parameter(
        name="maxmemory",
        type="str",
        default=None,
        pattern=r"\d{1,15}([kKmMgG][bB]?)?",
        doc="memory for data, such as 512mb or 2gb; default: no limit",
    ),
    Parameter(
        name="maxmemory_policy",
        type="str",
        default=None,
        choices=(
            "noeviction",
            "allkeys-lru",
            "allkeys-lfu",
            "allkeys-random",
            "volatile-lru",
            "volatile-lfu",
            "volatile-random",
            "volatile-ttl",
        ),
        doc="what happens when maxmemory is reached; default: Redis's own, noeviction",
    ),
    Parameter(
        name="io_threads",
        type="int",
        default=1,
        minimum=1,
        maximum=128,
        unit="threads",
        doc="threads for network I/O; commands stay on one",
    ),
)
# Options that carry a password: on a command line, everybody on the node can read it.
_REDIS_OPEN = frozenset({"--requirepass", "--masterauth"})
# Who redis-benchmark is to a Redis with a password.
REDIS_USER = "benchd"
# What redis.conf itself ships: 1 h after one change, 5 min after 100, 1 min after 10,000.
_SNAPSHOTS = ("--save", "3600", "1", "--save", "300", "100", "--save", "60", "10000")


# Neither a file nor a list of processes ever shows the password: printf is part of the shell. But
# redis-benchmark can be told one only on its command line, so it has a user and a password of its
# own, which may use the data and nothing else.
_REDIS_LOCK = rf"""benchd_redis_lock() {{
    local secret=${{REDIS_PASSWORD//\\/\\\\}}
    printf 'requirepass "%s"\n' "${{secret//\"/\\\"}}"
    printf 'user {REDIS_USER} on >%s ~* +@all -@admin -@dangerous\n' "${TICKET}"
}}"""


def _persistence(spec: JobSpec) -> str:
    own = spec.parameters.get("persistence") or spec.environment.get("REDIS_PERSISTENCE")
    return str(own or "none")


def _redis_payload(spec: JobSpec) -> Payload:
    wanted = _persistence(spec)
    options: list[str] = list(_SNAPSHOTS) if wanted in ("rdb", "both") else ["--save", ""]
    options += ["--appendonly", "yes" if wanted in ("aof", "both") else "no"]
    for name in ("appendfsync", "maxmemory", "maxmemory_policy", "io_threads"):
        value = setting(_REDIS, spec, name)
        if value is not None:
            options += [f"--{name.replace('_', '-')}", str(value)]
    locked = "REDIS_PASSWORD" in spec.secrets
    return Payload(
        argv=(
            *program(spec, "redis-server"),
            *(("-",) if locked else ()),  # read a configuration from standard input first
            *("--port", PORT, "--bind", BIND, "--protected-mode", "no", "--daemonize", "no"),
            *("--dir", Sh('"$BENCHD_DATA"')),
            *options,
            *arguments(spec),
        ),
        preamble=(_REDIS_LOCK,) if locked else (),
        stdin=Sh("benchd_redis_lock") if locked else None,
    )


def _redis_check(part: Part) -> Sequence[Complaint]:
    return tuple(_redis_complaints(part))


def _redis_complaints(part: Part) -> Iterator[Complaint]:
    wanted = part.environment.get("REDIS_PERSISTENCE")
    at = ("environment", "REDIS_PERSISTENCE")
    if wanted is not None and wanted not in _PERSISTENCE:
        close = did_you_mean(wanted, _PERSISTENCE)
        yield at, f"{wanted!r} is not one of {', '.join(_PERSISTENCE)}{close}"
    own = part.parameters.get("persistence")
    if wanted is not None and own is not None and wanted != own:
        yield at, f"says {wanted!r}, but parameters.persistence says {own!r}: keep one of them"
    for index, text in enumerate(part.args):
        option = text.partition("=")[0].lower()
        if option in _REDIS_OPEN:
            what = f"{option} would show its value to every user of the node; instead, write"
            yield ("args", index), f"{what} secrets: {{REDIS_PASSWORD: {{generate: 24}}}}"


KIND = ServiceKind(
    name="redis",
    summary="Redis, or Valkey with `command: valkey-server`; data in $BENCHD_DATA; wants "
    "a password when it has `secrets: {REDIS_PASSWORD: ...}`",
    image="docker://redis:7-alpine",
    payload=_redis_payload,
    parameters=_REDIS,
    extra_check=_redis_check,
    check=HealthCheck(type="redis"),
    speaks=("redis",),
)
