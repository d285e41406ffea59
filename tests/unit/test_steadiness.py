"""Whether a service stayed what it was while it was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchd.core.model import Binding, Transition
from benchd.core.steadiness import restarted, span, unsteady
from support.builders import CREATED_AT as T0
from support.builders import client, service

BOUND = Binding(name="redis", token="t", generation=0, host="n1", ports=(6379,))


def moved(at: float, old: str, new: str) -> Transition:
    """Return one row of history, ``at`` seconds after T0."""
    return Transition(token="t", at=T0 + at, trigger="", old=old, new=new)


@pytest.mark.parametrize(
    ("row", "is_steady"),
    [
        (moved(5, "STARTING", "READY"), True),
        (moved(15, "READY", "UNREADY"), False),
        (moved(15, "RUNNING", "PENDING"), False),
        (moved(15, "RUNNING", "FAILED"), False),
        (moved(15, "RUNNING", "RUNNING"), True),
        (replace(moved(15, "RUNNING", "RUNNING"), trigger="seen_running"), False),
        (moved(25, "RUNNING", "CANCELLED"), True),
    ],
)
def test_only_what_happened_during_the_measurement_counts(row: Transition, is_steady: bool) -> None:
    """A move away from READY or RUNNING between 10 and 20 s spoils the result."""
    said = unsteady([BOUND], {"t": [row]}, T0 + 10, T0 + 20)
    assert is_steady == (said is None)


def test_the_span_reaches_from_submission_to_the_known_end() -> None:
    """Readings of the daemon's own clock, so that a node's wrong clock cannot hide a fault."""
    history = [
        moved(1, "CREATED", "CREATED"),
        moved(2, "CREATED", "SUBMITTED"),
        moved(9, "RUNNING", "COMPLETED"),
    ]
    assert (T0 + 2, T0 + 9) == span(client(ended_at=T0 + 8), history)


def test_a_restart_that_no_poll_saw_is_found_by_slurms_own_times() -> None:
    """Another span that began before the client ended spoils the result; a later one does not."""
    again = service(generation=1, started_at=T0 + 15, token="t")
    assert restarted([BOUND], [again], T0 + 20) is not None
    assert restarted([BOUND], [again], T0 + 12) is None
