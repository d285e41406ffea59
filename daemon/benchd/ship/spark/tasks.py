"""What Spark's executors run: each partition is one load generator, in a process of its own.

Load generators are not threads of an executor: they measure, so they have a process, and an event
loop, for themselves. They start together and put their samples together as on several nodes.
"""

import ctypes
import os
import platform
import signal
import subprocess
import sys
import tempfile
from typing import Any, Dict, Iterable, Iterator, List, Sequence, Tuple

from . import kin
from .documents import Form, write

Json = Dict[str, Any]
# prctl(2): the signal that a process gets when the one that started it is gone.
_PDEATHSIG = 1


class Problem(Exception):
    """Why a partition cannot do its part."""


def load(words: Sequence[str], index: int, _rows: Iterable[Any]) -> Iterator[Json]:
    """Run the load generator of one partition."""
    yield run(list(words), index)


def ingest(
    words: Sequence[str], form: Form, batch: int, index: int, rows: Iterable[Tuple[int, str]]
) -> Iterator[Json]:
    """Make batches of a partition's documents and send them."""
    with tempfile.NamedTemporaryFile(
        prefix="benchd-batches-", dir=os.environ.get("SPARK_LOCAL_DIRS")
    ) as file:
        count = write(file, (text for _, text in rows), form, batch)
        file.flush()
        done = run([*words, "--bodies", file.name], index)
    done["documents"] = count
    yield done


def run(words: List[str], index: int) -> Json:
    """Run one load generator to its end; once, whatever Spark thinks."""
    environ = os.environ
    once = os.path.join(environ["SPARK_CONF_DIR"], "partition-%d" % index)
    try:
        os.close(os.open(once, os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        raise Problem("partition %d has run before, and no load is sent twice" % index) from None
    log = os.path.join(environ["BENCHD_JOB"], "spark-partition-%d.log" % index)
    argv = [sys.executable, environ["BENCHD_SHIP_LOAD"], *words, "--node", str(index)]
    own = {name: text for name, text in environ.items() if not name.startswith("_SPARK")}
    own[kin.LOAD] = "1"
    with open(log, "wb") as said:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env=own,
            preexec_fn=_follow,  # noqa: PLW1509 - a worker of PySpark has one thread
        )
        status = process.wait()
    return {
        "index": index,
        "status": status,
        "host": platform.node(),
        "node": int(environ["BENCHD_NODE_INDEX"]),
    }


def _follow() -> None:
    """Leave the group of Spark's processes, which die at once; end gently when they are gone."""
    os.setsid()
    ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGTERM)
