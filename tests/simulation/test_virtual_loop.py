"""The loop on virtual time: order, time, suspension, and lives that end at a step."""

from __future__ import annotations

import asyncio

import pytest

from simulation.agenda import START, Agenda
from simulation.machine import forget
from simulation.virtualloop import Crash, Stuck, VirtualLoop

HOUR = 3600.0


def test_an_hour_passes_at_once_and_in_order() -> None:
    """Sleeps end in the order of their ends, at their moments, without waiting."""
    agenda, said = Agenda(), []

    async def after(seconds: float) -> None:
        await asyncio.sleep(seconds)
        said.append((seconds, round(agenda.now - START)))

    async def main() -> None:
        await asyncio.gather(after(HOUR), after(1.0), after(60.0))

    VirtualLoop(agenda).run_until_complete(main())
    assert [(1.0, 1), (60.0, 60), (HOUR, 3600)] == said


def test_a_timeout_counts_virtual_time() -> None:
    """``asyncio.timeout`` ends what takes too long by the loop's own time."""

    async def main() -> str:
        try:
            async with asyncio.timeout(5.0):
                await asyncio.sleep(HOUR)
        except TimeoutError:
            return "late"
        return "in time"

    assert "late" == VirtualLoop(Agenda()).run_until_complete(main())


def test_what_a_thread_would_do_is_a_step() -> None:
    """``asyncio.to_thread`` returns the result, and raises what was raised."""

    async def main() -> int:
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        return await asyncio.to_thread(int, "7")

    assert 7 == VirtualLoop(Agenda()).run_until_complete(main())


def test_the_machines_clock_stands_while_it_is_suspended() -> None:
    """Through a suspension the world ages and a sleep does not get shorter."""
    agenda = Agenda()
    loop = VirtualLoop(agenda)

    async def main() -> float:
        agenda.after(1.0, lambda: loop.sleep_through(HOUR))
        before = loop.time()
        await asyncio.sleep(10.0)
        return loop.time() - before

    assert 10.0 == pytest.approx(loop.run_until_complete(main()), abs=1e-3)
    assert HOUR + 10.0 == pytest.approx(agenda.now - START, abs=1e-3)


@pytest.mark.parametrize("last", range(1, 12))
def test_nothing_of_a_life_runs_after_its_last_step(last: int) -> None:
    """Whichever step is the last: no ``finally``, no ``except`` and no other task runs after it."""
    said: list[str] = []

    async def work(name: str) -> None:
        try:
            for _ in range(3):
                said.append(name)
                await asyncio.sleep(0)
        except BaseException:
            said.append("excused")
            raise
        finally:
            said.append("finally")

    async def main() -> None:
        await asyncio.gather(work("a"), work("b"))

    whole = VirtualLoop(Agenda())
    whole.run_until_complete(main())
    full, steps = list(said), whole.steps
    said.clear()
    loop = VirtualLoop(Agenda(), ends_before=last)
    with pytest.raises(Crash):
        loop.run_until_complete(main())
    at_the_crash = list(said)
    forget([[loop]])
    assert last < steps
    assert full[: len(at_the_crash)] == at_the_crash


def test_waiting_for_nothing_is_told() -> None:
    """A daemon that waits for what never comes is said to be stuck, and for what."""

    async def main() -> None:
        await asyncio.Event().wait()

    loop = VirtualLoop(Agenda())
    with pytest.raises(Stuck, match=r"waiting: .*daemon"):
        loop.run_until_complete(main())
    forget([[loop]])


def test_being_busy_with_nothing_is_told() -> None:
    """A daemon that runs for ever without time passing is said to be stuck."""

    async def main() -> None:
        for _ in iter(int, 1):  # for ever
            await asyncio.sleep(0)

    loop = VirtualLoop(Agenda())
    with pytest.raises(Stuck, match="busy with nothing"):
        loop.run_until_complete(main())
    forget([[loop]])
