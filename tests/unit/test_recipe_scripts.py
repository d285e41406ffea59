"""The batch scripts of the recipes that come with benchd: kept copies, and what bash says."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from benchd.catalog.services import ollama, vllm_ray
from support.recipe_cases import KEPT, NAMES, first_of_each, kept

FOLDER = Path(__file__).parents[1] / "golden" / "recipes"


@pytest.mark.parametrize("name", sorted(KEPT))
def test_the_script_of_a_recipe_is_the_kept_copy(name: str) -> None:
    """A script changes only together with its kept copy (BENCHD_WRITE_GOLDEN=1 writes it)."""
    path = FOLDER / f"{name}.sh"
    if os.environ.get("BENCHD_WRITE_GOLDEN"):
        path.write_text(kept(name).script)
    assert path.read_text() == kept(name).script


def test_every_kept_copy_has_its_recipe() -> None:
    """No kept script of a recipe is left over from one that is gone."""
    assert sorted(KEPT) == sorted(path.stem for path in FOLDER.glob("*.sh"))


@pytest.mark.parametrize("recipe", NAMES)
def test_bash_parses_what_a_recipe_becomes(recipe: str) -> None:
    """``bash -n`` has nothing to say about the first job of each name of each recipe."""
    said = {}
    for name, job in first_of_each(recipe).items():
        text = job.script.encode()
        done = subprocess.run(["bash", "-n"], input=text, capture_output=True, check=False)
        said[name] = (done.returncode, done.stderr)
    assert said == dict.fromkeys(said, (0, b""))
    assert said


@pytest.mark.real("shellcheck")
def test_shellcheck_has_nothing_to_say_about_recipes(tmp_path: Path) -> None:
    """ShellCheck finds no mistake in the kept scripts, nor in those that they bring along."""
    for name in KEPT:
        (tmp_path / f"{name}.sh").write_text(kept(name).script)
    brought = {"pull-model.sh": ollama.PULL, **vllm_ray.FILES}
    for name, text in brought.items():
        if name.endswith(".sh"):
            shell = "sh" if name == "pull-model.sh" else "bash"
            (tmp_path / name).write_text(f"# shellcheck shell={shell}\n{text}")
    files = sorted(map(str, tmp_path.iterdir()))
    done = subprocess.run(["shellcheck", *files], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
