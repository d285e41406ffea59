"""The numbers of a report are those of the samples, reckoned again by somebody else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

import pytest

from benchd.core.model import RunOutcome
from support.inside import Inside
from support.recompute import everything

# The objective is where hardly a request is: the sixth decimal of a sample must not decide.
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
    {load: poisson, rate: 80, slo: ttft_sched_ms<=30, output_tokens: 4, requests: 130, warmup: 2}
sweep: {client.parameters.rate: [80, 160]}
repeat: 3
"""
NONE = "\N{EN DASH}"
# What the samples' six decimals and a sum of floats may move, in the unit of the number.
ROUNDING = 0.002
POOLED = 0.05  # of a percentile that is read from a histogram

Key = tuple[str, ...]


def words(html: str) -> list[str]:
    """Return the pieces of text of a part of a page."""
    return [unescape(piece) for piece in re.findall(r">([^<]+)", html)]


def tables(part: str) -> Iterator[tuple[list[str], list[list[list[str]]]]]:
    """Yield the tables of a part of a page: the first words of each head, and the rows."""
    for table in re.findall(r"<table>.*?</table>", part, re.DOTALL):
        head, *rows = re.findall(r"<tr.*?</tr>", table, re.DOTALL)
        cells = [re.findall(r"<td.*?</td>", row, re.DOTALL) for row in rows]
        heads = [words(cell)[0] for cell in re.findall(r"<th .*?</th>", head, re.DOTALL)]
        yield heads, [[words(cell) for cell in row] for row in cells]


def between(page: str, begin: str, end: str) -> str:
    return page[page.index(begin) : page.index(end, page.index(begin))]


def in_tables(page: str) -> Iterator[tuple[Key, str]]:
    """Yield every number of the summary and of the repeats with its place in the page."""
    summary, repeats = tables(between(page, "<h2>Results", "</section>"))
    for point, _valid, *cells in summary[1]:
        for name, cell in zip(summary[0][2:], cells, strict=True):
            yield (point[0], name), cell[0]
            for side, text in zip(
                ("low", "high"), " to ".join(cell[1:]).split(" to "), strict=False
            ):
                if text:
                    yield (point[0], name, side), text
    for point, repeat, _verdict, *cells in repeats[1]:
        for name, cell in zip(repeats[0][3:], cells, strict=True):
            yield (point[0], name, repeat[0]), cell[0]


def in_distributions(page: str) -> Iterator[tuple[Key, str]]:
    """Yield every number of the percentiles' charts and of the repeats put together."""
    for figure in between(page, "<h3>Percentiles", "<h3>All").split("<figure>")[1:]:
        title = words(figure)[0]
        for lane in figure.split('class="name"')[1:]:
            point = words(lane)[0]
            for q, value in re.findall(r"<title>p([\d.]+): (\S+) ms", lane):
                yield (point, f"{title} p{q}"), value
    (pooled,) = tables(between(page, "<h3>All repeats", "</section>"))
    for metric, point, _repeats, samples, *cells, singles in pooled[1]:
        yield (point[0], metric[0], "samples"), samples[0]
        for q, cell in zip(pooled[0][4:], cells, strict=False):
            yield (point[0], f"{metric[0]} {q}", "pooled"), cell[0]
        if singles[0] != NONE:
            for side, text in zip(("lowest", "highest"), singles[0].split(" to "), strict=False):
                yield (point[0], f"{metric[0]} p99", side), text


def is_written(text: str, value: float | None, share: float) -> bool:
    """Tell whether a number is written so: to half its last digit, or to a share of it."""
    shown = re.fullmatch(r"(-?[\d\u202f]+)(\.\d+)?[\u202f\xa0]?([kMs]?)", text)
    if value is None or shown is None:
        return value is None and text == NONE
    scale = {"k": 1e3, "M": 1e6}.get(shown[3], 1.0)
    number = float(shown[1].replace("\u202f", "") + (shown[2] or "")) * scale
    half = 0.5 * scale * 10.0 ** -len((shown[2] or ".")[1:])
    return abs(number - value) <= half + ROUNDING + (share + 1e-4) * abs(value)


@pytest.mark.asyncio
async def test_every_number_of_the_report_is_in_the_samples(inside: Inside) -> None:
    """Summary, repeats, distributions and pooled percentiles of a real run are found again."""
    inside.drop(RECIPE)
    run = await inside.wait_run()
    # On a busy machine a repeat may be late, and then its numbers stand for nothing but themselves.
    assert run.outcome in {RunOutcome.PASSED, RunOutcome.INVALID}
    folder = inside.daemon.state_dir / "runs" / run.id
    page, true = (folder / "report.html").read_text(), everything(folder)
    shown = [*in_tables(page), *in_distributions(page)]
    wrong = [
        (key, text, true.get(key, "not reckoned"))
        for key, text in shown
        if key not in true
        or not is_written(text, true[key], POOLED if key[-1] == "pooled" else 0.0)
    ]
    assert (wrong, len(shown) > 150) == ([], True)
