"""What two runs are beside their numbers: where each comes from, and in what they differ."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Document = Mapping[str, Any]  # a result, as its JSON has it
Facts = Mapping[str, frozenset[str]]

# What makes two results different things, whatever one wants: their numbers mean something else.
_NEVER = ("client.kind", "workload.kind", "workload.api")
_NUMBERS = ("formula.", "unit.")  # of a metric: what its numbers are
# What another client brings along: it is no difference of its own.
_WITH_CLIENT = ("client.", "workload.", *_NUMBERS)
_TOLD = 12  # metrics that a note names


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Something beside the numbers in which two runs differ."""

    key: str
    base: str
    other: str
    fatal: bool  # never comparable, whatever is named


def is_valid(result: Document) -> bool:
    """Tell whether a result may be used."""
    return bool((result.get("validity") or {}).get("valid"))


def origin(results: Iterable[Document]) -> dict[str, str]:
    """Return where and when the valid results were measured, by what, and after which recipe."""
    found: dict[str, set[str]] = {}
    for result in filter(is_valid, results):
        for key, value in _from(result):
            if value:
                found.setdefault(key, set()).add(str(value))
    ends = {"from": min, "until": max}
    return {
        key: ends[key](values) if key in ends else ", ".join(sorted(values))
        for key, values in found.items()
    }


def _from(result: Document) -> Iterator[tuple[str, Any]]:
    said, times = result.get("provenance") or {}, result.get("times") or {}
    recipe = said.get("recipe") or {}
    yield "cluster", (said.get("cluster") or {}).get("name")
    yield "from", times.get("measure_start") or times.get("started")
    yield "until", times.get("measure_end") or times.get("finished")
    yield "benchd", (said.get("benchd") or {}).get("version")
    yield "recipe", recipe.get("path") or recipe.get("name")
    yield "recipe_sha256", recipe.get("sha256")


def differences(base: Sequence[Document], other: Sequence[Document]) -> tuple[Difference, ...]:
    """Return what differs beside the numbers; of a thing that varies within a run, all of it.

    Other clients come first, and what follows from that is not told.
    """
    found = tuple(_all(_facts(base), _facts(other)))
    clients = tuple(d for d in found if d.key == "client.kind")
    if not clients:
        return found
    return (*clients, *(d for d in found if not d.key.startswith(_WITH_CLIENT)))


def _all(base: Facts, other: Facts) -> Iterator[Difference]:
    for key in dict.fromkeys([*base, *other]):
        left, right = base.get(key, frozenset()), other.get(key, frozenset())
        is_number = key.startswith(_NUMBERS)
        if left == right or (is_number and not (left and right)):
            continue  # a number that one run lacks is not compared at all
        is_set = ".parameters." in key or ".environment." in key
        lacks = "not set" if is_set else "not recorded"
        sides = (", ".join(sorted(values)) or lacks for values in (left, right))
        fatal = key in _NEVER or is_number
        yield Difference(key=key, base=next(sides), other=next(sides), fatal=fatal)


def known_keys(results: Iterable[Document]) -> frozenset[str]:
    """Return everything in which these results could differ from others."""
    valid = [{**result, "cell": {}} for result in results if is_valid(result)]
    return frozenset(_facts(valid))


def unused(
    across: Collection[str], base: Sequence[Document], other: Sequence[Document]
) -> Iterator[str]:
    """Yield a sentence for each difference that was named and is none."""
    differing = {d.key for d in _all(_facts(base), _facts(other))}
    for key in sorted(set(across) - differing):
        yield f"they do not differ in {key}: --across {key} changes nothing"


def lone_metrics(base: Sequence[Document], other: Sequence[Document]) -> Iterator[str]:
    """Yield which metrics only one side has."""
    mine, theirs = _metrics(base), _metrics(other)
    for side, only in (("base", mine - theirs), ("other", theirs - mine)):
        if only:
            names = sorted(only)
            more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
            yield f"measured only in {side}: {', '.join(names[:_TOLD])}{more}"


def _metrics(results: Iterable[Document]) -> set[str]:
    return {name for result in filter(is_valid, results) for name in result.get("metrics") or {}}


def _facts(results: Iterable[Document]) -> Facts:
    found: dict[str, set[str]] = {}
    for result in filter(is_valid, results):
        for key, value in _of_one(result):
            found.setdefault(key, set()).add(value)
    return {key: frozenset(values) for key, values in found.items()}


def _of_one(result: Document) -> Iterator[tuple[str, str]]:
    said, cell = result.get("provenance") or {}, result.get("cell") or {}
    for part in ("service", "client"):
        yield from _of_part(part, said.get(part) or {}, cell)
    yield from _of_place(said)
    workload = result.get("workload") or {}
    for key in ("kind", "api"):
        if workload.get(key) is not None:
            yield f"workload.{key}", str(workload[key])
    dataset = (workload.get("prompt") or {}).get("sha256")  # a file may change below its name
    if dataset is not None:
        yield "workload.prompt.sha256", str(dataset)
    for name, metric in (result.get("metrics") or {}).items():
        yield f"formula.{name}", str(metric.get("formula"))
        yield f"unit.{name}", str(metric.get("unit") or "none")


def _of_part(part: str, said: Document, cell: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key in ("kind", "image", "image_digest", "version", "source"):
        if said.get(key) is not None:
            yield f"{part}.{key}", str(said[key])
    for group in ("parameters", "environment"):
        for key, value in (said.get(group) or {}).items():
            if not _is_swept(part, f"{group}.{key}", value, cell):
                yield f"{part}.{group}.{key}", str(value)


def _of_place(said: Document) -> Iterator[tuple[str, str]]:
    cluster = said.get("cluster") or {}
    yield from ((f"cluster.{k}", str(cluster[k])) for k in ("name", "partition") if cluster.get(k))
    for node in said.get("hardware") or ():
        yield from (("hardware.gpu", str(gpu.get("type"))) for gpu in node.get("gpus") or ())
        if node.get("cpu"):
            yield "hardware.cpu", str(node["cpu"])


def _is_swept(part: str, key: str, value: object, cell: Mapping[str, Any]) -> bool:
    """Tell whether a parameter is what the cell varies: then it is matched, not compared.

    A short name may be another part's parameter; then its value is not this one.
    """
    short = key.partition(".")[2]
    return (short in cell and cell[short] == value) or any(
        name.startswith(part) and name.endswith(key) for name in cell
    )
