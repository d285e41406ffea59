"""``benchd validate`` and ``benchd render``: what a recipe means, without a daemon."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchd import config as configuration
from benchd import kindbook
from benchd.catalog import Catalog
from benchd.cli.tables import count
from benchd.config import ClusterSettings, RuntimeSettings
from benchd.core.expand import expand
from benchd.core.model import Job
from benchd.core.recipe import Understood, understand
from benchd.core.spec import Recipe, Role
from benchd.edge import pack
from benchd.edge.scripts import Scripts
from benchd.errors import RecipeError, UserError
from benchd.places import scripts_in

OK, NO = 0, 1
SIZE_LIMIT = 256 * 1024  # bytes: the largest recipe that is accepted
# What stands in a printed script for what only a daemon knows.
INSTANCE, RUN = "benchd", "renderonly"
# Without a configuration: images by apptainer where a recipe names one, no resources of our own.
NEUTRAL = ClusterSettings(local=True, runtime=RuntimeSettings(name="apptainer"))


def validate_files(
    files: Sequence[str], *, config: Path | None = None, as_json: bool = False
) -> int:
    """Print what each recipe is, or all its mistakes; 1 if any has one."""
    catalog, scripts = catalog_of(config), scripts_of(config)
    found = [_validated(file, config, catalog, scripts) for file in files]
    for each in found:
        if each["valid"] and not as_json:
            counts = {role: each[f"{role}s"] for role in (Role.SERVICE, Role.CLIENT, Role.IMAGE)}
            said = [count(n, f"{role} job") for role, n in counts.items() if n or role != "image"]
            print(f"{each['file']}: ok: {', '.join(said)}")
    valid = all(each["valid"] for each in found)
    if as_json:
        mistakes = [mistake for each in found for mistake in each["mistakes"]]
        answer = {"schema": "benchd.validation/1", "valid": valid, "files": found}
        print(json.dumps({**answer, "mistakes": mistakes}, indent=2, ensure_ascii=False))
    return OK if valid else NO


def catalog_of(config: Path | None) -> Catalog:
    """Return the kinds there are, with those beside the configuration where there is one."""
    try:
        file = configuration.find(config)
    except UserError:
        if config is not None:
            raise
        file = None
    return kindbook.load(file)


def scripts_of(config: Path | None) -> Scripts:
    """Return where scripts are looked for: as configured, else from where we are."""
    try:
        return Scripts(scripts_in(configuration.load(configuration.find(config))))
    except UserError:  # a configuration that is missing or broken is not what is asked about here
        return Scripts(Path.cwd())


def _validated(
    file: str, config: Path | None, catalog: Catalog, scripts: Scripts
) -> dict[str, Any]:
    """Return what a recipe is, or what is wrong with it."""
    try:
        understood = _understood(file, catalog, scripts)
        try:
            name, settings = _cluster(understood.recipe, config, None)
        except UserError:  # as with scripts_of: the recipe is asked about, nothing else
            name, settings = "default", NEUTRAL
        jobs = _jobs(understood.recipe, name, settings, catalog)
    except RecipeError as error:
        print(error, file=sys.stderr)
        mistakes = [{"file": file, **asdict(mistake)} for mistake in error.mistakes]
        return {"file": file, "valid": False, "mistakes": mistakes}
    _print_remarks(file, understood)
    remarks = [{"file": file, **asdict(remark)} for remark in understood.remarks]
    numbers = {f"{role}s": sum(job.role is role for job in jobs) for role in Role}
    return {"file": file, "valid": True, **numbers, "mistakes": [], "remarks": remarks}


def _print_remarks(file: str, understood: Understood) -> None:
    for remark in understood.remarks:
        print(f"warning: {remark.render(file)}", file=sys.stderr)


def render_files(
    files: Sequence[str],
    *,
    config: Path | None,
    cluster: str | None,
    only: str | None,
    out: Path | None,
) -> int:
    """Print the batch scripts of every job, or write each to a file of its own."""
    jobs: list[Job] = []
    catalog, scripts = catalog_of(config), scripts_of(config)
    for file in files:
        understood = _understood(file, catalog, scripts)
        _print_remarks(file, understood)
        recipe = understood.recipe
        name, settings = _cluster(recipe, config, cluster)
        jobs += _jobs(recipe, name, settings, catalog)
    chosen = [job for job in jobs if only is None or job.name == only]
    if not chosen:
        names = ", ".join(dict.fromkeys(job.name for job in jobs)) or "none"
        raise UserError(f"no job is called {only!r}; there are: {names}")
    if out is None:
        sys.stdout.write(_together(chosen))
        return OK
    out.mkdir(parents=True, exist_ok=True)
    for job in chosen:
        file_out = out / f"{job.token}.sh"
        file_out.write_text(job.script, encoding="utf-8")
        print(file_out)
    return OK


def _together(jobs: Sequence[Job]) -> str:
    """Return one text of all scripts; a single one stays exactly as it is."""
    if len(jobs) == 1:
        return jobs[0].script
    first, _, rest = jobs[0].script.partition("\n")
    note = f"# {len(jobs)} scripts in one text, for reading; --out DIR writes each to a file."
    # Each script defines the same functions and ends with exit: that is meant, not a mistake.
    text = f"{first}\n{note}\n# shellcheck disable=SC2218,SC2317\n{rest}"
    for i, job in enumerate(jobs[1:], 2):
        text += f"\n# ---- script {i} of {len(jobs)}: {job.token} ----\n{job.script}"
    return text


def _understood(file: str, catalog: Catalog, scripts: Scripts) -> Understood:
    try:
        if file == "-":
            data = sys.stdin.buffer.read(SIZE_LIMIT + 1)
        else:
            with Path(file).open("rb") as stream:
                data = stream.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from error
    return understand(data, file, catalog, files=scripts)


def _cluster(
    recipe: Recipe, config: Path | None, wanted: str | None
) -> tuple[str, ClusterSettings]:
    try:
        settings = configuration.load(configuration.find(config))
    except UserError:
        if config is not None or wanted is not None:
            raise
        return recipe.cluster or "default", NEUTRAL
    name = wanted or recipe.cluster or settings.default_cluster or next(iter(settings.clusters), "")
    if name not in settings.clusters:
        known = ", ".join(settings.clusters) or "none"
        raise UserError(f"no cluster {name!r} in the configuration; there are: {known}")
    return name, settings.clusters[name]


def _jobs(
    recipe: Recipe, cluster: str, settings: ClusterSettings, catalog: Catalog
) -> tuple[Job, ...]:
    return expand(
        recipe,
        run_id=RUN,
        instance=INSTANCE,
        cluster=cluster,
        defaults=settings.defaults,
        runtime=settings.runtime,
        workdir=settings.workdir,
        catalog=catalog,
        ship={name: pack.build(name).file_name for name in pack.SHIPPED},
        now=time.time(),
    )
