"""The command line: ``spark head|worker|drive ... -- load TOOL OPTION...``."""

import argparse
import os
import sys
from typing import List, Optional

from . import VERSION, cluster, drive, found

# As sysexits.h has it: something that is needed is not there.
_UNAVAILABLE = 69
_ENDED = 128 + 15  # as a shell says of who was told to end (SIGTERM)


def parser(prog: str) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog=prog, description="benchd's way to run Spark in a job.")
    top.add_argument("--version", action="version", version="benchd-spark %s" % VERSION)
    parts = top.add_subparsers(dest="part", metavar="PART")
    for name, what in (
        ("head", "on the first node: Spark's master, a worker, and the driver"),
        ("worker", "on each other node: a worker"),
        ("drive", "the driver alone, of a Spark that runs"),
    ):
        sub = parts.add_parser(name, help=what)
        sub.add_argument("--partitions", type=int, required=True, help="load generators")
        sub.add_argument("--memory", type=int, default=1024, help="MB of each Java heap")
        sub.add_argument("--spark-home", help="where Spark is (default: SPARK_HOME, or pyspark)")
        if name != "worker":
            sub.add_argument("--out", default=".", help="directory for results")
            sub.add_argument("--run-id", default="spark", help="makes requests unique")
            sub.add_argument("work", nargs=argparse.REMAINDER, help="-- load|ingest OPTION...")
        if name == "drive":
            sub.add_argument("--master", required=True, help="spark://host:port")
    return top


def main(argv: Optional[List[str]] = None, prog: str = "spark") -> int:
    """Run; return the status of the workload, 69 where Spark or Java is missing."""
    words = sys.argv[1:] if argv is None else argv
    top = parser(prog)
    args = top.parse_args(words)
    if args.part is None:
        top.error("say which part: head, worker or drive")
    if args.part != "worker":
        args.work = args.work[1:] if args.work[:1] == ["--"] else args.work
        if args.work[:1] not in (["load"], ["ingest"]):
            top.error("say what to do after --: load TOOL OPTION... or ingest OPTION...")
    if args.part == "drive":
        return drive.drive(args.master, _wanted(args))
    try:
        cluster.listen_for_signals()
        spark = found.look(args.spark_home, os.environ)
        return _run(args, spark, words)
    except found.Missing as error:
        print("benchd: %s" % error, file=sys.stderr)
        return _UNAVAILABLE
    except cluster.Told:
        return _ENDED


def _wanted(args: argparse.Namespace) -> drive.Wanted:
    return drive.Wanted(args.partitions, args.out, args.run_id, args.work)


def _run(args: argparse.Namespace, spark: found.Spark, words: List[str]) -> int:
    """Run one node's part, and leave nothing of it behind."""
    place = cluster.place(os.environ)
    ship = [os.path.abspath(sys.argv[0])]
    node = cluster.Node(place, spark, ship)
    try:
        return (_head if args.part == "head" else _worker)(args, node, words)
    except cluster.Failed as error:
        print("benchd: %s" % error, file=sys.stderr)
        return 1
    finally:
        cluster.ignore_signals()
        node.end()
        if place.number:
            cluster.leave(place)


def _head(args: argparse.Namespace, node: cluster.Node, words: List[str]) -> int:
    place = node.place
    cluster.prepare(place, args.partitions, args.memory)
    node.start_spark("master", "master.Master")
    master = cluster.master_of(node)
    cluster.announce(place, master)
    node.start_worker(master, cluster.cores(args.partitions, place.nodes), args.memory)
    cluster.joined(node)
    print("benchd: %d workers joined Spark %s" % (place.nodes, node.spark.version), file=sys.stderr)
    program = [sys.executable, sys.argv[0], "drive", "--master", master]
    node.start("driver", [*program, *words[1:]], own_log=False)
    driver = node.programs["driver"]
    while driver.poll() is None:
        node.watch()
        cluster.pause()
    cluster.dismiss(node)
    return driver.returncode


def _worker(args: argparse.Namespace, node: cluster.Node, _words: List[str]) -> int:
    master = cluster.announced(node)
    node.start_worker(master, cluster.cores(args.partitions, node.place.nodes), args.memory)
    while not cluster.is_over(node.place):
        node.watch()
        cluster.pause()
    return 0
