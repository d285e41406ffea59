"""What there is to say about a flag."""

from __future__ import annotations

from typing import NamedTuple

from benchd.core.numbers import Severity

# Written together for a flag that may be either: ERROR + WARN.
ERROR, WARN, INFO = (Severity.ERROR,), (Severity.WARN,), (Severity.INFO,)


class Doubt(NamedTuple):
    """One kind of flag: how bad, beyond what, what it means, what to do."""

    severities: tuple[Severity, ...]
    limit: str  # in words; empty where it is there or not
    says: str
    advice: str


def percent(share: float) -> str:
    """Return a share as it is written in a text."""
    return f"{100 * share:g} %"
