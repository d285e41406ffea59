"""The flags of results: each one that the code can set is described, and no other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from benchd.core.flagged import COUNTS, NO_QUANTITY, UNITS, advice, reach
from benchd.core.flags import FLAGS

PACKAGE = Path(__file__).parents[2] / "daemon" / "benchd"
# The functions by which flags are made, and those that are handed the code of one.
MAKERS = frozenset({"flag", "Flag", "nothing"})
HANDED = frozenset({"judged"})
HANDED_ON = frozenset({"numbers.py", "results.py", "counters.py"})


def _code(node: ast.expr) -> str | None:
    """Return a code as it is written, with `*` for what is filled in; None for a variable."""
    match node:
        case ast.Constant(value=str() as code):
            return code
        case ast.JoinedStr(values=[ast.Constant(value=str() as start), *_]):
            return f"{start}*"
    return None


@cache
def made() -> tuple[tuple[str, str, str | None], ...]:
    """Return file, code and severity (None: a variable) of every flag that is made in the code."""
    return tuple(each[:3] for each in _made())


def _made() -> Iterator[tuple[str, str, str | None, bool]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            keywords = {word.arg: word.value for word in node.keywords}
            if name not in MAKERS and not (name in HANDED and "code" in keywords):
                continue
            first = keywords.get("code", node.args[0] if node.args else None)
            second = keywords.get("severity", node.args[1] if len(node.args) > 1 else None)
            second = None if name in HANDED else second
            code = _code(first) if first is not None else None
            if code is None:
                assert path.name in HANDED_ON, f"{path.name} makes a flag of a variable"
                continue
            severity = second.attr.lower() if isinstance(second, ast.Attribute) else None
            yield path.name, code, "error" if name == "nothing" else severity, "value" in keywords


def test_every_flag_is_described_and_none_that_there_is_not() -> None:
    """Whoever meets a code finds what it means; the page has no code that nothing sets."""
    described = {code: doubt for section in FLAGS.values() for code, doubt in section.items()}
    assert len(described) == sum(map(len, FLAGS.values()))
    assert {code for _, code, _ in made()} == set(described)


def test_every_flag_has_a_severity_that_is_described() -> None:
    """What the page says of how bad a flag is holds wherever the code sets it."""
    described = {code: doubt for section in FLAGS.values() for code, doubt in section.items()}
    wrong = [
        (file, code, severity)
        for file, code, severity in made()
        if severity is not None and severity not in described[code].severities
    ]
    assert wrong == []


def test_every_number_of_a_flag_has_a_unit() -> None:
    """A value beside its limit says what it counts or measures; no unit is of a flag without."""
    numbers = {code for _, code, _, has_value in _made() if has_value}
    assert numbers - {*UNITS, *COUNTS, *NO_QUANTITY} == set()
    assert {*UNITS, *COUNTS} - {code for section in FLAGS.values() for code in section} == set()


@pytest.mark.parametrize(
    ("code", "values", "limits", "said"),
    [
        ("loop_lag_p99", [22.07], [5.0], "22.07\u00a0ms; limit 5\u00a0ms"),
        (
            "send_lag_p99",
            [0.5, 12.0],
            [0.003, 10.0],
            "0.500 to 12\u00a0ms; limit 0.003 to 10\u00a0ms",
        ),
        ("client_cpu", [0.91], [0.8], "91\u00a0% of a core; limit 80\u00a0%"),
        ("dropped", [3.0, None], [0.0, None], "3\u00a0arrivals; limit 0"),
        ("tool_error", [2.0], [0.0], "2; limit 0"),
        ("nobody_knows", [2.5], [], "2.50"),
        ("job_failed", [1.0], [0.0], ""),
        ("closed_loop", [None], [None], ""),
    ],
)
def test_a_flag_says_how_far_beyond_which_limit(
    code: str, values: list[float | None], limits: list[float | None], said: str
) -> None:
    """Several of one kind are told as a range, shares in percent, and what is no quantity not."""
    assert reach(code, values, limits) == said


def test_advice_is_found_and_leads_nowhere_else() -> None:
    """What to do is told without the links of the documentation, and of a family by its start."""
    assert ["let it write JSON into its directory: see own commands", "as it says", ""] == [
        advice(code) for code in ("no_metrics", "client_slow", "nobody_knows")
    ]
