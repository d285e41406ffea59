"""What becomes of a request whose connection is gone: sent again, or an error."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from benchd.ship.load import peak, quality, web
from benchd.ship.load.arrivals import Load
from benchd.ship.load.sending import Phase, Sender, Stop
from benchd.ship.load.target import Target
from benchd.ship.load.work import Sample

HERE = Target("h", 1, "", False)
OPTIONS = web.Options("GET", "/", b"", "", None, b"", "")


@dataclass
class Open:
    """A connection that was used before."""

    usable: bool = True


class Closing(web.Workload):
    """Every first sending of a request ends with its connection, so many seconds later."""

    def __init__(self, after: float) -> None:
        """``after``: seconds."""
        super().__init__(HERE, 1.0, "r", OPTIONS)
        self.after = after

    async def send(self, connection: object, sample: Sample) -> None:
        """Lose the request, or answer it when it comes again."""
        sample.sent = 10.0
        sample.end = 10.0 + self.after
        sample.status = "ok" if sample.resent else "conn_lost"


@pytest.mark.parametrize(
    ("after", "expected"),
    [(0.01, ("ok", True)), (0.24, ("ok", True)), (0.26, ("conn_lost", False))],
)
def test_only_what_crossed_the_end_is_sent_again(after: float, expected: tuple[str, bool]) -> None:
    """A request that the server has had for a while is no longer one that it never saw."""
    sender = Sender(Closing(after), 1, lambda _: None)
    sender.connections[0][0] = Open()
    sample = Sample("measure", 0, 0, 9.9)
    asyncio.run(sender.carry_out(Phase("measure", Stop(1, None)), sample, 0))
    assert (sample.status, sample.resent) == expected


def answered(times: Sequence[float]) -> list[Sample]:
    """Return requests, a hundred a second, that took so many seconds each."""
    made = []
    for number, time in enumerate(times):
        sample = Sample("measure", number, 0, 10 + number / 100)
        sample.sent, sample.end, sample.status = sample.scheduled, sample.scheduled + time, "ok"
        made.append(sample)
    return made


@pytest.mark.parametrize(
    ("late", "busy", "expected"),
    [
        (0, 0.5, {"peak_held": True, "peak_cpu_share": 0.5, "peak_send_lag_ms": 7.0}),
        (1, 0.9, {"peak_held": True, "peak_cpu_share": 0.9, "peak_send_lag_ms": 7.0}),
        (2, 0.5, {"peak_held": False, "peak_cpu_share": 0.5, "peak_send_lag_ms": 7.0}),
    ],
)
def test_a_peak_is_judged_by_what_follows(
    late: int, busy: float, expected: dict[str, object]
) -> None:
    """The measurement at a peak says whether it was one, and the next rate whose it was."""
    made = web.Workload(HERE, 1.0, "r", OPTIONS)
    made.is_open = True
    made.slos = quality.parse(["latency_sched_ms<=100"])

    async def attempt(name: str, load: Load, stop: Stop) -> Phase:
        phase = Phase(name, stop)
        phase.samples = answered([0.01 if (load.rate or 0) <= 20 else 0.2] * 50)
        for sample in phase.samples:
            sample.sent = sample.scheduled + (0.007 if (load.rate or 0) < 21 else 0.5)
        phase.cpu_share = busy if (load.rate or 0) < 21 else 1.0
        return phase

    search = peak.Search(made, Load("find-peak", rate=10.0), attempt)
    assert asyncio.run(search.find()).rate == 20.0
    found = search.facts(answered([0.2] * late + [0.01] * (100 - late)))
    assert found == {name: pytest.approx(value) for name, value in expected.items()}
