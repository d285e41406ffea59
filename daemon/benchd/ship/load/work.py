"""What all workloads share: the record of a request, and what a workload has to know."""

from typing import Any, Callable, Dict, List, Optional, Sequence

from . import http1, quality, summary
from .record import Samples, encode
from .target import Target

Json = Dict[str, Any]


# How the names of phases begin that are measured, each by itself.
STEP = "step-"


def is_measured(phase: str) -> bool:
    """Tell whether the numbers of a phase are reported."""
    return phase == "measure" or phase.startswith(STEP)


class NotReady(Exception):
    """The measurement cannot begin; the message says why and what to do."""


class Sample:
    """One request: times in seconds on the monotonic clock."""

    __slots__ = (
        "conn_new", "end", "error", "first_byte", "index", "node", "phase", "resent", "scheduled",
        "sent", "short", "status", "target", "user",
    )  # fmt: skip

    def __init__(self, phase: str, index: int, user: int, scheduled: float) -> None:
        self.phase = phase
        self.index = index
        self.user = user
        self.target = 0
        self.node = 0
        self.scheduled = scheduled
        self.sent: Optional[float] = None
        self.first_byte: Optional[float] = None
        self.end: Optional[float] = None
        self.conn_new = False
        self.resent = False
        self.short = False
        self.status = "cancelled"
        self.error = ""

    @property
    def ok(self) -> bool:
        """Whether it counts as a success."""
        return self.status == "ok"

    @property
    def is_bad(self) -> bool:
        """Whether it was sent, or nobody could be found to send it to, and it failed."""
        return self.status not in ("ok", "cancelled", "dropped")

    @property
    def begun(self) -> Optional[float]:
        """When the first byte of it was sent."""
        return self.sent

    @property
    def answer_began(self) -> Optional[float]:
        """When what it brought began to come."""
        return self.first_byte

    @property
    def amount(self) -> int:
        """How much of what the workload counts it brought, for the timeline."""
        return 0

    def fail(self, status: str, detail: str) -> None:
        """Note an error; the first one of a request is the one that counts."""
        if self.status == "cancelled":
            self.status = status
            self.error = detail[:300]

    def line(self, zero: float) -> Json:
        """Return the line of samples.jsonl; times become seconds since the start of the run."""
        return {
            "i": self.index,
            "phase": self.phase,
            "u": self.user,
            "t": self.target,
            "sched": since(zero, self.scheduled),
            "send": since(zero, self.sent),
            "fb": since(zero, self.first_byte),
            "end": since(zero, self.end),
            "status": self.status,
            "err": self.error or None,
            "conn_new": self.conn_new,
            "short": self.short,
            "resent": self.resent,
        }

    def text(self, zero: float) -> str:
        """Return the same as it is written."""
        return encode(self.line(zero))

    def restore(self, line: Json, shift: float) -> None:
        """Take over what a line of samples.jsonl says; ``shift`` makes moments of its times."""
        self.resent = line.get("resent", False)
        self.target = line["t"]
        self.sent = moment(line["send"], shift)
        self.first_byte = moment(line["fb"], shift)
        self.end = moment(line["end"], shift)
        self.status = line["status"]
        self.error = line["err"] or ""
        self.conn_new = line["conn_new"]
        self.short = line["short"]


def since(zero: float, moment: Optional[float]) -> Optional[float]:
    """Return a moment as it stands in samples.jsonl."""
    return None if moment is None else round(moment - zero, 6)


def moment(time: Optional[float], shift: float) -> Optional[float]:
    """Return the moment that stands in samples.jsonl."""
    return None if time is None else time + shift


# The name of a time -> how to find it in a sample.
Quantities = Dict[str, Callable[[Any], Optional[float]]]


class Numbering:
    """Which numbers the requests of this process have, of all processes and nodes together."""

    def __init__(self, index: int = 0, count: int = 1) -> None:
        self.index = index
        self.count = count
        self.base = 0  # places that were used before

    def of(self, place: int) -> int:
        """Return the number of this process' request at a place."""
        return (self.base + place) * self.count + self.index


class Workload:
    """Knows what a request is, when it has succeeded, and what is made of all of them."""

    kind = ""
    amount = ""  # what the timeline counts besides requests; empty: nothing
    shared = False  # whether several nodes may send parts of it
    spreads = False  # whether any of several targets may get any request
    numbered = True  # whether requests have one row of numbers, whoever sends them
    runs_lanes = False  # whether it can keep a closed loop going by itself (``lane``)
    forks = False  # whether several processes may send parts of it
    repeatable = True  # whether a request may be sent again when no byte of an answer came

    def __init__(self, target: Target, timeout: float, run_id: str) -> None:
        self.target = target
        self.targets = [target]
        self.timeout = timeout
        self.run_id = run_id
        self.numbering = Numbering()
        self.is_open = False
        self.slos: List[quality.Slo] = []

    async def connect(self, target: Target, patience: float) -> Any:
        """Open a connection; raise ``OSError``, also when it takes too long."""
        return await http1.connect(target, patience)

    def quantities(self) -> Quantities:
        """Return the times of one request that can be objectives, in seconds."""
        found: Quantities = {"latency_service": latency_service}
        if self.is_open:
            found["latency_sched"] = latency_sched
        return found

    def distributions(self, samples: Sequence[Sample]) -> Json:
        """Return what is made of these times over all successes."""
        # In the order of their schedule: neighbours are alike, which tells how sure all are.
        good = sorted((s for s in samples if s.ok), key=lambda s: s.scheduled)
        found = {}
        for name, read in self.quantities().items():
            times = [value for value in map(read, good) if value is not None]
            found[name] = summary.distribution(name, times)
        return found

    def sample(self, phase: str, index: int, user: int, scheduled: float) -> Sample:
        """Return the record of a request that is about to be sent."""
        return Sample(phase, index, user, scheduled)

    def restored(self, line: Json, shift: float, node: int) -> Sample:
        """Return the record of a request that some node made."""
        sample = self.sample(line["phase"], line["i"], line["u"], line["sched"] + shift)
        sample.node = node
        sample.restore(line, shift)
        return sample

    def leave(self, home: str) -> None:
        """Write down what metrics need beyond the samples, for the node that merges."""

    def absorb(self, home: str, is_own: bool) -> None:
        """Take over what a node left; of the own, only take it away."""

    async def prepare(self, samples: Samples, zero: float) -> None:
        """Look at the service and fill it, before any load; raise ``NotReady``."""

    async def begin(self) -> None:
        """Do what comes right before the measurement."""

    async def lane(self, connection: Any, phase: Any, user: int, sender: Any) -> bool:
        """Send on one connection until the phase is over (True) or something fails (False)."""
        raise NotImplementedError

    async def send(self, connection: http1.Connection, sample: Sample) -> None:
        """Send one request and read its answer into the sample."""
        raise NotImplementedError

    async def conclude(self) -> None:
        """Do what comes after a whole measurement and is not measured."""

    async def recount(self) -> None:
        """Read the service's counters again; of several nodes, when the last one has ended."""

    async def finish(self) -> None:
        """Leave nothing behind, whatever became of the measurement."""

    def described(self) -> Json:
        """Return what was asked for, for the result document."""
        raise NotImplementedError

    def server(self) -> Json:
        """Return what the service said about itself."""
        return {}

    def counters(self) -> Json:
        """Return the service's own counters ``before`` and ``after``, for each target."""
        return {}

    def metrics(self, samples: Sequence[Sample]) -> Json:
        """Return every metric of the measured requests."""
        return basic_metrics(self, samples, "req_s")

    def facts(self, samples: Sequence[Sample]) -> Json:
        """Return what is worth a doubt, beyond what all workloads notice."""
        return {}


def latency_service(sample: Sample) -> Optional[float]:
    """Return how long a request took, from its sending to the end of its answer."""
    return None if sample.end is None or sample.sent is None else sample.end - sample.sent


def latency_sched(sample: Sample) -> Optional[float]:
    """Return the same from the moment at which it should have been sent."""
    return None if sample.end is None else sample.end - sample.scheduled


def basic_metrics(workload: Workload, samples: Sequence[Sample], rate: str) -> Json:
    """Return latency, throughput and errors; latencies are those of successes."""
    good = [s for s in samples if s.ok]
    found = workload.distributions(samples)
    found[rate] = summary.rate_of(rate, "1/s", good, summary.issued(samples))
    found["error_rate"] = summary.error_rate(samples)
    return found


def spans(samples: Sequence[Sample]) -> List[float]:
    """Return how long each request took, from its sending to the end of its answer."""
    return [time for time in map(latency_service, samples) if time is not None]
