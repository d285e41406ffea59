"""JSON Schemas of what users write and read, for editors and other programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import JsonValue

from benchd.config import Settings
from benchd.core import results
from benchd.core.spec import Recipe
from benchd.fields import Model

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(kind: str) -> dict[str, JsonValue]:
    """Return the JSON Schema of a ``recipe``, the ``config`` file or a ``result``."""
    return KINDS[kind]()


def of(model: type[Model], title: str) -> dict[str, JsonValue]:
    """Return the JSON Schema of a model."""
    return {"$schema": DIALECT, **model.model_json_schema(), "title": title}


KINDS: Mapping[str, Callable[[], dict[str, JsonValue]]] = {
    "recipe": lambda: of(Recipe, "benchd recipe"),
    "config": lambda: of(Settings, "benchd configuration"),
    "result": results.json_schema,
}
