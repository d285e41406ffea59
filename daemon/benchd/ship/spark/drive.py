"""Spark's driver: one partition for each load generator, and what is known beside their numbers.

The numbers are those of the load generators: they put their samples together themselves. What is
told here, in ``spark.json``, is who ran where, and what the service holds in the end.
"""

import argparse
import importlib
import json
import os
import re
import sys
from functools import partial
from typing import Any, Dict, List, NamedTuple, Tuple

from . import documents, tasks
from .documents import Form
from .store import Collection, Refused

Json = Dict[str, Any]


class Unusable(Exception):
    """The workload cannot be run; the message says why."""


class Wanted(NamedTuple):
    """What is to be done."""

    partitions: int
    out: str
    run_id: str
    work: List[str]  # load TOOL OPTION..., or ingest OPTION...


def options(prog: str) -> argparse.ArgumentParser:
    """Return the command line of ``ingest``."""
    parser = argparse.ArgumentParser(prog=prog + " ingest")
    add = parser.add_argument
    add("--url", required=True)
    add("--into", choices=("chroma", "http"), required=True)
    add("--input", help="a file, or files (*.jsonl), with a JSON object in each line")
    add("--documents", type=int, default=10000, help="to make, where there is no --input")
    add("--dimension", type=int, default=384, help="numbers in a vector; 0: none")
    add("--words", type=int, default=64, help="in a document")
    add("--seed", type=int, default=0)
    add("--batch", type=int, default=100, help="documents in a request")
    add("--format", choices=("json", "ndjson"), default="json")
    add("--wrap", default="", help="name under which the list stands in an object")
    add("--keep", action="store_true", help="leave the collection where it is")
    for name in ("--concurrency", "--timeout", "--method", "--path", "--bearer-env"):
        add(name)
    return parser


def shared(wanted: Wanted) -> List[str]:
    """Return the options by which load generators share their load."""
    nodes = ["--nodes", str(wanted.partitions)]
    return ["--out", wanted.out, "--run-id", wanted.run_id, *nodes]


def load(context: Any, wanted: Wanted) -> Tuple[List[Json], Json]:
    """Run a load generator in each partition; return what they say, and nothing else."""
    # in this order: the name of the tool comes first
    words = [*wanted.work[1:], *shared(wanted)]
    count = wanted.partitions
    parts = context.parallelize(range(count), count)
    return together(parts, partial(tasks.load, words)), {}


def ingest(context: Any, wanted: Wanted) -> Tuple[List[Json], Json]:
    """Bring documents into a service from all partitions; return also what it holds then."""
    args = options("spark").parse_args(wanted.work[1:])
    if "," in args.url:
        raise Unusable(
            "documents go into one service, and there are several replicas: %s" % args.url
        )
    form = Form(args.into, args.format, args.wrap)
    rows, total = _rows(context, args, form, wanted.partitions)
    count = documents.batches(total, wanted.partitions, args.batch)
    if total < wanted.partitions:
        message = "%d documents cannot be shared by %d partitions"
        raise Unusable(message % (total, wanted.partitions))
    said: Json = {
        "documents": total,
        "batch": args.batch,
        "seed": None if args.input else args.seed,
    }
    collection = Collection(args.url, "benchd-%s" % re.sub(r"[^A-Za-z0-9._-]", "-", wanted.run_id))
    path, kind = args.path or "/", "application/json"
    if args.into == "chroma":
        collection.make()
        path = collection.path
    elif args.format == "ndjson":
        kind = "application/x-ndjson"
    words = ["ingest", "--url", args.url, "--into", args.into, "--batches", str(count)]
    words += ["--path", path, "--content-type", kind, *_passed_on(args), *shared(wanted)]
    try:
        done = together(rows, partial(tasks.ingest, words, form, args.batch))
        if args.into == "chroma":
            said["stored"] = collection.count(total)
    finally:
        if args.into == "chroma" and not args.keep:
            collection.remove()
    return done, said


def _rows(context: Any, args: argparse.Namespace, form: Form, count: int) -> Tuple[Any, int]:
    """Return the documents, each in the partition of its number, and how many there are."""
    if args.input:
        lines = context.textFile("file://" + os.path.abspath(args.input), count)
        numbered = lines.filter(str.strip).zipWithIndex().map(_numbered)
        total = numbered.count()
        rows = numbered.map(partial(_checked, form))
    else:
        total = args.documents
        make = partial(_made, args.seed, args.dimension, args.words)
        rows = context.range(0, total, numSlices=count).map(make)
    return rows.partitionBy(count, int), total


def _numbered(row: Tuple[str, int]) -> Tuple[int, str]:
    return row[1], row[0]


def _checked(form: Form, row: Tuple[int, str]) -> Tuple[int, str]:
    return row[0], documents.checked(form, *row)


def _made(seed: int, dimension: int, words: int, index: int) -> Tuple[int, str]:
    return index, documents.made(seed, dimension, words, index)


def _passed_on(args: argparse.Namespace) -> List[str]:
    """Return the options that are the load generator's own."""
    found = []
    for name in ("concurrency", "timeout", "method", "bearer_env"):
        value = getattr(args, name)
        if value is not None:
            found += ["--" + name.replace("_", "-"), value]
    return found


def together(rows: Any, task: Any) -> List[Json]:
    """Run a task in all partitions at the same time, or in none (Spark's barrier mode)."""
    done: List[Json] = rows.barrier().mapPartitionsWithIndex(task).collect()
    return sorted(done, key=lambda row: int(row["index"]))


WORK = {"load": load, "ingest": ingest}


def drive(master: str, wanted: Wanted) -> int:
    """Do it; return the exit status of the load generator that puts all together."""
    os.makedirs(wanted.out, exist_ok=True)
    pyspark = importlib.import_module("pyspark")
    said: Json = {
        "version": pyspark.__version__,
        "workload": wanted.work[0],
        "partitions": wanted.partitions,
        "nodes": int(os.environ["BENCHD_NODES"]),
        "python": "%d.%d.%d" % sys.version_info[:3],
    }
    _leave(wanted, said)
    context = pyspark.SparkContext(
        conf=pyspark.SparkConf().setMaster(master).setAppName(wanted.run_id)
    )
    try:
        done, more = WORK[wanted.work[0]](context, wanted)
    except (Refused, Unusable) as error:
        print("benchd: %s" % error, file=sys.stderr)
        return 1
    except Exception as error:  # noqa: BLE001 - py4j's own is known by its name only
        print("benchd: %s" % reason(str(error)), file=sys.stderr)
        return 1
    finally:
        context.stop()
    said.update(more, ran=done)
    _leave(wanted, said)
    return int(done[0]["status"])


def reason(text: str) -> str:
    """Return what matters of an error that came through Java: our sentence, or its beginning."""
    ours = re.search(r"\b(?:tasks\.Problem|documents\.Bad): (.+)", text)
    if ours:
        return ours.group(1).strip()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "Spark's job failed: %s" % " ".join(lines[:3])[:600]


def _leave(wanted: Wanted, said: Json) -> None:
    path = os.path.join(wanted.out, "spark.json")
    with open(path + ".part", "w", encoding="utf-8") as file:
        json.dump(said, file, indent=1, sort_keys=True)
        file.write("\n")
    os.rename(path + ".part", path)
