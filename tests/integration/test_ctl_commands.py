"""``benchctl`` against a real socket: what it prints, and with which status it ends."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import pytest_asyncio

from benchd.cli import ctl, follow
from benchd.cli.tables import count, short_ids
from benchd.cli.wire import NO_DAEMON, Daemon, Stop
from benchd.core.model import Endpoint, JobState, Readiness, RunOutcome
from benchd.errors import UserError
from support.builders import CREATED_AT, RUN_ID, client, run, service
from support.documents import result, value
from support.house import REFUSAL, House

SERVICE = service(
    state=JobState.RUNNING,
    readiness=Readiness.READY,
    slurm_id="17",
    nodes="n1",
    endpoint=Endpoint(host="n1", ports=(6379,), slurm_id="17", generation=0),
)
CLIENT = client(cell={"client.parameters.pipeline": 16})


class Answer(NamedTuple):
    """How a command ended and what it said."""

    status: int
    out: str
    err: str


Ctl = Callable[..., Awaitable[Answer]]


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """Open a house with one run: a service and a client."""
    made = House(tmp_path / "control.sock")
    made.reads.run_rows.append(run())
    made.reads.job_rows += [SERVICE, CLIENT]
    made.reads.documents[RUN_ID] = [result(CLIENT).document()]
    async with made.open():
        yield made


@pytest.fixture
def benchctl(house: House, capsys: pytest.CaptureFixture[str]) -> Ctl:
    """Return a function that runs one command in a thread, as a process would."""

    async def call(*words: str) -> Answer:
        status = await asyncio.to_thread(ctl.main, ["--socket", str(house.path), *words])
        said = capsys.readouterr()
        return Answer(status, said.out, said.err)

    return call


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("words", "first"),
    [
        (["status"], "benchd 0.1.0  pid 42  up 2m  state /var/lib/benchd"),
        (["runs"], "RUN         NAME  CLUSTER  PHASE  OUTCOME  DONE"),
        (["jobs"], "JOB"),
        (["clients", "--run", RUN_ID], "JOB"),
        (["services", "--state", "running"], "JOB"),
        (["show", RUN_ID[:5]], f"run {RUN_ID}  web  on alpha  ready"),
        (["show", SERVICE.token], f"job {SERVICE.token}"),
        (["why", "17"], "service redis, attempt 1, is RUNNING and ready, Slurm job 17 on n1"),
        (["results"], "POINT"),
        (["cluster", "list"], "CLUSTER  LINK  CIRCUIT"),
        (["cluster", "pause", "alpha"], "alpha is paused"),
        (["cluster", "resume", "alpha", "--take-over"], "alpha was not paused; "),
        (["cancel", RUN_ID], f"ending {RUN_ID}-token"),
        (["cancel", "--all"], "nothing to do: no job is concerned"),
        (["retry", CLIENT.token], f"new {CLIENT.token}-a2"),
        (["drain"], "draining: 2 jobs to be seen to the end, 3 waiting for `benchctl drain --off`"),
        (["drain", "--off"], "submitting again: 3 jobs held back"),
        (["reap", "alpha"], "CLUSTER  SLURM ID  STATE    NODES"),
        (["adopt", "alpha", "99"], "adopted "),
        (["gc", "--dry-run"], "CLUSTER  RUN         NAME  DIRECTORY"),
        (["catalog"], "KIND"),
        (["catalog", "redis-benchmark"], "redis-benchmark, a kind of client: Redis's own load"),
    ],
)
async def test_a_command_answers_in_plain_text(benchctl: Ctl, words: list[str], first: str) -> None:
    """Away from a terminal every table is aligned text without colour, and the status is 0."""
    answer = await benchctl(*words)
    assert (answer.status, answer.out.startswith(first), answer.err) == (0, True, ""), answer.out


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("words", "schema"),
    [
        (["status"], "status"),
        (["runs"], "runs"),
        (["jobs"], "jobs"),
        (["show", RUN_ID], "run"),
        (["show", "17"], "job"),
        (["why", "17"], "why"),
        (["results", RUN_ID], "results"),
        (["services"], "services"),
        (["clients", "--run", RUN_ID], "clients"),
        (["cluster", "list"], "clusters"),
        (["cancel", RUN_ID], "cancelled"),
        (["logs", "17"], "log"),
        (["drain"], "drain"),
        (["reap", "alpha", "--dry-run"], "strays"),
        (["adopt", "alpha", "99"], "adopted"),
        (["gc", "--older-than", "36h"], "old-runs"),
        (["catalog"], "catalog"),
        (["catalog", "generic"], "catalog"),
    ],
)
async def test_every_command_speaks_json(benchctl: Ctl, words: list[str], schema: str) -> None:
    """With --json, before or after the command, the answer is JSON with its schema."""
    answers = [await benchctl("--json", *words), await benchctl(*words, "--json")]
    assert [json.loads(a.out)["schema"] for a in answers] == [f"benchd.{schema}/1"] * 2


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (
            ["show", "nothing"],
            1,
            "benchctl: there is no run or job 'nothing': see: benchctl runs\n",
        ),
        (["jobs", "--state", "LOST"], 2, "benchctl: there is no state 'LOST': the states are"),
        (["why", RUN_ID], 2, f"benchctl: {RUN_ID!r} is a run of 2 jobs: "),
        (["cancel"], 2, "benchctl: say what to cancel: a run, a job, or --all\n"),
        (["show", ""], 2, "benchctl: argument RUN|JOB: an empty name: see benchctl show --help\n"),
        (["frobnicate"], 2, "benchctl: argument COMMAND: invalid choice: 'frobnicate'"),
        (["runz"], 2, "benchctl: argument COMMAND: invalid choice: 'runz'; did you mean 'runs'?"),
        (["results", "--csv", "--benchstat"], 2, "benchctl: --csv and --benchstat are asked for "),
        (["report", RUN_ID, "-o", "x.pdf"], 2, "benchctl: -o x.pdf: nothing is written as .pdf"),
        (["submit", "/nonexistent.yaml"], 2, "benchctl: cannot read /nonexistent.yaml: No such"),
        *(
            (words, 2, f"benchctl: argument {words[1]}: {words[2]!r} {what}: see benchctl ")
            for words, what in (
                (["logs", "--tail", "-3", "x"], "is not a whole number, 0 or more"),
                (["runs", "--limit", "0"], "is not a whole number, 1 or more"),
                (["submit", "--set", "foo", "x.yaml"], "sets nothing: write --set KEY=VALUE"),
                (
                    ["gc", "--older-than", "soon"],
                    "is not a duration; write for example 30s, 36h or 7d",
                ),
            )
        ),
    ],
)
async def test_an_error_is_one_line_with_what_to_do(
    benchctl: Ctl, words: list[str], status: int, said: str
) -> None:
    """Errors go to stderr in one line, and the status tells no from usage."""
    answer = await benchctl(*words)
    assert (answer.status, answer.out, answer.err.startswith(said), answer.err.count("\n")) == (
        status,
        "",
        True,
        1,
    ), answer.err


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "words",
    [
        ["submit", "/nonexistent.yaml"],
        ["runs", "--limit", "0"],
        ["show", "zzz"],
        ["status", "--socket", "/nonexistent.sock"],
        ["submit", "--socket", "/nonexistent.sock", __file__],
    ],
)
async def test_with_json_an_error_is_a_document_too(benchctl: Ctl, words: list[str]) -> None:
    """Whoever refuses, daemon or command, stdout has one document that says what stderr says."""
    answer = await benchctl("--json", *words)
    said = json.loads(answer.out)
    assert "benchd.error/1" == said["schema"]
    assert said["error"]["what"] in answer.err


@pytest.mark.asyncio
async def test_a_refusal_is_status_4(house: House, benchctl: Ctl) -> None:
    """What the daemon will not do ends with 4 and its sentence."""
    house.control.trouble = REFUSAL
    assert await benchctl("retry", RUN_ID) == Answer(4, "", f"benchctl: {REFUSAL}\n")


def test_no_daemon_is_status_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a daemon the status is 3 and the message says where it was looked for."""
    status = ctl.main(["status", "--socket", str(tmp_path / "no.sock")])
    said = capsys.readouterr().err
    assert (status, str(tmp_path / "no.sock") in said, "benchd run" in said) == (3, True, True)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("words", "wish"),
    [
        (["drain"], ("drain", "True")),
        (["drain", "--off"], ("drain", "False")),
        (["reap"], ("reap", "None", "False")),
        (["reap", "alpha", "--dry-run"], ("reap", "alpha", "True")),
        (["adopt", "alpha", "99"], ("adopt", "alpha", "99")),
        (["gc"], ("gc", "604800.0", "False")),
        (["gc", "--older-than", "36h", "--dry-run"], ("gc", "129600.0", "True")),
    ],
)
async def test_upkeep_asks_for_what_was_typed(
    house: House, benchctl: Ctl, words: list[str], wish: tuple[str, ...]
) -> None:
    """What would change something is only asked for when it was."""
    await benchctl(*words)
    assert [wish] == house.keeping.wishes


@pytest.mark.asyncio
async def test_reap_says_what_it_could_not_see(benchctl: Ctl) -> None:
    """Then the answer is not complete, and the status is 1."""
    answer = await benchctl("reap", "--dry-run")
    assert (1, "benchctl: beta was not seen: cannot be reached\n") == (answer.status, answer.err)
    assert "would be ended" in answer.out


@pytest.mark.asyncio
async def test_what_cannot_be_adopted_is_status_4(house: House, benchctl: Ctl) -> None:
    """With the reason, and what to do instead."""
    house.keeping.trouble = UserError("no run.json: end it with `benchctl reap alpha`")
    said = "benchctl: no run.json: end it with `benchctl reap alpha`\n"
    assert Answer(4, "", said) == await benchctl("adopt", "alpha", "99")


@pytest.mark.asyncio
async def test_status_tells_of_strays(benchctl: Ctl) -> None:
    """Jobs that are in no book are counted, with the command that lists them."""
    said = "2 jobs of our name are on alpha and in no book: see `benchctl reap alpha --dry-run`"
    assert said in (await benchctl("status")).out


@pytest.mark.asyncio
async def test_submit_hands_files_in(house: House, benchctl: Ctl, tmp_path: Path) -> None:
    """A recipe goes in byte by byte with its overrides; its run id comes out."""
    file = tmp_path / "web.yaml"
    file.write_text("name: web\n")
    answer = await benchctl("submit", str(file), "--set", "repeat=3", "--set", "cluster=b")
    assert (answer, house.control.wishes[0]) == (
        Answer(0, "newrun2345\n", ""),
        ("submit", "web.yaml", "name: web\n", "{'repeat': '3', 'cluster': 'b'}"),
    )


@pytest.mark.asyncio
async def test_a_bad_recipe_shows_every_mistake_where_it_is(
    house: House, benchctl: Ctl, tmp_path: Path
) -> None:
    """Mistakes carry the path that the user typed, and good files beside them go in."""
    bad, good = tmp_path / "bad.yaml", tmp_path / "good.yaml"
    bad.write_text("serivce: {}\n")
    good.write_text("name: good\n")
    answer = await benchctl("submit", str(bad), str(good))
    assert answer == Answer(
        4, "newrun2345\n", f"{bad}:2:1: serivce: unknown key; did you mean service?\n"
    )


@pytest.mark.asyncio
async def test_programs_get_the_mistakes_too(benchctl: Ctl, tmp_path: Path) -> None:
    """With --json mistakes are one document on stdout, with what was accepted, and still text."""
    bad, good = tmp_path / "bad.yaml", tmp_path / "good.yaml"
    bad.write_text("serivce: {}\n")
    good.write_text("name: good\n")
    answer = await benchctl("submit", "--json", str(bad), str(good))
    document = json.loads(answer.out)
    mistake = {
        "file": str(bad),
        "line": 2,
        "column": 1,
        "path": "serivce",
        "what": "unknown key; did you mean service?",
    }
    assert (4, "benchd.refusal/1", [mistake], ["newrun2345"], 1) == (
        answer.status,
        document["schema"],
        document["mistakes"],
        document["runs"],
        answer.err.count(f"{bad}:2:1"),
    )


@pytest.mark.asyncio
async def test_lists_stand_under_their_plural(benchctl: Ctl) -> None:
    """Services and clients are lists of their own name, each with its own kind of job only."""
    answers = [json.loads((await benchctl(word, "--json")).out) for word in ("services", "clients")]
    tokens = [
        [job["token"] for job in answer[word]]
        for word, answer in zip(("services", "clients"), answers, strict=True)
    ]
    assert [[SERVICE.token], [CLIENT.token]] == tokens


@pytest.mark.asyncio
async def test_benchstat_reads_a_run(benchctl: Ctl) -> None:
    """Each number of a valid repeat is a line of Go's benchmarks, below the run it is of."""
    said = (await benchctl("results", "--benchstat")).out.splitlines()
    assert (said[0], said[1]) == (f"run: {RUN_ID}", "BenchmarkReqS/pipeline=16 1 1000 1/s")


@pytest.mark.asyncio
async def test_csv_has_every_number(benchctl: Ctl) -> None:
    """Each number is a line that a spreadsheet reads: what was measured, and what was counted."""
    rows = list(csv.DictReader(io.StringIO((await benchctl("results", "--csv")).out)))
    values = {(r["metric"], r["statistic"]): float(r["value"]) for r in rows}
    told = ("req_s", "value"), ("latency_service", "p99"), ("counts", "ok")
    assert (rows[0]["point"], [values[each] for each in told]) == (
        "pipeline=16",
        [1000.0, 9.0, 10.0],
    )


@pytest.mark.asyncio
async def test_csv_has_the_steps_of_a_load(house: House, benchctl: Ctl) -> None:
    """Numbers of a step stand in lines that name it, beside those of the whole."""
    step = {"step": 3, "kind": "rate", "offered_rate": 40.0, "good": True}
    steps = [{**step, "metrics": {"req_s": value(39.5)}}]
    made = result(CLIENT, workload={"saturation": {"steps": steps}})
    house.reads.documents[RUN_ID] = [made.document()]
    rows = list(csv.DictReader(io.StringIO((await benchctl("results", "--csv")).out)))
    told = [(r["metric"], r["statistic"], r["value"], r["step_kind"]) for r in rows if r["step"]]
    assert (told, {r["value"] for r in rows if r["metric"] == "req_s"}) == (
        [
            ("step", "offered_rate", "40.0", "rate"),
            ("step", "good", "1", "rate"),
            ("req_s", "value", "39.5", "rate"),
        ],
        {"39.5", "1000.0"},
    )


@pytest.mark.asyncio
async def test_the_knee_is_shown_beside_an_equal_rate(house: House, benchctl: Ctl) -> None:
    """That the knee is the highest good rate, too, is a finding and no repetition."""
    rates = {name: value(80.0) for name in ("peak_rate", "knee_rate")}
    house.reads.documents[RUN_ID] = [result(CLIENT, metrics=rates).document()]
    assert "KNEE [1/S]" in (await benchctl("results")).out


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (RunOutcome.FAILED, "is FAILED without any result: no node has this much: see benchctl"),
        (None, "no results yet: run "),
    ],
)
async def test_a_run_without_results_says_why(
    house: House, benchctl: Ctl, outcome: RunOutcome | None, said: str
) -> None:
    """Of a run that is over nothing is awaited."""
    house.reads.documents[RUN_ID] = []
    why = "no node has this much" if outcome else None
    house.reads.run_rows = [replace(r, outcome=outcome, why=why) for r in house.reads.run_rows]
    answer = await benchctl("results", RUN_ID)
    assert (answer.status, said in answer.out) == (1, True), answer.out


@pytest.mark.asyncio
@pytest.mark.parametrize(("name", "begin"), [("r.html", "<!doctype html>"), ("r.md", "# web")])
async def test_report_writes_a_file(benchctl: Ctl, tmp_path: Path, name: str, begin: str) -> None:
    """The form follows from the file's name, and its path is printed."""
    path = tmp_path / name
    answer = await benchctl("report", RUN_ID[:4], "-o", str(path))
    assert (answer, path.read_text().startswith(begin)) == (Answer(0, f"{path}\n", ""), True)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("words", "expected"),
    [([], "".join(f"line {i}\n" for i in range(9))), (["--tail", "2"], "line 7\nline 8\n")],
)
async def test_logs_print_what_the_job_said(
    house: House, benchctl: Ctl, words: list[str], expected: str
) -> None:
    """All of it, or only its end."""
    text = "".join(f"line {i}\n" for i in range(9))
    house.control.logs[SERVICE.token, "err"] = text.encode()
    assert await benchctl("logs", "17", "--stderr", *words) == Answer(0, expected, "")


@pytest.mark.asyncio
async def test_logs_of_a_silent_job_say_why(benchctl: Ctl) -> None:
    """A job without output costs status 0 and one sentence on stderr."""
    answer = await benchctl("logs", CLIENT.token)
    assert (0, "", 1, True) == (
        answer.status,
        answer.out,
        answer.err.count("\n"),
        "is not submitted yet: its service has to answer first" in answer.err,
    )


@pytest.mark.asyncio
async def test_following_ends_with_the_job(
    house: House, benchctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A followed log goes on while the job lives and ends when all is read after its end."""
    monkeypatch.setattr(follow, "LOG_LOOK", 0.01)
    house.control.logs[SERVICE.token, "out"] = b"one\ntwo\n"
    reading = asyncio.create_task(benchctl("logs", "17", "-f", "--tail", "1"))
    await asyncio.sleep(0)
    house.control.logs[SERVICE.token, "out"] += b"three\n"
    house.reads.job_rows[0] = replace(SERVICE, state=JobState.FAILED)
    async with asyncio.timeout(10):
        answer = await reading
    assert (answer.status, answer.out.endswith("three\n")) == (0, True)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("outcome", "status"), [(RunOutcome.PASSED, 0), (RunOutcome.FAILED, 1), (RunOutcome.INVALID, 1)]
)
async def test_watch_ends_with_the_runs_outcome(
    house: House, benchctl: Ctl, outcome: RunOutcome, status: int
) -> None:
    """Watching ends when the run is over; its outcome is the exit status."""
    house.reads.run_rows[0] = run(outcome=outcome, finished_at=CREATED_AT + 9)
    answer = await benchctl("watch")
    assert (answer.status, f"{RUN_ID}  {outcome}, 0 of 1" in answer.out) == (status, True)


@pytest.mark.asyncio
async def test_watch_prints_a_line_for_each_change(
    house: House, benchctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Away from a terminal each change is one line, and what stays is not repeated."""
    monkeypatch.setattr(follow, "LOOK", 0.01)
    watching = asyncio.create_task(benchctl("watch", RUN_ID))
    await asyncio.sleep(0)
    house.reads.job_rows[1] = replace(CLIENT, state=JobState.COMPLETED)
    house.reads.run_rows[0] = run(outcome=RunOutcome.PASSED, finished_at=CREATED_AT + 9)
    lines = (await watching).out.splitlines()
    assert (len(lines), len(set(lines)), "COMPLETED" in "".join(lines)) == (
        len(set(lines)),
        len(lines),
        True,
    )


def test_watch_gives_up_on_a_daemon_that_stays_away(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that answered once is waited for a minute, which is said once; then status 3."""
    clock = [0.0]
    answers = [{"outcome": None, "phase": "ready", "job_list": [], "why": None, "id": RUN_ID}]
    answers[0]["measurements"] = {"done": 0, "total": 1}

    def get(_daemon: Daemon, _path: str) -> dict[str, object]:
        clock[0] += 0.5
        if answers:
            return answers.pop()
        raise Stop("cannot reach benchd", NO_DAEMON)

    monkeypatch.setattr(Daemon, "get", get)
    still = SimpleNamespace(sleep=lambda _: None, monotonic=lambda: clock[0])
    monkeypatch.setattr(follow, "time", still)
    status = ctl.main(["watch", RUN_ID])
    err = capsys.readouterr().err
    assert (3, 1, True) == (status, err.count(follow.AWAY), 60 <= clock[0] < 65), err


def test_without_a_daemon_both_ways_to_one_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nothing answers, it says how to start one and how to name one that runs."""
    status = ctl.main(["--socket", str(tmp_path / "none.sock"), "status"])
    said = capsys.readouterr().err
    named = [word in said for word in ("`benchd run`", "--socket PATH", "$BENCHD_SOCKET")]
    assert (status, named) == (NO_DAEMON, [True] * 3), said


def test_ids_are_as_short_as_they_can_be() -> None:
    """An id is cut where no other one begins the same, but for its own older attempts."""
    ids = ["k5-s-db-p0r0-0-a1", "k5-c-load-p0r0-0-a1", "k5-c-load-p0r1-0-a1", "k5-c-load-p0r1-0-a2"]
    assert ["k5-s-db", "k5-c-load-p0r0", ids[2], "k5-c-load-p0r1"] == list(short_ids(ids).values())


def test_benchctl_starts_light() -> None:
    """Nothing heavy is imported for a command: that is what keeps it under a tenth of a second."""
    code = (
        "import sys; from benchd.cli import ctl; ctl.parser(); "
        "print(sorted({m.split('.')[0] for m in sys.modules} | "
        "{m for m in sys.modules if m.startswith('benchd.')}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    loaded = set(done.stdout.strip("[]\n").replace("'", "").split(", "))
    heavy = {"aiohttp", "pydantic", "rich", "asyncio", "asyncssh", "yaml", "structlog"}
    ours = {"benchd.engine", "benchd.edge", "benchd.api", "benchd.app", "benchd.core.model"}
    assert loaded & (heavy | ours) == set()


def test_one_is_not_many() -> None:
    """A number of things is written as people say it."""
    assert ["0 jobs", "1 job", "2 jobs"] == [count(number, "job") for number in range(3)]
