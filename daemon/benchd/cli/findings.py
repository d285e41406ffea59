"""What the looks of ``benchd check`` found, and what is said of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table: ``ok``, ``warn`` or ``fail``; the detail says how to mend it."""

    verdict: str
    what: str
    detail: str


def summary(findings: Sequence[tuple[str, Finding]]) -> str:
    """Return the last line: how many failed, and every warning once more in a word."""
    failed = sum(finding.verdict == "fail" for _, finding in findings)
    warned = [f"{name} {f.what}".strip() for name, f in findings if f.verdict == "warn"]
    if not failed and not warned:
        return f"all is well: {len(findings)} looks, no failures, no warnings"
    said = f"{failed} of {len(findings)} failed" if failed else "no failures"
    if not warned:
        return said
    count = "1 warning" if len(warned) == 1 else f"{len(warned)} warnings"
    return f"{said}, {count}: {', '.join(warned)}"
