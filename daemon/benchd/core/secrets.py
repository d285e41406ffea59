"""Secrets of recipes: which there are, where they come from, and a recipe's text without them.

A recipe names the source of a secret. A password that stands in it all the same, under a name that
says so (``MYSQL_ROOT_PASSWORD``), is a secret without a source: it goes the way of all secrets, and
the text that is stored and shown says ``[redacted]`` in its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from benchd.core import paths
from benchd.core.spec import Part, Recipe, Secret
from benchd.errors import RecipeError
from benchd.secrecy import REDACTED, is_secret
from benchd.yamldoc import Path, read

# Made for every service that has secrets: a password of less worth, for programs that can be told
# one only on their command line, where other users of a node see it.
TICKET = "BENCHD_TICKET"
# Where programs of kinds write secrets down for a moment, in the directory of their job: removed by
# themselves, and by benchd after a job that was killed before it came to that.
MOMENTARY = ("sysbench.conf", "data/first.sql", "data/first-password")
# Variables that the batch script or bash itself depend on.
_TAKEN = re.compile(
    r"(BENCHD|SLURM|SBATCH|BASH)(_.*)?|JOB|TRY|ID|GENERATION|PATH|IFS|E?UID|PPID|SHELLOPTS|BASHOPTS"
)
TELLING = 6  # characters from which a value that stands somewhere else is surely that secret
# What switches say, such as MYSQL_ALLOW_EMPTY_PASSWORD: yes.
_SWITCHES = frozenset({"", "yes", "no", "true", "false", "on", "off", "0", "1"})
_NOTE = "# benchd took the value of {} out of this copy; better name a source under secrets:\n"
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # as ``benchd.yamldoc`` has it
_IN_PLACE = f'"{REDACTED}"'


def literals(part: Part) -> dict[str, str]:
    """Return the secrets that stand in a part's environment, by name."""
    return {
        name: value
        for name, value in part.environment.items()
        if is_secret(name) and value.lower() not in _SWITCHES
    }


def in_the_open(part: Part) -> Iterator[tuple[str, str]]:
    """Yield where else the value of a literal secret stands: the key, and the secret's name."""
    for name, value in literals(part).items():
        for key in ("command", "args", "setup_script", "init_script"):
            said = getattr(part, key, None) or ""
            if len(value) >= TELLING and value in (
                said if isinstance(said, str) else "\n".join(said)
            ):
                yield key, name


def open_environment(part: Part) -> dict[str, str]:
    """Return the environment without its secrets."""
    hidden = literals(part)
    return {name: value for name, value in part.environment.items() if name not in hidden}


def sources(part: Part) -> dict[str, Secret | None]:
    """Return where each secret of a part comes from; None: it stood in the recipe."""
    return {**dict.fromkeys(literals(part)), **part.secrets}


def complaints(part: Part) -> Iterator[tuple[Path, str]]:
    """Yield what is wrong with a part's secrets, with the path inside the part."""
    for name in part.secrets:
        if name in part.environment:
            what = "stands under environment: as well; keep it here only"
            yield ("secrets", name), what
    for name, value in literals(part).items():
        if value == REDACTED:
            what = "the secret was taken out of this copy; name its source under secrets:"
            yield ("environment", name), what
    for place, names in (("secrets", part.secrets), ("environment", literals(part))):
        for name in names:
            if _TAKEN.fullmatch(name):
                yield (place, name), f"{name} cannot be a secret's name: it steers the script"


def redacted(data: bytes, recipe: Recipe) -> bytes:
    """Return the text of a recipe without the secrets that stand in it; others are unchanged."""
    places = [
        (*path, "environment", name)
        for path, part in paths.parts(recipe)
        for name in literals(part)
    ]
    if not places:
        return data
    wanted = read(data, "", RecipeError).data
    for place in places:
        paths.put(wanted, place, REDACTED)
    note = _NOTE.format(", ".join(dict.fromkeys(str(place[-1]) for place in places)))
    text = note + _replaced(data.decode("utf-8-sig"), places)
    # Should our idea of where a value ends ever differ from the reader's, nothing may be left over.
    if read(text.encode(), "", RecipeError).data != wanted:
        text = note + yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True)
    return text.encode()


def _replaced(text: str, places: list[Path]) -> str:
    root = yaml.compose(text, Loader=_LOADER)
    spans = sorted((_span(root, place) for place in places), reverse=True)
    for start, end in spans:
        tail = "\n" if text[start:end].endswith("\n") else ""  # a block scalar's own line end
        text = text[:start] + _IN_PLACE + tail + text[end:]
    return text


def _span(node: Any, place: Path) -> tuple[int, int]:
    for step in place:
        if isinstance(node, yaml.MappingNode):
            node = next(value for key, value in node.value if key.value == step)
        else:
            node = node.value[step]
    return node.start_mark.index, node.end_mark.index
