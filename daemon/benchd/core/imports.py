"""Files of other projects -> recipes of ours, and a sentence for every key that has no counterpart.

Each form has a reader in ``import_forms``. A reader takes from the document what it can carry over;
whatever it has not taken is named in the end, with its line, so that nothing is lost in silence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from benchd.core.recipe import default_name
from benchd.core.spec import HealthCheck
from benchd.errors import ConfigError, Mistake, UserError
from benchd.fields import Resources
from benchd.yamldoc import Document, Path, read

# Their words for what we call otherwise; the first that the kind knows is taken.
_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "max_tokens": ("output_tokens",),
    "prompt_length": ("prompt_tokens",),
    "prompt_len": ("prompt_tokens",),
    "model_name": ("model",),
    "num_requests": ("requests", "queries"),
    "n_requests": ("requests", "queries"),
    "operation_count": ("requests",),
    "concurrent_users": ("concurrency", "clients", "threads"),
    "concurrent_requests": ("concurrency", "clients", "threads"),
    "client_count": ("concurrency", "clients", "threads"),
    "num_clients": ("concurrency", "clients", "threads"),
    "n_clients": ("concurrency", "clients", "threads"),
    "concurrency": ("concurrency", "clients", "threads"),
    "requests_per_second": ("rate",),
    "think_time_ms": ("think_time",),
    "timeout_seconds": ("timeout",),
    "value_size_bytes": ("data_size",),
    "documents": ("vectors",),
    "batch_size": ("batch",),
    "search_k": ("k",),
    "n_results": ("k",),
    "top_k": ("k",),
    "rows": ("table_size",),
}
_RESOURCES: Mapping[str, str] = {
    "cpu": "cpus_per_task",
    "cpus": "cpus_per_task",
    "cpu_cores": "cpus_per_task",
    "memory": "mem",
    "memory_gb": "mem",
    "mem_gb": "mem",
    "num_gpus": "gpus",
    "gpu_count": "gpus",
    "gpu": "gpus",
    "time_limit": "time",
}
# Why a key of theirs stays behind, by its name; the nearest one that is listed counts.
_WHY: Mapping[str, str] = {
    "global": "directories and log levels are benchd's own business",
    "loggers": "what jobs write comes home by itself, see `benchctl logs`",
    "logger": "what jobs write comes home by itself, see `benchctl logs`",
    "monitors": "write monitoring: into the recipe, see docs/howto/monitor-services.md",
    "monitor": "write monitoring: into the recipe, see docs/howto/monitor-services.md",
    "reporting": "a report of every run is made by itself, see `benchctl report`",
    "notifications": "follow `benchctl watch` or the events of the HTTP interface",
    "cleanup": "benchd ends what it started, and `benchctl gc` removes old runs",
    "execution": "services end when nothing needs them; warm-up is a parameter of clients",
    "output": "every metric is kept; output.shared_dir makes copies of results",
    "metrics": "every metric that a client has is kept",
    "benchmark": "each service is a recipe of its own",
    "configuration": "a recipe says where it runs with cluster:",
    "operation_mix": "clients here do one thing at a time; compare runs instead",
    "prompt": "prompts are made up, each a different one of the length that is asked for",
    "temperature": "the server's own default holds",
    "top_p": "the server's own default holds",
    "think_time_ms": "users of this client send the next request at once",
    "warmup_delay": "a client starts when its service answers",
    "client_delay": "a client starts when its service answers",
    "instances": "one client with more users does the same; nodes: N spreads it",
    "parameters": "what a kind can be told is listed by `benchctl catalog KIND`",
    "container_def": "name an image in docker_source, and say in build_commands what it needs more",
    "deployment_config": "that is of another kind of cluster; replicas: is a key of a service",
    "password": "passwords are not copied: one is made for each run, see docs/howto/secrets.md",
    "secret_key": "passwords are not copied: one is made for each run, see docs/howto/secrets.md",
    "access_key": "passwords are not copied: one is made for each run, see docs/howto/secrets.md",
    "endpoint": "where a service is, benchd finds out when it runs",
    "service_url": "where a service is, benchd finds out when it runs",
    "endpoint_url": "where a service is, benchd finds out when it runs",
    "host": "where a service is, benchd finds out when it runs",
    "requests_per_second": "this client has no rate: its users send when they are answered",
    "volumes": "write container.bind_mounts, host:container[:ro]",
    "disk_gb": "Slurm gives out no disk space",
    "storage": "Slurm gives out no disk space",
    "working_dir": "a job starts in a directory of its own",
    "script": "the kind starts the program itself",
    "health_check": "the kind has a check of its own",
    "description": "a description of one line can be carried over",
    "version": "the image says it",
    "category": "nothing follows from it",
}
_KEPT = "has no counterpart here"


class Settable(Protocol):
    """What is needed of a parameter of a kind."""

    @property
    def name(self) -> str:
        """Its name."""

    def complaint(self, value: Any) -> str | None:
        """Return what is wrong with a value."""


class ImportKind(Protocol):
    """What is needed of a kind."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def image(self) -> str | None:
        """Its usual image."""

    @property
    def parameters(self) -> Sequence[Settable]:
        """What it can be told."""


class ImportService(ImportKind, Protocol):
    """What is needed of a kind of service."""

    @property
    def check(self) -> HealthCheck:
        """How it is asked whether it answers."""


class ImportClient(ImportKind, Protocol):
    """What is needed of a kind of client."""

    @property
    def untimed(self) -> str:
        """What ends its measurement, where a duration would change nothing."""


class Kinds(Protocol):
    """What is needed of the catalogue."""

    def service(self, name: str) -> ImportService | None:
        """Return a kind of service."""

    def client(self, name: str) -> ImportClient | None:
        """Return a kind of client."""

    def default_client(self, service: str) -> ImportClient | None:
        """Return the usual client of a kind of service."""


@dataclass(slots=True)
class Reader:
    """A part of a document that remembers what was taken from it."""

    data: Any
    path: Path = ()
    taken: set[Path] = field(default_factory=set)

    def at(self, *steps: str | int) -> Reader:
        """Return a part of this part; nothing where there is none."""
        data = self.data
        for step in steps:
            if isinstance(data, dict):
                data = data.get(step)
            elif isinstance(data, list) and isinstance(step, int) and step < len(data):
                data = data[step]
            else:
                data = None
        return Reader(data, (*self.path, *steps), self.taken)

    def take(self, *steps: str | int) -> Any:
        """Return a value that is carried over, None where there is none."""
        part = self.at(*steps)
        if part.data is not None:
            self.taken.add(part.path)
        return part.data

    def members(self, *steps: str | int) -> Iterator[Reader]:
        """Yield the members of a list or of a mapping."""
        part = self.at(*steps)
        keys: Sequence[str | int] = ()
        if isinstance(part.data, dict):
            keys = [str(key) for key in part.data]
        elif isinstance(part.data, list):
            keys = range(len(part.data))
        for key in keys:
            yield part.at(key)

    def left(self) -> Iterator[Path]:
        """Yield what nobody took: the highest keys of which nothing was taken."""
        if self.path in self.taken:
            return
        inside = list(self.members())
        is_touched = any(path[: len(self.path)] == self.path for path in self.taken)
        if inside and (is_touched or not self.path):
            for member in inside:
                yield from member.left()
        elif self.data is not None:
            yield self.path


@dataclass(slots=True)
class Draft:
    """A recipe that is being put together."""

    name: str
    kinds: Kinds
    recipe: dict[str, Any] = field(default_factory=dict)
    remarks: list[tuple[Path, str]] = field(default_factory=list)

    def told(self, kind: ImportKind | None, part: dict[str, Any], reader: Reader) -> None:
        """Take every parameter that the kind knows under one of its names."""
        known = {parameter.name: parameter for parameter in kind.parameters} if kind else {}
        for member in reader.members():
            theirs = str(member.path[-1])
            for ours in (theirs, *_PARAMETERS.get(theirs, ())):
                value = member.data
                if theirs.endswith("_ms") and ours != theirs and isinstance(value, int | float):
                    value = value / 1000  # ours are in seconds
                parameter = known.get(ours)
                if parameter is None or ours in part.get("parameters", {}):
                    continue
                if isinstance(value, bool | int | float | str) and not parameter.complaint(value):
                    part.setdefault("parameters", {})[ours] = value
                    member.take()
                    if "load" in known:
                        self._paced(part, member, ours)
                    break

    def _paced(self, part: dict[str, Any], reader: Reader, taken: str) -> None:
        """Choose between users and a rate: a load that has a rate is not kept by users."""
        told = part["parameters"]
        if taken == "rate":
            told["load"] = "constant"
        if "rate" in told and told.pop("concurrency", None) is not None:
            what = "the number of users is left out: requests are sent at the rate, answered or not"
            self.remarks.append((reader.path, what))

    def resources(self, part: dict[str, Any], *readers: Reader) -> None:
        """Take what is asked of Slurm."""
        for reader in readers:
            for member in reader.members():
                theirs = str(member.path[-1])
                ours = _RESOURCES.get(theirs, theirs)
                value = _resource(theirs, ours, member.data)
                if ours in Resources.model_fields and value is not None:
                    part.setdefault("resources", {})[ours] = value
                    member.take()
                elif ours == "gpus" and member.data in (0, "0"):
                    member.take()


def _resource(theirs: str, ours: str, value: Any) -> Any:
    """Return a resource as Slurm writes it; None when it is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value)
    if ours == "mem":
        if theirs.endswith("_gb"):
            return f"{text}G" if text.isdigit() else None
        match = re.fullmatch(r"(\d+)\s*([KMGT])i?B?", text, re.IGNORECASE)
        return f"{match[1]}{match[2].upper()}" if match else None
    if ours == "gpus":
        return text if text.isdigit() and text != "0" else None
    if ours in {"nodes", "ntasks", "ntasks_per_node", "cpus_per_task"}:
        return int(text) if text.isdigit() else None
    return value


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of a file: recipes by name, and what is to be said."""

    form: str
    recipes: Mapping[str, dict[str, Any]]
    remarks: tuple[Mistake, ...]


Form = tuple[str, Callable[[Reader], bool], Callable[[Reader, Kinds, str], list[Draft]]]


def convert(data: bytes, file: str, kinds: Kinds, forms: Sequence[Form]) -> Imported:
    """Return the recipes that a file of another project stands for."""
    document = read(data, file, ConfigError)
    if document.mistakes:
        raise ConfigError(file, document.mistakes)
    if not isinstance(document.data, dict):
        raise UserError(f"{file}: is no mapping of keys and values, so no recipe of anybody's")
    reader = Reader(document.data)
    for form, is_it, drafts_of in forms:
        if is_it(reader):
            drafts = drafts_of(reader, kinds, default_name(file))
            return Imported(form, _named(drafts), tuple(_remarks(document, reader, drafts)))
    known = "; ".join(form for form, _, _ in forms)
    raise UserError(f"{file}: is in none of the forms that can be converted: {known}")


def _named(drafts: Sequence[Draft]) -> dict[str, dict[str, Any]]:
    named: dict[str, dict[str, Any]] = {}
    for draft in drafts:
        if not {"service", "services", "client", "clients"} & set(draft.recipe):
            continue
        name = default_name(draft.name)
        while name in named:
            name = default_name(f"{name[:30]}-{len(named) + 1}")
        named[name] = {"name": name, **draft.recipe}
    return named


def _remarks(document: Document, reader: Reader, drafts: Sequence[Draft]) -> list[Mistake]:
    said = [
        document.mistake(path, what, at_key=True)
        for draft in drafts
        for path, what in draft.remarks
    ]
    for path in reader.left():
        keys = [str(part) for part in path if isinstance(part, str)]
        why = next((_WHY[key] for key in reversed(keys) if key in _WHY), _KEPT)
        said.append(document.mistake(path, f"is not carried over: {why}", at_key=True))
    return sorted(set(said))
