"""What a report draws of a sweep as a whole."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from benchd.core.curves import Spot, sweep
from benchd.core.headline import Column, cell_text
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
