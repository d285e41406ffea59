"""Parameters and options that the workloads of our own load generator have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchd.catalog.clients.common import unshared
from benchd.catalog.kinds import Complaint, Parameter, planned, setting
from benchd.core.flags import KEPT
from benchd.core.restart import seconds_of
from benchd.core.spec import Client, JobSpec, Part
from benchd.fields import Scalar

_PACED = ("constant", "poisson", "gamma", "ramp")
_OPEN = (*_PACED, "trace", "offline", "find-peak", "saturate")
# Those that try one load after another, on one node.
_STEPPED = ("find-peak", "saturate")
# MLPerf's names of loads.
_SCENARIOS = {
    "single-stream": "closed",
    "multi-stream": "closed",
    "server": "poisson",
    "offline": "offline",
}
# What only some load models have.
_ONLY: Mapping[str, tuple[str, ...]] = {
    "rate": (*_PACED, "find-peak"),
    "step_time": _STEPPED,
    "steps": ("saturate",),
    "arrivals": ("saturate",),
    "end_rate": ("ramp",),
    "burstiness": ("gamma",),
    "max_in_flight": _OPEN,
    "trace": ("trace",),
    "concurrency": ("closed", "saturate"),
    "think_time": ("closed",),
}
# Steps of saturate besides the rates: one user, many users, and more than these get.
_AROUND = 3
# Share of a step's time that its warm-up takes.
_WARMUP = 0.2
_SLO = r"[a-z][a-z0-9_]*_ms ?<=? ?[0-9]+(\.[0-9]+)?"

LOAD = (
    Parameter(
        name="load",
        type="str",
        default=None,
        choices=("closed", *_OPEN),
        doc="when requests are sent: closed (users who wait for answers), or by a schedule that "
        "takes no notice of answers: constant, poisson, gamma, ramp, trace, offline (all at once); "
        "find-peak: the highest rate at which `slo` is met, then measured; saturate: one user, "
        "then what many users get, then rates between the two, each with numbers of its own; "
        "default: closed",
    ),
    Parameter(
        name="scenario",
        type="str",
        default=None,
        choices=tuple(_SCENARIOS),
        doc="a load by its name in MLPerf, in place of `load`",
    ),
    Parameter(
        name="concurrency",
        type="int",
        default=None,
        minimum=1,
        maximum=10_000,
        unit="users",
        doc="closed: users that each send the next request when the last one is answered; "
        "default: 1; saturate: those whose throughput is the ceiling; default: 64",
    ),
    Parameter(
        name="think_time",
        type="float",
        default=None,
        minimum=0.001,
        maximum=86_400,
        unit="s",
        doc="closed: time between an answer and the user's next request; default: none",
    ),
    Parameter(
        name="rate",
        type="float",
        default=None,
        minimum=0.000001,
        maximum=1_000_000,
        unit="1/s",
        doc="constant, poisson, gamma: requests a second; ramp, find-peak: those at the beginning",
    ),
    Parameter(
        name="end_rate",
        type="float",
        default=None,
        minimum=0.000001,
        maximum=1_000_000,
        unit="1/s",
        doc="ramp: requests a second at the end of `duration`",
    ),
    Parameter(
        name="burstiness",
        type="float",
        default=None,
        minimum=0.001,
        maximum=1_000_000,
        doc="gamma: shape of the gaps between arrivals; below 1 they come in bursts, above 1 more "
        "evenly; default: 1, which is poisson",
    ),
    Parameter(
        name="step_time",
        type="float",
        default=None,
        minimum=0.1,
        maximum=86_400,
        unit="s",
        doc="find-peak, saturate: how long each step lasts; default: 10",
    ),
    Parameter(
        name="steps",
        type="int",
        default=None,
        minimum=3,
        maximum=100,
        doc="saturate: rates between floor and ceiling; default: 8",
    ),
    Parameter(
        name="arrivals",
        type="str",
        default=None,
        choices=("poisson", "constant"),
        doc="saturate: how the requests of each rate arrive; default: poisson",
    ),
    Parameter(
        name="trace",
        type="str",
        default=None,
        pattern=r"/[!-~]{1,1000}",
        doc="trace: file on the cluster with one arrival a line, in seconds after the start",
    ),
    Parameter(
        name="max_in_flight",
        type="int",
        default=None,
        minimum=1,
        maximum=1_000_000,
        unit="requests",
        doc="open loops: arrivals beyond so many unanswered requests are dropped and counted; "
        "default: none are",
    ),
    Parameter(
        name="slo",
        type="str",
        default=None,
        pattern=rf"{_SLO}(, ?{_SLO})*",
        doc="objectives of a good request, separated by commas, such as latency_sched_ms<=50; "
        "gives goodput and slo_attainment",
    ),
    Parameter(
        name="processes",
        type="int",
        default=None,
        minimum=1,
        maximum=256,
        doc="processes that share the load on a node; default: as many as users or rate ask for",
    ),
    Parameter(
        name="requests",
        type="int",
        default=None,
        minimum=1,
        maximum=KEPT,
        doc="requests to measure; default: 100 where the client has no `duration`",
    ),
    Parameter(
        name="warmup",
        type="int",
        default=None,
        minimum=0,
        maximum=1_000_000,
        unit="requests",
        doc="requests before the measurement; default: two for each user, at least ten; in open "
        "loops a second of them; saturate: before each step, a fifth of its time",
    ),
)
TIMEOUT = Parameter(
    name="timeout",
    type="float",
    default=60.0,
    minimum=0.001,
    maximum=86_400,
    unit="s",
    doc="a request that takes longer is an error",
)


def model(parameters: Mapping[str, Scalar]) -> str:
    """Return the load model that a recipe's parameters choose."""
    scenario = parameters.get("scenario")
    preset = _SCENARIOS.get(str(scenario)) if scenario is not None else None
    usual = "trace" if "trace" in parameters else "closed"
    return preset or str(parameters.get("load", usual))


def loads(part: Part) -> Iterator[Complaint]:
    """Yield what is wrong with the load that a client of ours is to make."""
    given, chosen = part.parameters, model(part.parameters)
    at = ("parameters", "scenario" if "scenario" in given else "load")
    if "scenario" in given and "load" in given:
        yield at, f"scenario: {given['scenario']} says what the load is: leave one of them out"
        return
    for name, models in _ONLY.items():
        if name in given and chosen not in models:
            yield ("parameters", name), f"belongs to load: {', '.join(models)}, not to {chosen}"
    if str(given.get("scenario")) in ("single-stream", "multi-stream") and "concurrency" in given:
        what = f"scenario: {given['scenario']} has a concurrency of its own: leave it out"
        yield ("parameters", "concurrency"), what
    needed = {"ramp": ("rate", "end_rate"), "trace": ("trace",), "find-peak": ("slo",)}
    wanted = needed.get(chosen, ("rate",) if chosen in _PACED else ())
    for name in wanted:
        if name not in given:
            yield at, f"{chosen} needs {name}"
    duration = part.duration if isinstance(part, Client) else None
    if chosen == "ramp" and duration is None:
        yield at, "ramp needs the client's duration"
    if chosen == "ramp" and "requests" in given:
        yield ("parameters", "requests"), "a ramp has as many as its rates and duration make"
    if chosen == "offline" and duration is not None:
        yield at, "offline sends all requests at once: leave duration out"
    if chosen in _STEPPED and isinstance(part, Client):
        yield from _stepped(part, chosen, at)
    wanted_samples = samples(part) if isinstance(part, Client) else None
    if wanted_samples is not None and wanted_samples > KEPT:
        what = f"{wanted_samples:,} requests: at most {KEPT:,} are kept: a lower rate, or less time"
        yield at, what
    slo = str(given.get("slo", ""))
    if chosen == "closed" and "_sched_ms" in slo:
        yield ("parameters", "slo"), "a closed loop has no schedule: use *_service_ms"


def _stepped(part: Client, chosen: str, at: tuple[str, ...]) -> Iterator[Complaint]:
    """Yield what is wrong with a load that tries one load after another."""
    given = part.parameters
    if part.nodes > 1:
        yield at, f"{chosen} works on one node"
    if chosen != "saturate":
        return
    if part.duration is not None:
        yield ("duration",), "each step of saturate lasts step_time: leave duration out"
    if "requests" in given:
        yield ("parameters", "requests"), "each step of saturate lasts step_time: leave it out"
    rates, each = int(given.get("steps", 8)), float(given.get("step_time", 10))
    least = (rates + _AROUND) * each * (1 if "warmup" in given else 1 + _WARMUP)
    limit = part.resources.time
    if limit is not None and 0 < seconds_of(limit) < least:
        what = f"{rates + _AROUND} steps of {each:g} s take {least:.0f} s at least, with their "
        what += f"warm-ups; resources.time is {limit}: fewer steps, shorter ones, or more time"
        yield at, what


def shared_loads(part: Part) -> Iterator[Complaint]:
    """Yield the same, and what is wrong with a load that several nodes are to share."""
    yield from loads(part)
    names = ("requests", "max_in_flight")
    yield from unshared(
        part, (*names, "concurrency") if model(part.parameters) == "closed" else names
    )


def samples(part: Client) -> int | None:
    """Return how many requests a client is told to measure; None where that depends on answers."""
    said, chosen = part.parameters, model(part.parameters)
    if chosen == "ramp" and part.duration is not None:
        rates = [said.get(name) for name in ("rate", "end_rate")]
        known = [rate for rate in rates if isinstance(rate, int | float)]
        return int(sum(known) / 2 * part.duration) if len(known) == len(rates) else None
    if chosen in _STEPPED and "requests" not in said:  # its rate is only the first one
        return None
    return planned(part)


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
