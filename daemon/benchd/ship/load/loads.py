"""The command line's words about load, made into one that can be."""

import argparse
from typing import Any, Optional

from .arrivals import MODELS, OPEN, SCENARIOS, STEPPED, Load
from .options import seconds, whole
from .target import Usage

# What only some models have: option, models.
_ONLY = (
    ("rate", ("constant", "poisson", "gamma", "ramp", "find-peak")),
    ("step_time", STEPPED),
    ("steps", ("saturate",)),
    ("arrivals", ("saturate",)),
    ("end_rate", ("ramp",)),
    ("burstiness", ("gamma",)),
    ("max_in_flight", OPEN),
    ("trace", ("trace",)),
    ("concurrency", ("closed", "saturate")),
    ("think_time", ("closed",)),
)
# Users whose throughput is the ceiling, unless somebody says.
_CEILING_USERS = 64
# Arrivals a second beyond which no schedule makes sense.
_FASTEST = 10**6


def positive(text: str) -> float:
    """Read a rate or a shape."""
    value = float(text)
    if not 1e-6 <= value <= _FASTEST:
        raise argparse.ArgumentTypeError("%s is not between 0.000001 and %d" % (text, _FASTEST))
    return value


def add_load(parser: argparse.ArgumentParser) -> None:
    """Add the options of the load models."""
    add = parser.add_argument
    add("--load", choices=MODELS, help="when requests are sent (default: closed)")
    add("--scenario", choices=sorted(SCENARIOS), help="a load by its name in MLPerf")
    add("--concurrency", type=whole(1, 10**4), help="users (closed; default 1), or of the ceiling")
    add("--think-time", type=seconds, help="seconds between an answer and the next request")
    add("--rate", type=positive, help="requests a second (constant, poisson, gamma, ramp)")
    add("--end-rate", type=positive, help="rate at the end of a ramp")
    add("--burstiness", type=positive, help="shape of gamma: below 1 bursts, above 1 smoother")
    add("--trace", metavar="FILE", help="seconds after the start, one arrival a line (trace)")
    add("--max-in-flight", type=whole(1, 10**6), help="arrivals beyond are dropped (open loops)")
    add("--step-time", type=seconds, help="seconds of each step (default 10)")
    add("--steps", type=whole(3, 100), help="rates up to the ceiling (saturate; default 8)")
    add("--arrivals", choices=("poisson", "constant"), help="of each rate (saturate)")
    add("--slo", action="append", default=[], metavar="TIME_ms<=MS", help="for goodput")
    add("--processes", type=whole(1, 256), help="that share the load (default: as needed)")


def of(args: argparse.Namespace) -> Load:
    """Return the load of a command line; refuse what contradicts itself."""
    model = args.load or ("trace" if args.trace else "closed")
    concurrency = args.concurrency
    if args.scenario:
        if args.load:
            raise Usage("--scenario %s says what --load is: leave one out" % args.scenario)
        preset = SCENARIOS[args.scenario]
        model = str(preset["load"])
        if "concurrency" in preset and concurrency is not None:
            raise Usage("--scenario %s has its own --concurrency: leave it out" % args.scenario)
        concurrency = preset.get("concurrency", concurrency)
    given = vars(args)
    for name, models in _ONLY:
        if given[name] is not None and model not in models:
            _refuse(name, model, models)
    _demand(args, model)
    return Load(
        model=model,
        concurrency=int(concurrency or (_CEILING_USERS if model == "saturate" else 1)),
        think_time=args.think_time or 0.0,
        rate=args.rate,
        end_rate=args.end_rate,
        burstiness=args.burstiness or 1.0,
        max_in_flight=args.max_in_flight,
        seed=getattr(args, "seed", 0),
        scenario=args.scenario or "",
        trace=args.trace or "",
        step_time=args.step_time or 10.0,
        steps=args.steps or 8,
        arrivals=args.arrivals or "poisson",
    )


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _refuse(name: str, model: str, models: Any) -> None:
    if model == "closed" and name != "trace":
        message = "%s belongs to open loops (--load %s); a closed loop sends when it is answered"
        raise Usage(message % (_option(name), ", ".join(models)))
    raise Usage("%s belongs to --load %s, not to %s" % (_option(name), ", ".join(models), model))


def _demand(args: argparse.Namespace, model: str) -> None:
    """Refuse a model without what it cannot do without."""

    def missing(name: str, value: Optional[object]) -> None:
        if value is None:
            raise Usage("--load %s needs %s" % (model, _option(name)))

    if model in ("constant", "poisson", "gamma", "ramp"):
        missing("rate", args.rate)
    if model == "ramp":
        missing("end_rate", args.end_rate)
        missing("duration", args.duration)
        if args.requests is not None:
            raise Usage("--requests: a ramp has as many as its rates and --duration make")
    if model == "find-peak":
        missing("slo", args.slo or None)
    if model in STEPPED and args.nodes > 1:
        raise Usage("--nodes: --load %s works on one node" % model)
    if model == "saturate":
        for name in ("duration", "requests"):
            if getattr(args, name) is not None:
                message = "%s: each step of --load saturate lasts --step-time"
                raise Usage(message % _option(name))
    if model == "trace":
        missing("trace", args.trace)
    if model == "offline" and args.duration is not None:
        raise Usage("--duration: --load offline sends all --requests at once")
