"""Results that were kept: sure to fit their schema, and read again whatever is there."""

from __future__ import annotations

import json

import pytest

from benchd.core.kept import reread, written
from benchd.core.model import Run
from benchd.core.numbers import Metric
from benchd.core.report import build
from benchd.core.results import Counts, Measured, Result, assemble
from support.builders import client, run


def made(**measured: object) -> Result:
    """Return the result of a client that did one thing."""
    counts = Counts(scheduled=1, issued=1, ok=1, errors=0, dropped=0, cancelled=0)
    return assemble(
        run=run(),
        job=client(exit_code=0),
        bindings=(),
        services=(),
        measured=Measured(counts=counts, **measured),  # type: ignore[arg-type] # test shorthand
        service_steady=True,
        cluster={},
        versions={},
        files={},
        now=1_700_000_000.0,
    )


def test_what_is_written_is_read_again() -> None:
    """A result survives being kept."""
    one = made(metrics={"x": Metric(formula="x/v1", unit="s", value=1.0)})
    assert reread(written(one), one.run) == one


def test_a_document_that_does_not_fit_is_not_written() -> None:
    """Whatever slipped past its own model is found when it is written."""
    metric = Metric.model_construct(formula="x/v1", unit=5, value=1.0)  # type: ignore[arg-type] # wrong on purpose
    with pytest.raises(ValueError, match="unit"), pytest.warns(UserWarning, match="Pydantic"):
        written(made(metrics={"x": metric}))


def changed(**over: object) -> str:
    """Return a kept document that was changed."""
    return json.dumps({**json.loads(made().document()), **over})


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (changed(of_a_later_version=1), "of_a_later_version: Extra inputs are not permitted"),
        (changed(metrics={"x": {"unit": "s"}}), "metrics.x.formula: Field required"),
        (changed(repeat="two", cell=[]), "cell: Input should be"),
        ("{", "Invalid JSON: EOF"),
        ("[]", "Input should be an object"),
    ],
)
def test_a_report_is_not_lost_with_one_result(document: str, said: str) -> None:
    """What is no result is told as an invalid one, with the reason, beside those that are."""
    of: Run = run()
    results = [reread(text, of.id) for text in (document, made().document())]
    (flag,) = results[0].validity.flags
    assert (flag.code, flag.severity, results[0].validity.valid) == ("malformed", "error", False)
    assert said in flag.detail
    report = build(of, [client()], results, {}, now=of.created_at)
    assert [code for row in report.rows for code in row.codes].count("malformed") == 1
