"""A document against its pydantic model: every mistake at once, in plain sentences, with its place.

Models are strict: a text is never taken for a number, nor a number for a text. What YAML calls a
list is handed over as a tuple, because models are frozen.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from types import UnionType
from typing import Annotated, Any, Generic, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from benchd.errors import DocumentError, Mistake
from benchd.secrecy import is_secret
from benchd.yamldoc import MAX_MISTAKES, Document, Path, show

M = TypeVar("M", bound=BaseModel)

_QUOTED = re.compile(r"'([^']*)'")
_SIMILAR = 0.6  # difflib's ratio from which two words look alike; its own default


@dataclass(frozen=True, slots=True)
class Words:
    """What a family of models knows about what its users write.

    ``patterns``: regular expression -> what it asks for, in words. ``synonyms``: what people write
    -> the key they mean. ``absent``: key -> why it is not accepted, instead of "unknown key".
    """

    patterns: Mapping[str, str] = field(default_factory=dict)
    synonyms: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)


def closest(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice that looks most like the word, if one does."""
    lowered = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(word.lower()[:64], lowered, n=1, cutoff=_SIMILAR)
    return lowered[found[0]] if found else None


def suggestion(word: str, choices: Iterable[str]) -> str:
    """Return ``; did you mean X?``, or the choices when they are few, or nothing."""
    choices = sorted(set(choices))
    if (found := closest(word, choices)) is not None:
        return f"; did you mean {found}?"
    if 0 < len(choices) <= 12:  # more do not help on one line
        return f"; known: {', '.join(choices)}"
    return ""


@dataclass(frozen=True, slots=True)
class Judgement(Generic[M]):
    """The model, or what is wrong; ``paths`` are the places that have been complained about."""

    model: M | None
    mistakes: tuple[Mistake, ...] = ()
    paths: frozenset[Path] = frozenset()


def judge(model: type[M], document: Document, words: Words | None = None) -> Judgement[M]:
    """Return the validated model, or what is wrong beyond the document's own mistakes."""
    if not isinstance(document.data, dict):
        what = "is empty" if document.data is None else f"is {show(document.data)}"
        what = f"the document {what}; it must be a mapping of keys and values"
        mistakes = () if document.is_broken(()) else (document.mistake((), what),)
        return Judgement(None, mistakes, frozenset([()]))
    try:
        return Judgement(model.model_validate(_frozen(document.data)))
    except ValidationError as error:
        return _complaints(model, document, words or Words(), error)


def check(
    model: type[M],
    document: Document,
    error: type[DocumentError] = DocumentError,
    words: Words | None = None,
) -> M:
    """Return the validated model, or raise every mistake in the document."""
    judged = judge(model, document, words)
    mistakes = [*document.mistakes, *judged.mistakes]
    if mistakes or judged.model is None:
        raise error(document.file, capped(mistakes))
    return judged.model


def capped(mistakes: Iterable[Mistake]) -> list[Mistake]:
    """Return the first mistakes of a long list, and say that there are more."""
    ordered = sorted(set(mistakes))
    if len(ordered) <= MAX_MISTAKES:
        return ordered
    last = ordered[MAX_MISTAKES - 1]
    more = Mistake(last.line, last.column + 1, "", "there are more mistakes; mend these first")
    return [*ordered[:MAX_MISTAKES], more]


def _frozen(value: object) -> object:
    """Return the same data with tuples for lists."""
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    return value


def _complaints(
    model: type[M], document: Document, words: Words, error: ValidationError
) -> Judgement[M]:
    """Group pydantic's errors by the value they are about, and say each once."""
    grouped: dict[tuple[Path, bool], list[Any]] = {}
    for item in error.errors(include_url=False):
        place = _locate(document.data, item)
        if not document.is_broken(place[0]):
            grouped.setdefault(place, []).append(item)
    refused = frozenset(path for path, _ in grouped)
    if len(grouped) > MAX_MISTAKES:  # looking for similar words takes time, and few are shown
        first = sorted(grouped, key=lambda place: document.key_mark(place[0]))[: MAX_MISTAKES + 1]
        grouped = {place: grouped[place] for place in first}
    # A misspelt key is one mistake, not two: the key it stands for is not missing.
    unknown = [path for (path, _), items in grouped.items() if _is(items[0], "extra_forbidden")]
    meant = {
        (*path[:-1], key)
        for path in unknown
        if (key := _meant(str(path[-1]), keys_at(model, path[:-1]), words)) is not None
    }
    said = {
        place: items
        for place, items in grouped.items()
        if not (_is(items[0], "missing") and place[0] in meant)
    }
    mistakes = tuple(
        _mistake(document, place, items, keys_at(model, place[0][:-1]), words)
        for place, items in said.items()
    )
    return Judgement(None, mistakes, refused | meant)


def _is(item: Any, kind: str) -> bool:
    return bool(item["type"] == kind)


def _locate(data: object, item: Any) -> tuple[Path, bool]:
    """Return the path of the value an error is about, and whether it is about the key.

    pydantic puts the names of union members and ``[key]`` into its locations; these are not part
    of the document.
    """
    path: list[str | int] = []
    for part in item["loc"]:
        inside = isinstance(data, dict) and part in data
        if not inside and not (
            isinstance(data, list) and isinstance(part, int) and part < len(data)
        ):
            continue
        data = data[part]  # type: ignore[index]  # checked in the line above
        path.append(part)
    if item["type"] == "missing":
        path.append(item["loc"][-1])
    at_key = item["type"] == "extra_forbidden" or item["loc"][-1:] == ("[key]",)
    return tuple(path), at_key


def _mistake(
    document: Document, place: tuple[Path, bool], items: list[Any], known: list[str], words: Words
) -> Mistake:
    """Say what is wrong with one value or key."""
    path, at_key = place
    first = items[0]
    if first["type"] == "missing":
        around = document.mistake(path[:-1], "")
        shown = document.mistake(path, "missing key; it is required")
        return Mistake(around.line, around.column, shown.path, shown.what)
    if first["type"] == "extra_forbidden":
        what = _unknown_key(str(path[-1]), known, words)
        return document.mistake(path, what, at_key=True)
    if first["loc"][-1:] == ("[key]",):
        return document.mistake(path, f"the key must be {_want(first, words)}", at_key=True)
    hidden = any(isinstance(p, str) and (p == "secrets" or is_secret(p)) for p in path)
    return document.mistake(path, _sentence(items, words, hidden=hidden), at_key=at_key)


def _unknown_key(name: str, known: list[str], words: Words) -> str:
    """Say that a key is unknown, and which one may have been meant."""
    if name in words.absent:
        return words.absent[name]
    if (meant := _meant(name, known, words)) is not None:
        return f"unknown key; did you mean {meant}?"
    return f"unknown key{suggestion(name, known)}"


def _meant(name: str, known: list[str], words: Words) -> str | None:
    """Return the key that an unknown one most likely stands for."""
    if name in words.absent:
        return None
    plain = name.lower().replace("-", "_")
    meant = words.synonyms.get(plain, plain)
    return meant if meant in known else closest(name, known)


def _sentence(items: list[Any], words: Words, *, hidden: bool) -> str:
    """Say what one value must be. Several items are the members of a union.

    ``hidden``: by its place it may be a secret, and is not to be quoted.
    """
    for item in items:
        if item["type"] in {"value_error", "assertion_error"}:
            return str(item["ctx"]["error"])
    value = items[0]["input"]
    wants = list(dict.fromkeys(_want(item, words) for item in items))
    if set(wants) >= _ANY_SCALAR:
        wants = ["a single value"]
    if value is None:
        return "is empty; give it a value or remove the key"
    text = f"must be {' or '.join(wants)}"
    if hidden:
        return text
    text += f", not {show(value)}"
    kinds = {item["type"] for item in items}
    if "string_type" in kinds and isinstance(value, bool | int | float):
        return f"{text}; put it in quotes if it is meant as text"
    if "tuple_type" in kinds and isinstance(value, str | int | float):
        return f"{text}; write [{show(value)}]"
    choices = [c for item in items if item["type"] in _CHOICES for c in _choices(item)]
    if isinstance(value, str) and (near := closest(value, choices)):
        return f"{text}; did you mean {near}?"
    return text


_CHOICES = frozenset({"literal_error", "enum"})
_ANY_SCALAR = frozenset({"text", "a whole number", "a number", "true or false"})


def _choices(item: Any) -> list[str]:
    return _QUOTED.findall(item["ctx"]["expected"])


def _one_of(context: Mapping[str, Any]) -> str:
    names = _QUOTED.findall(context["expected"])
    return names[0] if len(names) == 1 else f"one of {', '.join(names)}"


# pydantic's error type -> what the value must be, in words
_WANTS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "string_type": lambda c: "text",
    "int_type": lambda c: "a whole number",
    "int_from_float": lambda c: "a whole number",
    "float_type": lambda c: "a number",
    "bool_type": lambda c: "true or false",
    "tuple_type": lambda c: "a list",
    "list_type": lambda c: "a list",
    "dict_type": lambda c: "a mapping of keys and values",
    "model_type": lambda c: "a mapping of keys and values",
    "model_attributes_type": lambda c: "a mapping of keys and values",
    "literal_error": _one_of,
    "enum": _one_of,
    "greater_than_equal": lambda c: f"at least {c['ge']}",
    "greater_than": lambda c: f"more than {c['gt']}",
    "less_than_equal": lambda c: f"at most {c['le']}",
    "less_than": lambda c: f"less than {c['lt']}",
    "string_too_long": lambda c: f"at most {c['max_length']} characters long",
    "string_too_short": lambda c: f"at least {c['min_length']} characters long",
    "too_long": lambda c: f"a list of at most {c['max_length']}",
    "too_short": lambda c: f"a list of at least {c['min_length']}",
    "finite_number": lambda c: "a finite number",
}


def _want(item: Any, words: Words) -> str:
    """Return what the value must be, in words."""
    context = item.get("ctx", {})
    if item["type"] == "string_pattern_mismatch":
        pattern = context["pattern"]
        return words.patterns.get(pattern, f"text that matches {pattern}")
    if item["type"] in _WANTS:
        return _WANTS[item["type"]](context)
    message = str(item["msg"])
    return message[:1].lower() + message[1:].removeprefix("nput should be ")


def without(data: Any, paths: Iterable[Path]) -> Any:
    """Return a copy without these values, so that what is left can be judged as well.

    An item of a list goes together with the list: what is left must keep its place.
    """
    data = deepcopy(data)
    for path in sorted(paths, key=len, reverse=True):
        while path and isinstance(path[-1], int):
            path = path[:-1]  # noqa: PLW2901 - the list instead of its item
        here = data
        for part in path[:-1]:
            inside = isinstance(here, dict) or (isinstance(part, int) and part < len(here or ()))
            here = (here.get(part) if isinstance(here, dict) else here[part]) if inside else None
        if path and isinstance(here, dict):
            here.pop(path[-1], None)
    return data


def keys_at(model: type[BaseModel], path: Path) -> list[str]:
    """Return the keys that the model knows at this path."""
    annotations: list[Any] = [model]
    for part in path:
        annotations = [inner for outer in annotations for inner in _inside(outer, part)]
    return [
        name
        for annotation in annotations
        for member in _members(annotation)
        if isinstance(member, type) and issubclass(member, BaseModel)
        for name in member.model_fields
    ]


def _members(annotation: Any) -> list[Any]:
    """Return the types a union or annotated type consists of."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin in {Union, UnionType}:
        return [m for argument in get_args(annotation) for m in _members(argument)]
    return [annotation]


def _inside(annotation: Any, part: str | int) -> list[Any]:
    """Return the types of what stands at one key or index of a value of this type."""
    found: list[Any] = []
    for member in _members(annotation):
        origin = get_origin(member)
        if isinstance(part, int) and origin in {tuple, list}:
            found.append(get_args(member)[0])
        elif origin is dict:
            found.append(get_args(member)[1])
        elif (
            isinstance(member, type)
            and issubclass(member, BaseModel)
            and part in member.model_fields
        ):
            found.append(member.model_fields[str(part)].annotation)
    return found
