"""``benchctl compare`` against a real socket: tables, JSON, CSV, benchstat and exit statuses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from benchd.cli import ctl
from benchd.core.model import Job
from support.builders import RUN_ID, client, run
from support.documents import result, value
from support.house import House

FAST, SLOW, OLD, BAD = RUN_ID, "b" * 10, "c" * 10, "d" * 10
CLIENT = client(cell={"client.parameters.pipeline": 16})
Ctl = Callable[..., tuple[int, str, str]]


def _document(job: Job, run_id: str, speed: float, formula: str) -> str:
    metrics = {"req_s": value(speed) | {"formula": formula, "better": "higher"}}
    return result(job, run=run_id, id=f"{run_id}-{speed}", metrics=metrics).document()


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """Open a house with three runs of five repeats: one slower, one by another formula."""
    made = House(tmp_path / "control.sock")
    for run_id, speed, formula in (
        (FAST, 1000.0, "req_s/v1"),
        (SLOW, 800.0, "req_s/v1"),
        (OLD, 1000.0, "req_s/v0"),
    ):
        made.reads.run_rows.append(replace(run(), id=run_id))
        made.reads.documents[run_id] = [
            _document(replace(CLIENT, repeat=i), run_id, speed + i, formula) for i in range(5)
        ]
    made.reads.run_rows.append(replace(run(), id=BAD))
    flag = {"code": "job_failed", "severity": "error", "detail": "exit 1"}
    made.reads.documents[BAD] = [result(CLIENT, run=BAD, flags=(flag,)).document()]
    async with made.open():
        yield made


async def benchctl(
    house: House, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, str, str]:
    """Run one command in a thread, as a process would."""
    status = await asyncio.to_thread(ctl.main, ["--socket", str(house.path), *words])
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.mark.asyncio
async def test_a_slower_run_is_worse(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    """The table has both medians, the change, its interval and p; the status says no."""
    status, out, err = await benchctl(house, capsys, "compare", FAST, SLOW)
    head, row = out.splitlines()[-2:]
    assert (status, err, head.split(), row.split()) == (
        1,
        "",
        ["POINT", "NUMBER", "BASE", "(N=5)", "OTHER", "(N=5)", "CHANGE", "95", "%", "P", "VERDICT"],
        [
            *("pipeline=16", "Requests", "[1/s]", "1002", "802", "-20.0%"),
            *("-20.2%", "...", "-19.7%", "0.008", "worse"),
        ],
    )


@pytest.mark.asyncio
async def test_other_numbers_are_refused(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    """Where numbers mean different things nothing is compared, whatever is asked for."""
    words = ("compare", FAST, OLD, "--across", "formula.req_s")
    status, out, err = await benchctl(house, capsys, *words)
    assert (status, "POINT" in out, err.splitlines()[1:]) == (
        4,
        False,
        [
            "not compared: they differ in 1 thing beside their numbers",
            "  formula.req_s: req_s/v1 | req_s/v0",
            "their numbers mean different things, so no option will compare them",
        ],
    )


@pytest.mark.asyncio
async def test_scripts_get_json_csv_and_benchstat(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same comparison comes as JSON, as CSV, and as one line a repeat."""
    _, said, _ = await benchctl(house, capsys, "compare", FAST, SLOW, "--json")
    answer = json.loads(said)
    row = answer["others"][0]["rows"][0]
    assert (answer["schema"], row["verdict"], row["base"]["n"]) == (
        "benchd.comparison/1",
        "worse",
        5,
    )
    _, said, _ = await benchctl(house, capsys, "compare", FAST, SLOW, "--csv")
    assert said.splitlines()[1].startswith(f"{FAST},{SLOW},pipeline=16,req_s,value,1/s,5,1002.0,5")
    _, said, _ = await benchctl(house, capsys, "compare", FAST, SLOW, "--benchstat")
    assert said.splitlines()[:2] == [f"run: {FAST}", "BenchmarkReqS/pipeline=16 1 1000 1/s"]
    assert said.splitlines()[6:8] == [f"run: {SLOW}", "BenchmarkReqS/pipeline=16 1 800 1/s"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((FAST,), "1 run to compare: name two to 8: the first is what they are compared to"),
        ((FAST, SLOW, "--threshold", "5"), "'5' is no threshold: write a share of the base"),
        (
            (FAST, SLOW, "--metric", "req_s p101"),
            "no result has a number 'req_s p101': there are: req_s\n",
        ),
        (
            (FAST, SLOW, "--across", "service.imagery"),
            "--across service.imagery: no result records such a thing: the refusal names",
        ),
        ((FAST, SLOW, "-o", "c.pdf"), "-o c.pdf: nothing is written as .pdf: the ending is one of"),
        ((FAST, SLOW, "--csv", "--json"), "--json and --csv are asked for together: choose one"),
        ((FAST, "zzz"), "there is no run 'zzz'"),
        ((FAST, BAD), f"run {BAD} has no valid results: see what is wrong with them: benchctl"),
    ],
)
async def test_a_slip_is_told(
    house: House, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    """What cannot be compared is told in a line, with what to do."""
    status, _, err = await benchctl(house, capsys, "compare", *words)
    assert (status != 0, err.startswith(f"benchctl: {said}")) == (True, True), err


@pytest.mark.asyncio
async def test_a_difference_that_is_meant_is_shown_everywhere(
    house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Terminal, JSON, page and Markdown have both values, and where each of the runs is from."""
    for run_id, image in ((FAST, "redis:7"), (SLOW, "redis:8")):
        told = [json.loads(text) for text in house.reads.documents[run_id]]
        for each in told:
            each["provenance"] = {"service": {"image": image}, "cluster": {"name": f"on-{image}"}}
        house.reads.documents[run_id] = [json.dumps(each) for each in told]
    words = ["compare", FAST, SLOW, "--across", "service.image", "--across", "cluster.name"]
    _, terminal, _ = await benchctl(house, capsys, *words)
    said = [terminal]
    for name in ("c.html", "c.md"):
        await benchctl(house, capsys, *words, "-o", str(tmp_path / name))
        said.append((tmp_path / name).read_text())
    known = [
        [value in text for value in ("redis:7", "redis:8", "cluster on-redis:8,")] for text in said
    ]
    assert known == [[True] * 3] * 3
    answer = json.loads((await benchctl(house, capsys, *words, "--json"))[1])["others"][0]
    assert (answer["differences"][0], answer["origin"]["cluster"], answer["verdicts"]) == (
        {
            "key": "service.image",
            "base": "redis:7",
            "other": "redis:8",
            "fatal": False,
            "meant": True,
        },
        "on-redis:8",
        {"worse": 1},
    )


@pytest.mark.asyncio
async def test_other_clients_are_told_first(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of other clients their kinds are said, and not that their formulas differ, too."""
    for run_id, kind in ((FAST, "redis-load"), (OLD, "redis-benchmark")):
        told = [json.loads(text) for text in house.reads.documents[run_id]]
        told = [{**each, "provenance": {"client": {"kind": kind}}} for each in told]
        house.reads.documents[run_id] = [json.dumps(each) for each in told]
    status, _, err = await benchctl(house, capsys, "compare", FAST, OLD)
    assert (status, err.splitlines()) == (
        4,
        [
            "",
            "not compared: different clients: redis-load | redis-benchmark",
            "their numbers mean different things, so no option will compare them",
        ],
    )


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("name", "other", "status", "said"),
    [
        ("c.html", SLOW, 1, ("-20.0%", ">worse</span>", '<circle class="verdict worse"')),
        ("c.html", OLD, 4, ("never: other numbers", ">not compared</span>")),
        ("c.md", SLOW, 1, ("| -20.0% | -20.2% to -19.7% | 0.008 |", "| worse |")),
        ("c.md", OLD, 4, ("| formula.req\\_s | req\\_s/v1 | req\\_s/v0 |",)),
    ],
)
async def test_a_comparison_can_be_kept(
    *,
    house: House,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    other: str,
    status: int,
    said: tuple[str, ...],
) -> None:
    """``-o`` writes a page or Markdown with changes or differences, and prints its place."""
    path = tmp_path / name
    answered = await benchctl(house, capsys, "compare", FAST, other, "-o", str(path))
    text = path.read_text()
    assert (answered, [words in text for words in said], "<script" in text) == (
        (status, f"{path}\n", ""),
        [True] * len(said),
        False,
    )
