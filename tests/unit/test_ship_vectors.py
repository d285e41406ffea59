"""Vectors and truth of the Chroma workload: the same from a seed, and what recall means."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchd.ship.load.vectors import SPACES, Truth, Vectors, text


def test_a_seed_stands_for_its_vectors() -> None:
    """The same seed gives the same vectors, another one others, and no query is a stored vector."""
    one, again, other = (Vectors(8, seed, 3) for seed in (1, 1, 2))
    first = [list(one.base(index)) for index in range(20)]
    assert [list(again.base(index)) for index in range(20)] == first
    assert [list(other.base(index)) for index in range(20)] != first
    assert list(one.query("measure", 0)) not in first
    assert list(one.query("measure", 0)) != list(one.query("warmup", 0))


@pytest.mark.parametrize("clusters", [0, 4])
def test_clusters_are_near(clusters: int) -> None:
    """Clustered vectors have neighbours that are nearer than any of uniform ones."""
    vectors = Vectors(16, 7, clusters)
    truth = Truth([vectors.base(index) for index in range(200)], "l2")
    nearest = min(truth.distances(vectors.query("measure", 0)))
    assert (nearest < 2.0) is bool(clusters)


@pytest.mark.parametrize("space", SPACES)
@settings(max_examples=40, deadline=None)  # the first example loads modules
@given(seed=st.integers(0, 2**31), k=st.integers(1, 12))
def test_the_truth_is_its_own_recall(space: str, seed: int, k: int) -> None:
    """Whoever returns the k nearest has found everything; whoever returns the farthest, nothing."""
    vectors = Vectors(4, seed, 0)
    truth = Truth([vectors.base(index) for index in range(40)], space)
    query = vectors.query("measure", 0)
    order = sorted(range(40), key=truth.distances(query).__getitem__)
    assert truth.recall(query, order, k) == 1.0
    assert truth.recall(query, order[::-1], k) == 0.0
    half = order[: k // 2] + order[::-1][: k - k // 2]
    assert truth.recall(query, half, k) == pytest.approx(k // 2 / k)


def test_distances_are_those_of_the_spaces() -> None:
    """Squared Euclidean, one minus the cosine, one minus the inner product: as Chroma has them."""
    base, query = [[3.0, 4.0], [0.0, 2.0]], [1.0, 0.0]
    found = {space: Truth(base, space).distances(query) for space in SPACES}
    assert found == {
        "l2": pytest.approx([20.0, 5.0]),
        "cosine": pytest.approx([0.4, 1.0]),
        "ip": pytest.approx([-2.0, 1.0]),
    }


def test_equally_near_vectors_are_equally_good() -> None:
    """Of two copies of the nearest vector either may be found."""
    truth = Truth([[1.0], [1.0], [9.0]], "l2")
    assert [truth.recall([0.0], [found], 1) for found in (0, 1, 2)] == [1.0, 1.0, 0.0]
    assert truth.recall([0.0], [0, 0], 2) == 0.5
    assert truth.recall([0.0], [77, -1], 2) == 0.0


def test_a_vector_as_text_is_the_same_vector() -> None:
    """Nine digits bring back every number of four bytes."""
    vector = Vectors(64, 3, 5).base(0)
    said = [float(word) for word in text(vector)[1:-1].split(",")]
    assert all(math.isclose(a, b, rel_tol=1e-8) for a, b in zip(said, vector, strict=True))
