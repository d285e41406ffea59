"""Types of options, and the options that all workloads have."""

import argparse
from typing import Any

from .arrivals import MOST


def whole(least: int, most: int) -> Any:
    """Return a reader of whole numbers between two bounds."""

    def read(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError("%d is not between %d and %d" % (value, least, most))
        return value

    read.__name__ = "whole number"
    return read


def seconds(text: str) -> float:
    """Read a number of seconds."""
    value = float(text)
    if not 0.001 <= value <= 604800:
        raise argparse.ArgumentTypeError("%s is not between 0.001 and 604800 seconds" % text)
    return value


def share(text: str) -> float:
    """Read a share of a whole."""
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError("%s is not between 0 and 1" % text)
    return value


def run_id(text: str) -> str:
    """Read a run id: it becomes a header of each request."""
    if not text or len(text) > 200 or not all("!" <= c <= "~" for c in text):
        raise argparse.ArgumentTypeError("a run id is 1 to 200 printable characters, no spaces")
    return text


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add what every workload takes."""
    add = parser.add_argument
    add("--url", required=True, help="http://host:port of the service; several with commas")
    add("--out", help="directory for result.json and samples.jsonl.gz (default: this one)")
    add("--json", action="store_true", help="print the result document, not a table")
    add("--requests", type=whole(1, MOST), help="to measure (default 100 without --duration)")
    add("--duration", type=seconds, help="seconds of measurement")
    add("--warmup", type=whole(0, 10**6), help="requests (default: two a user, at least 10)")
    add("--nodes", type=whole(1, 1024), default=1, help="generators that share the load, in --out")
    add("--node", type=whole(0, 1023), default=0, help="which of them this is")
    add("--run-id", type=run_id, help="makes requests unique (default: random)")
