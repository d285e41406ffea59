"""The points of a sweep: what each key varies, which combinations are left out. Pure.

A key names one path, or several separated by commas: then each of its values is a list with one
value for each path, and they go together. Points are numbered in the order of the sweep, the last
key varying fastest, without those that ``exclude`` leaves out.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from benchd.core import paths
from benchd.core.spec import Part, Recipe, Swept
from benchd.errors import UserError
from benchd.fields import Scalar
from benchd.secrecy import is_secret
from benchd.yamlcheck import suggestion
from benchd.yamldoc import Path, show

Cell = Mapping[str, Scalar]  # swept path, as the recipe writes it -> value
# A place in the document, what is wrong there, and whether it is the key that is wrong.
Complaint = tuple[Path, str, bool]
# A part and a changed one -> where in the part and what is wrong with the change.
Judge = Callable[[Part, Part], Iterable[tuple[Path, str]]]
# A part's place among the recipe's -> the swept values that are about it, and the part with them,
# or why it cannot have them.
Points = Mapping[int, Sequence[tuple[Cell, Part | str]]]

# Combinations that are looked through for what `exclude` leaves out; more are a slip in a sweep.
MAX_COMBINATIONS = 100_000
# Points whose parts are judged; a recipe with more makes too many jobs whatever they say.
MAX_POINTS = 10_000


def paths_of(key: str) -> tuple[str, ...]:
    """Return the paths that a key of a sweep names."""
    return tuple(word.strip() for word in key.split(","))


def swept_paths(recipe: Recipe) -> tuple[str, ...]:
    """Return every path that the sweep varies, in its order."""
    return tuple(path for key in recipe.sweep for path in paths_of(key))


def cells(recipe: Recipe) -> tuple[Cell, ...]:
    """Return the points of the sweep; without a sweep, one point that says nothing."""
    return tuple(
        cell
        for cell in _combinations(recipe)
        if not any(_is_meant(entry, cell) for entry in recipe.exclude)
    )


def combinations(recipe: Recipe) -> int:
    """Return how many combinations there are before any is left out."""
    return math.prod(len(values) for values in recipe.sweep.values())


def each_value(recipe: Recipe) -> Iterator[tuple[str, Path, Scalar]]:
    """Yield every path with each of its values and where it stands."""
    for key, values in recipe.sweep.items():
        names = paths_of(key)
        for number, value in enumerate(values):
            place: Path = ("sweep", key, number)
            if not isinstance(value, tuple):
                yield key, place, value
            elif _is_zipped(key) and len(value) == len(names):
                for index, (path, one) in enumerate(zip(names, value, strict=True)):
                    yield path, (*place, index), one


def _is_zipped(key: str) -> bool:
    return "," in key


def _combinations(recipe: Recipe) -> Iterator[Cell]:
    axes = [
        [dict(zip(paths_of(key), _row(value), strict=True)) for value in values]
        for key, values in recipe.sweep.items()
    ]
    for combination in itertools.product(*axes):
        yield {path: value for chosen in combination for path, value in chosen.items()}


def _row(value: Swept) -> tuple[Scalar, ...]:
    return value if isinstance(value, tuple) else (value,)


def at_points(recipe: Recipe) -> Points:
    """Return each swept part, by its place in the recipe, with all that it is at the points.

    Nothing where the sweep is wrong, or too large: what its points are is not known then.
    """
    if combinations(recipe) > MAX_COMBINATIONS or any((*_of_keys(recipe), *_of_rows(recipe))):
        return {}
    points = cells(recipe)
    if len(points) > MAX_POINTS:
        return {}
    everything = [part for _, part in paths.parts(recipe)]
    meant = {path: paths.swept(recipe, path) for path in swept_paths(recipe)}
    found: dict[int, dict[object, tuple[Cell, Part | str]]] = {i: {} for i, _ in meant.values()}
    for cell in points:
        for index, known in found.items():
            own = {path: value for path, value in cell.items() if meant[path][0] == index}
            told = tuple((type(value), value) for value in own.values())
            if told not in known:
                known[told] = own, _put(everything[index], own, meant)
    return {index: list(known.values()) for index, known in found.items()}


def _put(part: Part, own: Cell, meant: Mapping[str, tuple[int, Path]]) -> Part | str:
    """Return the part with all these values, or what is wrong with one of them."""
    for path, value in own.items():
        changed = paths.with_value(part, meant[path][1], value)
        if isinstance(changed, str):
            return changed
        part = changed
    return part


def same(one: Scalar, other: Scalar) -> bool:
    """Tell whether two values are the same in a recipe: 1, 1.0 and True are not."""
    return type(one) is type(other) and one == other


def _is_meant(entry: Mapping[str, Scalar], cell: Cell) -> bool:
    return all(path in cell and same(cell[path], value) for path, value in entry.items())


# --- what cannot be ------------------------------------------------------------------------------


def complaints(recipe: Recipe, judged: Judge, points: Points) -> Iterator[Complaint]:
    """Yield what is wrong with a sweep, with its places; ``judged`` knows the kinds."""
    if recipe.exclude and not recipe.sweep:
        yield ("exclude",), "there is no sweep whose points could be left out", True
        return
    found = [*_of_keys(recipe), *_of_rows(recipe)]
    found += _of_values(recipe, judged, points, but={place[1] for place, _, _ in found})
    yield from _once(recipe, found)
    if not found and combinations(recipe) <= MAX_COMBINATIONS:
        yield from _of_exclusions(recipe)


def _once(recipe: Recipe, found: Sequence[Complaint]) -> Iterator[Complaint]:
    """Yield the complaints; what is wrong with every value of a key is said of the key."""
    several: dict[Path, int] = {("sweep", key): len(row) for key, row in recipe.sweep.items()}
    often = Counter((place[:2], what) for place, what, _ in dict.fromkeys(found))
    told: list[Complaint] = []
    for place, what, at_key in found:
        if len(place) > 2 and often[place[:2], what] == several[place[:2]] > 1:
            told.append((place[:2], what, True))
        else:
            told.append((place, what, at_key))
    yield from dict.fromkeys(told)


def _of_keys(recipe: Recipe) -> Iterator[Complaint]:
    seen: Counter[tuple[int, Path]] = Counter()
    for key, values in recipe.sweep.items():
        place: Path = ("sweep", key)
        for path in paths_of(key):
            try:
                if not path:
                    raise UserError("a path is missing between or beside the commas")
                meant = paths.swept(recipe, path)
            except UserError as error:
                yield place, f"{path}: {error}" if _is_zipped(key) and path else str(error), True
                continue
            seen[meant] += 1
            if seen[meant] == 2:
                yield place, f"{path} is swept twice; name it in one key only", True
            if meant[1][0] == "environment" and is_secret(str(meant[1][1])):
                what = "a secret cannot be swept: what is swept stands in every result"
                yield place, what, True
        if not values:
            yield place, "needs at least one value", False


def _of_rows(recipe: Recipe) -> Iterator[Complaint]:
    """Yield the values that have not the form that their key asks for."""
    for key, values in recipe.sweep.items():
        names, seen = paths_of(key), set()
        for number, value in enumerate(values):
            place: Path = ("sweep", key, number)
            # 1, 1.0 and True are equal in Python
            told = tuple((type(one), one) for one in _row(value))
            if _is_zipped(key) and not (isinstance(value, tuple) and len(value) == len(names)):
                what = f"must be a list of {len(names)} values, one for each path of the key"
                has = f"{len(value)} values" if isinstance(value, tuple) else show(value)
                yield place, f"{what}, not {has}", False
            elif not _is_zipped(key) and isinstance(value, tuple):
                what = "must be a single value; lists are for keys that name several paths, "
                yield place, what + "separated by commas", False
            elif told in seen:
                said = (
                    f"[{', '.join(map(show, value))}]" if isinstance(value, tuple) else show(value)
                )
                yield place, f"{said} stands here twice; use repeat: to measure again", False
            seen.add(told)


def _of_values(
    recipe: Recipe, judged: Judge, points: Points, but: Collection[str | int]
) -> Iterator[Complaint]:
    """Yield what is wrong with a value by itself, and with those that meet at a point."""
    everything = [part for _, part in paths.parts(recipe)]
    alone: dict[tuple[str, type, Scalar], tuple[Path, Path, set[tuple[Path, str]]]] = {}
    for path, place, value in each_value(recipe):
        if place[1] in but:
            continue
        index, inner = paths.swept(recipe, path)
        changed = paths.with_value(everything[index], inner, value)
        if isinstance(changed, str):
            yield place, changed, False
            continue
        wrong = set(judged(everything[index], changed))
        alone[path, type(value), value] = place, inner, wrong
        if not points:  # not known: every value has to do with the part as it is written
            yield from ((place, what, False) for _, what in sorted(wrong, key=str))
    told: dict[Complaint, None] = {}
    for index, variants in points.items():
        for cell, part in variants:
            values = [alone.get((path, type(value), value)) for path, value in cell.items()]
            known = [value for value in values if value is not None]
            if len(known) < len(values):
                continue  # one of them has been complained about
            found = [((), part)] if isinstance(part, str) else judged(everything[index], part)
            for where, what in found:
                # The value that is wrong by itself, or that the complaint is about; or the last.
                fit = [
                    ((where, what) in wrong, inner == where, number)
                    for number, (_, inner, wrong) in enumerate(known)
                ]
                told[known[max(fit)[2]][0], what, False] = None
    yield from told


def _of_exclusions(recipe: Recipe) -> Iterator[Complaint]:
    known: dict[str, list[Scalar]] = {}
    for path, _, value in each_value(recipe):
        known.setdefault(path, []).append(value)
    all_cells = tuple(_combinations(recipe)) if recipe.exclude else ()
    wrong = False
    for number, entry in enumerate(recipe.exclude):
        place: Path = ("exclude", number)
        found = list(_of_exclusion(place, entry, known, all_cells))
        wrong = wrong or bool(found)
        yield from found
    if recipe.exclude and not wrong and not cells(recipe):
        yield ("exclude",), "leaves no point of the sweep to measure", True


def _of_exclusion(
    place: Path,
    entry: Mapping[str, Scalar],
    known: Mapping[str, list[Scalar]],
    all_cells: tuple[Cell, ...],
) -> Iterator[Complaint]:
    """Yield why one entry leaves out nothing, or everything."""
    if not entry:
        yield place, "is empty; write {swept path: value, ...}", False
    strange = False
    for path, value in entry.items():
        if path not in known:
            strange = True
            yield (*place, path), f"is not swept{suggestion(path, known)}", True
        elif not any(same(value, one) for one in known[path]):
            strange = True
            values = ", ".join(show(one) for one in known[path][:12])
            yield (*place, path), f"{show(value)} is none of its values: {values}", False
    if entry and not strange and not any(_is_meant(entry, cell) for cell in all_cells):
        yield place, "excludes nothing: no point has all of these values", False
