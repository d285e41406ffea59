"""``benchctl`` on a real terminal: what people see, at widths they have."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from benchd.core.model import Endpoint, JobState, Readiness, RunOutcome
from support.builders import CREATED_AT, RUN_ID, client, run, service
from support.documents import result, spread, value
from support.house import House
from support.terminal import Terminal

pytestmark = pytest.mark.asyncio

SERVICE = service(
    state=JobState.RUNNING,
    readiness=Readiness.READY,
    slurm_id="3816079",
    nodes="node-0123",
    endpoint=Endpoint(host="node-0123", ports=(26541,), slurm_id="3816079", generation=0),
)
DETAIL = "the node was lost while the client was running; nothing that it measured can be used"
CLIENTS = [
    client(
        cell={"client.parameters.pipeline": 2 * i},
        point=i,
        state=JobState.FAILED,
        why="FAILED",
        exit_code=127,
        slurm_id=f"381608{i}",
        detail=DETAIL,
    )
    for i in range(18)
]
METRICS = {
    "req_s": value(123456.0, unit="/s"),
    "out_tok_s": value(3816.79, unit="tok/s"),
    "latency_service": spread(2.345, p99=9.876),
    "tpot": spread(1.234, p99=5.678),
}
# As a table writes them, with how many requests went well and how many did not.
NUMBERS = {"123456", "3817", "2.35", "9.88", "1.23", "5.68", "10", "0"}
Open = Callable[..., Terminal]


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """Open a house with one run: a service and a sweep of clients that failed."""
    made = House(tmp_path / "control.sock")
    made.reads.run_rows.append(run())
    made.reads.job_rows += [SERVICE, *CLIENTS]
    made.reads.documents[RUN_ID] = [result(CLIENTS[0], metrics=METRICS).document()]
    async with made.open():
        yield made


@pytest.fixture
def screen(house: House) -> Open:
    """Return a function that starts ``benchctl`` in a terminal."""

    def start(*words: str, columns: int = 80, lines: int = 24) -> Terminal:
        argv = ["-m", "benchd.cli.ctl", "--socket", str(house.path), *words]
        return Terminal(columns, lines).start(*argv)

    return start


async def ended(terminal: Terminal) -> int:
    """Wait for the end of a program without stopping the house that it asks."""
    return await asyncio.to_thread(terminal.finish)


def overlong(terminal: Terminal) -> list[str]:
    """Return the lines of a table that the terminal had to break."""
    return [line for line in terminal.text().splitlines() if len(line) > terminal.columns]


@pytest.mark.parametrize("columns", [160, 80, 60])
async def test_units_are_words_and_no_markup(screen: Open, columns: int) -> None:
    """A unit in a heading is shown as it is, whatever brackets and slashes it has."""
    terminal = screen("results", columns=columns)
    assert 0 == await ended(terminal), terminal.text()
    flat = " ".join(terminal.text().split())
    assert ("[/s]" in flat, "[tok/s]" in flat, "Markup" in flat) == (True, True, False), flat


@pytest.mark.parametrize("columns", [160, 80, 60, 30])
async def test_numbers_and_ids_stay_whole(screen: Open, columns: int) -> None:
    """On a narrow terminal columns are left out, or rows become blocks; no value is broken."""
    results, jobs = screen("results", columns=columns), screen("jobs", columns=columns)
    assert [0, 0] == [await ended(results), await ended(jobs)]
    ids = [f"{RUN_ID}-c-redis-bench-p{i}r0" for i in (0, 17)]
    shown = set(re.findall(r"(?<![\w=.])[\d.]+(?![\w.])", results.text().replace("/s", "")))
    assert ({"123456"}, set()) == (shown & {"123456"}, shown - NUMBERS), results.text()
    assert [] == [i for i in ids if i not in jobs.text()], jobs.text()
    if columns >= 60:  # what a whole id needs
        assert [] == overlong(results) + overlong(jobs)


async def test_what_is_left_out_is_named(screen: Open) -> None:
    """A table that lacks columns says which, so that nobody takes it for all there is."""
    terminal = screen("jobs", columns=80)
    await ended(terminal)
    assert "not shown for want of room: " in terminal.text()


async def test_rows_become_blocks_where_no_table_fits(screen: Open) -> None:
    """Every value of a row is then on a line of its own, with its heading."""
    terminal = screen("jobs", columns=40)
    await ended(terminal)
    lines = [line.split() for line in terminal.text().splitlines() if line.strip()]
    assert ["slurm", "id", "3816079"] in lines


@pytest.mark.parametrize("size", [(80, 24), (80, 10), (60, 24), (160, 50)])
async def test_a_finished_watch_ends_with_verdict_and_reason(
    house: House, screen: Open, size: tuple[int, int]
) -> None:
    """However small the terminal, the last lines say how the run ended and why."""
    why = "client redis-bench FAILED exit 127 (and 17 more)"
    house.reads.run_rows[0] = run(outcome=RunOutcome.FAILED, why=why, finished_at=CREATED_AT + 9)
    terminal = screen("watch", columns=size[0], lines=size[1])
    assert 1 == await ended(terminal)
    last = "".join(terminal.tail(4)[1:])
    assert (f"FAILED  web  {RUN_ID}  0/18" in terminal.text(), why in last) == (True, True), last


async def test_watch_names_jobs_as_they_can_be_typed(house: House, screen: Open) -> None:
    """Every job in the picture has its short id."""
    house.reads.run_rows[0] = run(outcome=RunOutcome.FAILED, why="x", finished_at=CREATED_AT + 9)
    terminal = screen("watch", lines=50)
    await ended(terminal)
    assert (f"{RUN_ID}-c-redis-bench-p3r0 ", f"{RUN_ID}-s-redis ") == tuple(
        name
        for name in (f"{RUN_ID}-c-redis-bench-p3r0 ", f"{RUN_ID}-s-redis ")
        if name in terminal.text()
    )


@pytest.mark.parametrize("words", [["watch", RUN_ID], ["logs", "-f", SERVICE.token]])
async def test_ctrl_c_says_that_the_run_goes_on(
    house: House, screen: Open, words: list[str]
) -> None:
    """Whoever stops looking is told that only the looking ended, and how to look again."""
    house.control.logs[SERVICE.token, "out"] = b"listening\n"
    terminal = screen(*words)
    await asyncio.to_thread(terminal.wait_for, "listening" if words[0] == "logs" else "/18")
    terminal.interrupt()
    assert 130 == await ended(terminal)
    said = f"benchctl: the run goes on; benchctl watch {RUN_ID} looks again"
    assert (said, "Traceback" in terminal.text()) == (terminal.tail(1)[0], False)


async def test_watch_bears_a_daemon_that_goes_away(house: House, screen: Open) -> None:
    """Silence is said within two seconds, and the watch goes on when the daemon is back."""
    house.reads.job_rows[1:] = [replace(CLIENTS[0], state=JobState.RUNNING)]
    terminal = screen("watch")
    await asyncio.to_thread(terminal.wait_for, "0/1")
    hidden = house.path.with_name("hidden.sock")
    house.path.rename(hidden)
    taken = await asyncio.to_thread(terminal.wait_for, "the daemon does not answer; waiting")
    house.reads.run_rows[0] = run(outcome=RunOutcome.PASSED, finished_at=CREATED_AT + 9)
    hidden.rename(house.path)
    assert (taken < 2.5, await ended(terminal)) == (True, 0), taken
