"""JSON Schemas that know the catalogue: recipes with every kind's parameters, and kinds' files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from benchd.catalog import Catalog
from benchd.catalog.kinds import Kind, Parameter
from benchd.catalog.own import OwnKind
from benchd.core import schemas

_TYPES = {"int": "integer", "float": "number", "str": "string", "bool": "boolean"}


def schema(thing: str, catalog: Catalog) -> Mapping[str, Any]:
    """Return the JSON Schema of a ``recipe``, the ``config`` file, a ``result`` or a ``kind``."""
    if thing == "kind":
        return schemas.of(OwnKind, "benchd kind")
    said = schemas.schema(thing)
    return _with_kinds(said, catalog) if thing == "recipe" else said


def _with_kinds(schema: Mapping[str, Any], catalog: Catalog) -> dict[str, Any]:
    """Return the schema of recipes in which editors complete and check ``parameters:`` by kind."""
    parts = {"Service": catalog.services.values(), "Client": catalog.clients.values()}
    models = dict(schema["$defs"])
    for name, kinds in parts.items():
        models[name] = {**models[name], "allOf": _rules(kinds)}
    return {**schema, "$defs": models}


def _rules(kinds: Iterable[Kind]) -> list[dict[str, Any]]:
    """Return one rule a kind: a part's kind is what ``kind`` says, else its name."""
    return [
        {
            "if": {
                "anyOf": [
                    {"properties": {"kind": {"const": kind.name}}, "required": ["kind"]},
                    {
                        "properties": {"name": {"const": kind.name}},
                        "required": ["name"],
                        "not": {"required": ["kind"]},
                    },
                ]
            },
            "then": {"properties": {"parameters": _parameters(kind)}},
        }
        for kind in kinds
    ]


def _parameters(kind: Kind) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {parameter.name: _parameter(parameter) for parameter in kind.parameters},
        "additionalProperties": False,
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    said: dict[str, Any] = {"type": _TYPES[parameter.type], "description": _about(parameter)}
    if parameter.default is not None:
        said["default"] = parameter.default
    if parameter.choices:
        said["enum"] = list(parameter.choices)
    if parameter.minimum is not None:
        said["minimum"] = parameter.minimum
    if parameter.maximum is not None:
        said["maximum"] = parameter.maximum
    if parameter.pattern:
        said["pattern"] = f"^(?:{parameter.pattern})$"
    return said


def _about(parameter: Parameter) -> str:
    return f"{parameter.doc} ({parameter.unit})" if parameter.unit else parameter.doc
