"""The flags of results: each one that the code can set is described, and no other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

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
    return tuple(_made())


def _made() -> Iterator[tuple[str, str, str | None]]:
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
            yield path.name, code, "error" if name == "nothing" else severity


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
