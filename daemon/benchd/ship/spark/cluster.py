"""Spark standalone on the nodes of one job: a master and a worker on the first, a worker on each.

Ports are free ones, on the address of the node that the others use. Nobody else can use it: every
connection proves that it knows a secret, which is made for this job and stands in a file that only
its user can read (0600), never on a command line. Spark's web pages, which know no passwords, are
on the loopback address, with nothing on them that could end or change anything.
"""

import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

from . import kin
from .found import Spark

# Seconds in which all workers have joined: an image of 1 GB may have to be read on a slow node.
_PATIENCE = 600.0
# Seconds between two looks.
_LOOK = 0.2
_ADDRESS = "address"
_OVER = "over"
# Seconds that the other nodes get to leave nothing behind; then the batch script ends them.
_LEAVING = 5.0
# Lines of a log that are told when its program fails.
_TOLD = 15


class Failed(Exception):
    """Spark did not start or did not last; the message says why."""


class Told(BaseException):
    """Somebody wants this program to end."""


class Place(NamedTuple):
    """What the batch script says about the job and this node."""

    job: str
    span: str
    nodes: int
    number: int  # of this node
    address: str

    @property
    def conf(self) -> str:
        """Return the directory with Spark's settings, on the disk that all nodes see."""
        return os.path.join(self.job, "spark-" + self.span)

    @property
    def mark(self) -> str:
        """Return what the processes of this node have in their environment.

        The job's directory is part of it: nodes of two clusters may be one machine.
        """
        return "%s:%s-%d" % (self.job, self.span, self.number)

    def log(self, name: str) -> str:
        """Return where a program writes what it has to say."""
        return os.path.join(self.job, "spark-%s.log" % name)


def place(environ: Mapping[str, str]) -> Place:
    """Return where this is."""
    return Place(
        job=environ["BENCHD_JOB"],
        span=environ["BENCHD_SPAN"],
        nodes=int(environ["BENCHD_NODES"]),
        number=int(environ["BENCHD_NODE_INDEX"]),
        address=environ["BENCHD_HOST_IP"],
    )


def settings(secret: str, cores: int, nodes: int, memory: int, address: str) -> Dict[str, str]:
    """Return Spark's settings (spark.apache.org, "Configuration", "Security"; 3.5 and 4.0)."""
    return {
        "spark.authenticate": "true",
        "spark.authenticate.secret": secret,
        "spark.network.crypto.enabled": "true",
        "spark.ui.enabled": "false",
        "spark.ui.killEnabled": "false",
        "spark.master.rest.enabled": "false",
        "spark.master.ui.decommission.allow.mode": "DENY",
        "spark.driver.host": address,
        "spark.driver.bindAddress": address,
        # A multiple of an executor's, or the last executor would never be started.
        "spark.cores.max": str(cores * nodes),
        "spark.executor.cores": str(cores),
        "spark.executor.memory": "%dm" % memory,
        "spark.driver.memory": "%dm" % memory,
        "spark.dynamicAllocation.enabled": "false",
        # All workers are there before the first task, so that load generators are spread evenly.
        "spark.scheduler.minRegisteredResourcesRatio": "1.0",
        "spark.scheduler.maxRegisteredResourcesWaitingTime": "%ds" % _PATIENCE,
        # A load is never sent twice: nothing is tried again, and nothing in two places.
        "spark.task.maxFailures": "1",
        "spark.stage.maxConsecutiveAttempts": "1",
        "spark.speculation": "false",
        "spark.ui.showConsoleProgress": "false",
    }


def cores(partitions: int, nodes: int) -> int:
    """Return how many load generators a worker takes at once."""
    return -(-partitions // nodes)


class Node:
    """Spark's programs on this node."""

    def __init__(self, place: Place, spark: Spark, ship: List[str]) -> None:
        self.place = place
        self.spark = spark
        self.scratch = tempfile.mkdtemp(prefix="benchd-spark-")
        self.programs: Dict[str, "subprocess.Popen[bytes]"] = {}
        self.environment = dict(
            os.environ,
            SPARK_HOME=spark.home,
            SPARK_CONF_DIR=place.conf,
            # Where the web pages listen; all else is told its address.
            SPARK_LOCAL_IP="127.0.0.1",
            SPARK_PUBLIC_DNS=place.address,
            SPARK_LOCAL_DIRS=self.scratch,
            SPARK_DAEMON_MEMORY="512m",
            PYSPARK_PYTHON=sys.executable,
            PYSPARK_DRIVER_PYTHON=sys.executable,
            PYTHONPATH=os.pathsep.join([*ship, *spark.python]),
            **{kin.MARK: place.mark},
        )
        if not os.environ.get("JAVA_HOME"):
            self.environment["JAVA_HOME"] = os.path.dirname(
                os.path.dirname(os.path.realpath(spark.java))
            )

    def start(self, name: str, argv: List[str], own_log: bool = True) -> None:
        """Start a program, with what it says in a file of its own or among the job's."""
        log: Any = open(self.place.log(name), "wb") if own_log else None  # noqa: SIM115 - closed below
        self.programs[name] = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment
        )
        if log is not None:
            log.close()

    def start_spark(self, name: str, what: str, *options: str) -> None:
        """Start one of Spark's own."""
        program = os.path.join(self.spark.home, "bin", "spark-class")
        listening = ["--host", self.place.address, "--port", "0", "--webui-port", "0"]
        main = "org.apache.spark.deploy." + what
        self.start(name, ["bash", program, main, *listening, *options])

    def start_worker(self, master: str, cores: int, memory: int) -> None:
        """Start the worker of this node."""
        # A worker has to offer at least what an executor asks for.
        size = ["--cores", str(cores), "--memory", "%dm" % memory]
        work = ["--work-dir", os.path.join(self.scratch, "work")]
        name = "worker-%d" % self.place.number
        self.start_spark(name, "worker.Worker", *size, *work, master)

    def watch(self) -> None:
        """Raise ``Failed`` when one of Spark's own has ended: none does by itself."""
        for name, program in self.programs.items():
            if name != "driver" and program.poll() is not None:
                message = "Spark's %s has ended with status %d; its last words:\n%s"
                said = last_lines(self.place.log(name))
                raise Failed(message % (name, program.returncode, said))

    def end(self) -> None:
        """Leave nothing behind."""
        kin.end(self.place.mark)
        for program in self.programs.values():
            program.kill()  # where /proc does not show it
            program.wait()
        subprocess.call(["rm", "-rf", "--", self.scratch])


def prepare(place: Place, partitions: int, memory: int) -> None:
    """Write Spark's settings, with a new secret, for this user's eyes only."""
    os.mkdir(place.conf, 0o700)
    each = cores(partitions, place.nodes)
    mine = settings(secrets.token_hex(32), each, place.nodes, memory, place.address)
    text = "".join("%s %s\n" % item for item in sorted(mine.items()))
    path = os.path.join(place.conf, "spark-defaults.conf")
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def master_of(node: Node) -> str:
    """Wait until the master of this node says where it is; return that."""

    def said() -> Optional[str]:
        with open(node.place.log("master"), encoding="utf-8", errors="replace") as file:
            match = re.search(r"Starting Spark master at (spark://[^\s:]+:\d+)", file.read())
        return match.group(1) if match else None

    return str(_until(node, said, "Spark's master did not start"))


def announce(place: Place, master: str) -> None:
    """Tell the other nodes where the master is."""
    path = os.path.join(place.conf, _ADDRESS)
    with open(path + ".part", "w", encoding="utf-8") as file:
        file.write(master + "\n")
    os.rename(path + ".part", path)


def announced(node: Node) -> str:
    """Wait until the first node says where the master is; return that."""

    def said() -> Optional[str]:
        try:
            os.listdir(node.place.conf)  # what a network file system remembers is asked again
            with open(os.path.join(node.place.conf, _ADDRESS), encoding="utf-8") as file:
                return file.read().strip() or None
        except OSError:
            return None

    return str(_until(node, said, "the first node has started no Spark master"))


def dismiss(node: Node) -> None:
    """Tell the workers that all is done, and wait a little until they are gone."""
    place = node.place
    with open(os.path.join(place.conf, _OVER), "w", encoding="utf-8"):
        pass
    limit = time.monotonic() + _LEAVING
    others = ["gone-%d" % number for number in range(1, place.nodes)]
    while not set(others) <= set(os.listdir(place.conf)) and time.monotonic() < limit:
        pause()


def is_over(place: Place) -> bool:
    """Whether the first node has dismissed the workers, or has gone with all that was there."""
    try:
        return _OVER in os.listdir(place.conf)
    except OSError:
        return True


def leave(place: Place) -> None:
    """Tell the first node that nothing is left on this one."""
    try:
        with open(os.path.join(place.conf, "gone-%d" % place.number), "w", encoding="utf-8"):
            pass
    except OSError:
        return


def joined(node: Node) -> None:
    """Wait until the master knows all workers."""

    def said() -> Optional[int]:
        with open(node.place.log("master"), encoding="utf-8", errors="replace") as file:
            count = len(re.findall(r"Registering worker ", file.read()))
        return count if count >= node.place.nodes else None

    _until(node, said, "not all %d workers joined Spark" % node.place.nodes)


def _until(node: Node, look: Any, otherwise: str) -> Any:
    limit = time.monotonic() + _PATIENCE
    while True:
        node.watch()
        found = look()
        if found is not None:
            return found
        if time.monotonic() > limit:
            raise Failed("%s within %g s" % (otherwise, _PATIENCE))
        pause()


def pause() -> None:
    """Wait a little between two looks."""
    time.sleep(_LOOK)


def last_lines(path: str) -> str:
    """Return the end of a log."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return "".join(file.readlines()[-_TOLD:]).rstrip()
    except OSError:
        return ""


def listen_for_signals() -> None:
    """Turn being told to end into ``Told``; a second time changes nothing."""

    def told(_number: int, _frame: Any) -> None:
        ignore_signals()
        raise Told

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told)


def ignore_signals() -> None:
    """Go on, whoever says what: this is about to end."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
