"""Parameters and options that the workloads of our own load generator have in common."""

from __future__ import annotations

from collections.abc import Sequence

from benchd.catalog.kinds import Parameter, setting
from benchd.core.spec import JobSpec

CLOSED_LOOP = (
    Parameter(
        name="concurrency",
        type="int",
        default=1,
        minimum=1,
        maximum=10_000,
        unit="users",
        doc="users that each send the next request when the last one is answered (closed loop)",
    ),
    Parameter(
        name="requests",
        type="int",
        default=None,
        minimum=1,
        maximum=100_000_000,
        doc="requests to measure; default: 100 where the client has no `duration`",
    ),
    Parameter(
        name="warmup",
        type="int",
        default=None,
        minimum=0,
        maximum=1_000_000,
        unit="requests",
        doc="requests before the measurement; default: two for each user, at least ten",
    ),
    Parameter(
        name="timeout",
        type="float",
        default=60.0,
        minimum=0.001,
        maximum=86_400,
        unit="s",
        doc="a request that takes longer is an error",
    ),
)


def options(parameters: Sequence[Parameter], spec: JobSpec) -> list[str]:
    """Return the load generator's options that say what the parameters say."""
    found: list[str] = []
    for parameter in parameters:
        value = setting(parameters, spec, parameter.name)
        flag = f"--{parameter.name.replace('_', '-')}"
        if isinstance(value, bool):
            found += [flag] if value else []
        elif value not in (None, ""):
            found.append(f"{flag}={value}")
    if spec.duration is not None:
        found.append(f"--duration={spec.duration}")
    return found
