"""What cannot be where it is asked to be: replicas, nodes and places of a recipe's parts. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from benchd.core import paths, sweep
from benchd.core.spec import Client, Recipe, Scale, Service
from benchd.errors import UserError
from benchd.yamldoc import Path


class Loads(Protocol):
    """A kind of client, as far as several services and several nodes concern it."""

    @property
    def spreads(self) -> bool:
        """Whether it spreads over all replicas of a service by itself."""

    @property
    def distributed(self) -> bool:
        """Whether it can share its load between several nodes."""


class LoadBook(Protocol):
    """The catalogue, as far as this is concerned."""

    def client(self, name: str) -> Loads | None:
        """Return a kind of client."""


def complaints(recipe: Recipe, catalog: LoadBook) -> Iterator[tuple[Path, str]]:
    """Yield what is wrong with where a recipe wants its jobs, with its place."""
    services = {s.name: s for _, s in paths.parts(recipe) if isinstance(s, Service)}
    most = _most_replicas(recipe, services)
    for path, part in paths.parts(recipe):
        if isinstance(part, Service):
            found = _of_service(part)
        elif isinstance(part, Client):
            found = _of_client(part, catalog.client(part.kind or part.name), services, most)
        else:
            continue
        for inner, what in found:
            yield (*path, *inner), what
    yield from _of_measuring(recipe)


def _of_measuring(recipe: Recipe) -> Iterator[tuple[Path, str]]:
    """Yield what is said about measurements where there are none."""
    clients = [part for _, part in paths.parts(recipe) if isinstance(part, Client)]
    measured = {target.name for client in clients for _, target in paths.targets(client)}
    for key in ("cooldown", "stop_on_failure"):
        if not clients and getattr(recipe, key):
            yield (key,), "is about measurements, and this recipe has no client"
    for path, part in paths.parts(recipe):
        if isinstance(part, Service) and part.fresh is not None and part.name not in measured:
            yield (*path, "fresh"), "no client of this recipe measures it: leave this out"


def _most_replicas(recipe: Recipe, services: Mapping[str, Service]) -> dict[str, int]:
    """Return how many replicas a client of each service measures together, at any point."""
    most = {
        name: 1 if isinstance(service.replicas, Scale) else service.replicas
        for name, service in services.items()
    }
    everything = [part for _, part in paths.parts(recipe)]
    swept: dict[str, list[int]] = {}
    for path, _, value in sweep.each_value(recipe):
        try:
            index, inner = paths.swept(recipe, path)
        except UserError:  # somebody else's complaint
            continue
        if inner == ("replicas",) and isinstance(value, int):
            swept.setdefault(everything[index].name, []).append(value)
    return most | {name: max(numbers) for name, numbers in swept.items()}


def _of_service(part: Service) -> Iterator[tuple[Path, str]]:
    scale = part.replicas
    if isinstance(scale, Scale) and part.concurrent and scale.scale_latency is None:
        what = "measurements of a concurrent service do not wait for each other, so nothing would "
        yield ("replicas",), what + "add one; say scale_latency, or leave concurrent out"


def _of_client(
    part: Client, kind: Loads | None, services: Mapping[str, Service], most: Mapping[str, int]
) -> Iterator[tuple[Path, str]]:
    name = part.kind or part.name
    if kind is not None and part.nodes > 1 and not kind.distributed:
        what = f"kind {name!r} cannot share its load between nodes; benchd's own generators can"
        yield ("nodes",), what
    asked = part.resources
    if part.nodes > 1 and asked.nodes not in (None, part.nodes):
        yield ("resources", "nodes"), f"says {asked.nodes}, and nodes says {part.nodes}: keep that"
    if part.nodes > 1 and asked.ntasks not in (None, part.nodes):
        yield ("resources", "ntasks"), f"one task a node makes {part.nodes}; leave it out"
    if part.placement != "any":
        yield from _of_placement(part, services)
    for path, target in paths.targets(part):
        replicas = most.get(target.name, 1)
        if kind is not None and not kind.spreads and replicas > 1:
            what = f"{target.name} has {replicas} replicas, and kind {name!r} would measure only "
            what += "the first of them; with replicas: {min, max} each measurement uses one"
            yield (*path, "name"), what


def _of_placement(part: Client, services: Mapping[str, Service]) -> Iterator[tuple[Path, str]]:
    named = [target.name for _, target in paths.targets(part)]
    if not named:
        yield ("placement",), "is seen from a service, and this client measures none"
    if part.placement != "same-node":
        return
    if part.nodes > 1:
        yield ("placement",), f"same-node is one node, and nodes asks for {part.nodes}"
    if part.resources.nodelist is not None:
        yield ("resources", "nodelist"), "the node follows from placement: same-node"
    alone = [services[name] for name in named[:1] if name in services]
    for each in [*alone, part]:
        if each.resources.exclusive:
            whose = f"{each.name} shares its node with nobody (resources.exclusive)"
            yield ("placement",), f"same-node cannot be: {whose}"
