"""Token buckets and the purse, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchd.config import Budget
from benchd.edge.budget import Bucket, Purse, Urgency
from benchd.metrics import Metrics
from support.near import sample
from support.virtual import now, pass_time, run


def time_of_loop() -> Callable[[], float]:
    return asyncio.get_running_loop().time


def bucket(per_minute: float = 4.0, burst: float = 10.0) -> Bucket:
    return Bucket(per_minute=per_minute, burst=burst, clock=time_of_loop())


def purse(metrics: Metrics | None = None, **limits: float) -> Purse:
    values = {"rpc_per_minute": 4.0, "burst": 10, "submits_per_minute": 60.0, **limits}
    settings = Budget.model_validate(values)
    return Purse("alpha", settings, metrics=metrics or Metrics(), clock=time_of_loop())


# --- the bucket -----------------------------------------------------------------------------------


def test_a_burst_is_free_and_then_the_rate_holds() -> None:
    """Ten tokens are there at once, each further one takes fifteen seconds."""

    async def story() -> list[float]:
        tokens, began, times = bucket(), now(), []
        for _ in range(12):
            await tokens.take(1.0)
            times.append(round(now() - began, 3))
        return times

    assert [*[0.0] * 10, 15.0, 30.0] == run(story())


takes = st.lists(
    st.tuples(
        st.floats(0, 40),  # seconds after the one before
        st.integers(1, 6),
        st.booleans(),
        st.sampled_from([None, None, None, 0.0, 3.0, 50.0]),  # given up after so many seconds
    ),
    min_size=1,
    max_size=25,
)


@given(takes, st.sampled_from([2.0, 4.0, 60.0]), st.integers(4, 12))
def test_no_window_ever_sees_more_than_the_burst_and_the_rate(
    wanted: list[tuple[float, int, bool, float | None]], per_minute: float, burst: int
) -> None:
    """Whoever asks, in whatever order, in line or before it, giving up or not: the bound holds."""

    async def story() -> list[tuple[float, float]]:
        tokens = bucket(per_minute, burst)
        spent: list[tuple[float, float]] = []

        async def take(after: float, cost: int, first: bool, patience: float | None) -> None:
            await pass_time(after)
            try:
                async with asyncio.timeout(patience):
                    paid = await tokens.take(cost, first=first)
            except TimeoutError:
                return
            spent.append((now(), paid))

        starts = accumulate(after for after, *_ in wanted)
        each = zip(starts, wanted, strict=True)
        await asyncio.gather(*(take(start, *rest) for start, (_, *rest) in each))
        return spent

    spent = run(story())
    for i, (begin, _) in enumerate(spent):
        for j in range(i, len(spent)):
            within = sum(paid for _, paid in spent[i : j + 1])
            assert within <= burst + per_minute / 60 * (spent[j][0] - begin) + 1e-3


@given(takes, st.integers(4, 12))
def test_everybody_is_served(
    wanted: list[tuple[float, int, bool, float | None]], burst: int
) -> None:
    """Nobody who stays in the line waits for longer than all who were there cost."""

    async def story() -> list[float]:
        tokens, waits = bucket(60.0, burst), []

        async def take(start: float, cost: int, first: bool) -> None:
            await pass_time(start)
            began = now()
            await tokens.take(cost, first=first)
            waits.append(now() - began)

        starts = accumulate(after for after, *_ in wanted)
        each = zip(starts, wanted, strict=True)
        await asyncio.gather(*(take(start, c, f) for start, (_, c, f, _) in each))
        return waits

    waits = run(story())
    assert len(wanted) == len(waits)
    assert max(waits) <= sum(cost for _, cost, *_ in wanted) + 0.1


def test_tokens_come_back_up_to_the_burst() -> None:
    """An idle hour buys no more than one burst."""

    async def story() -> float:
        tokens = bucket()
        await tokens.take(10.0)
        await pass_time(3600.0)
        return tokens.tokens

    assert 10.0 == run(story())


def test_a_clock_set_back_takes_nothing_away() -> None:
    """When the clock jumps back, tokens stay and go on growing from there."""
    time = [5000.0]
    tokens = Bucket(per_minute=4.0, burst=10.0, clock=lambda: time[0])
    tokens.borrow(10.0)
    time[0] = 0.0
    before = tokens.tokens
    time[0] = 30.0
    assert (0.0, 2.0) == (before, tokens.tokens)


def test_what_costs_more_than_the_burst_is_possible() -> None:
    """A cost above the burst waits for a full bucket instead of for ever."""

    async def story() -> tuple[float, float]:
        tokens = bucket(burst=4.0)
        tokens.borrow(1.0)
        began = now()
        return await tokens.take(100.0), round(now() - began, 3)

    assert (4.0, 15.0) == run(story())


def test_urgent_work_makes_debts_down_to_one_burst() -> None:
    """Borrowing never waits, and the debt has an end."""

    async def story() -> float:
        tokens = bucket()
        for _ in range(50):
            tokens.borrow(1.0)
        return tokens.tokens

    assert -10.0 == run(story())


@pytest.mark.parametrize(
    ("second_is_first", "order"), [(False, ["large", "small"]), (True, ["small", "large"])]
)
def test_who_came_first_is_served_first(second_is_first: bool, order: list[str]) -> None:
    """A small cost does not overtake a large one that waits, unless it goes before the line."""

    async def story() -> list[str]:
        tokens, served = bucket(), []

        async def take(name: str, cost: float, *, first: bool = False) -> None:
            await tokens.take(cost, first=first)
            served.append(name)

        await tokens.take(10.0)
        await asyncio.gather(take("large", 2.0), take("small", 1.0, first=second_is_first))
        return served

    assert order == run(story())


# --- the purse ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("command", "left"), [("squeue", 8.0), ("sacct", 9.0), ("scancel", 9.0)])
def test_a_call_costs_what_the_controller_pays(command: str, left: float) -> None:
    """The price of squeue is two RPCs, that of the others one, as sdiag counts them."""
    metrics = Metrics()

    async def story() -> tuple[float, float]:
        money = purse(metrics)
        await money.spend(command)
        return money.tokens, sample(metrics, "benchd_slurm_budget_tokens", cluster="alpha")

    assert (left, left) == run(story())


@pytest.mark.parametrize("urgency", list(Urgency))
def test_a_call_that_was_not_made_costs_nothing(urgency: Urgency) -> None:
    """Money for a call that was not made comes back, and of a price never paid in full no more."""

    async def story() -> float:
        money = purse()
        paid = await money.spend("scancel", urgency=urgency, rpcs=500.0)
        money.unspent("scancel", paid)
        return money.tokens

    assert 10.0 == run(story())


def test_submissions_are_paid_from_a_bucket_of_their_own() -> None:
    """However few questions are allowed, sbatch keeps its own rate, and takes none of theirs."""

    async def story() -> tuple[list[float], float]:
        money, began, times = purse(rpc_per_minute=1.0, burst=4, submits_per_minute=12.0), 0.0, []
        began = now()
        for _ in range(5):
            while not await money.afford_submission():
                pass
            times.append(round(now() - began, 3))
        return times, money.tokens

    assert ([0.0, 0.0, 5.0, 10.0, 15.0], 4.0) == run(story())


def test_a_site_that_allows_four_calls_a_minute_sees_no_more() -> None:
    """With two and two a minute, an hour of polls and submissions costs it 240 and a burst."""
    metrics = Metrics()

    async def story() -> None:
        money = purse(metrics, rpc_per_minute=2.0, burst=4, submits_per_minute=2.0)

        async def submit() -> None:
            while True:
                if await money.afford_submission():
                    money.made("sbatch", "ok", 0.1)

        async def look() -> None:
            while True:
                await money.spend("squeue", urgency=Urgency.POLL)
                money.made("squeue", "ok", 0.1)

        work = [asyncio.create_task(submit()) for _ in range(5)]
        work.append(asyncio.create_task(look()))
        await pass_time(3600.0)
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)

    run(story())
    made = [
        sample(metrics, "benchd_slurm_rpcs_total", cluster="alpha", command=name, outcome="ok")
        for name in ("sbatch", "squeue")
    ]
    assert (121.0, 124.0) == pytest.approx(tuple(made), abs=1.0)


def test_a_submission_that_cannot_be_afforded_soon_gives_way() -> None:
    """After a few seconds it is not waited for any more, and it has then cost nothing."""

    async def story() -> tuple[list[bool], float]:
        money, began = purse(submits_per_minute=6.0), now()
        answers = [await money.afford_submission() for _ in range(2)]
        waited = now() - began
        await pass_time(5.0)  # ten seconds for one: what was given up took nothing
        return [*answers, await money.afford_submission()], waited

    assert ([True, False, True], 5.0) == run(story())


def test_a_cancel_does_not_wait_for_the_budget() -> None:
    """With an empty bucket an urgent call is made at once."""

    async def story() -> tuple[float, float]:
        money, began = purse(), now()
        await money.spend("squeue", rpcs=10.0)
        await money.spend("scancel", urgency=Urgency.NOW)
        return now() - began, money.tokens

    assert (0.0, -1.0) == run(story())


def test_a_poll_does_not_starve_under_cancels() -> None:
    """However many cancels make debts meanwhile, a poll waits as for the deepest debt."""

    async def story() -> float:
        money, began = purse(), now()

        async def storm() -> None:
            while True:
                await money.spend("scancel", urgency=Urgency.NOW, rpcs=100.0)
                await pass_time(1.0)

        cancels = asyncio.create_task(storm())
        await asyncio.sleep(0)
        await money.spend("squeue", urgency=Urgency.POLL)
        cancels.cancel()
        return now() - began

    assert run(story()) == pytest.approx((10 + 2) * 15.0, abs=0.1)


def test_a_poll_goes_before_the_line() -> None:
    """Look-ups that came first do not hold a poll up, unless polls overtook them twice."""

    async def story() -> list[str]:
        money, order = purse(), []

        async def ask(name: str, urgency: Urgency) -> None:
            await money.spend("squeue", urgency=urgency)
            order.append(name)

        await money.spend("squeue", rpcs=10.0)
        looks = [asyncio.create_task(ask("look", Urgency.QUEUED)) for _ in range(3)]
        await pass_time(1.0)
        for _ in range(3):
            await ask("poll", Urgency.POLL)
        await asyncio.gather(*looks)
        return order

    assert [*["poll"] * 2, *["look"] * 3, "poll"] == run(story())


@pytest.mark.parametrize(
    ("command", "seconds", "limited", "pressure"),
    [
        ("squeue", 4.9, False, 0),
        ("squeue", 5.1, False, 1),
        ("squeue", 0.1, True, 1),
        ("sbatch", 30.0, False, 1),
    ],
)
def test_slow_and_limiting_answers_are_pressure(
    command: str, seconds: float, limited: bool, pressure: int
) -> None:
    """An answer after five seconds, or with words about a limit, says so to who paces polls."""
    told: list[int] = []
    metrics = Metrics()

    async def story() -> None:
        money = Purse(
            "alpha",
            Budget(),
            metrics=metrics,
            clock=time_of_loop(),
            pressed=lambda: told.append(1),
        )
        money.made(command, "ok", seconds, limited=limited)

    run(story())
    counted = sample(metrics, "benchd_slurm_rate_limited_total", cluster="alpha")
    assert (pressure, float(limited)) == (len(told), counted)


def test_a_slow_sbatch_makes_the_next_ones_rarer() -> None:
    """Every full five seconds of its answer cost one submission more."""

    async def story() -> bool:
        money = purse()
        money.made("sbatch", "ok", 100.0)  # twenty: down to a burst of debt
        return await money.afford_submission()

    assert not run(story())


def test_what_was_used_within_a_minute_is_known() -> None:
    """Questions and submissions of the last sixty seconds are told apart."""

    async def story() -> list[tuple[float, float]]:
        money = purse()
        money.made("squeue", "ok", 0.1)
        await pass_time(40.0)
        money.made("sbatch", "ok", 0.1)
        before = money.used()
        await pass_time(40.0)
        return [before, money.used()]

    assert [(2.0, 1.0), (0.0, 1.0)] == run(story())
