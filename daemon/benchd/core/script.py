"""A job's spec and its kind's payload -> the text of the batch script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Sh:
    """A piece of shell, put into the script verbatim: written by catalogue code, never by users."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What a kind wants to run. ``str`` arguments are quoted, ``Sh`` arguments are shell."""

    argv: tuple[str | Sh, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)  # relative name -> text, below JOB
    ship: tuple[str, ...] = ()  # zipapps it needs: "llm" is "$BENCHD_SHIP_LLM" in the script
    preamble: tuple[str, ...] = ()  # lines of shell that run before argv, on the host
