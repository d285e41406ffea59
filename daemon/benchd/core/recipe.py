"""A recipe's text -> ``Recipe``, or every mistake in it with its line and column.

Three readers look at the same document and their findings are merged: the YAML reader, the models
of ``benchd.core.spec``, and the rules here, which know the catalogue and how parts refer to each
other. So that one mistake does not hide another, the rules see the recipe without the parts that
the models have refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Protocol

import yaml

from benchd.core import images, paths, secrets, sweep, topology
from benchd.core.recipe_words import WORDS
from benchd.core.seeds import Book, ClientInfo, Files, adapted
from benchd.core.spec import Client, Monitoring, Part, Recipe, Service
from benchd.errors import Mistake, RecipeError, UserError
from benchd.yamlcheck import Judgement, capped, closest, judge, suggestion, without
from benchd.yamldoc import Document, Path, plain, read, show

MAX_JOBS = 10_000  # jobs of one recipe; more would be months of queueing, or a slip in a sweep

MAX_TEXT = 64 * 1024 * 1024  # characters of users' scripts in all jobs, each of which has a copy


class HasName(Protocol):
    """Something with a name: a parameter of a kind."""

    @property
    def name(self) -> str:
        """The name."""


class KindInfo(Protocol):
    """What the rules need to know about a kind."""

    @property
    def parameters(self) -> Sequence[HasName]:
        """What can be set under ``parameters:``."""


class ClientKindInfo(ClientInfo, topology.Loads, Protocol):
    """The same of a client."""


class KindBook(Book, Protocol):
    """The catalogue, as far as recipes need it."""

    def service(self, name: str) -> KindInfo | None:
        """Return a kind of service."""

    def client(self, name: str) -> ClientKindInfo | None:
        """Return a kind of client."""

    def check(self, part: Part) -> Sequence[tuple[tuple[str | int, ...], str]]:
        """Return what is wrong with a part: where in it, and what."""

    def cannot_measure(self, client: Client, service: Service) -> str | None:
        """Return why a client cannot measure a service."""

    def advice(self, client: Client) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Yield what is no mistake, and better known before: where in a client, and what."""


@dataclass(frozen=True, slots=True)
class Understood:
    """A recipe, and what its author should know about how it was understood."""

    recipe: Recipe
    remarks: tuple[Mistake, ...] = ()


def parse(
    data: bytes,
    file: str,
    catalog: KindBook,
    overrides: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    *,
    clusters: Collection[str] | None = None,
) -> Recipe:
    """Return the recipe, or raise ``RecipeError`` with every mistake."""
    return understand(data, file, catalog, overrides, clusters=clusters).recipe


def no_files(_directory: str, name: str) -> str:
    """Return no script: there is no directory to look into."""
    raise UserError(f"{name} cannot be looked for: there is no configuration with a scripts_dir")


def understand(
    data: bytes,
    file: str,
    catalog: KindBook,
    overrides: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    *,
    clusters: Collection[str] | None = None,
    files: Files = no_files,
) -> Understood:
    """Return the recipe in our words with remarks, or raise ``RecipeError`` with every mistake.

    ``overrides`` are dotted paths and values as text, as ``--set`` gives them; they replace what
    the file says before anything is judged. ``clusters`` are the configured ones; None when there
    is no configuration to ask. ``files`` reads a script that the recipe names.
    """
    document = read(data, file, RecipeError)
    document, mistakes = _overridden(document, dict(overrides))
    mistakes += document.mistakes
    judged = judge(Recipe, document, WORDS)
    mistakes += judged.mistakes
    rules = _Rules(document, catalog, judged.paths, clusters)
    partial = judged.model or _without_refused(document, judged)
    if partial is not None:
        done = adapted(partial, catalog, files)
        for path, what in done.mistakes:
            rules.note(path, what)
        mistakes += rules.judge(done.recipe)
    if mistakes or judged.model is None or partial is None:
        raise RecipeError(file, capped(mistakes))
    recipe = done.recipe.model_copy(update={"name": done.recipe.name or default_name(file)})
    remarks = [*done.remarks, *_remarks(document, recipe), *_advice(recipe, catalog)]
    return Understood(recipe, tuple(sorted(document.mistake(*remark) for remark in remarks)))


def _remarks(document: Document, recipe: Recipe) -> Iterator[tuple[Path, str]]:
    """Yield what is to be said about names and passwords."""
    for path, part in paths.parts(recipe):
        said = paths.at(document.data, (*path, "name"))
        if said is not None and said != part.name:
            yield (*path, "name"), f"is called {part.name} in job names and files"
        for name in secrets.literals(part):
            advice = "a secret: it will be kept out of sight, but better name a source in secrets:"
            yield (*path, "environment", name), advice
        for key, name in secrets.in_the_open(part):
            what = f"the value of {name} stands here as well, where it cannot be kept out of sight"
            yield (*path, key), what


def _advice(recipe: Recipe, catalog: KindBook) -> Iterator[tuple[Path, str]]:
    """Yield what the catalogue says of clients, at the first point of which it says anything."""
    points = sweep.at_points(recipe)
    for index, (path, part) in enumerate(paths.parts(recipe)):
        if isinstance(part, Client):
            swept = [changed for _, changed in points.get(index, ()) if isinstance(changed, Client)]
            said = (list(catalog.advice(each)) for each in swept or [part])
            yield from (((*path, *place), what) for place, what in next(filter(None, said), []))


def with_overrides(data: bytes, file: str, overrides: Mapping[str, str]) -> bytes:
    """Return the text of a recipe with the overrides written into it; comments are lost."""
    if not overrides:
        return data
    document, _ = _overridden(read(data, file, RecipeError), overrides)
    return yaml.safe_dump(document.data, sort_keys=False, allow_unicode=True).encode()


def split_override(text: str) -> tuple[str, str]:
    """Split ``key=value`` as given to ``--set``."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--set {show(text)}: write key=value, for example --set repeat=3")
    return key.strip(), value


def default_name(file: str) -> str:
    """Return a valid name made from the file's stem."""
    stem = re.split(r"[/\\]", file)[-1].rsplit(".", 1)[0].lower()
    return re.sub(r"[^a-z0-9]+", "-", stem).strip("-")[:32].strip("-") or "recipe"


def _overridden(document: Document, overrides: Mapping[str, str]) -> tuple[Document, list[Mistake]]:
    """Put the overrides into the document, and remember where these values come from."""
    if not overrides or not isinstance(document.data, dict):
        return document, []
    data, origins = deepcopy(document.data), {}
    mistakes: list[Mistake] = []
    for key, text in overrides.items():
        try:
            path = paths.resolve(data, key)
            paths.put(data, path, _override_value(text))
        except UserError as error:
            mistakes.append(Mistake(0, 0, f"--set {key}", str(error)))
        else:
            origins[path] = f"--set {key}"
    broken = {b for b in document.broken if not any(b[: len(o)] == o for o in origins)}
    changed = replace(document, data=data, origins=origins, broken=frozenset(broken))
    return changed, mistakes


def _override_value(text: str) -> Any:
    """Read a value as YAML would; brackets and quotes start a list, mapping or text."""
    if text[:1] not in {"[", "{", '"', "'"}:
        return plain(text)
    try:
        document = read(text.encode(), "")
    except UserError as error:
        raise UserError(str(error).lstrip(":0123456789 ")) from None
    if document.mistakes:
        raise UserError(document.mistakes[0].what)
    return document.data


def _without_refused(document: Document, judged: Judgement[Recipe]) -> Recipe | None:
    """Return the recipe without what the models refused, so that the rest can be judged too."""
    if not isinstance(document.data, dict):
        return None
    data = without(document.data, judged.paths | document.broken)
    for part in paths.mappings(data):
        for holder in (part, *paths.references(part)):
            holder.setdefault("name", paths.NAMELESS)
    return judge(Recipe, replace(document, data=data)).model


class _Rules:
    """What must hold beyond the types, with the places of what does not."""

    def __init__(
        self,
        document: Document,
        catalog: KindBook,
        refused: frozenset[Path],
        clusters: Collection[str] | None,
    ) -> None:
        self.document = document
        self.catalog = catalog
        self.clusters = clusters
        self.refused = refused | document.broken
        self.found: list[Mistake] = []

    def judge(self, recipe: Recipe) -> list[Mistake]:
        """Return every mistake."""
        self.alternatives(recipe)
        self.cluster(recipe)
        parts = list(paths.parts(recipe))
        self.names(parts)
        points = sweep.at_points(recipe)
        for index, (path, part) in enumerate(parts):
            self.kind(path, part, points.get(index, ()))
            self.restart(path, part)
            for inner, what in (*secrets.complaints(part), *images.complaints(part)):
                self.note((*path, *inner), what)
            if isinstance(part, Client):
                self.targets(path, part, parts)
                swept = [at for _, at in points.get(index, ()) if isinstance(at, Client)]
                self.pairs(path, swept or [part], parts)
        for path, what in topology.complaints(recipe, self.catalog):
            self.note(path, what)
        if self.sweep(recipe, points):
            self.size(recipe)
        return self.found

    def note(self, path: Path, what: str, *, at_key: bool = False) -> None:
        """Note a mistake, unless the same place has been complained about."""
        if not any(path[: len(refused)] == refused for refused in self.refused):
            self.found.append(self.document.mistake(path, what, at_key=at_key))

    def alternatives(self, recipe: Recipe) -> None:
        """Refuse two forms of the same thing, and a recipe without work."""
        for one, many in (("service", "services"), ("client", "clients")):
            if getattr(recipe, one) is not None and getattr(recipe, many):
                self.note((many,), f"write either {one} or {many}, not both", at_key=True)
        watched = any(not isinstance(part, Monitoring) for _, part in paths.parts(recipe))
        if not watched and not self.refused:
            self.note((), "nothing to run; add a service: or a client:")

    def cluster(self, recipe: Recipe) -> None:
        """Refuse a cluster that is not configured."""
        name, known = recipe.cluster, self.clusters
        if known is not None and name is not None and name not in known:
            what = f"no cluster {show(name)} in the configuration{suggestion(name, known)}"
            self.note(("cluster",), what)

    def names(self, parts: Sequence[tuple[Path, Part]]) -> None:
        """Refuse a name that is used twice."""
        first: dict[str, Path] = {}
        for path, part in parts:
            if part.name == paths.NAMELESS:
                continue
            if part.name in first:
                line = self.document.value_mark((*first[part.name], "name"))[0]
                what = f"{part.name} is used twice (line {line}); every part needs its own name"
                self.note((*path, "name"), what)
            first.setdefault(part.name, path)

    def kind(self, path: Path, part: Part, points: Sequence[tuple[sweep.Cell, Part | str]]) -> None:
        """Ask the catalogue about one part; what a sweep mends at all its points is no mistake."""
        name = part.kind or part.name
        if name == paths.NAMELESS or (*path, "kind") in self.refused:
            return
        look_up = self.catalog.service if isinstance(part, Service) else self.catalog.client
        kind = look_up(name)
        known = {parameter.name for parameter in kind.parameters} if kind else set()
        found = self.catalog.check(part)
        if found and any(isinstance(changed, Part) for _, changed in points):
            parts = [changed for _, changed in points if not isinstance(changed, str)]
            remain = {said for changed in parts for said in self.catalog.check(changed)}
            found = [said for said in found if said in remain]
        for inner, what in found:
            is_key = inner[:1] == ("parameters",) and len(inner) == 2 and inner[1] not in known
            self.note((*path, *inner), what, at_key=is_key)

    def restart(self, path: Path, part: Part) -> None:
        """Refuse what is said about further attempts where there are none."""
        policy = part.restart
        if policy.policy == "never":
            why = "restart.policy is never"
        elif policy.max_attempts == 1:
            why = "set restart.max_attempts to 2 or more"
        else:
            return
        for key in ("on", "more_memory", "more_time", "back_off"):
            if key in policy.model_fields_set:
                what = f"{key} is about further attempts, and there are none: {why}"
                self.note((*path, "restart", key), what, at_key=True)

    def targets(self, path: Path, client: Client, parts: Sequence[tuple[Path, Part]]) -> None:
        """Refuse targets that cannot be measured.

        A name unknown here belongs to another run, unless it looks like a slip: what nobody
        starts would be waited for without end.
        """
        if client.target_service is not None and client.target_services:
            what = "write either target_service or target_services, not both"
            self.note((*path, "target_services"), what, at_key=True)
        services = {part.name for _, part in parts if isinstance(part, Service)}
        clients = {part.name for _, part in parts if isinstance(part, Client)} - services
        named = [target.name for _, target in paths.targets(client)]
        # A service that this client names rightly is not what it meant by another name; and one
        # whose name was refused may be.
        meant = set() if paths.NAMELESS in services else services - set(named)
        seen: set[str] = set()
        for place, target in paths.targets(client):
            if target.name in clients:
                self.note((*path, *place, "name"), f"{target.name} is a client, not a service")
            elif target.name in seen:
                self.note((*path, *place, "name"), f"{target.name} is named twice")
            elif target.name not in services and (near := closest(target.name, meant)):
                what = f"this recipe has no service {show(target.name)}; did you mean {near}?"
                self.note((*path, *place, "name"), what)
            seen.add(target.name)

    def pairs(
        self, path: Path, variants: Sequence[Client], parts: Sequence[tuple[Path, Part]]
    ) -> None:
        """Refuse services that a client cannot understand, as it is at any point."""
        services = {part.name: part for _, part in parts if isinstance(part, Service)}
        told: dict[Path, str] = {}
        for client in variants:
            for place, target in paths.targets(client):
                service = services.get(target.name)
                if service and (why := self.catalog.cannot_measure(client, service)):
                    told.setdefault((*path, *place, "name"), why)
        for place, why in told.items():
            self.note(place, why)

    def sweep(self, recipe: Recipe, points: sweep.Points) -> bool:
        """Check every swept path and value; return whether all of them are fine."""
        before = len(self.found)
        for place, what, at_key in sweep.complaints(recipe, self.change, points):
            self.note(place, what, at_key=at_key)
        return len(self.found) == before

    def change(self, part: Part, changed: Part) -> Iterator[tuple[Path, str]]:
        """Yield what is wrong with a part only when swept values are put into it."""
        known = set(self.catalog.check(part))
        yield from (said for said in self.catalog.check(changed) if said not in known)

    def size(self, recipe: Recipe) -> None:
        """Refuse a recipe that makes too many jobs."""
        points = sweep.combinations(recipe)
        if points <= sweep.MAX_COMBINATIONS:
            points = len(sweep.cells(recipe))
        everything = [part for _, part in paths.parts(recipe)]
        clients = max(1, sum(isinstance(part, Client) for part in everything))
        jobs = points * recipe.repeat * clients
        if jobs > MAX_JOBS:
            what = f"points x repeats x clients = {points} x {recipe.repeat} x {clients} = {jobs}"
            what += f" jobs; at most {MAX_JOBS}"
            self.note(("sweep",) if recipe.sweep else ("repeat",), what, at_key=True)
        for path, part in paths.parts(recipe):
            script = part.script if isinstance(part, Client) else None
            text = len(script.text or "") * points * recipe.repeat if script is not None else 0
            if text > MAX_TEXT:
                what = f"{text >> 20} MiB of scripts in all jobs together; at most {MAX_TEXT >> 20}"
                self.note((*path, "script"), f"{what}: keep data out of the script", at_key=True)
