"""Kinds that users write as YAML files: the same facts as ours, with templates for functions.

``read_kind`` gives a kind or every mistake in the file, with its line. What such a kind says goes
through the same checks as our own (``benchd.catalog.faults``).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from benchd.catalog import readings, templates
from benchd.catalog.clients.common import told_duration
from benchd.catalog.faults import faults, parameter_faults
from benchd.catalog.kinds import ClientKind, Kind, Metrics, Parameter, ServiceKind, arguments, word
from benchd.core.payload import Payload, Sh, Step
from benchd.core.spec import HealthCheck, JobSpec
from benchd.errors import ConfigError, Mistake
from benchd.fields import PATTERNS, EnvName, Line, Model, Name, Scalar
from benchd.yamlcheck import Words, capped, judge
from benchd.yamldoc import Path, read

# Text of a file: no NUL, which no shell can pass on. 64 KiB: it travels inside the batch script.
_Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=65_536)]
_FileName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$")
]
_ParameterName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]

WORDS = Words(
    patterns={
        **PATTERNS,
        r"^[a-z][a-z0-9_]{0,63}$": "a name of lower-case letters, digits and underscores",
        r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$": "a plain relative name",
        r"^[^\x00]*$": "text without NUL characters",
    },
    synonyms={
        "type": "role",
        "kind": "role",
        "description": "summary",
        "docker_source": "image",
        "check": "health_check",
        "env": "environment",
        "params": "parameters",
        "arguments": "args",
    },
)


class OwnParameter(Model):
    """One thing that recipes may set."""

    type: Literal["int", "float", "str", "bool"] = Field("str", description="what it takes")
    default: Scalar | None = Field(None, description="what holds when a recipe does not say")
    doc: Line = Field(description="what it means")
    unit: Line = Field("", description="e.g. bytes, s")
    minimum: float | None = Field(None, description="the least that is taken")
    maximum: float | None = Field(None, description="the most that is taken")
    choices: tuple[Scalar, ...] = Field((), description="all that is taken")
    pattern: Line = Field("", description="a regular expression that text must match as a whole")


class OwnMetrics(Model):
    """Where it tells Prometheus about itself."""

    port: Annotated[int, Field(ge=0, le=31)] = Field(0, description="index in its ports")
    path: Line = Field("/metrics", description="path of the page")


class OwnKind(Model):
    """A file with a kind of one's own. ``{port}``, ``{data}``, ``{a parameter}`` are filled in."""

    role: Literal["service", "client"] = Field(description="what it is a kind of")
    name: Name = Field(description="what recipes write under kind:")
    summary: Line = Field(description="one line about it")
    image: Line | None = Field(None, description="its usual image")
    command: Line = Field(description="the program and its arguments")
    options: dict[_ParameterName, Line] = Field(
        {},
        description="parameter -> arguments that are added when it has a value; of a bool: when it "
        "is true",
    )
    environment: dict[EnvName, Line] = Field({}, description="variables of the program")
    files: dict[_FileName, _Text] = Field(
        {}, description="files that are written into the job's directory: {job}/NAME"
    )
    before: tuple[Line, ...] = Field((), description="commands that run before it, in order")
    once_up: tuple[Line, ...] = Field(
        (), description="commands that run once its first port answers, before it counts as ready"
    )
    parameters: dict[_ParameterName, OwnParameter] = Field({}, description="what recipes may set")
    version: Line | None = Field(None, description="a command whose first line says its version")
    ports: tuple[Annotated[int, Field(ge=1, le=65535)] | Literal["auto"], ...] = Field(
        ("auto",), description="services: its usual ports"
    )
    health_check: HealthCheck = Field(
        HealthCheck(), description="services: when it answers; the keys of a recipe's"
    )
    metrics: OwnMetrics | None = Field(None, description="services: its page for Prometheus")
    default_for: tuple[Name, ...] = Field(
        (), description="clients: kinds of services it is the usual client of"
    )
    needs_target: bool = Field(True, description="clients: whether it measures a service")
    spreads: bool = Field(
        False, description="clients: whether its command uses all replicas of a service"
    )


def read_kind(data: bytes, file: str) -> Kind:
    """Return the kind that a file describes, or raise ``ConfigError`` with every mistake in it."""
    document = read(data, file, ConfigError)
    judged = judge(OwnKind, document, WORDS)
    mistakes = [*document.mistakes, *judged.mistakes]
    if judged.model is not None:
        own = judged.model
        mistakes += [document.mistake(place, what) for place, what in _mistakes(own)]
        if not mistakes:
            kind = _service(own) if own.role == "service" else _client(own)
            mistakes += [Mistake(1, 1, "", what) for what in faults(kind)]
            if not mistakes:
                return kind
    raise ConfigError(file, capped(mistakes))


def _mistakes(own: OwnKind) -> Iterator[tuple[Path, str]]:
    """Yield what is wrong beyond the types."""
    client = own.role == "client"
    other = {"ports", "health_check", "metrics", "once_up"} if client else {"default_for"}
    for key in sorted(other & own.model_fields_set):
        yield (key,), f"is about {'services' if client else 'clients'}, and this is a {own.role}"
    for place, text in _texts(own):
        for name in templates.places(text):
            if name not in own.parameters and not templates.variable(name, client=client):
                there = ", ".join([*own.parameters, *templates.known(client=client)])
                what = f"there is no {{{name}}}; there are: {there} (a brace is written twice)"
                yield place, what
            elif place[0] != "options" and _may_lack(own, name):
                yield place, f"{{{name}}} may have no value: give it a default, or use options"
    for parameter in _parameters(own):
        for what in parameter_faults(parameter):
            yield ("parameters", parameter.name), what
    for key in own.options:
        if key not in own.parameters:
            yield ("options", key), f"there is no parameter {key}"
    for place, text in _commands(own):
        try:
            if not shlex.split(text):
                yield place, "is empty"
        except ValueError as error:
            yield place, f"cannot be split into words: {str(error).lower()}"


def _may_lack(own: OwnKind, name: str) -> bool:
    return name in own.parameters and own.parameters[name].default is None


def _commands(own: OwnKind) -> Iterator[tuple[Path, str]]:
    yield ("command",), own.command
    for key in ("before", "once_up"):
        yield from (((key, i), text) for i, text in enumerate(getattr(own, key)))
    yield from ((("options", name), text) for name, text in own.options.items())
    if own.version is not None:
        yield ("version",), own.version


def _texts(own: OwnKind) -> Iterator[tuple[Path, str]]:
    yield from _commands(own)
    for key in ("environment", "files"):
        yield from (((key, name), text) for name, text in getattr(own, key).items())


def _parameters(own: OwnKind) -> tuple[Parameter, ...]:
    return tuple(
        Parameter(
            name=name,
            type=said.type,
            default=said.default,
            doc=said.doc,
            unit=said.unit,
            minimum=said.minimum,
            maximum=said.maximum,
            choices=said.choices,
            pattern=said.pattern,
        )
        for name, said in own.parameters.items()
    )


def _service(own: OwnKind) -> ServiceKind:
    page = own.metrics
    return ServiceKind(
        name=own.name,
        summary=own.summary,
        image=own.image,
        payload=_Template(own),
        parameters=_parameters(own),
        version=tuple(shlex.split(own.version or "")),
        ports=own.ports,
        check=own.health_check,
        metrics=None if page is None else Metrics(port=page.port, path=page.path),
    )


def _client(own: OwnKind) -> ClientKind:
    return ClientKind(
        name=own.name,
        summary=own.summary,
        image=own.image,
        payload=_Template(own),
        parameters=_parameters(own),
        version=tuple(shlex.split(own.version or "")),
        parse=readings.command,
        default_for=own.default_for,
        needs_target=own.needs_target,
        spreads=own.spreads,
    )


class _Template:
    """The function of a kind from a file: a job's spec -> what to run."""

    def __init__(self, own: OwnKind) -> None:
        self.own = own
        self.defaults = {n: p.default for n, p in own.parameters.items() if p.default is not None}

    def __call__(self, spec: JobSpec) -> Payload:
        """Return what to run."""
        own, values = self.own, {**self.defaults, **spec.parameters}
        command = (
            tuple(word(each) for each in shlex.split(spec.command))
            if spec.command
            else self._words(own.command, values)
        )
        return Payload(
            argv=(*command, *self._options(values), *arguments(spec)),
            environment={n: self._filled(text, values) for n, text in own.environment.items()},
            files={name: self._filled(text, values) for name, text in own.files.items()},
            before=self._steps(own.before, values),
            once_up=self._steps(own.once_up, values),
            preamble=told_duration(spec),
        )

    def _steps(self, commands: Sequence[str], values: Mapping[str, Scalar]) -> tuple[Step, ...]:
        return tuple(Step(argv=self._words(text, values)) for text in commands)

    def _options(self, values: Mapping[str, Scalar]) -> Iterator[str | Sh]:
        for name, text in self.own.options.items():
            if values.get(name) not in (None, False):
                yield from self._words(text, values)

    def _words(self, text: str, values: Mapping[str, Scalar]) -> tuple[str | Sh, ...]:
        return tuple(self._filled(each, values) for each in shlex.split(text))

    def _filled(self, text: str, values: Mapping[str, Scalar]) -> str | Sh:
        return templates.filled(text, values, client=self.own.role == "client")
