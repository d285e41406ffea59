"""The page beside the recipes: it names every recipe and kind, and claims no run without a test."""

from __future__ import annotations

import re

from benchd.catalog import CATALOG
from support.daemon import REPO
from support.recipe_cases import KEPT, kept

PAGE = (REPO / "recipes" / "README.md").read_text()
RECIPES = sorted(path.name for path in (REPO / "recipes").glob("*.yaml"))
# A reason shorter than this says nothing.
LEAST_REASON = 15


def kinds() -> dict[str, tuple[str, str]]:
    """Return for each kind whether it was run, and by what or why not."""
    table = PAGE.partition("<!-- kinds:")[2]
    rows = re.findall(r"^\| (`[^|]+) \| (run|rendered) \| ([^|]+) \|$", table, re.MULTILINE)
    return {
        name: (how, why.strip())
        for names, how, why in rows
        for name in re.findall("`(.+?)`", names)
    }


def test_every_recipe_is_on_the_page() -> None:
    """Each recipe is linked once, and no link leads nowhere."""
    assert sorted(re.findall(r"\]\(([\w-]+\.yaml)\)", PAGE)) == RECIPES


def test_every_kind_says_whether_it_was_run() -> None:
    """The table has a row for each kind of the catalogue, and for no other."""
    assert sorted(kinds()) == sorted({*CATALOG.services, *CATALOG.clients})


def test_a_run_is_made_by_a_test_that_names_the_kind() -> None:
    """What is called run names a test file that has the kind in it; the rest has a reason."""
    for name, (how, why) in kinds().items():
        if how == "rendered":
            assert len(why) >= LEAST_REASON, name
            continue
        file = REPO / why.split()[0]
        assert file.is_file(), why
        assert name in file.read_text(), f"{why} does not name {name}"


# A script of the user's cannot come with benchd; docs/howto/migrate.md shows a recipe of one.
_NO_RECIPE = {"script"}


def test_every_kind_has_a_recipe_whose_script_is_kept() -> None:
    """Of each kind a recipe shows the use, and a kept copy of its script shows every change."""
    shown = {kept(name).kind for name in KEPT}
    assert sorted({*CATALOG.services, *CATALOG.clients} - shown - _NO_RECIPE) == []
