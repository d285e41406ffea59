"""What a kind wants to run: the words in which catalogue entries speak to the batch script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Sh:
    """A piece of shell, put into the script verbatim: written by catalogue code, never by users."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One more command of a job, in the job's container (unless ``on_host``) and environment."""

    argv: tuple[str | Sh, ...]  # ``str`` is quoted, ``Sh`` is shell
    on_host: bool = False
    stdin: Sh | None = None  # a command whose output is its standard input


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A program that runs beside the payload for as long as it does; its failure is only said."""

    name: str  # what it writes goes to beside-NAME.log in the job's directory
    argv: tuple[str | Sh, ...]
    port: int | None = None  # index in the job's ports, when it listens on one
    image: str | None = None  # path of an image of its own; None: on the host


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What a kind wants to run. ``str`` arguments are quoted, ``Sh`` arguments are shell.

    In this order: ``preamble``, ``before``, ``workers``, ``beside`` and ``once_up`` in the
    background, ``argv``, ``after``. What runs on several nodes starts in a shell of its own there:
    it knows the exported variables, and those of ``preamble`` only where they are exported.
    """

    argv: tuple[str | Sh, ...]
    environment: Mapping[str, str | Sh] = field(default_factory=dict)
    files: Mapping[str, str | Sh] = field(default_factory=dict)  # relative name -> text, below JOB
    binds: tuple[Sh, ...] = ()  # directories that its container sees where the host has them
    ship: tuple[str, ...] = ()  # zipapps it needs: "llm" is "$BENCHD_SHIP_LLM" in the script
    preamble: tuple[str, ...] = ()  # lines of shell that run before argv, on the host
    stdin: Sh | None = None  # a command whose output is the program's standard input
    before: tuple[Step, ...] = ()  # one after the other; the first that fails ends the job
    once_up: tuple[Step, ...] = ()  # when the first port takes connections; not found before that
    beside: tuple[Beside, ...] = ()
    after: tuple[str, ...] = ()  # lines of shell on the host; they do not change the status
    workers: Step | None = None  # on every other node; its failure ends the job
    each_node: bool = False  # argv is run once on every node, and not on the first alone
    # Programs, any of which it needs: where the node has one and its image none, it runs there.
    needs: tuple[str | Sh, ...] = ()
    version: tuple[str, ...] = ()  # says on its first line which version it is; beside the program
