"""What cannot be measured, and results that are none: the run ends, and says why."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from benchd.api.why import explain
from benchd.core.model import Job, JobState, RunOutcome
from benchd.core.spec import Role
from support.inside import Inside

pytestmark = pytest.mark.asyncio

# A data set that is not there, and a tool that is not.
ABSENT = """\
name: absent
service:
  name: sim-llm
  resources: {cpus_per_task: 1, time: "00:05:00"}
  health_check: {type: http, endpoint: /health, interval: 0.2, timeout: 2}
clients:
  - name: prompts
    kind: llm-load
    target_service: {name: sim-llm}
    parameters: {dataset: /nowhere/prompts.jsonl, requests: 400}
    resources: {cpus_per_task: 1, time: "00:05:00"}
  - name: tool
    kind: guidellm
    target_service: {name: sim-llm}
    resources: {cpus_per_task: 1, time: "00:05:00"}
"""
# A client that writes over what its own job has noted of the node: half of a surrogate pair, which
# is no text that could be written.
SPOILT = """\
name: spoilt
client:
  name: spoiler
  kind: generic
  command: sh
  args: ["-c", 'echo "{\\"node\\": \\"\\ud800\\"}" >$BENCHD_RESULT_DIR/benchd-node.json']
  resources: {cpus_per_task: 1, time: "00:05:00"}
"""


async def told(inside: Inside, job: Job) -> str:
    """Return what `benchctl why` says of a job that is over."""
    words = inside.daemon.archive.last_words([job]).get(job.token, "")
    rows = await inside.daemon.store.transitions(job.token)
    document = await inside.daemon.store.result(job.token)
    said = explain(job, rows, inside.daemon.clock(), "", last_words=words, document=document)
    return "\n".join(said)


async def results(inside: Inside) -> dict[str, dict[str, Any]]:
    """Return the results by the names of their clients."""
    found = [json.loads(text) for text in await inside.daemon.store.results()]
    return {each["provenance"]["client"]["name"]: each for each in found}


async def test_what_is_absent_ends_its_job_with_one_sentence(inside: Inside) -> None:
    """What is not there is named by `benchctl why`, in the result, and in the run's own reason."""
    inside.drop(ABSENT)
    run = await inside.wait_run()
    assert (RunOutcome.FAILED, True) == (run.outcome, "No such file" in (run.why or "")), run.why
    clients = {j.name: j for j in (await inside.jobs()).values() if j.role is Role.CLIENT}
    assert {JobState.FAILED} == {job.state for job in clients.values()}
    for name, sentence in (
        ("prompts", "--dataset /nowhere/prompts.jsonl: No such file or directory"),
        ("tool", "guidellm"),
    ):
        assert sentence in (await told(inside, clients[name]))
        found = (await results(inside))[name]
        assert sentence in json.dumps(found["validity"]["flags"])
        started, ended = clients[name].started_at, clients[name].ended_at
        assert (ended or math.inf) - (started or 0.0) < 30


async def test_a_note_that_cannot_be_written_again_costs_only_its_result(inside: Inside) -> None:
    """It is invalid, with what is wrong; what came home is kept as it came, and the run ends."""
    inside.drop(SPOILT)
    run = await inside.wait_run()
    assert (RunOutcome.INVALID, "1 of 1 results are not valid: malformed") == (run.outcome, run.why)
    (found,) = (await results(inside)).values()
    (job,) = (await inside.jobs()).values()
    sentence = "Its result is not valid: malformed: it does not fit its own schema: "
    assert sentence in await told(inside, job)
    raw = inside.daemon.archive.folder(found["run"]) / "raw"
    assert [b"ud800" in path.read_bytes() for path in raw.rglob("benchd-node.json")] == [True]


async def test_a_report_that_cannot_be_made_costs_only_itself(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends, and its result is kept."""
    monkeypatch.delattr("benchd.closing.render_html")
    inside.drop(SPOILT.replace("command: sh", "command: 'true'"))
    run = await inside.wait_run()
    assert RunOutcome.PASSED is run.outcome
    folder = inside.daemon.archive.folder(run.id)
    assert ([], 1) == (list(folder.glob("report.*")), len(await results(inside)))
