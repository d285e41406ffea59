"""Field types and the base model shared by recipes and configuration.

Everything that reaches an ``#SBATCH`` line is matched against an allow-list here. pydantic's
regular expressions end at the end of the *text*, so a trailing newline does not pass ``$``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

Scalar = str | int | float | bool

_NAME = r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$"
_UNDERSCORED = r"^[a-z0-9]([a-z0-9_-]{0,30}[a-z0-9])?$"
_WORD = r"^[A-Za-z0-9_][A-Za-z0-9_.,:+@&|*()\[\]=/-]{0,254}$"
_LINE = r"^[^\x00-\x1f\x7f]*$"
_ENV_NAME = r"^[A-Za-z_][A-Za-z0-9_]{0,127}$"
_CREDENTIAL = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_SLURM_TIME = r"^(\d{1,6}|\d{1,4}(:\d{2}){1,2}|\d{1,3}-\d{1,2}(:\d{2}){0,2})$"
_MEMORY = r"^\d{1,9}([KMGT]B?)?$"

# What each expression asks for, in the words of error messages.
PATTERNS: Mapping[str, str] = {
    _NAME: "a name of up to 32 lower-case letters, digits and inner dashes",
    _WORD: "one word without spaces, quotes or shell characters",
    _LINE: "one line of text without control characters",
    _ENV_NAME: "the name of an environment variable (letters, digits, underscores)",
    _CREDENTIAL: "a name of up to 64 letters, digits, dots, dashes and underscores",
    _SLURM_TIME: "a time as Slurm writes it: minutes, hh:mm:ss or days-hh:mm:ss",
    _MEMORY: "an amount of memory such as 512M or 4G",
}


def as_text(value: object) -> object:
    """Take a whole number where text is wanted: YAML reads ``gpus: 1`` as a number.

    Nothing else: of ``1.10`` or ``True`` the reader has already lost how it was written.
    """
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def dashed(name: str) -> str:
    """Return a name as it stands in job names, with dashes for underscores."""
    return name.replace("_", "-")


def _or_number(pattern: str) -> BeforeValidator:
    """Return the validator that accepts whole numbers, and says so in the JSON Schema."""
    text = Annotated[str, StringConstraints(pattern=pattern)]
    return BeforeValidator(as_text, json_schema_input_type=text | int)


# A name becomes part of a Slurm job name, a directory and a metric label: short, lower case, safe.
Name = Annotated[str, StringConstraints(pattern=_NAME)]
# The same where people write underscores: Slurm and file names of ours have dashes in their place.
DashedName = Annotated[
    str,
    StringConstraints(pattern=_NAME),
    BeforeValidator(
        lambda value: dashed(value) if isinstance(value, str) else value,
        json_schema_input_type=Annotated[str, StringConstraints(pattern=_UNDERSCORED)],
    ),
]
# Slurm words (partition, account, qos, constraint ...): no white space, no shell or sbatch syntax.
Word = Annotated[str, StringConstraints(pattern=_WORD), _or_number(_WORD)]
# One line of printable text: no control characters, so nothing can break out of its line.
Line = Annotated[str, StringConstraints(pattern=_LINE, max_length=4096), _or_number(_LINE)]
EnvName = Annotated[str, StringConstraints(pattern=_ENV_NAME)]
CredentialName = Annotated[str, StringConstraints(pattern=_CREDENTIAL)]
# Slurm's own time forms: minutes, mm:ss, hh:mm:ss, d-hh[:mm[:ss]].
SlurmTime = Annotated[str, StringConstraints(pattern=_SLURM_TIME), _or_number(_SLURM_TIME)]
Memory = Annotated[str, StringConstraints(pattern=_MEMORY), _or_number(_MEMORY)]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(value: object) -> object:
    """Turn ``"30s"``, ``"5m"``, ``"24h"`` or ``"2d"`` into seconds; leave numbers to pydantic."""
    if isinstance(value, str):
        for unit in ("ms", "s", "m", "h", "d"):
            number = value.removesuffix(unit)
            if number != value and number.replace(".", "", 1).isdigit():
                return float(number) * _UNITS[unit]
        raise ValueError(f"{value!r} is not a duration; write for example 30s, 5m or 24h")
    if isinstance(value, bool):
        raise ValueError("a duration is a number of seconds or a text such as 30s, 5m or 24h")
    return value


Duration = Annotated[
    float,
    BeforeValidator(seconds, json_schema_input_type=float | str),
    Field(ge=0, le=86400 * 366),
]


class Model(BaseModel):
    """Strict, frozen, closed: the base of everything that is read from YAML."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Resources(Model):
    """What is asked of Slurm; every key is the sbatch option of the same name."""

    nodes: Annotated[int, Field(ge=1, le=100_000)] | None = Field(None, description="nodes")
    ntasks: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="tasks, counted by Slurm; the payload is started once"
    )
    ntasks_per_node: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None, description="tasks on each node"
    )
    cpus_per_task: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None, description="cores a task"
    )
    mem: Memory | None = Field(None, description="memory a node, e.g. 4G")
    mem_per_cpu: Memory | None = Field(None, description="memory a core, instead of mem")
    time: SlurmTime | None = Field(
        None, description="time limit: minutes, hh:mm:ss or days-hh:mm:ss"
    )
    partition: Word | None = Field(None, description="partition (queue)")
    qos: Word | None = Field(None, description="quality of service")
    account: Word | None = Field(None, description="project to charge")
    gres: Word | None = Field(None, description="generic resources, e.g. gpu:a100:2")
    gpus: Word | None = Field(None, description="GPUs of the whole job")
    gpus_per_node: Word | None = Field(None, description="GPUs on each node")
    gpus_per_task: Word | None = Field(None, description="GPUs a task")
    constraint: Word | None = Field(None, description="node features, e.g. skylake&ib")
    exclusive: bool | None = Field(None, description="true: share the nodes with nobody")
    reservation: Word | None = Field(None, description="reservation to run in")
    nodelist: Word | None = Field(None, description="nodes that must be used")
    exclude: Word | None = Field(None, description="nodes that must not be used")
    signal: Word | None = Field(None, description="signal before the time limit, e.g. TERM@60")
    licenses: Word | None = Field(None, description="licences, e.g. matlab:1")
    hint: Word | None = Field(None, description="binding hint, e.g. nomultithread")
    threads_per_core: Annotated[int, Field(ge=1, le=64)] | None = Field(
        None, description="hardware threads of a core that are used; 1: each core once"
    )
