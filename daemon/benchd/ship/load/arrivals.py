"""When requests are sent: the load models, and the whole schedule of an open loop from its seed.

A schedule is made before the first request, and is the same for any number of processes and nodes:
each takes its own share of one schedule, by the number of the arrival.
"""

import json
import math
import random
from array import array
from typing import Dict, Iterator, List, NamedTuple, Optional

from .target import Usage

# Requests of one measurement at most, over all processes and nodes. Every one is kept: half a
# kilobyte of memory, and some 15 bytes of a compressed file, of which 64 MiB are brought home.
MOST = 2 * 10**6
OPEN = ("constant", "poisson", "gamma", "ramp", "trace", "offline", "find-peak", "saturate")
# Those that try one load after another, on one node.
STEPPED = ("find-peak", "saturate")
MODELS = ("closed",) + OPEN
# MLPerf's names for what we have: https://github.com/mlcommons/inference
SCENARIOS: Dict[str, Dict[str, object]] = {
    "single-stream": {"load": "closed", "concurrency": 1},
    "multi-stream": {"load": "closed", "concurrency": 8},
    "server": {"load": "poisson"},
    "offline": {"load": "offline"},
}


class Load(NamedTuple):
    """How requests arrive. Rates are arrivals a second, of all processes and nodes together."""

    model: str = "closed"
    concurrency: int = 1
    think_time: float = 0.0
    rate: Optional[float] = None
    end_rate: Optional[float] = None
    burstiness: float = 1.0
    max_in_flight: Optional[int] = None
    seed: int = 0
    scenario: str = ""
    trace: str = ""
    step_time: float = 10.0
    steps: int = 8
    arrivals: str = "poisson"

    @property
    def is_open(self) -> bool:
        """Whether arrivals take no notice of answers."""
        return self.model != "closed"

    @property
    def is_even(self) -> bool:
        """Whether the mean rate stays the same, so that a trend is the service's."""
        return self.model in ("constant", "poisson", "gamma", "find-peak")  # what follows a search

    @property
    def is_grouped(self) -> bool:
        """Whether the users wait for each other before each request (MultiStream's query)."""
        return self.scenario == "multi-stream"

    def described(self) -> Dict[str, object]:
        """Return what the result says of it."""
        said: Dict[str, object] = {"model": self.model}
        if self.scenario:
            said["scenario"] = self.scenario
        if not self.is_open:
            said["concurrency"] = self.concurrency
            if self.think_time:
                said["think_time_s"] = self.think_time
            return said
        said.update(
            rate=self.rate,
            max_in_flight=self.max_in_flight,
            seed=self.seed,
            schedule_normalized=False,
        )
        if self.model == "gamma":
            said["burstiness"] = self.burstiness
        if self.model == "ramp":
            said["end_rate"] = self.end_rate
        if self.model in STEPPED:
            said["step_time_s"] = self.step_time
        if self.model == "saturate":
            said.update(
                steps=self.steps, arrivals=self.arrivals, ceiling_concurrency=self.concurrency
            )
        if self.model == "trace":
            said["trace"] = self.trace
        return said


def schedule(
    load: Load, requests: Optional[int], duration: Optional[float], stream: str = "measure"
) -> "array[float]":
    """Return the seconds after the start at which requests are sent, in ascending order.

    There are ``MOST`` of them at most.
    ``stream`` keeps the arrivals of a warm-up from being those of the measurement.
    """
    found = array("d")
    for offset in _offsets(load, requests, duration, "%d/%s" % (load.seed, stream)):
        if len(found) >= (MOST if requests is None else min(requests, MOST)):
            break
        if duration is not None and offset >= duration:
            break
        found.append(offset)
    return found


def _offsets(
    load: Load, requests: Optional[int], duration: Optional[float], key: str
) -> Iterator[float]:
    if load.model == "offline":
        return iter([0.0] * (requests or 0))
    if load.model == "trace":
        return iter(read_trace(load.trace))
    if load.model == "ramp":
        return _ramp(load.rate or 0.0, load.end_rate or 0.0, duration or 0.0)
    if load.model == "constant":
        return _constant(load.rate or 1.0)
    shape = load.burstiness if load.model == "gamma" else 1.0
    return _gamma(load.rate or 1.0, shape, key)


def _constant(rate: float) -> Iterator[float]:
    count = 0
    while True:
        yield count / rate
        count += 1


def _gamma(rate: float, shape: float, key: str) -> Iterator[float]:
    """Yield arrivals with gamma-distributed gaps; of shape 1 that is a Poisson process."""
    draw = random.Random(key)  # noqa: S311 - arrivals, not secrets
    now = 0.0
    while True:
        if shape == 1.0:
            now += -math.log(1.0 - draw.random()) / rate
        else:
            now += draw.gammavariate(shape, 1.0 / (rate * shape))
        yield now


def _ramp(start: float, end: float, duration: float) -> Iterator[float]:
    """Yield arrivals at a rate that grows (or falls) evenly: where its integral is whole."""
    slope = (end - start) / duration
    total = int((start + end) / 2.0 * duration)
    for count in range(total):
        if abs(slope) < 1e-12:
            yield count / start
        else:
            root = max(0.0, start * start + 2.0 * slope * count)
            yield (math.sqrt(root) - start) / slope


def read_trace(path: str) -> List[float]:
    """Return the offsets in a file: a number, or an object with ``offset``, in each line."""
    found: List[float] = []
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    found.append(_offset(path, number, line))
    except OSError as error:
        raise Usage("--trace %s: %s" % (path, error.strerror)) from None
    except UnicodeDecodeError:
        raise Usage("--trace %s is not text" % path) from None
    if not found:
        raise Usage("--trace %s has no arrivals" % path)
    found.sort()
    return found


def _offset(path: str, number: int, line: str) -> float:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        value = value.get("offset")
    usable = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not usable or not 0 <= value < float("inf"):
        message = '--trace %s, line %d: %r is neither seconds nor {"offset": seconds}'
        raise Usage(message % (path, number, line.strip()[:40]))
    return float(value)
