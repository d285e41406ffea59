"""The numbers of a report are those of the samples, reckoned again by somebody else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from benchd.core.model import RunOutcome
from support import recompute
from support.inside import Inside
from support.printed import NONE, Claim, claims
from support.reckoned import Truth, doubts, read

# Two axes, so that every chart of a sweep is drawn, and repeats enough for intervals. The objective
# is where hardly a request is: the sixth decimal of a sample must not decide.
RECIPE = """\
name: numbers
service:
  name: sim-llm
  resources: {cpus_per_task: 1, time: "00:05:00"}
  parameters: {ttft_ms: 4.0, tpot_ms: 1.0}
  health_check: {interval: 0.2s}
client:
  name: llm-load
  target_service: {name: sim-llm}
  resources: {cpus_per_task: 1, time: "00:05:00"}
  parameters:
    {load: poisson, rate: 160, slo: ttft_sched_ms<=30, output_tokens: 4, requests: 80, warmup: 2,
     record_chunks: true}
sweep: {client.parameters.rate: [160, 320], client.parameters.output_tokens: [2, 4]}
exclude: [{client.parameters.rate: 320, client.parameters.output_tokens: 2}]
repeat: 3
"""
LINES = 60  # of code that the independent script may have, without comments and docstrings


def altered(text: str) -> str:
    """Return another number than is written: far from it, as the ends of intervals are lenient."""
    return "1" if text == NONE else f"{100 * read(text)[0] + 1:.3f}"


@pytest.mark.asyncio
async def test_every_number_of_the_report_is_in_the_samples(inside: Inside) -> None:
    """Whatever the page of a real run prints is reckoned again or declared to be no measurement."""
    inside.drop(RECIPE)
    run = await inside.wait_run()
    # On a busy machine a repeat may be late, and then its numbers stand for nothing but themselves.
    assert run.outcome in {RunOutcome.PASSED, RunOutcome.INVALID}
    folder = inside.daemon.state_dir / "runs" / run.id
    said = claims((folder / "report.html").read_text())
    truth = Truth(folder, recompute.everything(folder))
    assert (doubts(said, truth), len(said) > 600) == ([], True)
    wrong = [Claim(claim.key, altered(claim.text)) for claim in said]
    assert [claim for claim in wrong if claim in truth] == []


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ("<p>Latency 17 ms</p>", []),  # explanations are declared
        ("<td>17</td>", [Claim(("not understood",), "17")]),
        ("<section><h2>New</h2><b>17</b></section>", [Claim(("not understood",), "17")]),
        (
            "<section><h2>New</h2><table><tr><th>Speed</th></tr><tr><td>17</td></tr></table></section>",
            [Claim(("not understood",), "17")],
        ),
        (
            "<li><b>client cpu</b><i class='reach'>93\u00a0% of a core; limit 80\u00a0%</i></li>",
            [
                Claim(("flags", "client_cpu", side, "%", end), number)
                for side, number in (("value", "93"), ("limit", "80"))
                for end in ("least", "most")
            ],
        ),
        ("<li><b>new</b><i class='reach'>17!</i></li>", [Claim(("not understood", "new"), "17!")]),
        (
            (
                "<section><h2>New</h2><figure><figcaption>Goodput</figcaption><circle class='sun'>"
                "<title>17</title></circle></figure></section>"
            ),
            [Claim(("not understood", "sun", "Goodput"), "17")],
        ),
    ],
)
def test_a_new_number_is_doubted(page: str, found: list[Claim]) -> None:
    """What stands on a page and is neither understood nor declared is not taken for granted."""
    assert found == claims(page)


def test_the_script_is_short_and_independent() -> None:
    """It has at most 60 lines of code and uses nothing but the standard library."""
    source = Path(recompute.__file__).read_text()
    tree = ast.parse(source)
    parts = [n for n in ast.walk(tree) if isinstance(n, ast.Module | ast.FunctionDef)]
    said = [part.body[0] for part in parts if ast.get_docstring(part)]
    words = {line for node in said for line in range(node.lineno, (node.end_lineno or 0) + 1)}
    code = [
        line
        for number, line in enumerate(source.splitlines(), 1)
        if number not in words and line.strip() and not line.strip().startswith("#")
    ]
    used = {line.split()[1] for line in code if line.startswith(("import ", "from "))}
    assert (used, len(code) <= LINES) == (
        {"gzip", "json", "bisect", "itertools", "math", "statistics"},
        True,
    )
