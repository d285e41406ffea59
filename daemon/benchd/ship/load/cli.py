"""The command line: ``load llm --url URL ...``."""

import argparse
import json
import os
import sys
import uuid
from typing import Any, Dict, List, Optional

from . import VERSION, target
from .closed import Stop
from .llm import Options
from .run import Plan, execute, is_valid
from .streams import APIS

# Requests to measure when neither a number nor a duration is given: enough for p95.
_REQUESTS = 100
_LATER = ("redis", "chroma", "http")


def _whole(least: int, most: int) -> Any:
    def read(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError("%d is not between %d and %d" % (value, least, most))
        return value

    read.__name__ = "whole number"
    return read


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.001 <= value <= 604800:
        raise argparse.ArgumentTypeError("%s is not between 0.001 and 604800 seconds" % text)
    return value


def _run_id(text: str) -> str:
    # It becomes a header of each request.
    if not text or len(text) > 200 or not all("!" <= c <= "~" for c in text):
        raise argparse.ArgumentTypeError("a run id is 1 to 200 printable characters, no spaces")
    return text


def parser(prog: str = "load") -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog=prog, description="benchd's load generator.")
    top.add_argument("--version", action="version", version="benchd-load %s" % VERSION)
    kinds = top.add_subparsers(dest="workload", metavar="WORKLOAD")
    llm = kinds.add_parser("llm", help="streaming requests to an LLM server")
    add = llm.add_argument
    add("--url", required=True, help="http://host:port of the service")
    add("--out", default=".", help="directory for result.json and samples.jsonl.gz")
    add("--json", action="store_true", help="print the result document, not a table")
    add("--api", choices=sorted(APIS), default="openai-completions")
    add("--model", default="", help="default: the one model that the server lists")
    add("--prompt-tokens", type=_whole(1, 10**6), default=128)
    add("--output-tokens", type=_whole(1, 10**5), default=64)
    add("--concurrency", type=_whole(1, 10**4), default=1, help="users (closed loop)")
    add("--requests", type=_whole(1, 10**8), help="to measure (default 100 without --duration)")
    add("--duration", type=_seconds, help="seconds of measurement")
    add("--warmup", type=_whole(0, 10**6), help="requests (default: two a user, at least 10)")
    add("--seed", type=_whole(0, 2**63), default=0, help="of the prompts")
    add("--timeout", type=_seconds, default=300.0, help="seconds a request may take")
    add("--ignore-eos", action="store_true", help="full-length answers; a shorter one is an error")
    add("--run-id", type=_run_id, help="makes prompts unique (default: random)")
    add("--load", default="closed", help="closed; open loops are not in this version yet")
    for name in ("--rate", "--max-in-flight", "--burstiness"):
        add(name, help=argparse.SUPPRESS)
    add("--slo", action="append", help=argparse.SUPPRESS)
    for name in _LATER:
        kinds.add_parser(name, add_help=False, help="not in this version yet")
    return top


def _refuse_later(args: argparse.Namespace) -> None:
    """Refuse what is announced but not built: never run something else instead."""
    if args.load != "closed":
        if args.load not in ("constant", "poisson", "gamma"):
            raise target.Usage("--load %s: there is closed" % args.load)
        message = "--load %s: open loops are not in this version yet; use --load closed"
        raise target.Usage(message % args.load)
    for name in ("rate", "max_in_flight", "burstiness", "slo"):
        if getattr(args, name) is not None:
            option = "--" + name.replace("_", "-")
            message = "%s belongs to open loops, which are not in this version yet; leave it out"
            raise target.Usage(message % option)


def _plan(args: argparse.Namespace, argv: List[str]) -> Plan:
    _refuse_later(args)
    requests = args.requests
    if requests is None and args.duration is None:
        requests = _REQUESTS
    warmup = args.warmup if args.warmup is not None else max(2 * args.concurrency, 10)
    try:
        os.makedirs(args.out, exist_ok=True)
    except OSError as error:
        raise target.Usage("--out %s: %s" % (args.out, error.strerror)) from None
    return Plan(
        target=target.parse(args.url),
        options=Options(
            api=args.api,
            model=args.model,
            prompt_tokens=args.prompt_tokens,
            output_tokens=args.output_tokens,
            seed=args.seed,
            run_id=args.run_id or uuid.uuid4().hex,
            timeout=args.timeout,
            ignore_eos=args.ignore_eos,
        ),
        concurrency=args.concurrency,
        stop=Stop(requests, args.duration),
        warmup=warmup,
        out=args.out,
        argv=argv,
    )


def main(argv: Optional[List[str]] = None, prog: str = "load") -> int:
    """Run; return 0 for a valid result, 1 for none or an invalid one, 2 for a usage error."""
    words = sys.argv[1:] if argv is None else argv
    top = parser(prog)
    args, unknown = top.parse_known_args(words)
    if args.workload is None:
        top.error("say what to load: llm")
    if args.workload in _LATER:
        top.error("%s is not in this version yet; there is llm" % args.workload)
    if unknown:
        top.error("unknown arguments: %s" % " ".join(unknown))
    try:
        document = execute(_plan(args, words))
    except target.Usage as error:
        top.error(str(error))
    if args.json:
        print(json.dumps(document, indent=1, sort_keys=True))
    else:
        print(_table(document, args.out))
    if document["error"]:
        print("%s: %s" % (prog, document["error"]), file=sys.stderr)
    return 0 if is_valid(document) else 1


def _cell(value: Any) -> str:
    return "%11.2f" % value if isinstance(value, (int, float)) else "%11s" % "-"


def _table(document: Dict[str, Any], out: str) -> str:
    """Return the result for a human."""
    counts = document["counts"]
    lines = [
        "{scheduled} scheduled, {ok} ok, {errors} errors, {cancelled} cancelled".format(**counts)
    ]
    lines += ["  " + first for first in counts["first_errors"]]
    lines.append("%-14s%11s%11s%11s%11s  unit" % ("metric", "mean", "p50", "p95", "p99"))
    for name, metric in sorted(document["metrics"].items()):
        values = metric.get("percentiles") or {}
        mean = metric.get("mean", metric.get("value"))
        cells = [_cell(mean)] + [_cell(values.get(key)) for key in ("50", "95", "99")]
        lines.append("%-14s%s  %s" % (name, "".join(cells), metric["unit"]))
    if document["partial"]:
        lines.append("stopped before the end: partial")
    lines.append(os.path.join(out, "result.json"))
    return "\n".join(lines)
