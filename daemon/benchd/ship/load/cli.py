"""The command line: ``load llm --url URL ...``."""

import argparse
import json
import os
import sys
import uuid
from typing import Any, Dict, List, Optional, Sequence

from . import VERSION, chroma, driving, ingest, llm, loads, quality, rag, redis, target, web
from .arrivals import STEPPED, Load
from .nodes import Together
from .options import add_common
from .run import Plan, execute, is_valid
from .sending import Stop
from .work import Workload

# Requests to measure when neither a number nor a duration is given: enough for p95.
_REQUESTS = 100
WORKLOADS: Dict[str, Any] = {
    "llm": llm,
    "chroma": chroma,
    "rag": rag,
    "http": web,
    "ingest": ingest,
    "redis": redis,
}


def parser(prog: str = "load") -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog=prog, description="benchd's load generator.")
    top.add_argument("--version", action="version", version="benchd-load %s" % VERSION)
    kinds = top.add_subparsers(dest="workload", metavar="WORKLOAD")
    for name, module in WORKLOADS.items():
        sub = kinds.add_parser(name, help=module.HELP)
        add_common(sub)
        loads.add_load(sub)
        module.add_options(sub)
    return top


def _plan(args: argparse.Namespace, argv: List[str]) -> Plan:
    load = loads.of(args)
    requests = args.requests
    if requests is None and args.duration is None and load.model not in ("trace", "saturate"):
        requests = getattr(args, "batches", _REQUESTS)
    out = args.out or "."
    try:
        os.makedirs(out, exist_ok=True)
    except OSError as error:
        raise target.Usage("--out %s: %s" % (out, error.strerror)) from None
    targets = target.parse_all(args.url, "redis" if args.workload == "redis" else "http")
    together = _together(args, load, requests)
    run_id = args.run_id or uuid.uuid4().hex
    if together is not None:  # no two nodes send the same
        run_id = "%s-n%d" % (run_id, together.index)
    workload: Workload = WORKLOADS[args.workload].build(args, targets[0], run_id)
    if len(targets) > 1 and not workload.spreads:
        raise target.Usage("--url: %s measures one address, not several" % workload.kind)
    if together is not None and not workload.shared:
        raise target.Usage("--nodes: %s cannot be shared between nodes" % workload.kind)
    if args.processes and args.processes > 1 and not workload.forks:
        raise target.Usage("--processes: %s cannot be shared between them" % workload.kind)
    if load.model in STEPPED and not workload.numbered:
        raise target.Usage("--load %s: %s sends everything once" % (load.model, workload.kind))
    workload.targets = targets
    workload.is_open = load.is_open
    if args.slo:
        workload.slos = quality.parse(args.slo, list(workload.quantities()))
        quality.check(workload.slos, workload)
    return Plan(
        workload=workload,
        load=load,
        stop=Stop(requests, args.duration),
        warmup=args.warmup if args.warmup is not None else _warmup(load),
        out=out,
        keeps_failures=args.out is not None or together is not None,
        argv=argv,
        together=together,
        processes=driving.processes(load, workload, args.processes),
    )


def _warmup(load: Load) -> Optional[int]:
    """Return how many requests come before the measurement, unless somebody says."""
    if load.model == "saturate":  # each of its steps has one of so many seconds
        return None
    if load.is_open:  # a second of them
        return min(1000, max(10, int(load.rate or 0)))
    return max(2 * load.concurrency, 10)


def _together(args: argparse.Namespace, load: Load, requests: Optional[int]) -> Optional[Together]:
    if args.nodes == 1:
        return None
    if args.node >= args.nodes:
        raise target.Usage(
            "--node %d: of %d nodes, the last is %d" % (args.node, args.nodes, args.nodes - 1)
        )
    shared = [("--requests", requests), ("--max-in-flight", load.max_in_flight)]
    if not load.is_open:
        shared.append(("--concurrency", load.concurrency))
    for name, total in shared:
        if total is not None and total < args.nodes:
            raise target.Usage("%s %d cannot be shared by %d nodes" % (name, total, args.nodes))
    return Together(args.node, args.nodes, args.out or ".")


def main(argv: Optional[List[str]] = None, prog: str = "load") -> int:
    """Run; return 0 for a valid result, 1 for none or an invalid one, 2 for a usage error."""
    words = sys.argv[1:] if argv is None else argv
    top = parser(prog)
    args, unknown = top.parse_known_args(words)
    if args.workload is None:
        top.error("say what to load: %s" % ", ".join(WORKLOADS))
    if unknown:
        top.error("unknown arguments: %s" % " ".join(unknown))
    try:
        document = execute(_plan(args, words))
    except target.Usage as error:
        top.error(str(error))
    if args.json:
        print(json.dumps(document, indent=1, sort_keys=True))
    elif document["counts"]["issued"] or not document["error"]:
        print(_table(document, args.out or "."))
    if document["error"]:
        print("%s: %s" % (prog, document["error"]), file=sys.stderr)
    # Of several nodes, the first one judges: whether another's part is valid, its result says.
    return 0 if args.node > 0 or is_valid(document) else 1


def _cell(value: Any) -> str:
    return "%11.2f" % value if isinstance(value, (int, float)) else "%11s" % "-"


def _steps(steps: Sequence[Dict[str, Any]]) -> List[str]:
    """Return the steps of a load that went to saturation; rates are requests a second."""
    if not steps:
        return []
    said = ["%-14s%11s%11s%11s%11s  tail" % ("step", "offered", "answered", "errors", "tail [ms]")]
    for step in steps:
        name = "%s %s" % (step["kind"], step.get("concurrency", ""))
        found = step["metrics"]
        tail, which = None, ""
        for metric in ("ttft_sched", "latency_sched", "ttft_service", "latency_service"):
            known = found.get(metric, {}).get("percentiles") or {}
            for key in ("99", "95", "90", "50"):
                if tail is None and known.get(key) is not None:
                    tail, which = known[key], "%s p%s" % (metric, key)
        cells = (step.get("offered_rate"), found.get("req_s", {}).get("value"), step["errors"])
        bad = "" if step.get("good", True) else ", not good"
        said.append("%-14s%s  %s%s" % (name, "".join(map(_cell, (*cells, tail))), which, bad))
    return said


def _table(document: Dict[str, Any], out: str) -> str:
    """Return the result for a human."""
    counts = document["counts"]
    names = ("scheduled", "ok", "errors", "dropped", "cancelled")
    lines = [", ".join("%d %s" % (counts[name], name) for name in names)]
    lines += ["  " + first for first in counts["first_errors"]]
    lines.append("%-14s%11s%11s%11s%11s  unit" % ("metric", "mean", "p50", "p95", "p99"))
    for name, metric in sorted(document["metrics"].items()):
        values = metric.get("percentiles") or {}
        mean = metric.get("mean", metric.get("value"))
        cells = [_cell(mean)] + [_cell(values.get(key)) for key in ("50", "95", "99")]
        lines.append("%-14s%s  %s" % (name, "".join(cells), metric["unit"]))
    lines += _steps((document["workload"].get("saturation") or {}).get("steps") or ())
    if document["partial"]:
        lines.append("stopped before the end: partial")
    lines.append(os.path.join(out, "result.json"))
    return "\n".join(lines)
