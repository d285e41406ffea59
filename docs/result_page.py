"""The generated parts of the page about results: keys of the document, formulas of the numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from benchd.core import results
from benchd.core.flags import FLAGS
from benchd.core.formulas import FORMULAS
from benchd.core.numbers import Flag, Metric, Severity

# What is in a result, outermost first: heading -> model.
MODELS: Mapping[str, type[BaseModel]] = {
    "The document": results.Result,
    "`validity`": results.Validity,
    "`validity.flags`": Flag,
    "`times`": results.Times,
    "`counts`": results.Counts,
    "`metrics`": Metric,
    "`provenance`": results.Provenance,
    "`artifacts`": results.Artifact,
}


def keys(model: type[BaseModel]) -> Iterator[tuple[str, str, str]]:
    """Yield each key of a model with its type and its meaning."""
    for name, said in model.model_json_schema(by_alias=True)["properties"].items():
        yield f"`{name}`", _type(said), str(said.get("description", ""))


def _type(said: Mapping[str, Any]) -> str:
    if "anyOf" in said:
        kinds = [_type(one) for one in said["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds)) + ", or absent"
    if "const" in said:
        return f"`{said['const']}`"
    if "enum" in said:
        return ", ".join(f"`{word}`" for word in said["enum"])
    if "$ref" in said:
        named = {"JsonValue": "JSON", "Severity": ", ".join(f"`{word}`" for word in Severity)}
        return named.get(said["$ref"].rpartition("/")[2], "object, see below")
    kind = said.get("type")
    if kind == "array":
        return f"list of {_type(said['items'])}"
    if kind == "object":
        inner = said.get("additionalProperties")
        return f"name -> {_type(inner)}" if isinstance(inner, Mapping) else "object"
    words = {"string": "text", "integer": "whole number", "number": "number"}
    return words.get(str(kind), "true or false")


def formulas() -> Iterator[tuple[str, str, str, str]]:
    """Yield each number with its id, its unit, what is better and how it is made."""
    for name, each in FORMULAS.items():
        yield f"`{name}/v1`", each.unit, each.better or "neither", each.says


def flags() -> Iterator[tuple[str, Iterator[tuple[str, str, str, str, str]]]]:
    """Yield each section of flags with its rows."""
    for title, section in FLAGS.items():
        yield (
            title,
            (
                (f"`{code}`", ", ".join(each.severities), each.limit, each.says, each.advice)
                for code, each in section.items()
            ),
        )
