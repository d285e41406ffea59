"""What each route answers, over a real Unix socket."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from benchd.core import report
from benchd.core.model import Evidence, JobState, Transition
from benchd.core.reported import Report
from benchd.errors import NeedsHuman, StoreFull
from support.builders import CREATED_AT, RUN_ID, client, run, service
from support.documents import result
from support.house import REFUSAL, House

pytestmark = pytest.mark.asyncio
SERVICE = service(state=JobState.RUNNING, slurm_id="17")
CLIENT = client()


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """Open a house with one run: a service and a client."""
    made = House(tmp_path / "run" / "control.sock")
    made.reads.run_rows.append(run())
    made.reads.job_rows += [SERVICE, CLIENT]
    made.reads.documents[RUN_ID] = [result(CLIENT).document()]
    made.reads.history[SERVICE.token] = [
        Transition(
            token=SERVICE.token,
            at=CREATED_AT + 1,
            trigger="submit_accepted",
            old="CREATED",
            new="SUBMITTED",
            evidence=Evidence(source="sbatch", exit_status=0, raw="17"),
        )
    ]
    async with made.open():
        yield made


async def ask(house: House, method: str, path: str, **options: Any) -> tuple[int, dict[str, Any]]:
    """Return the status and the JSON of one answer."""
    connector = aiohttp.UnixConnector(str(house.path))
    async with (
        aiohttp.ClientSession("http://benchd", connector=connector) as session,
        session.request(method, path, **options) as response,
    ):
        return response.status, json.loads(await response.read())


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        ("/healthz", "benchd.health/1"),
        ("/v1/status", "benchd.status/1"),
        ("/v1/runs", "benchd.runs/1"),
        (f"/v1/runs/{RUN_ID}", "benchd.run/1"),
        ("/v1/jobs", "benchd.jobs/1"),
        (f"/v1/jobs/{CLIENT.token}", "benchd.job/1"),
        (f"/v1/jobs/{CLIENT.token}/why", "benchd.why/1"),
        (f"/v1/jobs/{CLIENT.token}/logs", "benchd.log/1"),
        ("/v1/results", "benchd.results/1"),
        ("/v1/clusters", "benchd.clusters/1"),
        (f"/v1/things/{RUN_ID}", "benchd.run/1"),
        (f"/v1/things/{CLIENT.token}", "benchd.job/1"),
    ],
)
async def test_every_answer_names_its_schema(house: House, path: str, schema: str) -> None:
    """Each route answers 200 with the schema that scripts rely on."""
    status, answer = await ask(house, "GET", path)
    assert (status, answer["schema"]) == (200, schema)


async def test_status_counts_jobs_by_state(house: House) -> None:
    """The status holds the daemon's word and the store's counts."""
    _, answer = await ask(house, "GET", "/v1/status")
    counts = {state: number for state, number in answer["jobs"].items() if number}
    assert (counts, answer["daemon"]["clusters"][0]["name"]) == (
        {"CREATED": 1, "RUNNING": 1},
        "alpha",
    )


async def test_jobs_are_filtered(house: House) -> None:
    """State and role narrow the list."""
    _, by_state = await ask(house, "GET", "/v1/jobs?state=running")
    _, by_role = await ask(house, "GET", f"/v1/jobs?role=client&run={RUN_ID}")
    tokens = [[job["token"] for job in answer["jobs"]] for answer in (by_state, by_role)]
    assert tokens == [[SERVICE.token], [CLIENT.token]]


async def test_why_tells_the_story_with_evidence(house: House) -> None:
    """The chain of transitions comes in sentences and as data, with what is awaited."""
    _, answer = await ask(house, "GET", f"/v1/jobs/{SERVICE.token}/why")
    assert (answer["transitions"][0]["evidence"]["raw"], answer["sentences"][1]) == (
        "17",
        "Now: its service has to answer first.",
    )


async def test_a_log_comes_in_pieces(house: House) -> None:
    """Each piece says where the next one starts, never inside of a character."""
    house.control.logs[SERVICE.token, "out"] = "ab€cd".encode()
    path = f"/v1/jobs/{SERVICE.token}/logs"
    pieces, offset = [], 0
    while True:
        _, piece = await ask(house, "GET", f"{path}?limit=4&offset={offset}")
        if not piece["text"]:
            break
        pieces.append(piece["text"])
        offset = piece["next_offset"]
    assert (pieces, piece["over"]) == (["ab", "€c", "d"], False)


async def test_silence_comes_with_its_reason(house: House) -> None:
    """A piece without text says why there is none, and where the files of a collected job are."""
    house.reads.job_rows[1] = replace(
        CLIENT, state=JobState.FAILED, slurm_id="18", collected_at=CREATED_AT
    )
    _, piece = await ask(house, "GET", f"/v1/jobs/{CLIENT.token}/logs?stream=err")
    assert piece["note"].endswith(f"is in /var/lib/benchd/runs/{RUN_ID}/raw/{CLIENT.token}")
    assert "nothing to stderr" in piece["note"]


async def test_results_come_by_point_then_repeat(house: House) -> None:
    """Results arrive as they end; they are listed as the recipe has them."""
    jobs = [client(point=p, repeat=r) for r in (1, 0) for p in (1, 0)]
    house.reads.job_rows += jobs
    house.reads.documents[RUN_ID] = [result(job).document() for job in jobs]
    _, answer = await ask(house, "GET", f"/v1/results?run={RUN_ID}")
    tokens = [document["job"] for document in answer["results"]]
    assert [jobs[i].token for i in (3, 1, 2, 0)] == tokens


async def test_status_counts_rejected_recipes(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused recipes are counted without the files that say why, and their folder is named."""
    folder = tmp_path / "inbox" / "rejected"
    folder.mkdir(parents=True)
    for name in ("a.yaml", "a.yaml.error.txt", "b.yaml", "b.yaml.error.txt"):
        (folder / name).touch()
    known = house.control.status()
    monkeypatch.setattr(
        type(house.control), "status", lambda _: {**known, "inbox": str(folder.parent)}
    )
    _, answer = await ask(house, "GET", "/v1/status")
    assert {"count": 2, "folder": str(folder)} == answer["daemon"]["rejected"]


async def test_a_failed_run_quotes_its_last_words(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last line that a failed job wrote to stderr is in the run and in its report."""
    failed = replace(CLIENT, state=JobState.FAILED, why="FAILED", exit_code=127)
    house.reads.job_rows[1] = failed
    logs = tmp_path / "runs" / RUN_ID / "logs"
    logs.mkdir(parents=True)
    (logs / f"{failed.token}.err").write_text("starting\n\x1b[31mexec: nosuch: not found\n\n")
    known = house.control.status()
    monkeypatch.setattr(
        type(house.control), "status", lambda _: {**known, "state_dir": str(tmp_path)}
    )
    _, answer = await ask(house, "GET", f"/v1/runs/{RUN_ID}")
    connector = aiohttp.UnixConnector(str(house.path))
    async with (
        aiohttp.ClientSession("http://benchd", connector=connector) as session,
        session.get(f"/v1/runs/{RUN_ID}/report?format=markdown") as response,
    ):
        text = await response.text()
    said = answer["last_words"][failed.token]
    assert ("[31mexec: nosuch: not found", True) == (said, "exec: nosuch: not found" in text)


async def test_a_recipe_is_taken_as_it_is(house: House) -> None:
    """The body is the recipe; name and overrides stand in the query; no path gets through."""
    status, answer = await ask(
        house, "POST", "/v1/runs?name=../../web.yaml&set=repeat=3", data=b"name: web\n"
    )
    assert (status, answer["runs"], house.control.wishes) == (
        201,
        ["newrun2345"],
        [("submit", "web.yaml", "name: web\n", "{'repeat': '3'}"), ("wake",)],
    )


async def test_a_recipe_may_come_as_json(house: House) -> None:
    """Programs that speak JSON send name, recipe and set."""
    body = {"name": "web.yaml", "recipe": "name: web\n", "set": {"repeat": "3"}}
    status, _ = await ask(house, "POST", "/v1/runs", json=body)
    assert (status, house.control.wishes[0]) == (
        201,
        ("submit", "web.yaml", "name: web\n", "{'repeat': '3'}"),
    )


async def test_a_bad_recipe_is_answered_with_every_mistake(house: House) -> None:
    """Mistakes come with line, column and path, ready for an editor."""
    status, answer = await ask(house, "POST", "/v1/runs?name=web.yaml", data=b"serivce: {}\n")
    assert (status, answer["error"]["mistakes"]) == (
        422,
        [
            {
                "line": 2,
                "column": 1,
                "path": "serivce",
                "what": "unknown key; did you mean service?",
            }
        ],
    )


@pytest.mark.parametrize(
    ("method", "path", "body", "wish"),
    [
        ("POST", f"/v1/runs/{RUN_ID[:4]}/cancel", None, ("cancel", RUN_ID)),
        ("POST", f"/v1/jobs/{SERVICE.token}/cancel", None, ("cancel", SERVICE.token)),
        ("POST", f"/v1/things/{RUN_ID}/retry", None, ("retry", RUN_ID)),
        ("POST", "/v1/cancel", {"all": True}, ("cancel_all",)),
        ("POST", "/v1/clusters/alpha/pause", None, ("pause", "alpha")),
        ("POST", "/v1/clusters/alpha/resume", {"take_over": True}, ("resume", "alpha", "True")),
        ("POST", "/v1/clusters/alpha/resume", None, ("resume", "alpha", "False")),
    ],
)
async def test_wishes_reach_the_daemon(
    house: House, method: str, path: str, body: object, wish: tuple[str, ...]
) -> None:
    """Each acting route hands its full target to the daemon, and is written down."""
    status, _ = await ask(house, method, path, json=body)
    assert (status < 300, house.control.wishes[0], house.reads.notes[0][1:]) == (
        True,
        wish,
        (f"POST {path}", True),
    )


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("GET", "/v1/jobs/nothing", None, (404, "there is no job 'nothing'")),
        ("GET", f"/v1/runs/{RUN_ID[:-1]}x", None, (404, f"did you mean {RUN_ID}?")),
        ("GET", f"/v1/jobs/{RUN_ID}", None, (409, "is a run of 2 jobs")),
        ("GET", "/v1/jobs?state=LOST", None, (400, "there is no state 'LOST'")),
        ("GET", f"/v1/jobs/{CLIENT.token}/logs?offset=-1", None, (400, "not a whole number")),
        ("GET", f"/v1/jobs/{CLIENT.token}/logs?stream=x", None, (400, "unknown stream")),
        ("GET", f"/v1/runs/{RUN_ID}/report?format=pdf", None, (400, "unknown format")),
        ("GET", "/v2/status", None, (404, "no such route")),
        ("DELETE", "/v1/runs", None, (405, "Method Not Allowed")),
        ("POST", "/v1/cancel", b"{}", (400, "must be said")),
        ("POST", "/v1/cancel", b"{", (400, "not JSON")),
        ("POST", "/v1/cancel", b"[" * 100_000, (400, "not JSON")),
        ("POST", "/v1/runs", b"name: x", (400, "no name")),
        ("POST", "/v1/runs?name=a&set=b", b"name: x", (400, "as an assignment")),
        ("POST", "/v1/runs?name=a", b"x" * 300_000, (413, "too large")),
        ("POST", "/v1/clusters/beta/pause", None, (404, "there is no cluster 'beta'")),
        ("POST", "/v1/drain", b"{}", (400, "on must be true or false")),
        ("POST", "/v1/reap", b'{"cluster": 1}', (400, "cluster must be a name")),
        ("POST", "/v1/gc", b'{"older_than": "soon"}', (400, "not a duration")),
        ("POST", "/v1/gc", b'{"older_than": -1}', (400, "is no duration")),
        ("POST", "/v1/clusters/alpha/adopt", b'{"slurm_id": "1;ls"}', (400, "no Slurm job id")),
    ],
)
async def test_a_mistake_is_answered_with_what_to_do(
    house: House, method: str, path: str, body: bytes | None, expected: tuple[int, str]
) -> None:
    """Each mistake gets its status, says what happened with the value, and how to go on."""
    status, words = expected
    got, answer = await ask(house, method, path, data=body)
    error = answer["error"]
    said = f"{error['what']}: {error['fix']}"
    assert (got, words in said, bool(error["fix"])) == (status, True, True), said


@pytest.mark.parametrize(
    ("trouble", "status"),
    [(REFUSAL, 409), (NeedsHuman("the key was refused"), 502), (StoreFull("no room"), 507)],
)
async def test_trouble_is_told_apart(house: House, trouble: Any, status: int) -> None:
    """What the daemon raises becomes a status by what the caller should do, and is noted."""
    house.control.trouble = trouble
    got, answer = await ask(house, "POST", f"/v1/runs/{RUN_ID}/retry")
    assert (got, answer["error"]["what"], house.reads.notes[0][2]) == (
        status,
        str(trouble),
        False,
    )


async def test_our_own_mistake_shows_no_traceback(house: House) -> None:
    """An unexpected error is one sentence, and the next request is answered."""
    house.reads.documents[RUN_ID] = ["not json"]
    status, answer = await ask(house, "GET", "/v1/results")
    after, _ = await ask(house, "GET", "/v1/status")
    assert (status, answer["error"]["what"], after) == (500, "benchd made a mistake", 200)


async def test_health_follows_the_disk(house: House) -> None:
    """A daemon that cannot write its state is not healthy."""
    house.control.writable = False
    assert await ask(house, "GET", "/healthz") == (
        503,
        {"schema": "benchd.health/1", "ok": False},
    )


@pytest.mark.parametrize(
    ("form", "kind", "begin"),
    [("html", "text/html", "<!doctype html>"), ("markdown", "text/markdown", "# web")],
)
async def test_a_report_is_made_on_demand(
    house: House, form: str, kind: str, begin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run has a report in both forms while it is still going on, made beside the event loop."""
    made_by: list[threading.Thread] = []

    def build(*args: Any, **more: Any) -> Report:
        made_by.append(threading.current_thread())
        return report.build(*args, **more)

    monkeypatch.setattr("benchd.api.routes.build", build)
    connector = aiohttp.UnixConnector(str(house.path))
    async with (
        aiohttp.ClientSession("http://benchd", connector=connector) as session,
        session.get(f"/v1/runs/{RUN_ID}/report?format={form}") as response,
    ):
        text = await response.text()
        assert (response.content_type, text.startswith(begin)) == (kind, True)
    assert threading.current_thread() not in made_by
    assert len(made_by) == 1
