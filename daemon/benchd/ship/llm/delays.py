"""How long a token takes: four distributions, one seed, the same delays on every run."""

import math
import random
from typing import Callable, Dict, List, NamedTuple

CONSTANT = "constant"
DISTRIBUTIONS = (CONSTANT, "normal", "lognormal", "exponential")


class Delays(NamedTuple):
    """Mean times in milliseconds; ``jitter`` is the standard deviation as a share of the mean."""

    ttft_ms: float
    tpot_ms: float
    jitter: float
    distribution: str
    seed: int

    def schedule(self, request: int, tokens: int) -> List[float]:
        """Return when each token of the n-th request is due, in seconds after its start."""
        draw = random.Random("%d/%d" % (self.seed, request))  # noqa: S311 - delays, not secrets
        at = 0.0
        due = []
        for index in range(tokens):
            mean = self.tpot_ms if index else self.ttft_ms
            at += _DRAWS[self.distribution](draw, mean, self.jitter) / 1000.0
            due.append(at)
        return due


def _constant(_draw: random.Random, mean: float, _jitter: float) -> float:
    return mean


def _normal(draw: random.Random, mean: float, jitter: float) -> float:
    return max(0.0, draw.gauss(mean, mean * jitter))


def _lognormal(draw: random.Random, mean: float, jitter: float) -> float:
    if mean <= 0:
        return 0.0
    # mean and standard deviation of the lognormal itself, not of its logarithm
    variance = math.log(1.0 + jitter * jitter)
    return draw.lognormvariate(math.log(mean) - variance / 2.0, math.sqrt(variance))


def _exponential(draw: random.Random, mean: float, _jitter: float) -> float:
    return draw.expovariate(1.0 / mean) if mean > 0 else 0.0


_DRAWS: Dict[str, Callable[[random.Random, float, float], float]] = {
    CONSTANT: _constant,
    "normal": _normal,
    "lognormal": _lognormal,
    "exponential": _exponential,
}
