"""The documentation: generated parts are fresh, links lead somewhere, examples work."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from benchd.catalog import CATALOG
from benchd.core import recipe
from benchd.core.lifecycle import TABLE
from benchd.core.model import JobState
from benchd.core.recipe import WORDS

ROOT = Path(__file__).parents[2]
UNITS = ("benchd.service", "benchd-user.service")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.fixture(name="generate", scope="module")
def load_generator() -> ModuleType:
    """Return docs/generate.py as a module."""
    found = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_generated_parts_are_fresh(generate: ModuleType) -> None:
    """What the pages say about the code is what the code says; else run docs/generate.py."""
    assert [] == generate.stale()


def test_every_part_is_on_a_page(generate: ModuleType) -> None:
    """Nothing that can be generated is left out of the documentation."""
    text = "".join(page.read_text() for page in PAGES)
    shown = set(re.findall(r"<!-- generated: ([\w-]+) -->", text))

    assert set(generate.PARTS) == shown


def test_the_readme_names_every_kind() -> None:
    """What benchd says it can measure is what its catalogue has."""
    text = (ROOT / "README.md").read_text()
    table = text.partition("<!-- kinds:")[2].partition("<!-- end -->")[0]
    named = set(re.findall(r"`([a-z-]+)`", table))
    assert sorted({*CATALOG.services, *CATALOG.clients}) == sorted(named)


def test_a_stale_page_is_named(generate: ModuleType) -> None:
    """A page whose generated part was changed by hand is written anew."""
    page = (ROOT / "docs" / "reference" / "states.md").read_text()
    changed = page.replace("| 4 |", "| 5 |")

    assert page != changed
    assert page == generate.filled(changed)


def test_the_state_diagram_shows_every_move(generate: ModuleType) -> None:
    """Every state and every row that moves a job is in the diagram."""
    diagram = generate.state_diagram()
    arrows = re.findall(r"(\w+) --> (\w+) : (.*)", diagram)
    numbers = {number for *_, label in arrows for number in re.findall(r"\b\d+[a-z]?\b", label)}

    assert {row.number for row in TABLE if row.target is not None} == numbers
    assert set(JobState) == set(re.findall("|".join(JobState), diagram))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """A relative link names a file of the repository."""
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())

    assert [] == [link for link in links if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_recipes_in_the_text_are_valid(page: Path) -> None:
    """A recipe that is shown can be dropped."""
    blocks = re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    shown = [block for block in blocks if re.search(r"^(service|client)s?:", block, re.MULTILINE)]
    for block in shown:
        recipe.parse(block.encode(), page.name, CATALOG)


def test_the_page_on_the_architecture_names_every_part() -> None:
    """Each module of the core and of the package's top level is in its tables, and no other."""
    text = (ROOT / "docs" / "explanation" / "architecture.md").read_text()
    top, core = re.findall(r"\n((?:\| .*\n){8,})", text)
    named = re.findall(r"`([\w/.]+)`", "".join(re.findall(r"(?m)^\| (.*?) \|", top + core)))
    package = ROOT / "daemon" / "benchd"
    expected = {f.name for f in package.glob("*.py")} | {f.stem for f in package.glob("core/*.py")}
    expected |= {f"{f.parent.name}/" for f in package.glob("*/__init__.py")}

    assert expected - {"__init__.py", "__init__"} == set(named)


def test_files_that_the_page_on_new_things_names_exist() -> None:
    """Whoever adds something finds the file that the page sends them to."""
    text = (ROOT / "docs" / "explanation" / "new-things.md").read_text()
    named = re.findall(r"`([a-z_]+/[\w/.*]+|[a-z]+\.py)`", text)
    places = (ROOT, ROOT / "daemon" / "benchd", ROOT / "tests")
    missing = [n for n in named if not any([*p.glob(n), *p.glob(f"{n}.py")] for p in places)]

    assert [] == missing
    assert 30 < len(named)


def test_the_steps_of_an_installation_match_the_units() -> None:
    """Paths, users and credentials in the how-to are those that the units ask for."""
    text = (ROOT / "docs" / "howto" / "systemd.md").read_text()
    units = {name: (ROOT / "systemd" / name).read_text() for name in UNITS}
    for name, unit in units.items():
        told = dict(re.findall(r"(?m)^(\w+)=(.*)$", unit))
        program, config = (
            told["ExecStart"].replace("%h", "~").replace("%E", "~/.config").split()[::3]
        )
        assert name in text
        assert program in text
        assert config in text
    system = dict(re.findall(r"(?m)^(\w+)=(.*)$", units["benchd.service"]))
    for said in (
        f"LoadCredential={system['LoadCredential']}",
        f"StateDirectory={system['StateDirectory']}",
        f"$CREDENTIALS_DIRECTORY/{system['LoadCredential'].partition(':')[0]}",
        f"/var/lib/{system['StateDirectory']}/inbox",
        f"-o root -g {system['Group']} /etc/{system['ConfigurationDirectory']}\n",
        f"/run/{system['RuntimeDirectory']}/control.sock",
        f"--shell /usr/sbin/nologin {system['User']}\n",
    ):
        assert said in text


def test_commands_show_what_their_parsers_know(generate: ModuleType) -> None:
    """A text that ends in dots keeps them, and every workload has a section with its options."""
    commands, workloads = generate.benchd_commands(), generate.load_workloads()

    assert "benchd load WORKLOAD --url URL ...\n" in commands
    found = re.findall(r"### `benchd load (\w+)`", workloads)
    assert ["llm", "chroma", "rag", "http", "ingest", "redis"] == found
    assert len(found) == workloads.count("| `--rate RATE` |")


def test_no_page_names_a_command_that_there_is_not(generate: ModuleType) -> None:
    """Whoever types what a page or a recipe shows finds the command."""
    sections = generate.benchctl_commands() + generate.benchd_commands()
    there = set(re.findall(r"### `(bench(?:d|ctl) [a-z]+)", sections))
    files = [*PAGES, *(ROOT / "recipes").iterdir(), *(ROOT / "config").glob("*.yaml")]
    shown = {
        (words, file.name)
        for file in files
        for words in re.findall(
            r"(?:`|^ {4}|^\$ |\$ )(bench(?:d|ctl) [a-z]+)", file.read_text(), re.MULTILINE
        )
    }
    assert len(shown) > len(there)
    assert set() == {(words, name) for words, name in shown if words not in there}


def test_the_page_on_recipes_names_every_absent_key() -> None:
    """Keys that are refused for now are listed."""
    text = (ROOT / "docs" / "reference" / "recipe.md").read_text()

    assert [] == [key for key in WORDS.absent if f"`{key}`" not in text]
