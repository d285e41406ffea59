"""What is wrong with a kind: the same questions for ours, for users' files and for plug-ins."""

from __future__ import annotations

import re
from collections.abc import Iterator

from benchd.catalog import checks
from benchd.catalog.kinds import ClientKind, Kind, Parameter, ServiceKind
from benchd.config import RuntimeSettings
from benchd.core.script import render
from benchd.core.spec import HealthCheck, JobSpec, Role, Target

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
_TOKEN = "benchd-trial"  # noqa: S105 - the name of a job that is never sent


def faults(kind: Kind) -> list[str]:
    """Return everything that is wrong with a kind, in sentences."""
    return [*_facts(kind), *_parameters(kind), *_run(kind)]


def _facts(kind: Kind) -> Iterator[str]:
    if not _NAME.fullmatch(kind.name):
        yield f"{kind.name!r} is no name: up to 32 lower-case letters, digits and inner dashes"
    if not kind.summary.strip():
        yield "the summary is empty: say in one line what it is"
    names = [parameter.name for parameter in kind.parameters]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"parameter {name} is there twice"
    if isinstance(kind, ServiceKind):
        yield from (what for _, what in checks.complaints(kind.check, HealthCheck()))
        if kind.metrics is not None and kind.metrics.port >= len(kind.ports):
            yield f"metrics.port is {kind.metrics.port}, but there are {len(kind.ports)} ports"


def _parameters(kind: Kind) -> Iterator[str]:
    for parameter in kind.parameters:
        for what in parameter_faults(parameter):
            yield f"parameter {parameter.name}: {what}"


def parameter_faults(parameter: Parameter) -> Iterator[str]:
    """Yield what is wrong with a parameter by itself."""
    if not parameter.doc.strip():
        yield "it has no doc: say what it means"
    try:
        re.compile(parameter.pattern)
    except re.error as error:
        yield f"its pattern is no regular expression: {error}"
        return
    if parameter.default is not None and (what := parameter.complaint(parameter.default)):
        yield f"its default {what}"
    for choice in parameter.choices:
        if what := parameter.complaint(choice):
            yield f"its choice {what}"


def _run(kind: Kind) -> Iterator[str]:
    """Write a script with nothing but defaults: a kind that cannot must not wait for a recipe."""
    role = Role.CLIENT if isinstance(kind, ClientKind) else Role.SERVICE
    spec = JobSpec(
        role=role,
        name="trial",
        kind=kind.name,
        command="true",
        ports=kind.ports if isinstance(kind, ServiceKind) else (),
        targets=(Target(name="target"),) if role is Role.CLIENT else (),
    )
    try:
        payload = kind.payload(spec)
        shipped = dict.fromkeys(payload.ship, "shipped.pyz")
        render(spec, _TOKEN, payload, RuntimeSettings(), shipped)
    except Exception as error:  # noqa: BLE001 - code of others: whatever it raises is its fault
        yield f"no script can be made of it: {type(error).__name__}: {error}"
