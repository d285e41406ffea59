"""The report as a page and as Markdown."""

# ruff: noqa: D102 - HTMLParser says what its methods are

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from benchd.core.headline import cell_text, columns, figure, rough, span
from benchd.core.html import render_html
from benchd.core.markdown import render_markdown
from benchd.core.markup import join, tag, text
from benchd.core.model import Evidence, JobState, RunOutcome, Transition
from benchd.core.page import coded
from benchd.core.report import build
from benchd.core.reported import Report, Spread
from benchd.core.svg import Scale, bars, shortened, ticks, time_ticks
from support.builders import CREATED_AT, client, run, service
from support.documents import result, spread, value

HOSTILE = "</title></style></pre><script>alert(1)</script><img src=//evil onerror=x>\"'&`|\x1b[2J"
NOW = CREATED_AT + 60


def hostile_report() -> Report:
    """Return a report in which everything that others write is an attack."""
    bad = service(state=JobState.FAILED, why="FAILED", detail=HOSTILE, nodes=HOSTILE)
    job = client(state=JobState.COMPLETED, cell={"client.parameters.model": HOSTILE})
    flags = ({"code": HOSTILE, "severity": "warn", "detail": HOSTILE},)
    measured = result(
        job,
        flags=flags,
        metrics={HOSTILE: value(1.0, unit=HOSTILE), "tpot": spread(1.0, p99=2.0)},
        provenance={"service": {HOSTILE: HOSTILE}},
    )
    move = Transition(
        token=bad.token,
        at=NOW,
        trigger=HOSTILE,
        old=HOSTILE,
        new=HOSTILE,
        evidence=Evidence(source=HOSTILE, raw=HOSTILE),
    )
    broken = run(
        name=HOSTILE,
        cluster=HOSTILE,
        recipe=HOSTILE,
        recipe_path=HOSTILE,
        finished_at=NOW,
        outcome=RunOutcome.FAILED,
        why=HOSTILE,
    )
    return build(broken, [bad, job], [measured], {bad.token: [move]}, now=NOW)


class Elements(HTMLParser):
    """Collects the elements and attributes of a page, and whether they are nested well."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_nothing_that_others_wrote_becomes_markup() -> None:
    """Recipe, flags, evidence, names and nodes are text on the page, never elements."""
    page = Elements()
    page.feed(render_html(hostile_report()))
    handlers = {name for name in page.attributes if name.startswith("on")}
    assert (page.names & {"script", "img", "link", "iframe"}, handlers, page.open) == (
        set(),
        set(),
        [],
    )


def test_the_page_loads_nothing() -> None:
    """The page refers to nothing outside itself and forbids it to be loaded."""
    text_ = render_html(hostile_report())
    page = Elements()
    page.feed(text_)
    style = text_[text_.index("<style>") : text_.index("</style>")]
    assert (
        page.attributes & {"src", "href", "xlink:href", "srcset", "action", "style"},
        "url(" in style or "@import" in style,
        "default-src &#x27;none&#x27;" in text_,
        "\x1b" in text_,
    ) == (set(), False, True, False)


def test_markdown_shows_what_others_wrote_as_it_is() -> None:
    """Table cells stay one line, and the recipe cannot end its own fence."""
    text_ = render_markdown(hostile_report())
    rows = [line for line in text_.splitlines() if line.startswith("| ")]
    cells = {len(re.findall(r"(?<!\\)\|", row)) for row in rows if "redis" in row}
    assert (cells, "\n<script>" in text_, "\x1b" in text_.split("```")[0]) == ({8}, False, False)


def test_the_outcome_and_the_warnings_stand_before_the_numbers() -> None:
    """A reader meets the outcome, then what is wrong, then the numbers, then the jobs."""
    job = client(state=JobState.COMPLETED)
    flags = ({"code": "client_cpu", "severity": "warn", "detail": "the client was busy"},)
    passed = run(finished_at=NOW, outcome=RunOutcome.PASSED)
    page = render_html(build(passed, [job], [result(job, flags=flags)], {}, now=NOW))
    page = page[page.index("<body") :]
    places = [page.index(word) for word in ("PASSED", "client cpu", "Results", "Timeline", "Jobs")]
    assert places == sorted(places)


def test_an_empty_run_still_gives_a_page() -> None:
    """A run that failed before it measured anything has a report without numbers."""
    report = build(run(), [service()], [], {}, now=NOW)
    assert ("<h2>Results" in render_html(report), "## Results" in render_markdown(report)) == (
        False,
        False,
    )


def test_charts_are_well_formed() -> None:
    """A chart is XML with a name for those who cannot see it."""
    rows = [("a<b", Spread(median=2.0, low=1.0, high=3.0, samples=(1.0, 3.0))), ("none", EMPTY)]
    chart = ET.fromstring(bars(rows, title="Requests", unit="1/s"))
    texts = ["".join(node.itertext()) for node in chart.iter("text")]
    assert (chart.get("aria-label"), "a<b" in texts, "no valid result" in texts) == (
        "Requests",
        True,
        True,
    )


EMPTY = Spread(median=None, low=None, high=None, samples=())


@pytest.mark.parametrize(
    ("top", "expected"),
    [(10.0, [0, 2, 4, 6, 8, 10]), (0.7, [0, 0.2, 0.4, 0.6]), (3.0, [0, 1, 2, 3])],
)
def test_ticks_are_round(top: float, expected: list[float]) -> None:
    """An axis is marked at round values."""
    assert ticks(top, 5) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("seconds", "last"), [(26.0, 25.0), (900.0, 840.0), (7200.0, 7200.0), (9e6, 8985600.0)]
)
def test_time_is_marked_as_people_count_it(seconds: float, last: float) -> None:
    """Moments are whole seconds, minutes or hours, and never more than nine."""
    found = time_ticks(seconds)
    assert (found[-1] <= seconds, len(found) <= 9, found[0]) == (True, True, 0.0)
    assert found[-1] == pytest.approx(last, rel=0.15)


def test_a_short_name_still_tells_repeats_apart() -> None:
    """What does not fit is left out in the middle: the end of a name says which repeat it is."""
    names = [shortened(f"llm-load rate=150, output_tokens=16 #{n}", 20) for n in (1, 2)]
    assert names == ["llm-load rate…=16 #1", "llm-load rate…=16 #2"]


def test_what_one_writes_is_set_apart() -> None:
    """Words between backticks are code; a backtick alone is somebody else's."""
    assert [str(join(*coded(each))) for each in ("`repeat: 5` helps", "a ` b")] == [
        "<code>repeat: 5</code> helps",
        "a ` b",
    ]


def test_wide_ranges_get_a_logarithmic_scale() -> None:
    """Values over more than one and a half decades are set apart by their ratio."""
    scale = Scale([1.0, 100.0], 0, 200)
    assert (scale.is_log, Scale([1.0, 10.0], 0, 200).is_log) == (True, False)


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (None, "\N{EN DASH}"),
        (0.0, "0"),
        (3.0, "3"),
        (2.345, "2.35"),
        (0.0042, "0.004"),
        (0.00042, "0.00042"),
        (123.44, "123.4"),
        (1234567.8, "1 234 568"),
    ],
)
def test_numbers_have_four_digits_or_so(number: float | None, written: str) -> None:
    """Enough digits to tell values apart, none that pretend; a dash for what was not measured."""
    assert figure(number, " ") == written


@pytest.mark.parametrize(
    ("number", "written"), [(999.0, "999"), (135064.0, "135.1\u202fk"), (1178480.0, "1.178\u202fM")]
)
def test_large_numbers_fit_into_little_room(number: float, written: str) -> None:
    """A range below a number is short."""
    assert rough(number) == written


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (None, "\N{EN DASH}"),
        (4.0, "4 s"),
        (4.25, "4.2 s"),
        (185.0, "3 min 05 s"),
        (7800.0, "2 h 10 min"),
    ],
)
def test_durations_read_as_spoken(seconds: float | None, written: str) -> None:
    """Seconds, minutes and hours, as few as are needed."""
    assert span(seconds).replace("\N{NO-BREAK SPACE}", " ") == written


def test_columns_start_with_what_matters() -> None:
    """Throughput before latency, the median before the farthest percentile that is known."""
    document = {
        "metrics": {
            "tpot": spread(5.0, p90=6.0),
            "own": value(1.0),
            "req_s.get": value(2.0),
            "req_s": value(3.0),
        }
    }
    assert [(c.metric, c.statistic) for c in columns([document])] == [
        ("req_s", "value"),
        ("req_s.get", "value"),
        ("tpot", "p50"),
        ("tpot", "p90"),
        ("own", "value"),
    ]


def test_a_point_is_named_by_the_last_word_of_its_path() -> None:
    """The whole path appears only where the last words are the same."""
    assert (
        cell_text({"client.parameters.pipeline": 16}),
        cell_text({"client.parameters.n": 1, "service.parameters.n": 2}),
    ) == ("pipeline=16", "client.parameters.n=1, service.parameters.n=2")


def test_only_markup_passes_unescaped() -> None:
    """Plain text is escaped wherever it stands; hidden characters become visible."""
    assert tag("b", "<i>", text("\u202e"), title='"') == '<b title="&quot;">&lt;i&gt;\ufffd</b>'
