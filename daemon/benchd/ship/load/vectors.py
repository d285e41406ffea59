"""Vectors that a seed stands for, and what a search among them should find.

Every vector follows from the seed and its number alone, so that client and truth need no data set.
Uniform vectors are the hard case of a search: nothing is near anything. Clustered ones are nearer
to what models make of texts and pictures.
"""

import array
import heapq
import math
import random
from operator import mul
from typing import Callable, List, Optional, Sequence, Set

# A found vector that is as near as the k-th of the truth counts, whatever its number: two may be
# equally near, and servers reckon in numbers of 4 bytes.
_EQUAL = 1e-5
# Width of a cluster, where the centres are drawn from -1 to 1 in each dimension.
_SPREAD = 0.25

SPACES = ("l2", "cosine", "ip")
Vector = Sequence[float]


class Vectors:
    """Makes vectors of one dimension: ``base`` for what is stored, ``query`` for what is sought."""

    def __init__(self, dimension: int, seed: int, clusters: int) -> None:
        """Take the number of clusters; 0: uniform."""
        self.dimension = dimension
        self.seed = seed
        self._centres = [self._uniform("centre/%d" % number) for number in range(clusters)]

    def base(self, index: int) -> Vector:
        """Return a vector to store."""
        return self._vector("base/%d" % index)

    def query(self, phase: str, index: int) -> Vector:
        """Return a vector to look for: of the same kind, but none that is stored."""
        return self._vector("%s/%d" % (phase, index))

    def _vector(self, key: str) -> Vector:
        if not self._centres:
            return self._uniform(key)
        # random() itself is the same in every version of Python; gauss() need not be.
        draw = self._random(key)
        centre = self._centres[int(draw() * len(self._centres))]
        return array.array("f", [c + _SPREAD * (draw() + draw() - 1.0) for c in centre])

    def _uniform(self, key: str) -> Vector:
        draw = self._random(key)
        return array.array("f", [2.0 * draw() - 1.0 for _ in range(self.dimension)])

    def _random(self, key: str) -> Callable[[], float]:
        return random.Random("%d/%s" % (self.seed, key)).random  # noqa: S311 - no secrets


class Truth:
    """Looks at every vector: slow, and always right."""

    def __init__(self, base: Sequence[Vector], space: str) -> None:
        self.base = base
        self.space = space
        self._squares = [_dot(vector, vector) for vector in base]

    def distances(self, query: Vector) -> List[float]:
        """Return how far every stored vector is from one, as the space has it."""
        dots = [_dot(vector, query) for vector in self.base]
        own = _dot(query, query)
        if self.space == "l2":
            pairs = zip(self._squares, dots)  # noqa: B905 - strict came with Python 3.10
            return [square + own - 2.0 * dot for square, dot in pairs]
        if self.space == "ip":
            return [1.0 - dot for dot in dots]
        length = math.sqrt(own) or 1.0
        pairs = zip(self._squares, dots)  # noqa: B905 - as above
        return [1.0 - dot / (length * (math.sqrt(square) or 1.0)) for square, dot in pairs]

    def recall(self, query: Vector, found: Sequence[int], k: int) -> float:
        """Return the share of the k nearest that a search has found."""
        distances = self.distances(query)
        nearest = heapq.nsmallest(k, distances)
        if not nearest:
            return 0.0
        limit = nearest[-1] + _EQUAL * max(1.0, abs(nearest[-1]))
        good: Set[int] = {i for i in found[:k] if 0 <= i < len(distances) and distances[i] <= limit}
        return len(good) / float(len(nearest))


def _dot(a: Vector, b: Vector) -> float:
    return float(sum(map(mul, a, b)))


def mean(values: Sequence[float]) -> Optional[float]:
    """Return the mean of some numbers, or None of none."""
    return math.fsum(values) / len(values) if values else None


def text(vector: Vector) -> str:
    """Return a vector as JSON; 9 digits are all that a number of 4 bytes has."""
    return "[%s]" % ",".join("%.9g" % x for x in vector)
