"""Dotted paths into a recipe: ``client.parameters.pipeline``, ``services.NAME.resources.mem``.

``--set`` puts a value anywhere; a sweep varies what a part is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from benchd.core.spec import Client, Monitoring, Part, Recipe, Service, TargetRef
from benchd.errors import UserError
from benchd.fields import PATTERNS, Resources, Scalar, dashed
from benchd.yamlcheck import Words, judge, suggestion
from benchd.yamldoc import Document, Path, show

# Stands in for a name that is missing, while the rest of a recipe is judged.
NAMELESS = "0-nameless-0"

P = TypeVar("P", bound=Part)
_MANY = {"service": "services", "client": "clients"}
_MAPPINGS = ("parameters", "resources", "environment")


def parts(recipe: Recipe) -> Iterator[tuple[Path, Part]]:
    """Yield every service, then every client, with its path in the document."""
    if recipe.service is not None:
        yield ("service",), recipe.service
    for index, service in enumerate(recipe.services):
        yield ("services", index), service
    if recipe.monitoring is not None:
        yield ("monitoring",), recipe.monitoring
    if recipe.client is not None:
        yield ("client",), recipe.client
    for index, client in enumerate(recipe.clients):
        yield ("clients", index), client


def targets(client: Client) -> Iterator[tuple[Path, TargetRef]]:
    """Yield what a client measures, with the path inside the client."""
    if client.target_service is not None:
        yield ("target_service",), client.target_service
    for index, target in enumerate(client.target_services):
        yield ("target_services", index), target


def mappings(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the mappings of raw data that are services and clients; monitoring needs no name."""
    for one, many in _MANY.items():
        several = data.get(many)
        for item in (data.get(one), *(several if isinstance(several, list) else ())):
            if isinstance(item, dict):
                yield item


def references(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the mappings of a raw part that name a service."""
    several = part.get("target_services")
    for item in (part.get("target_service"), *(several if isinstance(several, list) else ())):
        if isinstance(item, dict):
            yield item


# --- raw data: overrides, and taking out what was refused ---------------------------------------


def resolve(data: dict[str, Any], key: str) -> Path:
    """Return the path that a dotted key of ``--set`` means."""
    head, *rest = key.split(".")
    if not all((head, *rest)):
        raise UserError("a part of the path is empty; write for example client.parameters.clients")
    if head not in {"service", "services", "client", "clients"} or not rest:
        return (head, *rest)
    one = head.removesuffix("s")
    many = _MANY[one]
    single, several = data.get(one), data.get(many)
    if not isinstance(several, list):
        several = []
    if head == one:
        if single is None and len(several) == 1:
            return (many, 0, *rest)
        if single is None and several:
            raise UserError(f"there are several {many}; write {many}.NAME.{'.'.join(rest)}")
        return (one, *rest)
    names = [item.get("name") for item in several if isinstance(item, dict)]
    if rest[0] in names:
        return (many, names.index(rest[0]), *rest[1:])
    if isinstance(single, dict) and single.get("name") == rest[0]:
        return (one, *rest[1:])
    known = [str(name) for name in names if name]
    raise UserError(f"there is no {one} called {show(rest[0])}{suggestion(rest[0], known)}")


def put(data: dict[str, Any], path: Path, value: object) -> None:
    """Set a value in raw data; mappings on the way are made."""
    here: Any = data
    for part in path[:-1]:
        if isinstance(here, dict):
            if here.get(str(part)) is None:
                here[str(part)] = {}
            here = here[str(part)]
        else:
            here = here[part]
        if not isinstance(here, dict | list):
            raise UserError(f"{show(here)} is not a mapping, so nothing can be set inside it")
    if not isinstance(here, dict) or not path or isinstance(path[-1], int):
        raise UserError("this is a part of its own; name a key in it")
    here[path[-1]] = value


def at(data: object, path: Path) -> object:
    """Return what stands at a path of raw data; None where there is nothing."""
    for part in path:
        if isinstance(data, dict):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            return None
    return data


# --- sweeps -------------------------------------------------------------------------------------


def swept(recipe: Recipe, key: str) -> tuple[int, Path]:
    """Return which part a swept key is about (its place in ``parts``), and the path inside it."""
    everything = list(parts(recipe))
    head, *rest = key.split(".")
    one = head.removesuffix("s")
    if one not in _MANY:
        what = "a swept path starts with service., services.NAME., client. or clients.NAME."
        raise UserError(what)
    role = Service if one == "service" else Client
    own = [
        index
        for index, (_, part) in enumerate(everything)
        if isinstance(part, role) and not isinstance(part, Monitoring)
    ]
    if head == one:
        if len(own) > 1:
            many, inner = _MANY[one], ".".join(rest)
            raise UserError(f"there are several {many}; write {many}.NAME.{inner}")
        if not own:
            raise UserError(f"this recipe has no {one}")
        return own[0], _inner(everything[own[0]][1], rest)
    name, rest = (rest or [""])[0], rest[1:]
    for index in own:
        if everything[index][1].name == dashed(name):
            return index, _inner(everything[index][1], rest)
    known = [everything[index][1].name for index in own]
    raise UserError(f"there is no {one} called {show(name)}{suggestion(name, known)}")


def _inner(part: Part, rest: list[str]) -> Path:
    """Return the path inside a part, if it can be swept."""
    single = "replicas" if isinstance(part, Service) else "duration"
    if rest == [single]:
        return (single,)
    if len(rest) == 2 and rest[0] in _MAPPINGS and rest[1]:
        if rest[0] == "resources" and rest[1] not in Resources.model_fields:
            hint = suggestion(rest[1], Resources.model_fields)
            raise UserError(f"{show(rest[1])} is no resource{hint}")
        return tuple(rest)
    sweepable = ", ".join([*(f"{name}.KEY" for name in _MAPPINGS), single])
    raise UserError(f"cannot be swept; what can be: {sweepable}")


def with_value(part: P, inner: Path, value: Scalar) -> P | str:
    """Return the part with another value at this path, or what is wrong with the value."""
    data = part.model_dump(exclude_unset=True)
    if len(inner) == 1:
        data[str(inner[0])] = value
    else:
        data[str(inner[0])] = {**data.get(str(inner[0]), {}), str(inner[1]): value}
    judged = judge(type(part), Document("", data, {}, {}), Words(patterns=PATTERNS))
    return judged.model or judged.mistakes[0].what
