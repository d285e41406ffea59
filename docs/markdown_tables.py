"""Markdown tables: of rows, and of the keys of models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchd.fields import Model

NUMBER_OR_TEXT = frozenset({"number", "string"})


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(_cell(c) for c in line) + " |\n" for line in lines)


def _cell(text: str) -> str:
    text = text.replace("|", "\\|").replace("\n", " ")
    return text if "`" in text else text.replace("<", "&lt;")  # no HTML tags outside code


def code(value: object) -> str:
    """Return a value as YAML writes it, in code marks; nothing for nothing."""
    if value is None or value in ("", (), [], {}):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def model_tables(models: Mapping[str, type[Model]]) -> str:
    """Return one table of keys for each model, under its heading."""
    return "\n".join(
        f"## {title}\n\n{first_line(model)}\n\n{model_table(model)}"
        for title, model in models.items()
    )


def first_line(thing: object) -> str:
    """Return the first paragraph of what a thing says of itself."""
    return (thing.__doc__ or "").strip().partition("\n\n")[0].replace("\n    ", " ")


def model_table(model: type[Model]) -> str:
    """Return the table of a model's keys."""
    schema = model.model_json_schema()
    required = set(schema.get("required", ()))
    rows = []
    for key, said in schema["properties"].items():
        kind, default = type_of(said), said.get("default")
        if kind == "duration" and default is not None:
            shown = f"`{default:g}s`"
        else:
            shown = "required" if key in required else _default(default)
        rows.append([f"`{key}`", kind, shown, said.get("description", "")])
    return table(["key", "type", "default", "meaning"], rows)


def _default(value: object) -> str:
    return "" if isinstance(value, dict) else code(value)


def type_of(said: Mapping[str, Any]) -> str:
    """Return what a key takes, in words."""
    if "anyOf" in said:
        options = [option for option in said["anyOf"] if option.get("type") != "null"]
        kinds = {option.get("type") for option in options}
        if kinds == NUMBER_OR_TEXT:
            return "duration"
        if kinds >= {"string", "integer", "boolean"}:
            return "value"
        if kinds == {"string", "integer"} and all("const" not in option for option in options):
            return "text"
        return " or ".join(dict.fromkeys(type_of(option) for option in options))
    if "enum" in said:
        return ", ".join(f"`{choice}`" for choice in said["enum"])
    if "const" in said:
        return f"`{said['const']}`"
    if "$ref" in said or "allOf" in said:
        return "mapping, see below"
    kind = said.get("type", "value")
    if kind == "array":
        return f"list of {type_of(said['items'])}"
    if kind == "object":
        keys = said.get("patternProperties") or {"": said.get("additionalProperties")}
        inner = next(iter(keys.values()))
        return f"name -> {type_of(inner)}" if isinstance(inner, dict) else "mapping"
    words = {"string": "text", "integer": "whole number", "number": "number"}
    return words.get(kind, "true or false") + _range(said)


def _range(said: Mapping[str, Any]) -> str:
    low, high = said.get("minimum"), said.get("maximum")
    if low is not None and high is not None:
        return f", {low} to {high}"
    return f", from {low}" if low is not None else ""
