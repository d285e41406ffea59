"""What a report draws of a sweep as a whole."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree as ET

from benchd.core.curves import Spot, sweep
from benchd.core.headline import Column, cell_text
from benchd.core.svg import CHARACTER
from benchd.core.svg_plots import curves, heat, tradeoff

SPEED = Column((0, "ops_s", 0), "ops_s", "value", "1/s", "higher")
TAIL = Column((1, "latency_service", 1), "latency_service", "p99", "ms", "lower")


def spots(
    *points: tuple[dict[str, object], float, float],
) -> list[list[Spot | None]]:
    """Return a speed and a latency for each point."""
    return [
        [
            Spot(cell=cell, name=cell_text(cell), value=speed, low=speed - 1, high=speed + 1),
            Spot(cell=cell, name=cell_text(cell), value=slow, low=slow, high=slow),
        ]
        for cell, speed, slow in points
    ]


GRID = spots(
    *(
        ({"a.pipeline": p, "a.clients": c}, 10.0 * p * c, 1.0 * p)
        for p in (1, 4, 16)
        for c in (1, 2)
    )
)


def test_curves_follow_the_key_with_most_values() -> None:
    """The key with most values is the axis, and the others tell the curves apart."""
    first = sweep([SPEED, TAIL], GRID).curves[0]
    assert (first.key, [(c.name, [(x, y) for x, y, _, _ in c.points]) for c in first.curves]) == (
        "pipeline",
        [
            ("clients=1", [(1.0, 10.0), (4.0, 40.0), (16.0, 160.0)]),
            ("clients=2", [(1.0, 20.0), (4.0, 80.0), (16.0, 320.0)]),
        ],
    )


def test_the_front_is_what_nothing_beats_in_both() -> None:
    """A point that is slower and later than another lies behind the front."""
    found = sweep(
        [SPEED, TAIL],
        spots(({"n": 1}, 10, 1), ({"n": 2}, 20, 2), ({"n": 3}, 15, 3), ({"n": 4}, 20, 4)),
        limits={"latency_service": 3.5},
    ).tradeoff
    assert found is not None
    assert ([front for *_, front in found.points], found.limit) == ([True, True, False, False], 3.5)


def test_a_speed_that_levels_off_has_a_knee() -> None:
    """A single curve of a speed tells where more load stops paying."""
    load = [(1, 10), (2, 20), (4, 38), (8, 45), (16, 46), (32, 46)]
    found = sweep([SPEED], [[row[0]] for row in spots(*(({"n": n}, y, 1) for n, y in load))])
    assert found.curves[0].knee == 8


def test_two_numeric_keys_make_a_map() -> None:
    """A full grid of two keys is drawn as a map of the first number."""
    found = sweep([SPEED, TAIL], GRID).heat
    assert found is not None
    assert (found.across, found.columns, found.down, found.values[16.0, 2.0]) == (
        "pipeline",
        (1.0, 4.0, 16.0),
        "clients",
        320.0,
    )


def test_names_have_no_order() -> None:
    """Where a sweep varies names only, no curve is made up between them."""
    found = sweep([SPEED], [[row[0]] for row in spots(({"m": "a"}, 1, 1), ({"m": "b"}, 2, 1))])
    assert (found.curves, found.heat, found.tradeoff) == ((), None, None)


def test_a_point_without_valid_results_is_left_out() -> None:
    """What was not measured leaves a gap, not a zero."""
    holed = [*spots(({"n": 1}, 10, 1), ({"n": 2}, 20, 2)), [None, None]]
    assert len(sweep([SPEED, TAIL], holed).curves[0].curves[0].points) == 2


def test_the_drawings_are_well_formed() -> None:
    """Every drawing is XML, names what it shows, and has a mark for every point."""
    found = sweep([SPEED, TAIL], GRID, limits={"latency_service": 9.0})
    assert found.tradeoff is not None
    assert found.heat is not None
    drawn = [ET.fromstring(c) for c in map(curves, found.curves)]
    drawn.append(ET.fromstring(tradeoff(found.tradeoff)))
    drawn.append(ET.fromstring(heat(found.heat)))
    marks = [len([e for e in d.iter() if e.find("title") is not None]) for d in drawn]
    assert (all(d.get("aria-label") for d in drawn), marks) == (True, [6, 6, 6, 6])


def test_points_of_two_keys_are_told_apart_in_the_sentence() -> None:
    """Names that hold a comma are not joined by commas; a title in a sentence begins small."""
    slow = TAIL._replace(metric="ttft_sched")
    found = sweep([SPEED, TAIL], spots(({"a": 1, "b": 1}, 1, 1), ({"a": 1, "b": 2}, 2, 2), GAP))
    other = sweep([SPEED, slow], spots(({"a": 1}, 1, 1), ({"a": 2}, 2, 2), ({"a": 3}, 0.5, 3)))
    assert [each.tradeoff and each.tradeoff.words for each in (found, other)] == [
        "No other point beats a=1, b=1; a=1, b=2 in both operations and latency, service p99.",
        "No other point beats a=1, a=2 in both operations and TTFT, scheduled p99.",
    ]


GAP: tuple[dict[str, object], float, float] = ({"a": 2, "b": 2}, 0.5, 3)


def test_names_lie_over_nothing_that_is_drawn() -> None:
    """Names on the front keep clear of its line, of every point and of each other."""
    found = sweep(
        [SPEED, TAIL],
        spots(*(({"value_size": n, "concurrency": n % 3}, n * 10, n * n) for n in range(1, 9))),
    ).tradeoff
    assert found is not None
    drawn = ET.fromstring(tradeoff(found))
    line = next(node for node in drawn.iter("polyline")).get("points") or ""
    places = [tuple(map(float, place.split(","))) for place in line.split()]
    names = {name for name, *_ in found.points}
    boxes = []
    for node in drawn.iter("text"):
        if node.text in names:
            x, wide = float(node.get("x") or 0), len(node.text) * CHARACTER
            left = x - wide if node.get("text-anchor") == "end" else x
            boxes.append((left, left + wide, float(node.get("y") or 0)))
    over = [
        (box, n)
        for box in boxes
        for (x, y), (to_x, to_y) in pairwise(places)
        for n in range(101)
        if box[0] < x + (to_x - x) * n / 100 < box[1] and abs(y + (to_y - y) * n / 100 - box[2]) < 6
    ]
    assert (len(boxes) >= 2, over) == (True, [])


def test_a_share_that_is_always_one_is_not_drawn() -> None:
    """A hit rate of 1 everywhere stands in the table; a curve of it would say nothing."""
    share = Column((1, "hit_rate", 0), "hit_rate", "value", "1", "higher")
    points = spots(({"n": 1}, 10, 1), ({"n": 2}, 20, 1), ({"n": 4}, 40, 1))
    assert [c.title for c in sweep([SPEED, share], points).curves] == ["Operations"]
