"""Recipes as other projects write them, understood with and without the scripts they name."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from benchd.catalog import CATALOG
from benchd.config import RuntimeSettings
from benchd.core.expand import expand
from benchd.core.model import Job
from benchd.core.recipe import Understood, understand
from benchd.core.seeds import Files
from benchd.core.spec import Role
from benchd.errors import UserError
from benchd.fields import Resources
from support.recipe_cases import SHIPPED
from support.script_cases import APPTAINER

SEEDS: Final = Path(__file__).resolve().parents[1] / "data" / "seeds"
NAMES: Final = sorted(path.name for path in SEEDS.glob("*.yaml"))
# The one that names a script of nobody's: without the file it is refused.
OWN: Final = "both.yaml"
TEXT: Final = "print('measured')\n"


def present(_directory: str, _name: str) -> str:
    """Find every script."""
    return TEXT


def absent(directory: str, name: str) -> str:
    """Find none."""
    raise UserError(f"{name} is not in {directory or 'the directory'}")


def understood(text: str, files: Files = present, name: str = "seed.yaml") -> Understood:
    """Return what a recipe means."""
    return understand(text.encode(), name, CATALOG, files=files)


def jobs(text: str, files: Files = present, runtime: RuntimeSettings = APPTAINER) -> list[Job]:
    """Return the jobs of a recipe, without those that make images."""
    found = expand(
        understood(text, files).recipe,
        run_id="k5wz3tqa2f",
        instance="bq7x2m",
        cluster="c",
        defaults=Resources(),
        runtime=runtime,
        catalog=CATALOG,
        ship=SHIPPED,
        now=0.0,
    )
    return [job for job in found if job.role is not Role.IMAGE]


def scripts_of(name: str, files: Files = present) -> dict[str, str]:
    """Return the script of the first job of each name in a file of the seeds."""
    found: dict[str, str] = {}
    for job in jobs((SEEDS / name).read_text(), files):
        found.setdefault(job.name, job.script)
    return found
