"""Sessions on a login node: how many, who comes first, and what a refusal teaches."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchd.edge.channels import SHRUNK, Channels, Lane, lane_of
from support.virtual import now, pass_time, run


def channels(budget: int) -> Channels:
    return Channels(budget, clock=asyncio.get_running_loop().time)


async def hold(where: Channels, lane: Lane, seconds: float = 1e6) -> None:
    """Hold a session for some time."""
    async with where.session(lane):
        await pass_time(seconds)


@pytest.mark.parametrize(
    ("op", "lane"),
    [
        ("poll", Lane.URGENT),
        ("cancel", Lane.URGENT),
        ("seal", Lane.URGENT),
        ("submit", Lane.SUBMIT),
        ("fetch", Lane.FILES),
        ("anything else", Lane.FILES),
    ],
)
def test_looking_and_ending_are_urgent(op: str, lane: Lane) -> None:
    """What a command is for decides its lane."""
    assert lane is lane_of(op)


@pytest.mark.parametrize(
    ("budget", "submits", "others", "urgent"),
    [(5, 3, 4, 5), (4, 2, 3, 4), (3, 1, 2, 3), (2, 1, 1, 2), (1, 1, 1, 1)],
)
def test_each_lane_has_its_share(budget: int, submits: int, others: int, urgent: int) -> None:
    """Submissions leave a place for files, and both leave one for looking and ending."""

    async def most(*lanes: Lane) -> int:
        where = channels(budget)
        tasks = [asyncio.create_task(hold(where, lane)) for lane in lanes]
        await pass_time(1)
        for task in tasks:
            task.cancel()
        held = where.held
        await asyncio.gather(*tasks, return_exceptions=True)
        assert 0 == where.held
        return held

    assert submits == run(most(*[Lane.SUBMIT] * 20))
    assert others == run(most(*[Lane.FILES] * 20))
    assert others == run(most(*[Lane.SUBMIT, Lane.FILES] * 20))
    assert urgent == run(most(*[Lane.SUBMIT, Lane.FILES] * 20, *[Lane.URGENT] * 20))


@pytest.mark.parametrize("budget", [2, 5])
def test_a_poll_does_not_wait_for_stalled_submissions(budget: int) -> None:
    """With every sbatch hanging and files waiting, a look at the queue begins at once."""

    async def story() -> float:
        where = channels(budget)
        stalled = [
            asyncio.create_task(hold(where, lane, 150.0))
            for lane in [Lane.SUBMIT] * 9 + [Lane.FILES] * 9
        ]
        await pass_time(1)
        began = now()
        await hold(where, Lane.URGENT, 0)
        waited = now() - began
        for task in stalled:
            task.cancel()
        await asyncio.gather(*stalled, return_exceptions=True)
        return waited

    assert 0.0 == run(story())


def test_with_a_single_session_a_cancel_is_the_next() -> None:
    """Where there is room for one only, looking and ending come before all who wait."""

    async def story() -> list[str]:
        where, order = channels(1), []

        async def work(op: str) -> None:
            async with where.session(lane_of(op)):
                order.append(op)
                await pass_time(1)

        await asyncio.gather(*map(work, ["submit", "fetch", "submit", "fetch", "cancel", "poll"]))
        return order

    assert ["submit", "cancel", "poll", "fetch", "submit", "fetch"] == run(story())


def test_a_refusal_takes_one_away_for_an_hour_but_never_the_last() -> None:
    """One session fewer after each refusal; after an hour it is tried again."""

    async def story() -> list[int]:
        where, seen = channels(3), []
        for _ in range(4):
            async with where.session(Lane.FILES):
                where.refused()
            seen.append(where.limit)
            await pass_time(600)
        await pass_time(SHRUNK - 2400 + 1)
        seen.append(where.limit)
        await pass_time(600)
        return [*seen, where.limit]

    assert [2, 1, 1, 1, 2, 3] == run(story())


def test_sessions_admitted_before_the_last_refusal_say_nothing_new() -> None:
    """Four at once where two are allowed end at two, not at one."""

    async def story() -> int:
        where, refused = channels(5), asyncio.Event()
        node: Counter[str] = Counter()

        async def work() -> None:
            while True:
                async with where.session(Lane.URGENT):
                    if node["open"] < 2:
                        node["open"] += 1
                        await refused.wait()
                        return
                    where.refused()
                await pass_time(1)

        tasks = [asyncio.create_task(work()) for _ in range(5)]
        await pass_time(100)
        limit = where.limit
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return limit

    assert 2 == run(story())


workers = st.lists(
    st.tuples(
        st.sampled_from(list(Lane)),
        st.floats(0, 20),  # comes
        st.floats(0, 20),  # stays
        st.sampled_from([None, 0.0, 2.0]),  # gives up
        st.booleans(),  # is refused
    ),
    max_size=30,
)


@given(workers, st.integers(1, 6))
def test_never_more_than_the_limit_and_everybody_gets_in(
    wanted: list[tuple[Lane, float, float, float | None, bool]], budget: int
) -> None:
    """Whatever comes, stays, gives up or is refused: the budget holds and no place is lost."""

    async def story() -> tuple[int, int, int]:
        where, most, served = channels(budget), 0, 0

        async def work(
            lane: Lane, comes: float, stays: float, patience: float | None, refused: bool
        ) -> None:
            nonlocal most, served
            await pass_time(comes)
            try:
                async with asyncio.timeout(patience), where.session(lane):
                    most = max(most, where.held)
                    if refused:
                        where.refused()
                    await pass_time(stays)
                    served += 1
            except TimeoutError:
                pass

        await asyncio.gather(*(work(*each) for each in wanted))
        return most, served, where.held

    patient = sum(patience is None for *_, patience, _ in wanted)
    most, served, held = run(story())
    assert most <= budget
    assert served >= patient
    assert 0 == held
