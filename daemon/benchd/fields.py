"""Field types and the base model shared by recipes and configuration.

Everything that reaches an ``#SBATCH`` line is matched against an allow-list here. pydantic's
regular expressions end at the end of the *text*, so a trailing newline does not pass ``$``.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

Scalar = str | int | float | bool

# A name becomes part of a Slurm job name, a directory and a metric label: short, lower case, safe.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$")]
# Slurm words (partition, account, qos, constraint ...): no white space, no shell or sbatch syntax.
Word = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.,:+@&|*()\[\]=/-]{0,254}$")
]
# One line of printable text: no control characters, so nothing can break out of its line.
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=4096)]
EnvName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
# Slurm's own time forms: minutes, mm:ss, hh:mm:ss, d-hh[:mm[:ss]].
SlurmTime = Annotated[
    str, StringConstraints(pattern=r"^(\d{1,6}|\d{1,4}(:\d{2}){1,2}|\d{1,3}-\d{1,2}(:\d{2}){0,2})$")
]
Memory = Annotated[str, StringConstraints(pattern=r"^\d{1,9}([KMGT]B?)?$")]

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


Duration = Annotated[float, BeforeValidator(seconds), Field(ge=0, le=86400 * 366)]


class Model(BaseModel):
    """Strict, frozen, closed: the base of everything that is read from YAML."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Resources(Model):
    """What is asked of Slurm; every key is the sbatch option of the same name."""

    nodes: Annotated[int, Field(ge=1, le=100_000)] | None = None
    ntasks: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    ntasks_per_node: Annotated[int, Field(ge=1, le=10_000)] | None = None
    cpus_per_task: Annotated[int, Field(ge=1, le=10_000)] | None = None
    mem: Memory | None = None
    mem_per_cpu: Memory | None = None
    time: SlurmTime | None = None
    partition: Word | None = None
    qos: Word | None = None
    account: Word | None = None
    gres: Word | None = None
    gpus: Word | None = None
    gpus_per_node: Word | None = None
    gpus_per_task: Word | None = None
    constraint: Word | None = None
    exclusive: bool | None = None
    reservation: Word | None = None
    nodelist: Word | None = None
    exclude: Word | None = None
    signal: Word | None = None
    licenses: Word | None = None
    hint: Word | None = None
