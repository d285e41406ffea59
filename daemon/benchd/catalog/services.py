"""The kinds of services: how each one is started, and how one sees that it answers."""

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
from benchd.core.script import Payload, Sh
from benchd.core.secrets import TICKET
from benchd.core.spec import HealthCheck, JobSpec, Part

# All interfaces: clients run on other nodes, and a host name may resolve to 127.0.1.1 on the node
# itself, so that binding to it would hide the service from them.
_ANYWHERE = "0.0.0.0"  # noqa: S104 - compute nodes are reached from other compute nodes only

_PORT = Sh('"$BENCHD_PORT"')

# --- redis ------------------------------------------------------------------------------------

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
            *("--port", _PORT, "--bind", _ANYWHERE, "--protected-mode", "no", "--daemonize", "no"),
            *("--dir", Sh('"$JOB/data"')),
            *options,
            *arguments(spec),
        ),
        preamble=('mkdir -p "$JOB/data"', *((_REDIS_LOCK,) if locked else ())),
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


# --- sim-llm ----------------------------------------------------------------------------------

_SIM_LLM = (
    Parameter(
        name="model",
        type="str",
        default="sim-llm",
        pattern=r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}",
        doc="the model name it answers to: letters, digits and ._:/-",
    ),
    Parameter(
        name="ttft_ms",
        type="float",
        default=50.0,
        minimum=0,
        maximum=600_000,
        unit="ms",
        doc="time to the first token (mean)",
    ),
    Parameter(
        name="tpot_ms",
        type="float",
        default=10.0,
        minimum=0,
        maximum=60_000,
        unit="ms",
        doc="time for each further token (mean)",
    ),
    Parameter(
        name="distribution",
        type="str",
        default="constant",
        choices=("constant", "normal", "lognormal", "exponential"),
        doc="how both times are distributed",
    ),
    Parameter(
        name="jitter",
        type="float",
        default=0.0,
        minimum=0,
        maximum=2,
        doc="standard deviation as a share of the mean, for normal and lognormal",
    ),
    Parameter(name="seed", type="int", default=0, minimum=0, doc="of the random delays"),
    Parameter(
        name="parallel",
        type="int",
        default=16,
        minimum=1,
        maximum=10_000,
        unit="requests",
        doc="requests that are generated at once; the others wait in order",
    ),
)


def _sim_llm_payload(spec: JobSpec) -> Payload:
    options: list[str] = []
    for parameter in _SIM_LLM:
        value = setting(_SIM_LLM, spec, parameter.name)
        options += [f"--{parameter.name.replace('_', '-')}", str(value)]
    return Payload(
        argv=(
            *program(spec, "python3"),
            Sh('"$BENCHD_SHIP_LLM"'),
            *("--host", _ANYWHERE, "--port", _PORT),
            *options,
            *arguments(spec),
        ),
        ship=("llm",),
    )


def _sim_llm_check(part: Part) -> Sequence[Complaint]:
    jitter = part.parameters.get("jitter", 0)
    distribution = part.parameters.get("distribution", "constant")
    if jitter and distribution in ("constant", "exponential"):
        at = ("parameters", "jitter")
        return ((at, f"a {distribution} distribution has none: use normal or lognormal"),)
    return ()


# --- generic ----------------------------------------------------------------------------------


def command_payload(spec: JobSpec) -> Payload:
    """Run the user's command with the user's arguments."""
    return Payload(argv=(*program(spec, "false"), *arguments(spec)))


def command_check(part: Part) -> Sequence[Complaint]:
    """Refuse a generic part that names no command: the kind has none of its own."""
    if part.command is None:
        what = f"missing: kind 'generic' runs what you say here ({part.name} says nothing)"
        return ((("command",), what),)
    return ()


KINDS: tuple[ServiceKind, ...] = (
    ServiceKind(
        name="redis",
        summary="Redis, or Valkey with `command: valkey-server`; data in the job directory; wants "
        "a password when it has `secrets: {REDIS_PASSWORD: ...}`",
        image="docker://redis:7-alpine",
        payload=_redis_payload,
        parameters=_REDIS,
        extra_check=_redis_check,
        check=HealthCheck(type="redis"),
    ),
    ServiceKind(
        name="sim-llm",
        summary="a synthetic LLM server with known delays, OpenAI and Ollama APIs; part of benchd",
        payload=_sim_llm_payload,
        parameters=_SIM_LLM,
        extra_check=_sim_llm_check,
        check=HealthCheck(type="http", endpoint="/health"),
    ),
    ServiceKind(
        name="generic",
        summary="any command, on the host or in an image; it finds its port in $BENCHD_PORT",
        payload=command_payload,
        extra_check=command_check,
        check=HealthCheck(type="tcp"),
    ),
)
