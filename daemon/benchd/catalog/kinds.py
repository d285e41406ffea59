"""What a kind is: the few facts and pure functions that make a service or client usable by name."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Literal

from benchd.core.payload import Payload, Sh
from benchd.core.results import Measured
from benchd.core.runtimes import quoted
from benchd.core.scraping import Watch
from benchd.core.spec import Client, HealthCheck, JobSpec, Part, Secret, Service
from benchd.fields import Scalar

# Where in a part of a recipe something is wrong (keys and indexes, relative to it), and what.
Complaint = tuple[tuple[str | int, ...], str]

# The variables a user may write in ``command`` and ``args``. They are set by the batch script or
# by Slurm; anything else stays literal text.
_VARIABLE = re.compile(
    r"\$(?:\{(?P<braced>[A-Za-z_][A-Za-z0-9_]*)\}|(?P<bare>[A-Za-z_][A-Za-z0-9_]*))"
)
_KNOWN_VARIABLE = re.compile(r"(?:BENCHD|SLURM)_[A-Z0-9_]+|HOME|USER|TMPDIR|SCRATCH|JOB")
# What recipes of other projects call the service that is measured -> what the script calls it.
_ALIASES = {
    "TARGET_SERVICE_HOST": "BENCHD_TARGET_HOST",
    "TARGET_SERVICE_PORT": "BENCHD_TARGET_PORT",
    "TARGET_ENDPOINT": "BENCHD_TARGET_URL",
}
# Said for every kind of client: for how long its job waits for the service to answer.
WAIT = "wait_for_service"
_LONGEST_WAIT = 86_400  # seconds


def word(text: str) -> str | Sh:
    """Return one argument of a command, with the known variables left for the shell to fill in.

    Everything else is quoted, so that ``$(rm -rf /)`` is an argument and not a command.
    """
    pieces: list[str] = []
    end = 0
    for match in _VARIABLE.finditer(text):
        name = match["braced"] or match["bare"]
        name = _ALIASES.get(name, name)
        if not _KNOWN_VARIABLE.fullmatch(name):
            continue
        if match.start() > end:
            pieces.append(quoted(text[end : match.start()]))
        pieces.append(f'"${{{name}}}"')
        end = match.end()
    if not pieces:
        return text
    if end < len(text):
        pieces.append(quoted(text[end:]))
    return Sh("".join(pieces))


def program(spec: JobSpec, default: str) -> tuple[str | Sh, ...]:
    """Return the program of a job, the user's ``command`` split into words, or the kind's."""
    return tuple(word(w) for w in shlex.split(spec.command)) if spec.command else (default,)


def arguments(spec: JobSpec) -> tuple[str | Sh, ...]:
    """Return the user's ``args``."""
    return tuple(word(text) for text in spec.args)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One thing a user may set under ``parameters:``."""

    name: str
    type: Literal["int", "float", "str", "bool"]
    default: Scalar | None
    doc: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Scalar, ...] = ()
    pattern: str = ""

    def complaint(self, value: Scalar) -> str | None:
        """Return what is wrong with a value, with what would be right; None when it is fine."""
        wanted = {
            "int": "a whole number",
            "float": "a number",
            "str": "text",
            "bool": "true or false",
        }
        fits = {
            "int": isinstance(value, int) and not isinstance(value, bool),
            "float": isinstance(value, int | float) and not isinstance(value, bool),
            "str": isinstance(value, str),
            "bool": isinstance(value, bool),
        }
        if not fits[self.type]:
            hint = f' (quote it: "{value}")' if self.type == "str" else ""
            return f"{value!r} is not {wanted[self.type]}{hint}"
        if self.choices and value not in self.choices:
            close = did_you_mean(str(value), [str(c) for c in self.choices])
            return f"{value!r} is not one of {', '.join(map(str, self.choices))}{close}"
        if isinstance(value, str):
            if self.pattern and not re.fullmatch(self.pattern, value):
                return f"{value!r} does not look right: {self.doc}"
            return None
        return self._outside(value)

    def _outside(self, value: float) -> str | None:
        # ``not (>=)`` also refuses NaN, which YAML can say
        unit = f" {self.unit}" if self.unit else ""
        if self.minimum is not None and not value >= self.minimum:
            return f"{value} is too small: at least {self.minimum:g}{unit}"
        if self.maximum is not None and not value <= self.maximum:
            return f"{value} is too large: at most {self.maximum:g}{unit}"
        return None


def closest(name: str, names: Sequence[str]) -> str:
    """Return the one of the names that was probably meant, empty when none is near."""
    return next(iter(get_close_matches(name, names, n=1, cutoff=0.6)), "")


def did_you_mean(name: str, names: Sequence[str]) -> str:
    """Return ``; did you mean 'x'?`` for the closest of the names, or nothing."""
    close = closest(name, names)
    return f"; did you mean {close!r}?" if close else ""


def _no_complaints(_part: Part) -> Sequence[Complaint]:
    return ()


def _nothing(_part: Part) -> str | None:
    return None


def _anything(_part: Part) -> tuple[str, ...]:
    return ()


def asks(*protocols: str) -> Callable[[Part], tuple[str, ...]]:
    """Return what says that clients of a kind measure services with one of these protocols."""
    return lambda _part: protocols


def _not_known(_part: Client) -> int | None:
    return None


def planned(part: Client) -> int | None:
    """Return how many requests a client is told to measure; None where it is not told."""
    told, rate = part.parameters.get("requests"), part.parameters.get("rate")
    if isinstance(told, int):
        return told
    if isinstance(rate, int | float) and part.duration is not None:
        return int(rate * part.duration)
    return None


def _as_it_is(_kind: str, _service: Part | None, _client: Part) -> Mapping[str, Scalar]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Where a service tells Prometheus about itself."""

    port: int = 0  # index in the job's ports
    path: str = "/metrics"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What service and client kinds have in common."""

    name: str
    summary: str
    payload: Callable[[JobSpec], Payload]
    image: str | None = None  # what the recipe's ``container.docker_source`` usually says
    parameters: tuple[Parameter, ...] = ()
    version: tuple[str, ...] = ()  # a command that says, on its first line, which version it is
    extra_check: Callable[[Part], Sequence[Complaint]] = _no_complaints
    init_script: bool = False  # databases: whether it takes SQL that prepares a new one
    # Parameters that a user may expect here, and what says better why there are none.
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    free_parameters: bool = False  # they are for a program of the user's: any name will do

    def defaults(self) -> dict[str, Scalar]:
        """Return the default of every parameter that has one."""
        return {p.name: p.default for p in self.parameters if p.default is not None}

    def _parameter_complaints(self, part: Part) -> Iterator[Complaint]:
        known = {p.name: p for p in self.parameters}
        for name, value in part.parameters.items():
            if name == WAIT and isinstance(part, Client):
                if isinstance(value, bool | str) or not 0 <= value <= _LONGEST_WAIT:
                    yield ("parameters", name), f"{value!r} is no number of seconds up to a day"
            elif name not in known and self.free_parameters:
                continue
            elif name in self.elsewhere:
                yield ("parameters", name), f"not of this kind: {self.elsewhere[name]}"
            elif name not in known:
                accepted = ", ".join(known) or "none at all"
                close = did_you_mean(name, list(known))
                what = f"kind {self.name!r} has no such parameter{close}; it has: {accepted}"
                yield ("parameters", name), what
            elif wrong := known[name].complaint(value):
                yield ("parameters", name), wrong

    def complaints(self, part: Part) -> Iterator[Complaint]:
        """Yield what is wrong with a part's parameters, and what only this kind can know."""
        yield from self._parameter_complaints(part)
        if part.command is not None:
            try:
                empty = not shlex.split(part.command)
            except ValueError as error:
                yield (("command",), f"cannot be split into words: {str(error).lower()}")
            else:
                if empty:
                    yield (("command",), "is empty; leave it out or name a program")
        if isinstance(part, Service):
            fixed = [port for port in part.ports if port != "auto"]
            for port in sorted({port for port in fixed if fixed.count(port) > 1}):
                yield ("ports",), f"{port} stands there {fixed.count(port)} times"
        if isinstance(part, Service) and part.init_script is not None and not self.init_script:
            what = "only databases have one: write a setup_script, which runs once it answers"
            yield (("init_script",), f"kind {self.name!r} has no use for it: {what}")
        if isinstance(part, Client) and part.script is not None and not self.free_parameters:
            what = "leave kind out to have it run, or remove it"
            yield (("script",), f"kind {self.name!r} runs no script of yours: {what}")
        yield from self.extra_check(part)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceKind(Kind):
    """Something that answers."""

    ports: tuple[int | Literal["auto"], ...] = ("auto",)
    check: HealthCheck = field(default_factory=HealthCheck)
    metrics: Metrics | None = None
    watch: Watch | None = None  # what it is told of other services, while it runs
    secrets: Mapping[str, Secret] = field(default_factory=dict)  # it has these by itself
    storage: Literal["local", "shared"] = "shared"  # where $BENCHD_DATA is, unless a recipe says
    speaks: tuple[str, ...] = ()  # protocols that clients may ask for; empty: nobody knows which
    # What the page that its usual check asks for must contain, such as the model it is to serve.
    expects: Callable[[Part], str | None] = _nothing

    def usual_check(self, part: Part) -> HealthCheck:
        """Return the health check of a service that does not say its own."""
        text = self.expects(part)
        return self.check if text is None else self.check.model_copy(update={"expect": text})

    def can_pass(self, check: HealthCheck) -> bool:
        """Tell whether a health check may pass for this kind.

        Who has a protocol of its own answers no question in another one; a kind that is only asked
        for a connection may speak any.
        """
        anywhere = ("tcp", "command", "log")
        return self.check.type in anywhere or check.type in (*anywhere, self.check.type)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientKind(Kind):
    """A measurement. ``parse`` turns the files a job left into numbers and never raises."""

    parse: Callable[[Mapping[str, bytes], JobSpec], Measured]
    default_for: tuple[str, ...] = ()  # service kinds it is the usual client of
    needs_target: bool = True
    # Protocols of which it speaks any to what it measures; empty: nobody knows which.
    asks: Callable[[Part], tuple[str, ...]] = _anything
    # Where each of several services has a part of its own: the protocols of each, in their order.
    in_turn: tuple[tuple[str, ...], ...] = ()
    untimed: str = ""  # what ends its measurement, where a `duration` would change nothing
    samples: Callable[[Client], int | None] = _not_known  # requests of one measurement
    # Whether it spreads over all replicas of a service, and can share its load between nodes.
    spreads: bool = False
    distributed: bool = False
    # Whether its latencies hold when the server stalls (safe against coordinated omission).
    co_safe: bool = False
    # Whether it runs in the image of the service that it measures, unless a recipe names another.
    in_service_image: bool = False
    # What its parameters are, unless the recipe says, for a service of such a kind, with what the
    # recipe says about it (when it stands there) and about the client.
    fits: Callable[[str, Part | None, Part], Mapping[str, Scalar]] = _as_it_is


def setting(kind_parameters: Sequence[Parameter], spec: JobSpec, name: str) -> Scalar | None:
    """Return a parameter of a job: what the recipe says, else the kind's default."""
    default = next(p.default for p in kind_parameters if p.name == name)
    return spec.parameters.get(name, default)
