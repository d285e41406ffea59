"""GET and SET on Redis at a rate: what redis-benchmark cannot do."""

from __future__ import annotations

from benchd.catalog import readings
from benchd.catalog.clients.common import RESULT, objectives
from benchd.catalog.clients.own_load import LOAD, TIMEOUT, loads, options, samples
from benchd.catalog.kinds import ClientKind, Parameter, arguments, asks, program
from benchd.core.payload import Payload, Sh
from benchd.core.spec import JobSpec

REDIS_LOAD = (
    Parameter(
        name="reads",
        type="float",
        default=0.9,
        minimum=0,
        maximum=1,
        doc="share of GET; the rest is SET",
    ),
    Parameter(
        name="keys",
        type="int",
        default=100_000,
        minimum=1,
        maximum=1_000_000_000,
        doc="keys that are written before the load, then read and written, then deleted",
    ),
    Parameter(
        name="distribution",
        type="str",
        default="uniform",
        choices=("uniform", "zipfian"),
        doc="which keys are used: all alike, or the n-th in proportion to 1/n",
    ),
    Parameter(
        name="value_size",
        type="int",
        default=100,
        minimum=1,
        maximum=100_000_000,
        unit="bytes",
        doc="size of a value",
    ),
    Parameter(
        name="pipeline",
        type="int",
        default=1,
        minimum=1,
        maximum=10_000,
        doc="commands that are sent together; a latency is that of all of them",
    ),
    Parameter(
        name="connections",
        type="int",
        default=50,
        minimum=1,
        maximum=10_000,
        doc="connections that an open loop shares; in a closed loop each user has one",
    ),
    Parameter(name="seed", type="int", default=0, minimum=0, doc="of keys, values and arrivals"),
    *LOAD,
    Parameter(
        name="timeout",
        type="float",
        default=10.0,
        minimum=TIMEOUT.minimum,
        maximum=TIMEOUT.maximum,
        unit="s",
        doc=TIMEOUT.doc,
    ),
)


def _payload(spec: JobSpec) -> Payload:
    url = Sh('"redis://$BENCHD_TARGET_HOST:$BENCHD_TARGET_PORT"')
    return Payload(
        argv=(
            *program(spec, "python3"),
            *(Sh('"$BENCHD_SHIP_LOAD"'), "redis", "--url", url),
            # The job directory is named by its token, and the keys by it.
            *("--out", RESULT, "--run-id", Sh('"$(basename "$JOB")"')),
            *options(REDIS_LOAD, spec),
            *arguments(spec),
        ),
        ship=("load",),
    )


KIND = ClientKind(
    name="redis-load",
    summary="GET and SET on Redis: latency at a rate that takes no notice of stalls, or with users "
    "who wait; checked with the server's own counters; part of benchd",
    payload=_payload,
    parse=readings.load,
    parameters=REDIS_LOAD,
    extra_check=lambda part: (*loads(part), *objectives(part, "redis")),
    asks=asks("redis"),
    samples=samples,
)
