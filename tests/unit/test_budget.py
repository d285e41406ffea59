"""Token bucket, purse and circuit breaker, on a clock that tests move."""

from __future__ import annotations

import asyncio

import pytest

from benchd.config import Budget
from benchd.edge.budget import Breaker, Bucket, Purse, Urgency
from benchd.edge.shell import Resting
from benchd.metrics import Metrics


class Time:
    """A clock, and a sleep that moves it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Let time pass at once."""
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


def bucket(time: Time, per_minute: float = 4.0, burst: float = 10.0) -> Bucket:
    return Bucket(per_minute=per_minute, burst=burst, clock=time, sleep=time.sleep)


def purse(time: Time, metrics: Metrics, **limits: float) -> Purse:
    values = {"rpc_per_minute": 4.0, "burst": 10, "submits_per_minute": 60.0, **limits}
    settings = Budget.model_validate(values)
    return Purse("alpha", settings, metrics=metrics, clock=time, sleep=time.sleep)


def spend(where: Bucket, *costs: float) -> None:
    async def all_of_them() -> None:
        for cost in costs:
            await where.take(cost)

    asyncio.run(all_of_them())


def test_a_burst_is_free_and_then_the_rate_holds() -> None:
    """Ten tokens are there at once, each further one takes fifteen seconds."""
    time = Time()
    spend(bucket(time), *[1.0] * 12)
    assert [15.0, 15.0] == time.slept


def test_tokens_come_back_up_to_the_burst() -> None:
    """An idle hour buys no more than one burst."""
    time = Time()
    tokens = bucket(time)
    spend(tokens, 10.0)
    time.now += 3600.0
    assert 10.0 == tokens.tokens


def test_a_clock_set_back_takes_nothing_away() -> None:
    """When the clock jumps back, tokens stay and go on growing from there."""
    time = Time()
    tokens = bucket(time)
    spend(tokens, 10.0)
    time.now -= 5000.0
    before = tokens.tokens
    time.now += 30.0
    assert (0.0, 2.0) == (before, tokens.tokens)


def test_what_costs_more_than_the_burst_is_possible() -> None:
    """A cost above the burst waits for a full bucket instead of for ever."""
    time = Time()
    spend(bucket(time, burst=4.0), 100.0)
    assert [] == time.slept


def test_urgent_work_makes_debts_down_to_one_burst() -> None:
    """Borrowing never waits, and the debt has an end."""
    time = Time()
    tokens = bucket(time)
    for _ in range(50):
        tokens.borrow(1.0)
    assert -10.0 == tokens.tokens


def test_who_came_first_is_served_first() -> None:
    """A small cost does not overtake a large one that waits."""
    time = Time()
    tokens = bucket(time)
    served: list[str] = []

    async def take(name: str, cost: float) -> None:
        await tokens.take(cost)
        served.append(name)

    async def both() -> None:
        await tokens.take(10.0)
        await asyncio.gather(take("large", 2.0), take("small", 1.0))

    asyncio.run(both())
    assert ["large", "small"] == served


@pytest.mark.parametrize(("command", "left"), [("squeue", 8.0), ("sacct", 9.0), ("scancel", 9.0)])
def test_a_call_costs_what_the_controller_pays(command: str, left: float) -> None:
    """The price of squeue is two RPCs, that of the others one, as sdiag counts them."""
    metrics = Metrics()
    money = purse(Time(), metrics)
    asyncio.run(money.spend(command))
    shown = metrics.registry.get_sample_value("benchd_slurm_budget_tokens", {"cluster": "alpha"})
    assert (left, left) == (money.tokens, shown)


def test_a_call_that_was_not_made_costs_nothing() -> None:
    """Money for a call that was not made comes back."""
    money = purse(Time(), Metrics())
    asyncio.run(money.spend("squeue"))
    money.unspent("squeue")
    assert 10.0 == money.tokens


def test_a_slow_answer_makes_the_next_calls_rarer() -> None:
    """Every full five seconds of an answer cost one more token."""
    metrics = Metrics()
    money = purse(Time(), metrics)
    asyncio.run(money.spend("squeue"))
    money.made("squeue", "ok", 12.0)
    labels = {"cluster": "alpha", "command": "squeue", "outcome": "ok"}
    counted = metrics.registry.get_sample_value("benchd_slurm_rpcs_total", labels)
    assert (6.0, 2.0) == (money.tokens, counted)


def test_submissions_have_a_rate_of_their_own() -> None:
    """However many RPCs are allowed, sbatch is called no more often than configured."""
    time = Time()
    money = purse(time, Metrics(), rpc_per_minute=6000.0, burst=1000, submits_per_minute=6.0)

    async def three() -> None:
        for _ in range(3):
            assert await money.afford_submission()

    asyncio.run(three())
    assert [10.0, 10.0] == time.slept


def test_polls_do_not_queue_behind_a_hundred_submissions() -> None:
    """However many submissions wait for the budget, a poll waits for one of them at most."""
    time = Time()
    money = purse(time, Metrics(), submits_per_minute=6000.0)
    order: list[str] = []

    async def submit() -> None:
        if await money.afford_submission():
            order.append("sbatch")

    async def poll() -> None:
        await money.spend("squeue")
        order.append("squeue")

    async def all_at_once() -> None:
        for _ in range(5):
            await money.spend("squeue")
        await asyncio.gather(*(submit() for _ in range(100)), poll())

    asyncio.run(all_at_once())
    assert order.index("squeue") <= 1


def test_a_submission_that_cannot_be_afforded_soon_is_not_waited_for() -> None:
    """A submission gives way after a few seconds and has then cost nothing."""

    async def stuck(seconds: float) -> None:
        await asyncio.Event().wait()

    async def submit() -> tuple[bool, float]:
        money = Purse(
            "alpha", Budget(), metrics=Metrics(), clock=lambda: 0.0, sleep=stuck, patience=0.0
        )
        for _ in range(5):
            await money.spend("squeue")
        return await money.afford_submission(), money.tokens

    assert (False, 0.0) == asyncio.run(submit())


def test_a_submission_that_is_given_up_gives_its_turn_back() -> None:
    """Waiting in vain for the RPC budget uses up none of the submissions of this minute."""
    time = Time()
    slept: list[float] = []

    async def too_late(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.Event().wait()

    async def submit() -> list[bool]:
        limits = Budget(rpc_per_minute=60.0, burst=10, submits_per_minute=6.0)
        money = Purse("alpha", limits, metrics=Metrics(), clock=time, sleep=too_late, patience=0.0)
        await money.spend("squeue", rpcs=10.0)
        answers = [await money.afford_submission() for _ in range(3)]
        time.now += 1.0  # one RPC more, but no submission: that takes ten seconds
        return [*answers, await money.afford_submission()]

    assert [False, False, False, True] == asyncio.run(submit())
    assert [1.0] * 3 == slept


def test_a_cancel_does_not_wait_for_the_budget() -> None:
    """With an empty bucket an urgent call is made at once."""
    time = Time()
    money = purse(time, Metrics())

    async def cancel() -> None:
        for _ in range(5):
            await money.spend("squeue")
        await money.spend("scancel", urgency=Urgency.NOW)

    asyncio.run(cancel())
    assert ([], -1.0) == (time.slept, money.tokens)


def test_a_poll_does_not_starve_under_cancels() -> None:
    """However many cancels make debts meanwhile, a poll waits for one burst's worth of time."""
    time = Time()

    async def storm() -> None:
        async def sleep(seconds: float) -> None:
            time.now += seconds
            for _ in range(100):
                await money.spend("scancel", urgency=Urgency.NOW)

        limits = Budget(rpc_per_minute=4.0, burst=10)
        money = Purse("alpha", limits, metrics=Metrics(), clock=time, sleep=sleep)
        await money.spend("scancel", urgency=Urgency.NOW, rpcs=500.0)
        await money.spend("squeue", urgency=Urgency.POLL)
        assert -10.0 == money.tokens

    asyncio.run(storm())
    assert 1000.0 + 150.0 == time.now


def test_a_poll_does_not_stand_in_the_line() -> None:
    """Look-ups that came first and wait for the budget do not hold a poll up."""
    time = Time()
    money = purse(time, Metrics())
    order: list[str] = []

    async def look() -> None:
        await money.spend("squeue")
        order.append("look")

    async def poll() -> None:
        await money.spend("squeue", urgency=Urgency.POLL)
        order.append("poll")

    async def all_at_once() -> None:
        for _ in range(5):
            await money.spend("squeue")
        await asyncio.gather(*(look() for _ in range(9)), poll())

    asyncio.run(all_at_once())
    assert order.index("poll") <= 1


def test_what_was_not_paid_does_not_come_back() -> None:
    """A call that cost more than the deepest debt returns what it took, and no more."""
    money = purse(Time(), Metrics())

    async def give_up() -> float:
        paid = await money.spend("scancel", urgency=Urgency.NOW, rpcs=500.0)
        money.unspent("scancel", paid)
        return paid

    assert (20.0, 10.0) == (asyncio.run(give_up()), money.tokens)


def breaker(time: Time) -> Breaker:
    return Breaker("alpha", metrics=Metrics(), clock=time)


def test_five_failures_in_two_minutes_open_the_circuit_for_one() -> None:
    """After the fifth failure nothing is tried for sixty seconds, and then again."""
    time = Time()
    circuit = breaker(time)
    for _ in range(5):
        circuit.check()
        circuit.failed()
        time.now += 20.0
    assert circuit.is_open
    with pytest.raises(Resting, match="left alone for 40 s") as caught:
        circuit.check()
    time.now += 40.0
    circuit.check()
    assert (False, False) == (caught.value.sent, circuit.is_open)


def test_failures_far_apart_do_not_open_it() -> None:
    """Five failures over a longer time are bad luck, not a dead link."""
    time = Time()
    circuit = breaker(time)
    for _ in range(20):
        circuit.failed()
        time.now += 31.0
    assert not circuit.is_open


def test_an_answer_forgives() -> None:
    """One answer clears the failures before it."""
    time = Time()
    circuit = breaker(time)
    for _ in range(4):
        circuit.failed()
    circuit.succeeded()
    circuit.failed()
    assert not circuit.is_open


def test_a_failed_probe_opens_it_again() -> None:
    """When the first call after the pause fails too, the pause begins anew."""
    time = Time()
    circuit = breaker(time)
    for _ in range(5):
        circuit.failed()
    time.now += 60.0
    circuit.check()
    circuit.failed()
    assert circuit.is_open
